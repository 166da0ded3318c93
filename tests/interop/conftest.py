"""Fixtures: a model, and its weights in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from weight_files import FORMATS, NET

import netdef


@pytest.fixture(scope="session")
def small() -> netdef.Model:
    """A model with different values in all parameters; tests must not change it."""
    model = netdef.compile(NET)
    rng = np.random.default_rng(0)
    weights = {
        layer: [rng.random(a.shape, np.float32) + 0.1 for a in arrays] for layer, arrays in model.get_weights().items()
    }
    weights["ip2"][0] = weights["ip1"][0]
    model.set_weights(weights)
    return model


@pytest.fixture(scope="session")
def written(small: netdef.Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Writes the model's weights in every format, and returns the paths."""
    folder = tmp_path_factory.mktemp("written")
    for ending in FORMATS:
        small.save_weights(folder / f"small.{ending}")
    return {ending: folder / f"small.{ending}" for ending in FORMATS}
