"""Fields of forks that determine how to compute: precision and routines of NVIDIA's fork."""

from __future__ import annotations

import pytest

import netdef
from netdef.layers.base import LAYERS
from netdef.passes.foreign_types import forks

X = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
CONV = (
    'layer { name: "c" type: "Convolution" bottom: "x" top: "c" %s\n'
    '        convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "msra" } %s } }\n'
)


def warnings(text: str) -> list[tuple[int, str]]:
    """(line, message) of every diagnostic of a net without errors."""
    return [(d.line, d.message) for d in netdef.load(text).diagnostics]


@pytest.mark.parametrize(
    "fields",
    [
        "default_forward_type: FLOAT default_backward_type: FLOAT",
        "default_forward_math: DOUBLE default_backward_math: FLOAT",
        "eltwise_mem_sharing: false reduce_buckets: 3 global_grad_scale: 1000 global_grad_scale_adaptive: true",
    ],
)
def test_fields_of_nvidias_fork_that_change_no_result(fields):
    assert warnings(f"{fields}\n" + X + CONV % ("forward_type: FLOAT backward_math: FLOAT", "")) == []


def test_half_precision_is_one_warning_that_says_what_is_computed():
    ((line, message),) = warnings(
        "default_forward_math: FLOAT\ndefault_forward_type: FLOAT16\ndefault_backward_type: FLOAT16\n" + X
    )
    assert line == 2
    assert "`default_forward_type: FLOAT16` is half precision in NVIDIA's fork" in message
    assert "computes in float32, or with `precision: BF16` in the solver, in bfloat16" in message
    ((line, message),) = warnings(X + CONV % ("forward_type: FLOAT16 forward_math: FLOAT16", ""))
    assert line == 2 and "`forward_type: FLOAT16`" in message


def test_an_unknown_type_is_an_error():
    with pytest.raises(netdef.CompileError, match="must be one of DOUBLE, FLOAT, FLOAT16, INT, UINT, BOOL, not HALF"):
        netdef.load("default_forward_type: HALF\n" + X)
    with pytest.raises(netdef.CompileError, match="`backward_type` must be one of"):
        netdef.load(X + CONV % ("backward_type: HALF", ""))


def test_routines_of_nvidias_fork_have_no_effect():
    found = warnings(
        "default_conv_algos_override: 1\n"
        + X
        + CONV % ("debug: true cudnn_math_override: 0", "cudnn_convolution_algo_seeker: FINDEX conv_algos_override: 1")
    )
    assert [line for line, _ in found] == [1, 3, 4, 4] and all("has no effect here" in words for _, words in found)


def test_a_type_of_a_fork_is_named_with_its_fork():
    text = X + 'layer { name: "t" type: "TRT" bottom: "x" top: "t" }'
    with pytest.raises(
        netdef.CompileError, match='no layer type "TRT"; it is a type of NVIDIA/caffe, which netdef does'
    ):
        netdef.load(text)


def test_types_of_forks_are_not_types_of_netdef():
    assert not set(forks()) & set(LAYERS.names())
