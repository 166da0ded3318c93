"""The names with an underscore of pycaffe's `Net`, with indices in place of names, and its hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Net as Graph
from ..graph import Value
from .blobs import Blob, Named
from .passes import Passes


class RawNet:
    """What scripts know of pycaffe's compiled class; `Net` adds the methods with names of layers and blobs."""

    _net: Graph
    _passes: Passes
    blobs: Named
    blob_loss_weights: dict[str, float]
    inputs: list[str]
    outputs: list[str]

    def _run_forward(self, part: range) -> None:
        raise NotImplementedError

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        raise NotImplementedError

    def _forward(self, start: int, end: int) -> float:
        """Runs the layers with these indices, both included, and returns their loss."""
        part = range(start, end + 1)
        self._run_forward(part)
        return self._passes.loss(part)

    def _backward(self, start: int, end: int) -> None:
        """Computes the gradients from layer `start` back to layer `end`."""
        self._passes.backward(range(end, start + 1))

    def _set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        self.set_input_arrays(data, labels)

    @property
    def _layer_names(self) -> list[str]:
        return [node.name for node in self._net.layers]

    @property
    def _blob_names(self) -> list[str]:
        return list(self.blobs)

    @property
    def _blobs(self) -> list[Blob]:
        return list(self.blobs.values())

    @property
    def _blob_loss_weights(self) -> list[float]:
        return list(self.blob_loss_weights.values())

    @property
    def _inputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.inputs]

    @property
    def _outputs(self) -> list[int]:
        return [self._blob_names.index(name) for name in self.outputs]

    def _bottom_ids(self, layer: int) -> list[int]:
        return self._ids(self._net.layers[layer].bottoms)

    def _top_ids(self, layer: int) -> list[int]:
        return self._ids(self._net.layers[layer].tops)

    def _ids(self, values: tuple[Value, ...]) -> list[int]:
        return [self._blob_names.index(v.name) for v in values]

    # Hooks: `run(index of the layer)` is called for each layer, each of which then runs alone

    def before_forward(self, run: Callable[[int], Any]) -> None:
        self._hook("before_forward", run)

    def after_forward(self, run: Callable[[int], Any]) -> None:
        self._hook("after_forward", run)

    def before_backward(self, run: Callable[[int], Any]) -> None:
        self._hook("before_backward", run)

    def after_backward(self, run: Callable[[int], Any]) -> None:
        self._hook("after_backward", run)

    def _hook(self, when: str, run: Callable[[int], Any]) -> None:
        self._passes.hooks.setdefault(when, []).append(run)
