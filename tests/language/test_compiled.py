"""Errors of later stages in expanded fields: each is reported once, with the place of use, without errors that follow."""

from __future__ import annotations

import pytest

import netdef

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 5 } } }\n'
FAULTY = 'layer { name: "a${n}" type: "Convolution" bottom: "data" top: "a${n}" convolution_param { num_outputs: 3 } }'


def test_an_error_in_a_loop_is_reported_once():
    with pytest.raises(netdef.CompileError) as error:
        netdef.load(f"{INPUT}for n in range(3) {{\n  {FAULTY}\n}}\n")
    (diagnostic,) = [d for d in error.value.diagnostics if d.severity == "error"]
    assert (diagnostic.code, diagnostic.line) == ("unknown-field", 3)
    assert diagnostic.span.via.line == 2


def test_an_error_in_a_template_is_reported_for_each_use():
    text = f"template t(n) {{\n  {FAULTY}\n}}\n{INPUT}t {{ n: 1 }}\nt {{ n: 2 }}\n"
    with pytest.raises(netdef.CompileError) as error:
        netdef.load(text)
    found = [(d.code, d.line, d.span.via.line) for d in error.value.diagnostics if d.severity == "error"]
    assert found == [("unknown-field", 2, 5), ("unknown-field", 2, 6)]


def test_an_invalid_expansion_stops_before_later_stages():
    with pytest.raises(netdef.CompileError) as error:
        netdef.load(INPUT + 'layer { name: "r" type: "ReLU" bottom: ${dta} top: "r" }')
    assert [d.code for d in error.value.diagnostics] == ["unknown-name"]


def test_set_reaches_the_net():
    layer = 'layer { name: "d" type: "InnerProduct" bottom: "data" top: "d" inner_product_param { num_output: ${n} } }'
    text = f"{INPUT}let n: 2\n{layer}"
    assert netdef.load(text).blobs["d"].shape == (1, 2)
    assert netdef.load(text, set={"n": 7}).blobs["d"].shape == (1, 7)
