"""A compiled net as a flax.nnx.Module.

Everything a Flax user does with a module works: `nnx.split`, `nnx.jit`, `nnx.grad`, optax on
`nnx.state(model, nnx.Param)`.  Parameters that layers share are stored once, with the layer that names them first.
"""

from __future__ import annotations

import functools
import math
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from flax import errors, nnx

from .compiler import load
from .files import locator
from .fillers.base import NumpyRandom
from .forward import compiled
from .graph import Net, Owner
from .language.diagnostics import Report
from .language.errors import NetdefError
from .language.spelling import suggestion
from .layers.base import Phase, Weight
from .passes.shapes import infer
from .shape import Shape, known, same_shape, show

if TYPE_CHECKING:
    from .interop import Loaded

Arrays = dict[str, list[np.ndarray]]

LARGEST = 2**40  # elements of one array; more of them, 4 TiB as float32, are a slip in the file


class Carry(nnx.Variable):
    """What a stateful layer hands from batch to batch."""


KINDS: dict[str, type[nnx.Variable]] = {"param": nnx.Param, "stat": nnx.BatchStat, "carry": Carry}


def compile(
    net: Net | str | Path,
    phase: str | Phase = "TEST",
    seed: int = 0,
    weights: Any = None,
    **options: Any,
) -> Model:
    """A model of a net, with parameters filled as the file says, or with `weights` (a path, several, or a dict).

    `options` go to `netdef.load` (stages, level, set, import_path).  A Net keeps the phase that it was loaded for.
    The modules of Python layers are run, as in Caffe; those of a Net only if it was loaded with `trust_python`.
    Errors: CompileError; NetdefError where a shape is not known because a file or module is missing.
    """
    if not isinstance(net, Net):
        net = load(net, phase=phase, **{"trust_python": True, **options})
    start = None
    if weights is not None and not isinstance(weights, Mapping):
        from .interop.weights import match

        found = match(net, weights)
        start = lambda owner: found.read(owner) if owner in found.arrays else None
    model = Model(net, seed, start)
    if isinstance(weights, Mapping):
        model.set_weights(weights)
    if net.phase is Phase.TRAIN and net.params and not any(any(node.trained) for node in net.layers):
        warnings.warn(
            f"net {net.name or '(no name)'} of phase TRAIN has no loss above its parameters, so as in Caffe no "
            "gradient is computed for them; add a loss, or write `force_backward: true`",
            stacklevel=2,
        )
    return model


