"""`caffe.Net`: a net with blobs and parameters as NumPy arrays, which a script can read and write between passes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..compiler import load
from ..data.feed import Feed
from ..data.layers.memory import MemoryData
from ..files import locator
from ..forward import without_empty_rows
from ..graph import Net as Graph
from ..graph import Owner
from ..interop.weights import Loaded, entries_of, match, write_weights
from ..language.diagnostics import Report
from ..language.errors import NetdefError
from ..layers.base import Phase
from ..model import Model
from ..passes.select import phase_of
from ..passes.shapes import infer
from ..shape import Shape, show
from .blobs import Blob, Named, unknown, wait
from .devices import random_seed
from .programs import backward_program, ends, forward_program, taken

TRAIN, TEST = Phase.TRAIN.value, Phase.TEST.value
MOST_PROGRAMS = 128  # kept for each net; scripts return to earlier shapes, for example those of an image pyramid


@dataclass(frozen=True)
class Layer:
    """A layer as in pycaffe: its type and its parameters."""

    type: str
    blobs: list[Blob]


class Net:
    """`Net(file, phase)`, `Net(file, weights, phase)`, or `Net(file, phase, weights=..., level=0, stages=())`.

    `file` may also be the source text of a net, or the result of `netdef.load`. Raises CompileError for errors in the
    file, and NetdefError for missing or mismatched weights and for unknown shapes."""

    def __init__(
        self,
        network_file: str | Path | Graph,
        *words: Any,
        phase: Any = None,
        weights: Any = None,
        level: int = 0,
        stages: Sequence[str] | None = None,
    ):
        phase, weights = _arguments(words, phase, weights)
        if not isinstance(network_file, Graph):
            network_file = load(network_file, phase, tuple(stages or ()), level, trust_python=True)
        self._set_up(network_file, random_seed())
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def of(cls, net: Graph, seed: int = 0, shared: Net | None = None) -> Net:
        """Returns a Net for a loaded net. Layers of the same name share the parameters of `shared`."""
        made = cls.__new__(cls)
        made._set_up(net, seed)
        if shared is not None:
            made.share_with(shared)
        return made

    def _set_up(self, net: Graph, seed: int) -> None:
        model = Model(net, seed)
        self._net, self._seed = net, seed
        self._fed = [top.name for node in net.layers if node.layer.is_input for top in node.tops]
        self._weights: dict[Owner, Blob] = {}
        for owner, weight in net.owned:
            blob = Blob(weight.shape)
            blob._data.put(model.array(owner))
            self._weights[owner] = blob
        self._key = jax.random.key(seed)
        self._here = self._key  # key of the last forward pass, which the backward pass repeats
        self._passes = 0
        self._feed: Feed | None = None
        self._arrays: dict[str, tuple[Any, ...]] = {}  # the data of MemoryData layers
        self._programs: OrderedDict[Any, Callable[..., Any]] = OrderedDict()  # the last one was used last
        losses = {v.name: w for n in net.layers for v, w in zip(n.tops, n.loss_weights, strict=True) if w}
        shape = lambda name: _known(net, name)
        self.blobs = Named("blob", ((n, Blob(shape(n), losses.get(n, 0.0))) for n in net.blobs), net.copies)
        self.blob_loss_weights = OrderedDict((name, losses.get(name, 0.0)) for name in net.blobs)
        self._list_params()

    def _list_params(self) -> None:
        net = self._net
        kept = lambda n: [self._weights[owner] for _, owner in n.stored]
        self.params = Named("layer with parameters", ((n.name, kept(n)) for n in net.layers if kept(n)))
        self.layers = [Layer(node.type, kept(node)) for node in net.layers]
        self.layer_dict = Named("layer", zip(self._layer_names, self.layers, strict=True))

    @property
    def name(self) -> str:
        return self._net.name

    @property
    def inputs(self) -> list[str]:
        """The tops of Input layers, which a script sets."""
        fed = (n for n in self._net.layers if n.layer.is_input and not n.layer.is_data)
        return [top.name for node in fed for top in node.tops]

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer uses, sorted by name as in Caffe."""
        return sorted(self._net.outputs)

    @property
    def _layer_names(self) -> list[str]:
        return [node.name for node in self._net.layers]

    @property
    def _blob_names(self) -> list[str]:
        return list(self.blobs)

    @property
    def top_names(self) -> Named:
        return Named("layer", ((n.name, [v.name for v in n.tops]) for n in self._net.layers))

    @property
    def bottom_names(self) -> Named:
        return Named("layer", ((n.name, [v.name for v in n.bottoms]) for n in self._net.layers))

    # Passes

    def forward(
        self, blobs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> dict[str, np.ndarray]:
        """Runs the layers from `start` to `end` on the current blobs. Returns {blob: data} of the outputs and `blobs`.

        Inputs may be passed by name, in which case all are required. Data layers that run provide their next batch.
        """
        part = self._part(start, end)
        if kwargs:
            self._give(kwargs, self.inputs, "input", lambda blob: blob.data)
        names = [*(self.top_names[end] if end is not None else self.outputs), *(blobs or ())]
        for name in names:
            _ = self.blobs[name]  # raises an error for an unknown name before anything runs
        self._follow()
        self._draw_data(part)
        self._here = jax.random.fold_in(self._key, self._passes)
        self._passes += 1
        made, updates = self._program(forward_program, part)(self._values(), self._taken(part), self._here)
        self._keep(made, updates)
        return {name: self.blobs[name].data for name in names}

    def backward(
        self, diffs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> dict[str, np.ndarray]:
        """Computes gradients of the last forward pass, from layer `start` back to layer `end`. Returns {blob: diff} of
        the inputs and of `diffs`.

        The pass starts from the `diff` of the blobs that none of these layers uses; they may be passed by name. The
        gradients of parameters are added to their `diff`."""
        part = self._part(end, start)
        if kwargs:
            self._give(kwargs, self.outputs, "output", lambda blob: blob.diff)
        names = [*(self.bottom_names[end] if end is not None else self.inputs), *(diffs or ())]
        for name in names:
            _ = self.blobs[name]
        self._run_backward(part)
        return {name: self.blobs[name].diff for name in names}

    def _run_backward(self, part: range, keep: bool = False) -> None:
        self._follow()
        seeds = {name: self.blobs[name]._diff.value() for name in ends(self._net, part)}
        # The program has more rows of detections and regions than the blobs. Detections have no gradient.
        for name in set(seeds) & set(self._net.padded):
            is_row = name in self._net.regions
            seeds[name] = (
                self._filled(name, seeds[name], 0) if is_row else np.zeros(_known(self._net, name), np.float32)
            )
        program = self._program(backward_program, part, self._trained(part))
        on_blobs, on_weights, made, updates = program(self._values(), self._taken(part), seeds, self._here)
        for name, diff in on_blobs.items():
            if name in self._net.regions:
                self.blobs[name]._diff.put(diff[: self.blobs[name].shape[0]])
            elif name not in self._net.padded:
                self.blobs[name]._diff.put(diff)
        for owner, diff in on_weights.items():
            held = self._weights[owner]._diff
            held.put(held.value() + diff)
        if keep:
            self._keep(made, updates)
        wait([on_blobs, on_weights])

    def _forward_backward(self, key: Any) -> None:
        """Runs both passes over all layers in one program, with the random numbers of `key`."""
        part = self._part(None, None)
        self._follow()
        self._draw_data(part)
        self._here = key
        self._run_backward(part, keep=True)

    def forward_all(self, blobs: Sequence[str] | None = None, **kwargs: Any) -> dict[str, np.ndarray]:
        """Runs `forward` on any number of rows, batch by batch. The results have the same number of rows."""
        self._check_names(kwargs, self.inputs, "input")
        rows = {len(value) for value in kwargs.values()}
        if len(rows) != 1:
            raise NetdefError(f"all inputs must have the same number of rows, not {', '.join(map(str, sorted(rows)))}")
        total, found = rows.pop(), {}
        size = self.blobs[self.inputs[0]].shape[0]
        if total > size and (ragged := [n for n in (*self.outputs, *(blobs or ())) if n in self._net.padded]):
            raise NetdefError(
                f"`{ragged[0]}` has no row for each image, so its batches cannot be joined; pass at most {size} rows, "
                "or call forward for each batch"
            )
        for begin in range(0, total, size):
            some = {name: np.asarray(value[begin : begin + size]) for name, value in kwargs.items()}
            short = size - min(size, total - begin)
            filled = {n: np.concatenate([v, np.zeros((short, *v.shape[1:]), v.dtype)]) for n, v in some.items()}
            for name, data in self.forward(blobs, None, None, **filled).items():
                found.setdefault(name, []).append(data[: size - short].copy() if data.ndim else data.copy())
        return {name: np.concatenate(parts) if parts[0].ndim else np.stack(parts) for name, parts in found.items()}

    def reshape(self) -> None:
        """Updates the shapes of all blobs after an input was reshaped. `forward` does this automatically."""
        self._follow()

    def clear_param_diffs(self) -> None:
        """Sets the gradients of all parameters to zero."""
        for blob in self._weights.values():
            blob._diff.clear()

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Sets the data of the MemoryData layer, and starts at the first row."""
        layer = next((n for n in self._net.layers if isinstance(n.layer, MemoryData)), None)
        if layer is None:
            raise NetdefError("the net has no MemoryData layer; assign to net.blobs[...].data instead")
        self._arrays[layer.name] = (data, np.asarray(labels).reshape(len(labels)))[: len(layer.tops)]
        self._close_feed()

    # Parameters in files

    def copy_from(self, path: Any) -> Loaded:
        """Loads parameters from a weight file of any format, matched by layer name as in Caffe."""
        found = match(self._net, path)
        for owner in found.arrays:
            self._weights[owner]._data.put(jax.numpy.array(found.read(owner)))
        return found.loaded

    load_hdf5 = copy_from

    def save(self, path: str | Path) -> None:
        """Writes the parameters; the extension of `path` selects the format."""
        write_weights(path, self._entries(), self._net)

    def save_hdf5(self, path: str | Path) -> None:
        """Writes the parameters in Caffe's HDF5 format, for any file name."""
        write_weights(path, self._entries(), self._net, format="hdf5")

    def _entries(self) -> list[Any]:
        arrays = {name: [np.asarray(b._data.value()) for b in blobs] for name, blobs in self.params.items()}
        return entries_of(self._net, arrays)

    def share_with(self, other: Net) -> None:
        """Shares the parameters of layers of the same name in another net. Raises NetdefError if shapes differ."""
        for owner, blob in self._weights.items():
            node = other._net.layers[other._layer_names.index(owner.layer)] if owner.layer in other.params else None
            if node is None or owner.index >= len(node.owners):
                continue
            theirs = other._weights[node.owners[owner.index]]
            if theirs.shape != blob.shape:
                raise NetdefError(
                    f"parameter {owner.index} of layer `{owner.layer}` is {show(blob.shape)} in this net and "
                    f"{show(theirs.shape)} in the other; layers that share parameters must have the same shapes"
                )
            self._weights[owner] = theirs
        self._list_params()

    # Implementation

    def _part(self, first: str | None, last: str | None) -> range:
        names = self._layer_names
        for name in (first, last):
            if name is not None and name not in names:
                raise unknown(name, "layer", names)
        begin = names.index(first) if first is not None else 0
        stop = names.index(last) + 1 if last is not None else len(names)
        if begin >= stop:
            raise NetdefError(f"layer `{first}` comes after layer `{last}`, so there is nothing to run")
        return range(begin, stop)

    def _program(self, make: Callable[..., Any], part: range, *more: Any) -> Callable[..., Any]:
        key = (tuple(self._net.blobs[name].shape for name in self._fed), make, part, *more)
        if key not in self._programs:
            self._programs[key] = make(self._net, part, *more)
            if len(self._programs) > MOST_PROGRAMS:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return self._programs[key]

    def _trained(self, part: range) -> tuple[Owner, ...]:
        nodes = [self._net.layers[i] for i in part]
        return tuple({o: None for n in nodes for o, trained in zip(n.owners, n.trained, strict=True) if trained}.keys())

    def _values(self) -> dict[Owner, Any]:
        for owner, weight in self._net.owned:
            given = self._weights[owner].shape
            if given != weight.shape:
                raise NetdefError(
                    f"parameter {owner.index} of layer `{owner.layer}` was reshaped to {show(given)}, but the layer "
                    f"requires {show(weight.shape)}"
                )
        return {owner: blob._data.value() for owner, blob in self._weights.items()}

    def _taken(self, part: range) -> dict[str, Any]:
        values = {name: self.blobs[name]._data.value() for name in taken(self._net, part)}
        for name in values.keys() & self._net.regions.keys():
            values[name] = self._filled(name, values[name], -1 if name in self._net.regions.values() else 0)
        return values

    def _filled(self, name: str, rows: Any, value: float) -> Any:
        """Returns the rows of a blob of regions, followed by rows of a value up to the number in the program."""
        missing = max(_known(self._net, name)[0] - rows.shape[0], 0)
        return np.concatenate([rows, np.full((missing, *rows.shape[1:]), value, np.float32)]) if missing else rows

    def _keep(self, made: Mapping[str, Any], updates: Mapping[Owner, Any]) -> None:
        wait([made, updates])
        regions = {name: self.blobs[name]._data.value() for name in self._net.regions.values() if name not in made}
        trimmed = without_empty_rows(self._net, {**regions, **made})
        for name in made:
            value = trimmed[name]
            if name in self._net.padded:
                self.blobs[name].reshape(*value.shape)
            self.blobs[name]._data.put(value)
        for owner, value in updates.items():
            self._weights[owner]._data.put(value)

    def _check_names(self, given: Mapping[str, Any], wanted: list[str], what: str) -> None:
        for name in given:
            if name not in wanted:
                raise unknown(name, what, wanted)
        missing = [name for name in wanted if name not in given]
        if missing:
            raise NetdefError(f"{what} `{missing[0]}` is missing; pass all {what}s by name, or none")

    def _give(self, given: Mapping[str, Any], wanted: list[str], what: str, array_of: Callable[[Blob], Any]) -> None:
        self._check_names(given, wanted, what)
        for name, value in given.items():
            array = array_of(self.blobs[name])
            value = np.asarray(value, np.float32)
            if value.size != array.size or value.shape[:1] != array.shape[:1]:
                raise NetdefError(
                    f"{what} `{name}` is {show(array.shape)}, but the array passed is {show(value.shape)}; "
                    f"change the shape with net.blobs[{name!r}].reshape(...)"
                )
            array[...] = value.reshape(array.shape)

    def _follow(self) -> None:
        """Updates the shapes of all blobs after a script has reshaped an input."""
        shapes = {name: self.blobs[name].shape for name in self._fed}
        if all(shape == self._net.blobs[name].shape for name, shape in shapes.items()):
            return
        report = Report()
        nodes, inferred = infer(self._net.layers, locator(self._net.folder), report, shapes, self._net.trust_python)
        given = ", ".join(f"`{name}` {show(shape)}" for name, shape in shapes.items())
        if report.has_errors:
            problem = next(d.detail for d in report.diagnostics if d.severity == "error")
            raise NetdefError(f"the net does not work on {given}: {problem}")
        for now, before in zip(nodes, self._net.layers, strict=True):
            for i, (weight, old) in enumerate(zip(now.weights or (), before.weights or (), strict=True)):
                if weight.shape != old.shape and weight.kind != "carry":
                    raise NetdefError(
                        f"with {given}, parameter {i} of layer `{now.name}` would be {show(weight.shape)}, "
                        f"but it is {show(old.shape)}"
                    )
                if weight.shape != old.shape:
                    self._weights[now.owners[i]] = Blob(weight.shape)
        self._net = replace(self._net, layers=nodes, shapes=inferred)
        for name, blob in self.blobs.items():
            blob.reshape(*_known(self._net, name))

    def _draw_data(self, part: range) -> None:
        """Reads the next batch of the data layers in `part`."""
        nodes = [self._net.layers[i] for i in part if self._net.layers[i].layer.is_data]
        if not nodes:
            return
        for name, value in next(self._opened()).items():
            blob = self.blobs[name]
            blob.reshape(*np.shape(value))
            blob._data.put(value)
        self._follow()

    def _opened(self) -> Feed:
        if self._feed is None:
            for node in self._net.layers:
                if isinstance(node.layer, MemoryData) and node.name not in self._arrays:
                    raise NetdefError(f"layer `{node.name}` has no data; call net.set_input_arrays(data, labels)")
            self._feed = Feed(self._net, seed=self._seed, arrays=self._arrays)
        return self._feed

    def _skip(self, batches: int) -> None:
        """Moves the data layers to their position after a number of batches."""
        if any(node.layer.is_data for node in self._net.layers):
            feed = self._opened()
            feed.restore({name: {"position": batches * r.batch_size} for name, r in feed.readers.items()})

    def _close_feed(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    def __str__(self) -> str:
        return str(self._net)


def _known(net: Graph, name: str) -> Shape:
    shape = net.blobs[name].shape
    if shape is None or not all(isinstance(d, int) for d in shape):
        raise NetdefError(f"the shape of `{name}` is {show(shape)}; make sure that the data of the net exists")
    return shape


def _arguments(words: tuple[Any, ...], phase: Any, weights: Any) -> tuple[Phase, Any]:
    """Returns phase and weights from pycaffe's positional arguments: (phase) or (weights, phase)."""
    if len(words) > 2:
        raise NetdefError("Net accepts at most a file, weights and a phase: Net(file, weights, caffe.TEST)")
    if len(words) == 2:
        weights, phase = words
    elif words:
        phase = words[0]
    if phase is None:
        raise NetdefError("the phase is missing: Net(file, caffe.TEST) or Net(file, weights, caffe.TEST)")
    if isinstance(phase, Phase):
        return phase, weights
    if phase in (TRAIN, TEST):
        return Phase(phase), weights
    if len(words) == 1 and not isinstance(phase, int) and not str(phase).isalpha():
        raise NetdefError(f"the phase is missing after {phase}: Net(file, weights, caffe.TEST)")
    return phase_of(str(phase)), weights
