"""Forward and backward passes over the blobs of a net, piece by piece (see `programs.py`)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..forward import without_empty_rows
from ..graph import Net, Owner, Value
from ..language.errors import NetdefError
from ..lazy import Array
from ..shape import show
from .blobs import Blob, wait
from .hosted import Hosted, host, hosted_layers
from .programs import Stretch, ends, entering, pieces, stretch

MOST_STRETCHES = 256  # kept for each net; scripts return to earlier shapes, for example those of an image pyramid


class Passes:
    """The passes of one net over its blobs and parameters, both of which scripts change in between.

    `hooks` are functions of the index of a layer, by the name of their method of `Net`; if there are any for a
    direction, each layer runs alone."""

    def __init__(self, net: Net, blobs: dict[str, Blob], weights: dict[Owner, Blob], key: Array):
        self.net, self.blobs, self.weights = net, blobs, weights
        self.hooks: dict[str, list[Callable[[int], Any]]] = {}
        self.hosted: dict[int, Hosted] = {}
        self._users = hosted_layers(net)
        self._key = key  # of the last forward pass, which the backward pass uses too
        self._before: dict[Owner, Array] = {}  # state that the last forward pass has changed, as it was before
        self._stretches: OrderedDict[Any, Stretch] = OrderedDict()  # the last one was used last

    def host(self, parameters: Sequence[Sequence[Blob]]) -> None:
        """Gives the objects of Python layers the parameters of their layers."""
        self.hosted = {i: host(self.net, i, user, self.blobs, parameters[i]) for i, user in self._users.items()}

    def reshape(self, part: range) -> None:
        """Updates the shapes of the blobs that these layers output."""
        for piece in self._pieces(part, "forward"):
            if piece.start in self.hosted:
                self.hosted[piece.start].reshape()
            else:
                self._reshaped(piece)

    def forward(self, part: range, key: Array) -> None:
        """Runs each layer once, with the random numbers of `key`."""
        self._key, self._before = key, {}
        for piece in self._pieces(part, "forward"):
            self._tell("before_forward", piece)
            if piece.start in self.hosted:
                self.hosted[piece.start].forward()
            else:
                self._stretch_forward(self._reshaped(piece))
            self._tell("after_forward", piece)

    def backward(self, part: range) -> None:
        """Computes the gradients of the blobs from the contents of the blobs, and adds those of the parameters."""
        last = ends(self.net, part)
        diffs = self._given(last)
        for piece in reversed(self._pieces(part, "backward")):
            self._tell("before_backward", piece)
            if piece.start in self.hosted:
                self._host_backward(self.hosted[piece.start], diffs, last)
            else:
                self._stretch_backward(self._reshaped(piece), diffs)
            self._tell("after_backward", piece)

    def forward_backward(self, part: range, key: Array) -> None:
        """Runs both passes, as one program if Python runs no layer and is told of none."""
        if len({*self._pieces(part, "forward"), *self._pieces(part, "backward"), part}) > 1 or self.hosted:
            self.forward(part, key)
            self.backward(part)
            return
        self._key, self._before = key, {}
        run = self._reshaped(part)
        diffs = {v: self._filled(run, v.name, diff) for v, diff in self._given(ends(self.net, part)).items()}
        weights = self._parameters(run)
        blobs, updates, made, on_weights = run.both(weights, self._contents(run.entering), diffs, key)
        self._keep(blobs, updates, weights)
        self._keep_diffs(made, on_weights)

    def loss(self, part: range) -> float:
        """Returns the weighted sum of the losses of these layers."""
        nodes = [self.net.layers[i] for i in part]
        weighted = [(v.name, w) for n in nodes for v, w in zip(n.tops, n.loss_weights, strict=True) if w]
        sums = [w * np.sum(np.asarray(self.blobs[name]._data.value()), dtype=np.float64) for name, w in weighted]
        return float(sum(sums))

    def _pieces(self, part: range, direction: str) -> list[range]:
        told = any(self.hooks.get(f"{when}_{direction}") for when in ("before", "after"))
        return pieces(part, part if told else self.hosted)

    def _tell(self, when: str, piece: range) -> None:
        for hook in self.hooks.get(when, ()):
            hook(piece.start)

    def _reshaped(self, piece: range) -> Stretch:
        """Returns the program of some layers for the current shapes of their inputs, after reshaping their outputs."""
        given = {v: self.blobs[v.name].shape for v in entering(self.net, piece)}
        key = (piece, tuple(given.values()))
        run = self._stretches.get(key)
        if run is None:
            run = self._stretches[key] = stretch(self.net, piece, given)
            if len(self._stretches) > MOST_STRETCHES:
                self._stretches.popitem(last=False)
        self._stretches.move_to_end(key)
        for name, shape in run.shapes.items():
            if self.blobs[name].shape != shape and name not in self.net.padded:
                self.blobs[name].reshape(*shape)
        return run

    def _stretch_forward(self, run: Stretch) -> None:
        weights = self._parameters(run)
        made, updates = wait(run.forward(weights, self._contents(run.entering), self._key))
        self._keep(made, updates, weights)

    def _keep(self, made: dict[str, Array], updates: dict[Owner, Array], weights: dict[Owner, Array]) -> None:
        for name, value in without_empty_rows(self.net, made).items():
            if name in self.net.padded:
                self.blobs[name].reshape(*value.shape)
            self.blobs[name]._data.put(value)
        for owner, value in updates.items():
            self._before[owner] = weights[owner]
            self.weights[owner]._data.put(value)

    def _stretch_backward(self, run: Stretch, diffs: dict[Value, Array]) -> None:
        """Adds the gradients of the values of a stretch to `diffs`, and those of its arrays to their blobs."""
        inside = {v for node in run.nodes for v in (*node.tops, *node.bottoms)}
        given = {v: self._filled(run, v.name, diff) for v, diff in diffs.items() if v in inside}
        weights = self._parameters(run) | {o: a for o, a in self._before.items() if o in run.weights}
        regions = set(self.net.regions.values())
        held = {n: self._filled(run, n, a, -1 if n in regions else 0) for n, a in self._contents(run.blobs).items()}
        made, on_weights = run.backward(weights, held, given, self._key)
        diffs.update(self._keep_diffs(made, on_weights))

    def _given(self, last: Sequence[Value]) -> dict[Value, Array]:
        """The gradients from which a backward pass starts; detections and regions have none."""
        without = set(self.net.padded) - set(self.net.regions) | set(self.net.regions.values())
        return {v: self.blobs[v.name]._diff.value() for v in last if v.name not in without}

    def _filled(self, run: Stretch, name: str, rows: Array, value: float = 0) -> Array:
        """Returns the rows of a blob of regions, followed by rows of a value up to the number in the program."""
        missing = run.shapes[name][0] - rows.shape[0] if name in self.net.regions and name in run.shapes else 0
        return np.concatenate([rows, np.full((missing, *rows.shape[1:]), value, np.float32)]) if missing else rows

    def _keep_diffs(self, made: dict[Value, Array], on_weights: dict[Owner, Array]) -> dict[Value, Array]:
        """Puts gradients into the blobs. Returns those of values, without the rows that pad the regions."""
        made = {v: a[: self.blobs[v.name].shape[0]] if v.name in self.net.regions else a for v, a in made.items()}
        for v in sorted(made, key=lambda v: -v.version):  # that of the first version remains, as in Caffe
            if v.name in self.blobs:
                self.blobs[v.name]._diff.put(made[v])
        for owner, diff in on_weights.items():
            held = self.weights[owner]._diff
            held.put(held.value() + diff)
        return made

    def _host_backward(self, layer: Hosted, diffs: dict[Value, Array], last: Sequence[Value]) -> None:
        """Adds the gradients of the bottoms of a layer to `diffs`. `last` are the values whose gradients a script may
        set; for other losses, their weights apply."""
        node = layer.node
        for v, blob, weight in zip(node.tops, layer.top, node.loss_weights, strict=True):
            if weight and v not in last:
                diffs[v] = diffs.get(v, 0) + np.full(blob.shape, weight, np.float32)
        if not any(v in diffs for v in node.tops) or not any((*node.reached, *node.trained)):
            return
        for v, blob in zip(node.tops, layer.top, strict=True):
            if v in diffs:
                blob._diff.put(diffs[v])
            else:
                blob._diff.clear()
        layer.backward()
        for v, blob, reached in zip(node.bottoms, layer.bottom, node.reached, strict=True):
            if reached:
                diff = blob._diff.value()
                diffs[v] = diffs[v] + diff if v in diffs else diff
                blob._diff.put(diffs[v])

    def _parameters(self, run: Stretch) -> dict[Owner, Array]:
        for owner, (shape, kind) in run.weights.items():
            given = self.weights[owner].shape
            if given != shape and kind == "carry":
                self.weights[owner] = Blob(shape)  # state that starts again for batches of another shape
            elif math.prod(given) != math.prod(shape):
                raise NetdefError(
                    f"parameter {owner.index} of layer `{owner.layer}` was reshaped to {show(given)}, but the layer "
                    f"requires {show(shape)}"
                )
        return {owner: self.weights[owner]._data.value() for owner in run.weights}

    def _contents(self, names: list[str]) -> dict[str, Array]:
        return {name: self.blobs[name]._data.value() for name in names}
