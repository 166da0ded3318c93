"""A compiled net as a flax.nnx.Module.

It works like any other Flax module: with `nnx.split`, `nnx.jit`, `nnx.grad`, and optax on
`nnx.state(model, nnx.Param)`. Shared parameters are stored once, in the first layer that uses them.
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
import jax.extend
import numpy as np
from flax import errors, nnx

from .compiler import load
from .files import locator
from .fillers.base import NumpyRandom, fill_rows
from .forward import compiled, without_empty_rows
from .graph import Net, Owner
from .language.diagnostics import Report
from .language.errors import NetdefError
from .language.shown import Shown
from .language.spelling import suggestion
from .layers.base import Phase, Weight
from .passes.shapes import infer
from .shape import Shape, known, same_shape, show

if TYPE_CHECKING:
    from .interop import Loaded

Arrays = dict[str, list[np.ndarray]]

LARGEST = 2**40  # elements of one array; a larger one, more than 4 TiB as float32, must be a mistake in the file


class Carry(nnx.Variable):
    """The state that a stateful layer carries from batch to batch."""


KINDS: dict[str, type[nnx.Variable]] = {"param": nnx.Param, "stat": nnx.BatchStat, "carry": Carry}


def compile(
    net: Net | str | Path,
    phase: str | Phase = "TEST",
    seed: int = 0,
    weights: Any = None,
    **options: Any,
) -> Model:
    """Compiles a net to a model. Its parameters are initialized by the fillers, or from `weights` (a path, several
    paths, or a dict).

    `options` are passed to `netdef.load` (stages, level, set, import_path). A Net that is passed as `net` keeps its own
    phase. The modules of Python layers are run, as in Caffe; those of a Net only if it was loaded with `trust_python`.
    A model that is dropped frees its arrays and soon its programs; JAX keeps the traces of its own functions for every
    new shape, about half a MB per net, until `jax.clear_caches()`.
    Raises CompileError, and NetdefError if a shape is unknown because a file or module is missing.
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
            f"net {net.name or '(no name)'} of phase TRAIN has no loss above its parameters, so no gradient is "
            "computed for them, as in Caffe; add a loss, or write `force_backward: true`",
            stacklevel=2,
        )
    return model


def stored_weights(net: Net, path: Any, bn_dialect: Any = None) -> tuple[Arrays, Any]:
    """Returns the weights of a net from files, {layer: [arrays]}, and what `load_weights` reports; arrays that are not
    in the files have their initial values.

    Unlike a model, it needs no shapes except those of such arrays, because nothing is run: data, Python modules and
    types that cannot be run do not matter.  Raises NetdefError as `load_weights` does, and for an unknown shape."""
    from .interop.weights import match

    found = match(net, path, bn_dialect)

    def array(owner: Owner, weight: Weight) -> np.ndarray:
        if owner in found.arrays:
            made = found.read(owner)
            return made.reshape(weight.shape) if known(weight.shape) else made
        if not known(weight.shape):
            raise NetdefError(
                f"parameter {owner.index} of layer `{owner.layer}` is not in the weight file, and its shape is "
                f"{show(weight.shape)}, because the shape of its input is unknown"
            )
        return np.asarray(filled(weight, 0, owner)).reshape(weight.shape)

    arrays = {node.name: [array(owner, weight) for weight, owner in node.stored] for node in net.layers if node.stored}
    return arrays, found.loaded


