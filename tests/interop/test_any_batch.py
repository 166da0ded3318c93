"""The layer that binds a net to its batch size."""

from __future__ import annotations

import pytest

import netdef
from netdef.interop.any_batch import check_any_batch

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 dim: 2 dim: 2 } } }\n'
RESHAPE = 'layer {{ name: "r" type: "Reshape" bottom: "x" top: "r" reshape_param {{ {} }} }}\n'


def check(layers: str) -> None:
    check_any_batch(netdef.load(INPUT + layers, phase="TEST"), "net.onnx")


@pytest.mark.parametrize("shape", ["dim: 1 dim: -1", "dim: 1 dim: 16", "dim: 1 dim: 4 dim: -1"])
def test_a_reshape_with_a_fixed_batch_is_named(shape):
    with pytest.raises(netdef.NetdefError, match="layer `r`, a Reshape, fixes .* at 1; write `dim: 0` there, or fix"):
        check(RESHAPE.format(f"shape {{ {shape} }}"))


@pytest.mark.parametrize(
    "fields",
    ["shape { dim: 0 dim: -1 }", "shape { dim: -1 dim: 16 }", "shape { dim: 1 dim: 4 } axis: 1 num_axes: 1"],
)
def test_other_reshapes_pass(fields):
    check(RESHAPE.format(fields))


def test_other_layers_that_need_the_batch_are_named_too():
    layers = (
        'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 1 dim: 4 dim: 2 dim: 2 } } }\n'
        'layer { name: "e" type: "Eltwise" bottom: "x" bottom: "p" top: "e" }\n'
    )
    with pytest.raises(netdef.NetdefError, match="for any batch size: layer `e`"):
        check(layers)
