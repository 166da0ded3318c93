"""Recurrent layers over sequences, time first: LSTM, RNN; LSTMUnit, one step of an LSTM; ContinuationIndicator.

LSTM and RNN are a `lax.scan` over time.  `cont` (t, n) is 0 where a sequence begins and 1 where it continues: a stream
contains sequences of any length one after another, and stream j of a batch continues stream j of the previous batch.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..fillers import Constant, Filler
from ..lazy import Array, jax, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, count, show
from .base import Context, Example, Layer, Weight


class _Recurrent(Layer):
    """The base of LSTM and RNN: bottoms, the carried state, and the scan."""

    family = "product"
    carries_rows = True

    states: ClassVar[tuple[str, ...]]  # hidden states in the order of bottoms and tops
    gates: ClassVar[int]  # rows of W for each output

    n_bottoms = (1, 5)
    n_tops = (1, 3)
    block = "recurrent_param"

    num_output: int = param("Size of the hidden state.", at_least=1)
    weight_filler: Filler = param("Filler of the matrices.", default=Constant())
    bias_filler: Filler = param("Filler of the biases.", default=Constant())
    debug_info: bool = param("Prints the unrolled net in Caffe.", default=False, inert=True)
    expose_hidden: bool = param(
        "Whether the initial hidden states are bottoms and the final ones are tops.", default=False
    )
    stateful: bool | None = param(
        "Whether a batch starts from the last hidden state of the previous batch; default: as in Caffe, true with "
        "`cont` and without `expose_hidden`.",
        default=None,
    )
    return_sequences: bool = param("Whether to output all steps, or only the last one.", default=True)

    def infer(self, *bottoms: Shape) -> list[Shape]:
        x = bottoms[0]
        if len(x) < 3:
            raise ShapeError(
                f"the input {show(x)} has {len(x)} axes; it must have at least 3, time first: (t, n, ...).  For "
                f"indices of tokens, add an Embed layer; for scalars, a last axis of 1.  {self._turned(0, x)}",
                bottom=0,
            )
        self._check_count(len(bottoms))
        cont, static, hidden = self._parts(bottoms)
        if cont is not None and cont != x[:2]:
            turned = f"  {self._turned(0, x)}  {self._turned(1, cont)}" if cont == x[1::-1] else ""
            raise ShapeError(
                f"`cont` is {show(cont)}; it must be {show(x[:2])}, the first two axes of x {show(x)}.{turned}",
                bottom=1,
            )
        if static is not None and (len(static) < 2 or static[0] != x[1]):
            turned = f"  {self._turned(0, x)}" if static[:1] == x[:1] else ""
            raise ShapeError(
                f"the static input is {show(static)}; it must be (n, ...) with n = {x[1]}, as in x {show(x)}.{turned}",
                bottom=2,
            )
        state = (1, x[1], self.num_output)
        for i, shape in enumerate(hidden):
            if shape != state:
                raise ShapeError(
                    f"hidden state `{self.states[i]}` is {show(shape)}; it must be {show(state)}.",
                    bottom=len(bottoms) - len(hidden) + i,
                )
        y = (x[0], x[1], self.num_output) if self.return_sequences else (x[1], self.num_output)
        return [y, *[state] * (len(self.states) if self.expose_hidden else 0)]

    def _turned(self, i: int, shape: Shape) -> str:
        """Returns the sentence with the layer that turns a bottom with the batch first, (n, t, ...), to time first."""
        name, order = self.bottom[i] if i < len(self.bottom) else "x", [1, 0, *range(2, len(shape))]
        return (
            f"If `{name}` is batch first, (n, t, ...), use the top of: "
            f'layer {{ name: "{name}_time_first" type: "Permute" bottom: "{name}" top: "{name}_time_first" '
            f"permute_param {{ order: {order} }} }}"
        )

    def _check_count(self, bottoms: int) -> None:
        hidden = len(self.states) if self.expose_hidden else 0
        names = "".join(f", {s}_0" for s in self.states[:hidden])
        fewest = 2 + hidden if hidden else 1
        if not fewest <= bottoms <= 3 + hidden:
            raise ShapeError(
                f"there are {bottoms} bottoms; {self.type} requires {fewest} to {3 + hidden}: x, cont, [static]{names}."
            )
        if len(self.top) not in (0, 1 + hidden):
            raise ShapeError(
                f"there are {len(self.top)} tops, but {self.type} outputs {1 + hidden}"
                f"{'' if hidden else ', or more with `expose_hidden`'}."
            )

    def _parts(self, bottoms: tuple[Any, ...]) -> tuple[Any, Any, tuple[Any, ...]]:
        """Returns (cont or None, static input or None, exposed hidden states) from the bottoms after x."""
        hidden = len(self.states) if self.expose_hidden else 0
        front = bottoms[: len(bottoms) - hidden]
        return (
            front[1] if len(front) > 1 else None,
            front[2] if len(front) > 2 else None,
            bottoms[len(front) :],
        )

    def _carries(self, bottoms: int) -> bool:
        return (bottoms > 1 if self.stateful is None else self.stateful) and not self.expose_hidden

    def weights(self, *bottoms: Shape) -> list[Weight]:
        x, h, rows = bottoms[0], self.num_output, self.gates * self.num_output
        _, static, _ = self._parts(bottoms)
        made = [Weight((rows, count(x[2:])), self.weight_filler), Weight((rows,), self.bias_filler)]
        if static is not None:
            made.append(Weight((rows, count(static[1:])), self.weight_filler))
        made += [Weight((rows, h), self.weight_filler), *self._output_weights()]
        if self._carries(len(bottoms)):
            made += [Weight((1, x[1], h), Constant(), kind="carry") for _ in self.states]
        return made

    def _output_weights(self) -> list[Weight]:
        return []

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> list[Array]:
        x = bottoms[0]
        cont, static, hidden = self._parts(bottoms)
        carries = self._carries(len(bottoms))
        own = w[: len(w) - len(self.states)] if carries else w
        rest = list(own[2:])
        gates = x.reshape(*x.shape[:2], -1) @ own[0].T + own[1]  # (t, n, rows): all steps in one product
        if static is not None:
            gates = gates + static.reshape(static.shape[0], -1) @ rest.pop(0).T
        if cont is None:
            cont = jnp.ones(x.shape[:2], gates.dtype)
            if self.stateful is None:
                cont = cont.at[0].set(0)
        cont = lax.stop_gradient(cont.astype(gates.dtype))[..., None]  # (t, n, 1)

        # Hidden states, exposed or carried, have no gradient, because Caffe truncates backpropagation there.
        zero = jnp.zeros((x.shape[1], self.num_output), gates.dtype)
        first = [lax.stop_gradient(h[0]) for h in hidden or (w[len(own) :] if carries else ())]
        if not first or first[0].shape != zero.shape:  # no state, or the state of a batch of another size
            first = [zero] * len(self.states)
        last, seen = lax.scan(lambda state, at: self._step(rest[0], state, *at), tuple(first), (gates, cont))
        last = [lax.stop_gradient(h)[None] for h in last]  # (1, n, num_output) each
        if carries and x.shape[1] == w[-1].shape[1]:
            for i, state in enumerate(last):
                ctx.update(len(own) + i, state)
        y = self._output(rest[1:], seen if self.return_sequences else seen[-1])
        return [y, *(last if self.expose_hidden else [])]

    def _step(self, w_h: Array, state: tuple[Array, ...], gates: Array, cont: Array) -> tuple[tuple[Array, ...], Array]:
        """Returns (states, output) after one step; `gates` (n, rows) are the terms of x and the static input."""
        raise NotImplementedError

    def _output(self, w: list[Array], seen: Array) -> Array:
        return seen

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> Any:
        x, rows = bottoms[0], self.gates * self.num_output
        return x[0] * x[1] * rows * (count(x[2:]) + self.num_output)


class LSTM(_Recurrent, type="LSTM", block="recurrent_param"):
    """Long short-term memory: h = sigmoid(o) tanh(c), c = cont sigmoid(f) c + sigmoid(i) tanh(g) at each step.

    The gates of a step are (i, f, o, g) = W_x x + b + W_s s + W_h (cont h).

    Bottoms: x (t, n, ...); optional cont (t, n), static s (n, ...); with `expose_hidden` h_0, c_0 (1, n, num_output).
    Tops: h (t, n, num_output), or only the last step (n, num_output); with `expose_hidden` h_t, c_t
    (1, n, num_output).
    Everything is time first, (t, n, ...): t steps of n sequences.  Data is usually batch first, (n, t, ...), and a
    Permute layer with `order: [1, 0, 2]` turns it, or `time_first` in a `text` of TableData.  `cont` is 0 at the first
    step of a sequence, and 1 at the others.
    Weights: W_x (4 num_output, k), b (4 num_output), [W_s], W_h (4 num_output, num_output).
    Source: BVLC/caffe src/caffe/layers/lstm_layer.cpp and recurrent_layer.cpp; Hochreiter and Schmidhuber 1997.
    Differs: cont is optional (without it, each batch starts from zero unless `stateful` is true), and `stateful` and
    `return_sequences` are additions.  As in Caffe, the exposed hidden states have no gradient.
    """

    states = ("h", "c")
    gates = 4

    examples = (
        Example(
            'layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "lstm"\n'
            '        recurrent_param { num_output: 3 weight_filler { type: "uniform" min: -0.3 max: 0.3 } } }',
            {"x": (4, 2, 3), "cont": (4, 2)},
            integers={"cont": 2},
        ),
        Example(
            'layer { name: "last" type: "LSTM" bottom: "x" top: "last"\n'
            '        recurrent_param { num_output: 3 return_sequences: false weight_filler { type: "xavier" } } }',
            {"x": (4, 2, 3)},
        ),
    )

    def _step(self, w_h: Array, state: tuple[Array, ...], gates: Array, cont: Array) -> tuple[tuple[Array, ...], Array]:
        h, c = state
        c, h = _unit(gates + (cont * h) @ w_h.T, c, cont)
        return (h, c), h


def _unit(gates: Array, c: Array, cont: Array) -> tuple[Array, Array]:
    """Returns (c, h) after one step, from the sums of the gates (..., 4 h), the last c (..., h) and cont (..., 1)."""
    i, f, o, g = jnp.split(gates, 4, axis=-1)
    c = cont * jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return c, jax.nn.sigmoid(o) * jnp.tanh(c)


class RNN(_Recurrent, type="RNN", block="recurrent_param"):
    """A simple recurrent layer: o = tanh(W_o h + b_o), h = tanh(W_x x + b + W_s s + W_h (cont h)) at each step.

    Bottoms: x (t, n, ...); optional cont (t, n), static s (n, ...); with `expose_hidden` h_0 (1, n, num_output).
    Tops: o (t, n, num_output), or only the last step (n, num_output); with `expose_hidden` h_t (1, n, num_output).
    Everything is time first; see LSTM, for data that is batch first.
    Weights: W_x (num_output, k), b, [W_s], W_h (num_output, num_output), W_o (num_output, num_output), b_o.
    Source: BVLC/caffe src/caffe/layers/rnn_layer.cpp and recurrent_layer.cpp.
    Differs: as LSTM.
    """

    n_bottoms = (1, 4)
    n_tops = (1, 2)
    states = ("h",)
    gates = 1

    examples = (
        Example(
            'layer { name: "rnn" type: "RNN" bottom: "x" bottom: "cont" top: "rnn"\n'
            '        recurrent_param { num_output: 3 weight_filler { type: "uniform" min: -0.3 max: 0.3 } } }',
            {"x": (4, 2, 3), "cont": (4, 2)},
            integers={"cont": 2},
        ),
    )

    def _output_weights(self) -> list[Weight]:
        return [
            Weight((self.num_output, self.num_output), self.weight_filler),
            Weight((self.num_output,), self.bias_filler),
        ]

    def _step(self, w_h: Array, state: tuple[Array, ...], gates: Array, cont: Array) -> tuple[tuple[Array, ...], Array]:
        h = jnp.tanh(gates + (cont * state[0]) @ w_h.T)
        return (h,), h

    def _output(self, w: list[Array], seen: Array) -> Array:
        return jnp.tanh(seen @ w[0].T + w[1])

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> Any:
        return super().multiply_adds(bottoms, tops) + count(tops[0]) * self.num_output


class LSTMUnit(Layer, type="LSTMUnit"):
    """One step of an LSTM, from the sums of its gates (see LSTM for the formula).

    Bottoms: c (1, n, h); gates (1, n, 4 h), in the order i, f, o, g; cont (1, n).  Tops: c (1, n, h); h (1, n, h).
    Source: BVLC/caffe src/caffe/layers/lstm_unit_layer.cpp.
    Differs: the gradient is also exact if cont is neither 0 nor 1.
    """

    family = "product"
    n_bottoms = 3
    n_tops = 2

    examples = (
        Example(
            'layer { name: "unit" type: "LSTMUnit" bottom: "c" bottom: "gates" bottom: "cont" top: "c1" top: "h1" }',
            {"c": (1, 2, 3), "gates": (1, 2, 12), "cont": (1, 2)},
            integers={"cont": 2},
        ),
    )

    def infer(self, c: Shape, gates: Shape, cont: Shape) -> list[Shape]:
        if len(c) != 3 or c[0] != 1:
            raise ShapeError(f"c is {show(c)}; it must be (1, n, h).", bottom=0)
        if gates != (1, c[1], 4 * c[2]):
            raise ShapeError(
                f"the gates are {show(gates)}; for c {show(c)} they must be {show((1, c[1], 4 * c[2]))}.", bottom=1
            )
        if cont != (1, c[1]):
            raise ShapeError(f"cont is {show(cont)}; for c {show(c)} it must be {show((1, c[1]))}.", bottom=2)
        return [c, c]

    def apply(self, w: tuple[Array, ...], c: Array, gates: Array, cont: Array, *, ctx: Context) -> list[Array]:
        return list(_unit(gates, c, lax.stop_gradient(cont.astype(c.dtype))[..., None]))


class ContinuationIndicator(Layer, type="ContinuationIndicator", block="continuation_indicator_param"):
    """Outputs `cont` for sequences that all begin with the batch: 0 at the first step, then 1.

    Bottoms: none.  Tops: cont (time_step, batch_size).
    Source: intel/caffe src/caffe/layers/continuation_indicator_layer.cpp.  Differs: nothing.
    """

    family = "product"
    n_bottoms = 0

    time_step: int = param("Number of steps of a sequence.", at_least=1)
    batch_size: int = param("Number of sequences in a batch.", at_least=1)

    examples = (
        Example(
            'layer { name: "cont" type: "ContinuationIndicator" top: "cont"\n'
            "        continuation_indicator_param { time_step: 4 batch_size: 2 } }",
            {},
        ),
    )

    def infer(self) -> Shape:
        return (self.time_step, self.batch_size)

    def apply(self, w: tuple[Array, ...], *, ctx: Context) -> Array:
        return jnp.ones((self.time_step, self.batch_size)).at[0].set(0)
