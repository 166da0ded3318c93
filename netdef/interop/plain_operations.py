"""A jaxpr as few plain operations, for converters to formats that have no layouts of arrays.

Calls are inlined, and the default branch is taken of each choice between platforms. Constants are computed now. A
transposition or a broadcast is not an operation of its own, but a view, until an operation needs it: so convolutions
have channels first, the transpositions between them cancel, and biases are added without being expanded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.extend.core import Literal

_INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
_OF_ONE = {"abs", "copy", "exp", "integer_pow", "log", "logistic", "neg", "rsqrt", "sign", "sqrt", "square", "tanh"}
_OF_TWO: dict[str, Callable[..., Any]] = {
    "add": jnp.add,
    "div": jnp.divide,
    "max": jnp.maximum,
    "min": jnp.minimum,
    "mul": jnp.multiply,
    "sub": lambda x, y: jnp.subtract(x, y) if isinstance(y, Tracer) else jnp.add(x, -y),  # as one operation
}
_GROWTH = 4  # a constant that is computed now has at most this many times the elements of its arguments


class View(NamedTuple):
    """An array seen with other axes: axis i is axis `axes[i]` of `array`, which has one element along each broadcast
    axis."""

    array: Any
    axes: tuple[int, ...]
    shape: tuple[Any, ...]

    @property
    def broadcast(self) -> bool:
        return tuple(self.array.shape[axis] for axis in self.axes) != tuple(self.shape)


def evaluated(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Evaluates a jaxpr."""
    return [_made(value) for value in _evaluated(jaxpr, consts, arguments)]


def _evaluated(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))
    read = lambda atom: atom.val if isinstance(atom, Literal) else known[atom]
    for equation in jaxpr.eqns:
        known.update(zip(equation.outvars, _results(equation, [read(v) for v in equation.invars]), strict=True))
    return [read(v) for v in jaxpr.outvars]


def _results(equation: Any, given: list[Any]) -> Sequence[Any]:
    """Returns the results of an equation, which may be views."""
    name, params = equation.primitive.name, equation.params
    if name == "platform_index":
        return [len(params["platforms"]) - 1]  # the last one is the default
    if name == "cond" and isinstance(given[0], int):
        branch = params["branches"][given[0]]
        return _evaluated(branch.jaxpr, branch.consts, given[1:])
    if name in _INLINED:
        inner = params[_INLINED[name]]
        return _evaluated(inner.jaxpr, inner.consts, given)
    if name == "transpose":
        return [_transposed(given[0], params["permutation"])]
    if name == "broadcast_in_dim" and len(given) == 1 and _constant(given[0]):
        return [_broadcast(given[0], params["shape"], params["broadcast_dimensions"])]
    if all(map(_constant, given)) and _stays_small(equation, given):
        with jax.ensure_compile_time_eval():
            return _bound(equation, given)
    if name == "conv_general_dilated":
        return [_convolution(equation, *given)]
    if name == "reduce_window_max":
        return [_max_pooled(equation, _made(given[0]))]
    if name == "pad" and not any(interior for _, _, interior in params["padding_config"]):
        return [_padded(equation, *map(_made, given))]
    if name in _OF_ONE and isinstance(given[0], View) and not given[0].broadcast:
        return [given[0]._replace(array=equation.primitive.bind(given[0].array, **params))]
    if name in _OF_TWO and equation.outvars[0].aval.dtype == np.float32:
        return [_of_two(_OF_TWO[name], equation.outvars[0].aval.shape, *given)]
    return _bound(equation, given)


def _max_pooled(equation: Any, x: Any) -> Any:
    """A maximum over windows, with the axes before the first window as one: jax2onnx takes each axis for one of the
    window, of which onnxruntime has at most three."""
    params = dict(equation.params)
    before = next((i for i, size in enumerate(params["window_dimensions"]) if size > 1), 0)
    if before < 2 or any(map(any, params["padding"][:before])) or set(params["window_strides"][:before]) != {1}:
        return equation.primitive.bind(x, **params)
    fewer = {name: value[before - 1 :] for name, value in params.items()}
    made = equation.primitive.bind(x.reshape(math.prod(x.shape[:before]), *x.shape[before:]), **fewer)
    return made.reshape(*x.shape[:before], *made.shape[1:])


