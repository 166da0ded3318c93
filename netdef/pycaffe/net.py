"""`caffe.Net`: a net with blobs and parameters as NumPy arrays, which a script can read and write between passes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..compiler import load
from ..data.feed import Feed
from ..data.layers.memory import MemoryData
from ..graph import Net as Graph
from ..graph import Owner
from ..interop.formats.base import ending_of
from ..interop.weights import Loaded, entries_of, match, write_weights
from ..language.errors import NetdefError
from ..layers.base import Phase
from ..model import Model
from ..passes.select import phase_of
from ..shape import Shape, show
from .blobs import Blob, Named
from .devices import random_seed
from .errors import WrongType, WrongValue, unknown
from .hosted import as_raised
from .passes import Passes
from .raw import RawNet

TRAIN, TEST = Phase.TRAIN.value, Phase.TEST.value


@dataclass(frozen=True)
class Layer:
    """A layer as in pycaffe: its type and its parameters."""

    type: str
    blobs: list[Blob]


class Net(RawNet):
    """`Net(file, phase)`, `Net(file, weights, phase)`, or `Net(file, phase, weights=..., level=0, stages=())`.

    `file` may also be the source text of a net, a NetParameter, or the result of `netdef.load`. Raises CompileError for
    errors in the file, and NetdefError for missing or mismatched weights and for unknown shapes. Exceptions of Python
    layers are raised unchanged."""

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
            given = network_file if isinstance(network_file, (str, Path)) else str(network_file)
            with as_raised():
                network_file = load(given, phase, tuple(stages or ()), level, trust_python=True)
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
        self._weights: dict[Owner, Blob] = {}
        for owner, weight in net.owned:
            blob = Blob(weight.shape)
            blob._data.put(model.array(owner))
            self._weights[owner] = blob
        self._key, self._count = jax.random.key(seed), 0  # of passes
        self._feed: Feed | None = None
        self._arrays: dict[str, tuple[Any, ...]] = {}  # the data of MemoryData layers
        losses = {v.name: w for n in net.layers for v, w in zip(n.tops, n.loss_weights, strict=True) if w}
        shape = lambda name: _known(net, name)
        self.blobs = Named("blob", ((n, Blob(shape(n), losses.get(n, 0.0))) for n in net.blobs), net.copies)
        self.blob_loss_weights = OrderedDict((name, losses.get(name, 0.0)) for name in net.blobs)
        self._passes = Passes(net, self.blobs, self._weights, self._key)
        self._list_params()

    def _list_params(self) -> None:
        net = self._net
        kept = lambda n: [self._weights[owner] for _, owner in n.stored]
        self.params = Named("layer with parameters", ((n.name, kept(n)) for n in net.layers if kept(n)))
        self._passes.host([kept(node) for node in net.layers])
        hosted = self._passes.hosted
        own = lambda i, n: hosted[i].object if i in hosted else Layer(n.type, kept(n))
        self.layers = [own(i, node) for i, node in enumerate(net.layers)]
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
        self._forward(part.start, part.stop - 1)
        return {name: self.blobs[name].data for name in names}

    def _run_forward(self, part: range) -> None:
        self._draw_data(part)
        self._passes.forward(part, jax.random.fold_in(self._key, self._count))
        self._count += 1

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
        self._backward(part.stop - 1, part.start)
        return {name: self.blobs[name].diff for name in names}

    def _forward_backward(self, key: Any) -> None:
        """Runs both passes over all layers, with the random numbers of `key`."""
        part = self._part(None, None)
        self._draw_data(part)
        self._passes.forward_backward(part, key)

    def forward_all(self, blobs: Sequence[str] | None = None, **kwargs: Any) -> dict[str, np.ndarray]:
        """Runs `forward` on any number of rows, batch by batch. The results have the same number of rows."""
        self._check_names(kwargs, self.inputs, "input")
        rows = _rows(kwargs)
        self._refuse_ragged(rows, blobs or ())
        found: dict[str, list[np.ndarray]] = {}
        for batch in self._batch(kwargs):
            _collect(found, self.forward(blobs, None, None, **batch))
        return _joined(found, rows)

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **kwargs: Any
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Runs `forward` and `backward` on any number of rows, batch by batch. Arrays are passed by name: inputs, and
        gradients of outputs. Returns {blob: data} and {blob: diff}, with as many rows."""
        rows = _rows(kwargs)
        data: dict[str, list[np.ndarray]] = {}
        gradients: dict[str, list[np.ndarray]] = {}
        for batch in self._batch(kwargs):
            given = {name: value for name, value in batch.items() if name in self.inputs}
            seeds = {name: value for name, value in batch.items() if name not in self.inputs}
            _collect(data, self.forward(blobs, None, None, **given))
            _collect(gradients, self.backward(diffs, None, None, **seeds))
        return _joined(data, rows), _joined(gradients, rows)

    def _batch(self, blobs: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Yields batches of these rows, of the size of the first blob; the last one is filled up with zeros."""
        size = next(iter(self.blobs.values())).shape[0]
        for begin in range(0, _rows(blobs), size):
            some = {name: np.asarray(value[begin : begin + size]) for name, value in blobs.items()}
            padding = {n: np.zeros((size - len(v), *v.shape[1:]), v.dtype) for n, v in some.items()}
            yield {n: np.concatenate([v, padding[n]]) for n, v in some.items()}

    def _refuse_ragged(self, rows: int, blobs: Sequence[str]) -> None:
        """Raises WrongValue for several batches of a blob whose rows are not those of the images."""
        size = next(iter(self.blobs.values())).shape[0]
        ragged = [name for name in (*self.outputs, *blobs) if name in self._net.padded]
        if ragged and rows > size:
            raise WrongValue(
                f"`{ragged[0]}` has no row for each image, so its batches cannot be joined; pass at most {size} rows, "
                "or call forward for each batch"
            )

    def reshape(self) -> None:
        """Updates the shapes of all blobs after an input was reshaped. `forward` does this automatically."""
        self._passes.reshape(self._part(None, None))

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
        """Writes the parameters; the extension of `path` selects the format, which is Caffe's for any other name."""
        write_weights(path, self._entries(), self._net, format=None if ending_of(path) else "caffemodel")

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
            raise WrongValue(f"layer `{first}` comes after layer `{last}`, so there is nothing to run")
        return range(begin, stop)

    def _check_names(self, given: Mapping[str, Any], wanted: list[str], what: str) -> None:
        for name in given:
            if name not in wanted:
                raise unknown(name, what, wanted)
        missing = [name for name in wanted if name not in given]
        if missing:
            raise WrongValue(f"{what} `{missing[0]}` is missing; pass all {what}s by name, or none")

    def _give(self, given: Mapping[str, Any], wanted: list[str], what: str, array_of: Callable[[Blob], Any]) -> None:
        self._check_names(given, wanted, what)
        for name, value in given.items():
            array = array_of(self.blobs[name])
            value = np.asarray(value, np.float32)
            if value.size != array.size or value.shape[:1] != array.shape[:1]:
                raise WrongValue(
                    f"{what} `{name}` is {show(array.shape)}, but the array passed is {show(value.shape)}; "
                    f"change the shape with net.blobs[{name!r}].reshape(...)"
                )
            array[...] = value.reshape(array.shape)

    def _draw_data(self, part: range) -> None:
        """Reads the next batch of the data layers in `part`."""
        nodes = [self._net.layers[i] for i in part if self._net.layers[i].layer.is_data]
        if not nodes:
            return
        for name, value in next(self._opened()).items():
            blob = self.blobs[name]
            blob.reshape(*np.shape(value))
            blob._data.put(value)

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


def _rows(arrays: Mapping[str, Any]) -> int:
    rows = {len(value) for value in arrays.values()}
    if len(rows) != 1:
        raise WrongValue(f"all inputs must have the same number of rows, not {', '.join(map(str, sorted(rows))) or 0}")
    return rows.pop()


def _collect(found: dict[str, list[np.ndarray]], made: Mapping[str, np.ndarray]) -> None:
    for name, array in made.items():
        found.setdefault(name, []).append(array.copy())


def _joined(found: Mapping[str, list[np.ndarray]], rows: int) -> dict[str, np.ndarray]:
    """Returns the results of all batches, without the rows that filled up the last one."""
    return {name: np.concatenate(made)[:rows] if made[0].ndim else np.stack(made) for name, made in found.items()}


def _known(net: Graph, name: str) -> Shape:
    shape = net.blobs[name].shape
    if shape is None or not all(isinstance(d, int) for d in shape):
        raise NetdefError(f"the shape of `{name}` is {show(shape)}; make sure that the data of the net exists")
    return shape


def _arguments(words: tuple[Any, ...], phase: Any, weights: Any) -> tuple[Phase, Any]:
    """Returns phase and weights from pycaffe's positional arguments: (phase) or (weights, phase)."""
    if len(words) > 2:
        raise WrongType("Net accepts at most a file, weights and a phase: Net(file, weights, caffe.TEST)")
    if len(words) == 2:
        weights, phase = words
    elif words:
        phase = words[0]
    if phase is None:
        raise WrongType("the phase is missing: Net(file, caffe.TEST) or Net(file, weights, caffe.TEST)")
    if isinstance(phase, Phase):
        return phase, weights
    if phase in (TRAIN, TEST):
        return Phase(phase), weights
    if len(words) == 1 and not isinstance(phase, int) and not str(phase).isalpha():
        raise WrongType(f"the phase is missing after {phase}: Net(file, weights, caffe.TEST)")
    return phase_of(str(phase)), weights
