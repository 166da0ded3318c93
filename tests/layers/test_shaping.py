"""Concat, Slice, Split, Flatten, Reshape and Silence beyond their recorded cases: unknown sizes, errors."""

from __future__ import annotations

import numpy as np
import pytest
from contexts import PLAIN
from one_layer import outputs

import netdef
from netdef.layers.shaping import Concat, Flatten, NewShape, Reshape, Slice
from netdef.shape import UNKNOWN, ShapeError, show

X = np.arange(24, dtype=np.float32).reshape(2, 6, 2)


def reshape(*dims: int, **fields: int) -> Reshape:
    return Reshape(shape=NewShape(dim=dims), **fields)


def test_the_older_names_of_axis():
    assert Concat(concat_dim=0).infer((2, 3), (4, 3)) == (6, 3)
    parts = Slice(top=("a", "b"), slice_dim=0).apply((), X, ctx=PLAIN)
    assert [p.tolist() for p in parts] == [X[:1].tolist(), X[1:].tolist()]


@pytest.mark.parametrize(
    ("layer", "bottoms", "tops"),
    [
        (Slice(top=("a", "b", "c")), [(2, 6, 2)], ["2x2x2"] * 3),
        (Slice(top=("a", "b"), slice_point=[5]), [(2, 6, 2)], ["2x5x2", "2x1x2"]),
        (Slice(top=("a", "b")), [(2, UNKNOWN)], ["2x?"] * 2),
        (Concat(), [(UNKNOWN, 3), (UNKNOWN, 4)], ["?x7"]),
        (Flatten(), [(UNKNOWN, 3, 4)], ["?x12"]),
        (reshape(0, -1), [(UNKNOWN, 3, 4)], ["?x12"]),  # the copied batch cancels
        (reshape(-1, 4), [(UNKNOWN, 3, 4)], ["?x4"]),
        (reshape(2, 3, axis=1, num_axes=1), [(5, 6, 7)], ["5x2x3x7"]),
        (reshape(1, axis=-1, num_axes=0), [(5, 6)], ["5x6x1"]),
        (reshape(-1, 0, num_axes=1), [(4, 2)], ["2x2x2"]),  # the 0 copies an axis that is not replaced
    ],
)
def test_shapes(layer, bottoms, tops):
    made = layer.infer(*bottoms)
    assert [show(shape) for shape in (made if isinstance(made, list) else [made])] == tops


@pytest.mark.parametrize(
    ("layer", "bottoms", "field", "bottom", "words"),
    [
        (Concat(axis=2), [(2, 3)], "axis", None, ["`axis` is 2", "2x3", "-2 to 1"]),
        (Concat(), [(2, 3), (2, 3, 1)], None, 1, ["2x3 has 2 axes", "2x3x1 has 3"]),
        (Concat(), [(2, 3), (4, 3)], None, 1, ["axis 0 is 2 in bottom 0", "4 in bottom 1"]),
        (
            Slice(top=("a", "b", "c", "d")),
            [(2, 6)],
            None,
            None,
            ["6 elements", "4 equal tops", "`slice_point` 3 times"],
        ),
        (
            Slice(top=("a", "b"), slice_point=[1, 2]),
            [(2, 6)],
            "slice_point",
            None,
            ["slice points is 2", "2 tops require 1"],
        ),
        (Slice(top=("a", "b", "c"), slice_point=[3, 3]), [(2, 6)], "slice_point", None, ["3 comes after 3"]),
        (Slice(top=("a", "b"), slice_point=[6]), [(2, 6)], "slice_point", None, ["point 6", "from 1 to 5"]),
        (Flatten(axis=2, end_axis=1), [(2, 3, 4)], "end_axis", None, ["`end_axis` is 1", "which is 2"]),
        (reshape(-1, -1), [(2, 3)], "shape", None, ["2 dimensions of -1"]),
        (reshape(5, -1), [(2, 3)], "shape", None, ["6 values", "of 5"]),
        (reshape(4, 2), [(2, 3)], "shape", None, ["6 values", "has 8"]),
        (reshape(0, 0, 0), [(2, 3)], "shape", None, ["axis 2", "2 axes"]),
        (reshape(6, axis=3), [(2, 3)], "axis", None, ["`axis` is 3", "-3 to 2"]),
        (reshape(6, axis=1, num_axes=2), [(2, 3)], "num_axes", None, ["`num_axes` is 2", "give 1 or less"]),
    ],
)
def test_errors_name_field_and_values(layer, bottoms, field, bottom, words):
    with pytest.raises(ShapeError) as caught:
        layer.infer(*bottoms)
    assert (caught.value.field, caught.value.bottom) == (field, bottom)
    assert [w for w in words if w not in caught.value.detail] == []


def test_axis_and_its_older_name_together_are_an_error_at_the_older_one():
    text = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "l" type: "Concat" bottom: "x" top: "y" concat_param { axis: 1 concat_dim: 1 } }"""
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(text)
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.line) == ("shape-mismatch", 2)
    assert text.splitlines()[1][fault.column - 1 :].startswith("1 } }")  # the value of concat_dim


def test_silence_removes_blobs_from_the_outputs_and_split_adds_gradients():
    net = netdef.load("""layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }
layer { name: "two" type: "Split" bottom: "x" top: "a" top: "b" }
layer { name: "quiet" type: "Silence" bottom: "a" }""")
    assert net.outputs == ("b",)
    assert netdef.compile(net)(x=np.ones(2))["b"].tolist() == [1, 1]


def test_concat_flattens_first_where_intel_fuses_it():
    layer = 'layer { name: "c" type: "Concat" bottom: "a" bottom: "b" top: "c" concat_param { per_fla_fuse: true } }'
    a, b = np.arange(12.0).reshape(1, 2, 3, 2), np.arange(5.0).reshape(1, 5, 1, 1)
    made = outputs(layer, a=a.astype(np.float32), b=b.astype(np.float32))["c"]
    assert made.shape == (1, 17, 1, 1)
    np.testing.assert_array_equal(made.reshape(-1), [*range(12), *range(5)])
