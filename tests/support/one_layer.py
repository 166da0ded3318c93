"""One layer between Input layers, as a user would write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

import netdef


def text(layer: str, inputs: Mapping[str, tuple[int, ...]]) -> str:
    """Returns the source of a net of one layer with Input layers for its bottoms; gradients reach the inputs."""
    fed = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {_dims(shape)} }} }} }}\n'
        for name, shape in inputs.items()
    )
    return "force_backward: true\n" + fed + layer


def _dims(shape: tuple[int, ...]) -> str:
    return " ".join(f"dim: {d}" for d in shape)


def model(layer: str, phase: str = "TRAIN", **inputs: Any) -> netdef.Model:
    return netdef.compile(text(layer, {name: np.shape(value) for name, value in inputs.items()}), phase=phase)


def outputs(layer: str, phase: str = "TRAIN", **inputs: Any) -> dict[str, np.ndarray]:
    """Returns {top: array} of a forward pass."""
    made = model(layer, phase, **inputs)(**inputs)
    return {name: np.asarray(value) for name, value in made.items()}


def loss_and_gradients(layer: str, phase: str = "TRAIN", **inputs: Any) -> tuple[float, dict[str, np.ndarray]]:
    """Returns the loss and its gradient with respect to each floating-point input."""
    graph, state = nnx.split(model(layer, phase, **inputs))
    real = {name: np.asarray(value) for name, value in inputs.items() if np.asarray(value).dtype.kind == "f"}
    objective = lambda some: nnx.merge(graph, state).loss(**{**inputs, **some})
    value, gradients = jax.value_and_grad(objective)(real)
    return float(value), {name: np.asarray(g) for name, g in gradients.items()}


def fault(layer: str, **inputs: tuple[int, ...]) -> tuple[str, str]:
    """Returns (underlined text, message) of the only error of a net with inputs of these shapes."""
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(text(layer, inputs))
    found = [d for d in caught.value.diagnostics if d.severity == "error"]
    assert len(found) == 1, found
    assert found[0].span is not None
    return found[0].span.text, found[0].message