class Model(nnx.Module, Shown):
    """A net of one phase with its arrays: `weights[layer]["0"]` and so on, in Caffe's blob order.

    In phase TRAIN, a call updates running statistics and draws random numbers from `rngs`. Within a plain JAX
    transformation that closes over the state, instead of passing it as an argument, these updates cannot be stored and
    are discarded.

    Detections have as many rows as there are; within a transformation of JAX, where shapes are fixed, the largest
    possible number, of which the last ones are -1.
    """

    def __init__(
        self,
        net: Net,
        seed: int = 0,
        start: Callable[[Owner], np.ndarray | None] | None = None,
        shardings: Mapping[Owner, jax.sharding.NamedSharding] | None = None,
    ):
        """`start` returns the initial value of an array, or None for the value of its filler, which is the default.
        `shardings` are those of arrays that several devices divide; no device and no host has all of such an array, and
        rows of zeros pad it to a multiple of their number."""
        _refuse_unknown(net)
        _refuse_huge(net)
        self.net = net
        self.rngs = nnx.Rngs(seed)
        made: dict[str, dict[str, nnx.Variable]] = {}
        for owner, weight in net.owned:
            first = start(owner) if start else None
            sharding = shardings.get(owner) if shardings else None
            value = (
                filled(weight, seed, owner, sharding) if first is None else _on_device(np.asarray(first, np.float32))
            )
            variable = KINDS[weight.kind](value)
            made.setdefault(owner.layer, {})[str(owner.index)] = variable
        self.weights = nnx.Dict({layer: nnx.Dict(variables) for layer, variables in made.items()})

    def __call__(self, **inputs: Any) -> dict[str, jax.Array]:
        """Returns the net's outputs, {top: array} of the tops that no layer uses."""
        return self._run("outputs", inputs)

    def blobs(self, **inputs: Any) -> dict[str, jax.Array]:
        """Returns every named blob, with its last value if layers overwrite it in place. A blob that several layers use
        is also listed under the names of the copies that Caffe inserts."""
        blobs = self._run("blobs", inputs)
        return blobs | {copy: blobs[name] for copy, name in self.net.copies.items()}

    def loss(self, **inputs: Any) -> jax.Array:
        """Returns the objective, the sum over all tops of loss_weight x sum of the top."""
        return self._run("loss", inputs)

    def _run(self, want: str, inputs: Mapping[str, Any]) -> Any:
        """Runs a compiled forward pass and stores the updates of running statistics etc."""
        inputs, arrays = _checked_inputs(self.net, inputs), tuple(self.arrays().values())
        stream, run = self.rngs.default, compiled(self.net, want, _trace() == OUTERMOST)
        wanted, updates, count = run(arrays, inputs, _value(stream.key), _value(stream.count))
        _keep(stream.count, count)
        for owner, value in updates.items():
            _keep(self.variable(owner), value)
        if not self.net.padded or want == "loss":
            return wanted
        trimmed = without_empty_rows(self.net, wanted)
        return {name: trimmed[name] for name in self.net.outputs} if want == "outputs" else trimmed

    def __repr__(self) -> str:
        """One line, because that of Flax lists every array."""
        parameters = sum(math.prod(weight.shape) for _, weight in self.net.owned if weight.kind == "param")
        return f"<Model of {self.net!r}, {parameters:,} parameters>"

    def get_weights(self, state: nnx.State | None = None) -> Arrays:
        """Returns {layer: [arrays]} in Caffe's order and shapes, with shared arrays in every layer that uses them. With
        `state`, for example a gradient, its arrays are returned instead, with zeros for arrays that it lacks."""
        held = None if state is None else nnx.to_pure_dict(state).get("weights", {})
        return {
            node.name: [
                _logical(np.asarray(self.array(owner) if held is None else self._held(owner, held)), weight.shape)
                for weight, owner in node.stored
            ]
            for node in self.net.layers
            if node.name in self.net.params
        }

    def variable(self, owner: Owner) -> nnx.Variable:
        """Returns the variable of an array."""
        return self.weights[owner.layer][str(owner.index)]

    def array(self, owner: Owner) -> jax.Array:
        """Returns one array of the net."""
        return _value(self.variable(owner))

    def arrays(self) -> dict[Owner, jax.Array]:
        """Returns every array of the net once, as `forward` expects its weights."""
        return {owner: self.array(owner) for owner, _ in self.net.owned}

    def _held(self, owner: Owner, held: Mapping[Any, Any]) -> Any:
        """Returns the array of `owner` in a state; zeros if it has none."""
        value = held.get(owner.layer, {}).get(str(owner.index))
        return jax.numpy.zeros_like(self.array(owner)) if value is None else value

    def set_weights(self, weights: Mapping[str, Sequence[Any]]) -> None:
        """Sets the arrays of some layers. Raises NetdefError for an unknown layer and for shapes that differ."""
        nodes = {node.name: node for node in self.net.layers if node.name in self.net.params}
        for name, arrays in weights.items():
            if name not in nodes:
                meant = suggestion(name, nodes)
                raise NetdefError(f"the net has no layer `{name}` with parameters.{meant}")
            node = nodes[name]
            if len(arrays) != len(node.stored):
                raise NetdefError(
                    f"layer `{name}` has {len(node.stored)} parameters, but the number of arrays is {len(arrays)}"
                )
            for i, ((weight, owner), array) in enumerate(zip(node.stored, arrays, strict=True)):
                given = np.asarray(array)
                if not same_shape(given.shape, weight.shape):
                    raise NetdefError(
                        f"parameter {i} of layer `{name}` is {show(weight.shape)}, "
                        f"but the new array is {show(given.shape)}"
                    )
                self.set_array(owner, given)

    def set_array(self, owner: Owner, array: np.ndarray) -> None:
        """Sets one array, of the same number of values, on the device or devices that have it."""
        variable = self.variable(owner)
        before = _value(variable)
        array = np.asarray(array).astype(before.dtype)
        if array.size < before.size:  # devices divide it
            array = padded(array.reshape(-1, *before.shape[1:]), before.shape[0])
        variable[...] = _put(array.reshape(before.shape), before)

    def load_weights(self, path: str | Path | Sequence[str | Path]) -> Loaded:
        """Sets parameters from one or more weight files, matched by layer name as in Caffe. Returns a summary."""
        from .interop import load_weights

        return load_weights(self, path)

    def save_weights(self, path: str | Path) -> None:
        """Writes the parameters to a weight file; its extension selects the format."""
        from .interop import save_weights

        save_weights(self, path)