class Model(nnx.Module):
    """A net of one phase with its arrays: `weights[layer]["0"]` and so on, in Caffe's blob order.

    In phase TRAIN a call updates running statistics and draws random numbers from `rngs`.  Inside a bare jax
    transformation that closed over the state (rather than taking it as an argument) there is nowhere to keep them, and
    they are dropped.
    """

    def __init__(self, net: Net, seed: int = 0, start: Callable[[Owner], np.ndarray | None] | None = None):
        """`start` gives the first values of an array; where it gives None, and without it, its filler does."""
        _refuse_unknown(net)
        _refuse_huge(net)
        self.net = net
        self.rngs = nnx.Rngs(seed)
        made: dict[str, dict[str, nnx.Variable]] = {}
        for owner, weight in net.owned:
            first = start(owner) if start else None
            value = _filled(weight, seed, owner) if first is None else jax.numpy.asarray(first, jax.numpy.float32)
            variable = KINDS[weight.kind](value)
            made.setdefault(owner.layer, {})[str(owner.index)] = variable
        self.weights = nnx.Dict({layer: nnx.Dict(variables) for layer, variables in made.items()})

    def __call__(self, **inputs: Any) -> dict[str, jax.Array]:
        """The net's outputs: {top: array} of the tops that nobody takes."""
        return self._run("outputs", inputs)

    def blobs(self, **inputs: Any) -> dict[str, jax.Array]:
        """Every named blob, with its last value if it was written in place; of a blob that several layers take also
        the copies that Caffe makes, by the names that it gives them."""
        blobs = self._run("blobs", inputs)
        return blobs | {copy: blobs[name] for copy, name in self.net.copies.items()}

    def loss(self, **inputs: Any) -> jax.Array:
        """The objective: sum over the loss tops of loss_weight x sum of the top."""
        return self._run("loss", inputs)

    def _run(self, want: str, inputs: Mapping[str, Any]) -> Any:
        """One compiled forward pass; running statistics and the like are kept."""
        arrays = _checked_inputs(self.net, inputs)
        wanted, updates = compiled(self.net, want)(self.arrays(), arrays, self._draw())
        for owner, value in updates.items():
            _keep(self.variable(owner), value)
        return wanted

    def _draw(self) -> jax.Array:
        """A key for one call."""
        stream = self.rngs.default
        key = jax.random.fold_in(stream.key[...], stream.count[...])
        _keep(stream.count, stream.count[...] + 1)
        return key

    def get_weights(self, state: nnx.State | None = None) -> Arrays:
        """{layer: [arrays]} in Caffe's order and shapes, shared ones with every layer that uses them.  `state` (a
        gradient, say) is shown in the same form; a blob that it lacks comes as zeros."""
        held = None if state is None else nnx.to_pure_dict(state).get("weights", {})
        return {
            node.name: [
                np.asarray(self.array(owner) if held is None else self._held(owner, held)).reshape(weight.shape)
                for weight, owner in node.stored
            ]
            for node in self.net.layers
            if node.name in self.net.params
        }

    def variable(self, owner: Owner) -> nnx.Variable:
        """Where an array is kept."""
        return self.weights[owner.layer][str(owner.index)]

    def array(self, owner: Owner) -> jax.Array:
        """One array of the net."""
        return self.variable(owner)[...]

    def arrays(self) -> dict[Owner, jax.Array]:
        """Every array of the net once: what `forward` takes as its weights."""
        return {owner: self.array(owner) for owner, _ in self.net.owned}

    def _held(self, owner: Owner, held: Mapping[Any, Any]) -> Any:
        """The array of a state that has the place of `owner`; zeros where it has none."""
        value = held.get(owner.layer, {}).get(str(owner.index))
        return jax.numpy.zeros_like(self.array(owner)) if value is None else value

    def set_weights(self, weights: Mapping[str, Sequence[Any]]) -> None:
        """Set the arrays of some layers.  NetdefError for a layer the net does not have, or shapes that differ."""
        nodes = {node.name: node for node in self.net.layers if node.name in self.net.params}
        for name, arrays in weights.items():
            if name not in nodes:
                meant = suggestion(name, nodes)
                raise NetdefError(f"the net has no layer `{name}` with parameters.{meant}")
            node = nodes[name]
            if len(arrays) != len(node.stored):
                raise NetdefError(
                    f"layer `{name}` has {len(node.stored)} parameters, and {len(arrays)} arrays are given"
                )
            for i, ((weight, owner), array) in enumerate(zip(node.stored, arrays, strict=True)):
                given = np.asarray(array)
                if not same_shape(given.shape, weight.shape):
                    raise NetdefError(
                        f"parameter {i} of layer `{name}` is {show(weight.shape)}, "
                        f"and the array given is {show(given.shape)}"
                    )
                variable = self.variable(owner)
                variable[...] = jax.numpy.asarray(given, variable.dtype).reshape(variable.shape)

    def load_weights(self, path: str | Path | Sequence[str | Path]) -> Loaded:
        """Set parameters from one or several weight files, by layer name as Caffe does; gives what became of them."""
        from .interop import load_weights

        return load_weights(self, path)

    def save_weights(self, path: str | Path) -> None:
        """Write parameters to a weight file; its ending decides the format."""
        from .interop import save_weights

        save_weights(self, path)