def _bound(equation: Any, given: Sequence[Any]) -> Sequence[Any]:
    made = equation.primitive.bind(*map(_made, given), **equation.params)
    return made if equation.primitive.multiple_results else [made]


def _constant(value: Any) -> bool:
    return not isinstance(value.array if isinstance(value, View) else value, Tracer)


def _stays_small(equation: Any, given: Sequence[Any]) -> bool:
    """Whether the results of an equation of constants are not much larger than its arguments."""
    made, taken = [v.aval.shape for v in equation.outvars], [_view(value).shape for value in given]
    if not given or not all(isinstance(size, int) for shape in (*made, *taken) for size in shape):
        return False
    return sum(map(math.prod, made)) <= _GROWTH * sum(map(math.prod, taken))


def _view(value: Any) -> View:
    return value if isinstance(value, View) else View(value, tuple(range(np.ndim(value))), np.shape(value))


def _made(value: Any) -> Any:
    """Returns a value as an array."""
    if not isinstance(value, View):
        return value
    array = _moved(value.array, value.axes)
    return jnp.broadcast_to(array, value.shape) if value.broadcast else array


def _moved(array: Any, axes: Sequence[int]) -> Any:
    if tuple(axes) == tuple(range(len(axes))):
        return array
    return lax.transpose(array, axes) if isinstance(array, Tracer) else np.transpose(array, axes)


def _transposed(value: Any, axes: Sequence[int]) -> View:
    array, before, shape = _view(value)
    return View(array, tuple(before[i] for i in axes), tuple(shape[i] for i in axes))


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argsort(axes))


def _broadcast(value: Any, shape: Sequence[Any], places: Sequence[int]) -> View:
    """Returns a constant as a view of a larger shape; its axis i becomes the axis `places[i]`."""
    value = np.asarray(_made(value))
    sizes = dict(zip(places, value.shape, strict=True))
    thin = value.reshape([sizes.get(i, 1) for i in range(len(shape))])
    return View(thin, tuple(range(len(shape))), tuple(shape))


def _of_two(function: Callable[..., Any], shape: tuple[Any, ...], *given: Any) -> Any:
    """Applies an operation on corresponding elements, in the order of axes of its variable arguments if they agree."""
    views = [_view(value) for value in given]
    orders = {view.axes for view in views if not _constant(view)}
    axes = next(iter(orders)) if len(orders) == 1 else tuple(range(max(len(view.axes) for view in views)))
    if not any(len(view.axes) == len(axes) and not view.broadcast for view in views):
        return function(*map(_made, given))
    arrays = [_moved(view.array, [view.axes[i] for i in _inverse(axes)]) if view.axes else view.array for view in views]
    return View(function(*arrays), axes, shape)


def _padded(pad: Any, x: Any, value: Any) -> Any:
    """Implements lax.pad as a concatenation, because jax2onnx requires a fully known shape for padding."""
    for axis, (before, after, _) in enumerate(pad.params["padding_config"]):
        if min(before, after) < 0:
            x = lax.slice_in_dim(x, max(0, -before), x.shape[axis] - max(0, -after), axis=axis)
        shapes = [(*x.shape[:axis], n, *x.shape[axis + 1 :]) for n in (before, after)]
        edges = [[lax.broadcast(value, shape)] if shape[axis] > 0 else [] for shape in shapes]
        if any(edges):
            x = lax.concatenate([*edges[0], x, *edges[1]], axis)
    return x


def _convolution(convolution: Any, x: Any, w: Any) -> View:
    """Implements a convolution with the channels first and filters of the shape (out, in, kernel...), which jax2onnx
    requires; in a transposed convolution, `in` and `out` are exchanged."""
    numbers = convolution.params["dimension_numbers"]
    straight = tuple(range(len(numbers.lhs_spec)))
    params = {**convolution.params, "dimension_numbers": lax.ConvDimensionNumbers(straight, straight, straight)}
    arrays = [_made(_transposed(v, spec)) for v, spec in ((x, numbers.lhs_spec), (w, numbers.rhs_spec))]
    return _transposed(convolution.primitive.bind(*arrays, **params), _inverse(numbers.out_spec))