def _trace() -> Any:
    """Returns which transformation of JAX is being traced."""
    return jax.extend.core.get_opaque_trace_state(convention="nnx")


OUTERMOST = _trace()


def _value(variable: nnx.Variable) -> Any:
    """Returns `variable[...]`, which Flax takes as long for as for a call of a small net."""
    value = variable.get_raw_value()
    return value if isinstance(value, jax.Array) and not variable.has_metadata("on_get_value") else variable[...]


def _keep(variable: nnx.Variable, value: Any) -> None:
    try:
        variable[...] = value
    except errors.TraceContextError:
        pass  # the state belongs to an outer trace and cannot be changed here


def filled(weight: Weight, seed: int, owner: Owner, sharding: jax.sharding.NamedSharding | None = None) -> jax.Array:
    """Returns the initial value of an array. It depends only on the seed and the layer's name, not on other layers nor
    on the devices that divide it, each of which gets only its own rows."""
    key = (seed, zlib.crc32(owner.layer.encode()), owner.index)
    if not weight.parts:
        return _on_device(weight.filler.fill(NumpyRandom(*key), weight.shape))
    classes = weight.shape[0]
    rows = lambda first, last: fill_rows(weight.filler, key, weight.shape, first, last)
    if sharding is None:
        return _on_device(rows(0, classes))
    shape = divided(weight, sharding.mesh.size)

    def part(index: Any) -> np.ndarray:
        first, last, _ = index[0].indices(shape[0])
        return padded(rows(min(first, classes), min(last, classes)), last - first)

    return jax.make_array_from_callback(shape, sharding, part)


def divided(weight: Weight, devices: int) -> tuple[int, ...]:
    """The shape of an array whose rows, or parts of them, devices divide evenly: with rows that pad it."""
    unit = math.lcm(weight.parts, devices)
    return (-(-weight.shape[0] // unit) * unit, *weight.shape[1:])


def padded(array: np.ndarray, rows: int) -> np.ndarray:
    """An array with rows of zeros after its own."""
    missing = rows - len(array)
    return np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)]) if missing else array


