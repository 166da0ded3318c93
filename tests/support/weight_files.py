"""A net for tests of weight files, with shared parameters, batch normalization and a layer name with a slash."""

from __future__ import annotations

import numpy as np

import netdef

NET = """
name: "Small"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }
layer { name: "block/conv" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "b" }
layer { name: "scale" type: "Scale" bottom: "b" top: "b" scale_param { bias_term: true } }
layer { name: "ip1" type: "InnerProduct" bottom: "b" top: "i" param { name: "w" } param { name: "b1" }
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "ip2" type: "InnerProduct" bottom: "b" top: "j" param { name: "w" } param { name: "b2" }
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "i" bottom: "j" top: "sum" }
"""
FORMATS = ("caffemodel", "caffemodel.h5", "npz", "safetensors", "orbax")


def assert_same(got: dict, wanted: dict) -> None:
    """The arrays of each layer are equal bit for bit."""
    assert got.keys() == wanted.keys()
    for layer, arrays in wanted.items():
        assert len(got[layer]) == len(arrays), layer
        for a, b in zip(got[layer], arrays, strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype and (a == b).all(), layer


def changed(model: netdef.Model) -> netdef.Model:
    """Returns the same net with other weights."""
    other = netdef.compile(NET)
    other.set_weights({layer: [np.full_like(a, 7) for a in arrays] for layer, arrays in model.get_weights().items()})
    return other