def _keep(variable: nnx.Variable, value: Any) -> None:
    try:
        variable[...] = value
    except errors.TraceContextError:
        pass  # the state belongs to an outer trace, which cannot take it


def _filled(weight: Weight, seed: int, owner: Owner) -> jax.Array:
    """The first value of an array: drawn from the seed and the layer's name, whatever else the net holds."""
    draw = NumpyRandom(seed, zlib.crc32(owner.layer.encode()), owner.index)
    return jax.numpy.asarray(weight.filler.fill(draw, weight.shape))


def _refuse_unknown(net: Net) -> None:
    for node in net.layers:
        if not node.layer.runs:
            raise NetdefError(
                f"layer `{node.name}`: layers of type {node.type} can be read and checked, but not run yet; take it "
                "out, for instance with `exclude { }`, and work on the blobs that it takes"
            )
        if node.layer.runs_module is not None and not net.trust_python:
            raise NetdefError(
                f"the net cannot be compiled: layer `{node.name}` runs the Python module `{node.layer.runs_module}`, "
                "and the net was loaded without permission for this; give --trust-python, or trust_python=True to "
                "netdef.load or netdef.deploy"
            )
        for top in node.tops:
            if not known(net.shapes.get(top)):
                why = next((d.detail for d in net.diagnostics if d.code == "unavailable"), f"layer `{node.name}`")
                raise NetdefError(
                    f"the net cannot be compiled: the shape of `{top.name}` is {show(net.shapes.get(top))}; {why}"
                )


def _refuse_huge(net: Net) -> None:
    for node in net.layers:
        arrays = [(f"top `{top.name}`", net.shapes[top]) for top in node.tops]
        arrays += [(f"parameter {i}", weight.shape) for i, weight in enumerate(node.weights or ())]
        for what, shape in arrays:
            if math.prod(shape) > LARGEST:  # type: ignore[arg-type]
                raise NetdefError(
                    f"layer `{node.name}`: {what} of {show(shape)} would take {math.prod(shape) / 2**38:,.0f} TiB; "  # type: ignore[arg-type]
                    "is a number in the file too large?"
                )


def _checked_inputs(net: Net, inputs: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Inputs as arrays; a missing, unknown or misshapen one is named."""
    for name in inputs:
        if name not in net.inputs:
            raise NetdefError(f"the net has no input `{name}`; it takes {_listed(net)}")
    for name in net.inputs:
        if name not in inputs:
            raise NetdefError(f"input `{name}` is missing; the net takes {_listed(net)}")
    arrays = {name: jax.numpy.asarray(value) for name, value in inputs.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if any(shape != net.blobs[name].shape for name, shape in shapes.items()):
        _check_shapes(net, tuple(shapes.items()))
    return arrays


@functools.lru_cache(maxsize=256)
def _check_shapes(net: Net, shapes: tuple[tuple[str, Shape], ...]) -> None:
    """Other input shapes than the file's are fine if every layer takes them and no parameter changes its shape."""
    report = Report()
    nodes, _ = infer(net.layers, locator(net.folder), report, dict(shapes), net.trust_python)
    given = ", ".join(f"`{name}` {show(shape)}" for name, shape in shapes)
    if report.has_errors:
        fault = next(d.detail for d in report.diagnostics if d.severity == "error")
        raise NetdefError(f"the net does not work on the inputs {given}: {fault} The net takes {_listed(net)}")
    for node, before in zip(nodes, net.layers, strict=True):
        for i, ((now, _), (then, _)) in enumerate(zip(node.stored, before.stored, strict=True)):
            if now.shape != then.shape:
                raise NetdefError(
                    f"with inputs {given}, parameter {i} of layer `{node.name}` would be {show(now.shape)}, "
                    f"and the model's is {show(then.shape)}; the net takes {_listed(net)}"
                )


def _listed(net: Net) -> str:
    return ", ".join(f"`{name}` {show(net.blobs[name].shape)}" for name in net.inputs) or "no inputs"