def _logical(array: np.ndarray, shape: Shape) -> np.ndarray:
    """An array in the shape that a layer declares, without rows that pad it."""
    return array.reshape(-1)[: math.prod(shape)].reshape(shape)


def _put(array: np.ndarray, before: Any) -> jax.Array:
    """Returns an array on the devices that divide `before`, which it replaces, or else on the first one."""
    is_divided = isinstance(before, jax.Array) and not before.is_fully_replicated
    if not is_divided:
        return _on_device(array)
    return jax.make_array_from_callback(array.shape, before.sharding, lambda index: array[index])


def _refuse_unknown(net: Net) -> None:
    for node in net.layers:
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
                    f"layer `{node.name}`: {what} of {show(shape)} would need {math.prod(shape) / 2**38:,.0f} TiB; "  # type: ignore[arg-type]
                    "check the file for a number that is too large"
                )


def _on_device(value: Any) -> jax.Array:
    """Returns a copy of a value as a jax array.  `jax.numpy.asarray` would compile a program for each new shape and
    keep it until the process ends.  The copy is needed because on a CPU jax would use the caller's memory."""
    return value if isinstance(value, jax.Array) else jax.device_put(np.array(value))


def _checked_inputs(net: Net, inputs: Mapping[str, Any]) -> dict[str, jax.Array | np.ndarray]:
    """Returns the inputs as arrays, copied because the caller may change them while the net still runs. One that no
    layer uses, such as the label of a MemoryData layer, may be missing: it is 0. Raises NetdefError if another one is
    missing, unknown or of a wrong shape."""
    for name in inputs:
        if name not in net.inputs:
            raise NetdefError(f"the net has no input `{name}`; it expects {_listed(net)}")
    for name in net.inputs:
        if name not in inputs and name not in net.unused_inputs:
            raise NetdefError(f"input `{name}` is missing; the net expects {_listed(net)}")
    arrays = {n: value if isinstance(value, jax.Array) else np.array(value) for n, value in inputs.items()}
    rows = next((array.shape[0] for array in arrays.values() if array.shape), 1)
    for name in net.inputs:
        if name not in arrays:
            shape = net.blobs[name].shape or ()
            arrays[name] = np.zeros((rows, *shape[1:]) if shape else (), np.float32)
    shapes = {name: array.shape for name, array in arrays.items()}
    if any(shape != net.blobs[name].shape for name, shape in shapes.items()):
        check_shapes(net, tuple(shapes.items()))
    return arrays


@functools.lru_cache(maxsize=256)
def check_shapes(net: Net, shapes: tuple[tuple[str, Shape], ...]) -> None:
    """Checks that input shapes other than the file's work for every layer and change no shape of a parameter."""
    report = Report()
    nodes, _ = infer(net.layers, locator(net.folder), report, dict(shapes), net.trust_python)
    given = ", ".join(f"`{name}` {show(shape)}" for name, shape in shapes)
    if report.has_errors:
        problem = next(d.detail for d in report.diagnostics if d.severity == "error")
        raise NetdefError(f"the net does not work on the inputs {given}: {problem} The net expects {_listed(net)}")
    for node, before in zip(nodes, net.layers, strict=True):
        for i, ((now, _), (then, _)) in enumerate(zip(node.stored, before.stored, strict=True)):
            if now.shape != then.shape:
                raise NetdefError(
                    f"with inputs {given}, parameter {i} of layer `{node.name}` would be {show(now.shape)}, "
                    f"but in this model it is {show(then.shape)}; the net expects {_listed(net)}"
                )


def _listed(net: Net) -> str:
    return ", ".join(f"`{name}` {show(net.blobs[name].shape)}" for name in net.inputs) or "no inputs"
