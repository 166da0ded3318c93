"""Small inference nets with random weights, for tests of exported and converted nets."""

from __future__ import annotations

from typing import Any

import numpy as np

import netdef

IMAGE = 'name: "Net" layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 4, 9, 8] } } }\n'
POSITIVE = {"BatchNorm": (1, 2), "BN": (3,)}  # blobs that are variances or scale factors


def layer(kind: str, fields: str = "", bottom: str = "data", top: str = "y", name: str = "") -> str:
    """Returns the source of a layer; several bottoms or tops are separated by spaces."""
    bottoms = " ".join(f'bottom: "{b}"' for b in bottom.split())
    tops = " ".join(f'top: "{t}"' for t in top.split())
    return f'layer {{ name: "{name or top}" type: "{kind}" {bottoms} {tops} {fields} }}\n'


def random_model(net: Any, seed: int = 0) -> netdef.Model:
    """Returns a model of phase TEST with random weights; variances and scale factors are positive."""
    model = netdef.compile(net, phase="TEST")
    draw = np.random.default_rng(seed)
    drawn = {
        node.name: [
            draw.uniform(0.5, 2, a.shape) if i in POSITIVE.get(node.type, ()) else draw.normal(size=a.shape)
            for i, a in enumerate(model.get_weights()[node.name])
        ]
        for node in model.net.layers
        if node.name in model.net.params
    }
    model.set_weights({name: [a.astype(np.float32) for a in arrays] for name, arrays in drawn.items()})
    return model


def inputs_of(net: Any, batch: int = 2) -> dict[str, np.ndarray]:
    """Returns `batch` random images for each input."""
    draw = np.random.default_rng(5)
    return {name: draw.normal(size=(batch, *net.blobs[name].shape[1:])).astype(np.float32) for name in net.inputs}
