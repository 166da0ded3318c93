"""Nets with very many layers, blobs or errors: each stage takes linear time and limits the number of messages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from unittest.mock import Mock

import pytest

import netdef
from netdef import schema
from netdef.compiler import load_phases
from netdef.language import source
from netdef.language.diagnostics import MOST_ERRORS, MOST_WARNINGS
from netdef.language.render import render
from netdef.language.spelling import nearest
from netdef.passes import connect, decode
from netdef.passes.checks import blobs
from netdef.solvers.decode import decode_solver

DATA = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: [1, 3, 8, 8] } } }\n'


def test_at_most_a_hundred_errors():
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load("a { } " * 5000)
    assert {d.code for d in caught.value.diagnostics} == {"unknown-field"}
    assert len(caught.value.diagnostics) == MOST_ERRORS
    shown = render(caught.value.diagnostics)
    assert shown.count("... } a { }") > 80 and max(map(len, shown.splitlines())) < 120


def test_bottoms_that_no_earlier_layer_outputs():
    layers = "".join(f'layer {{ name: "a{i}" type: "ReLU" bottom: "d{i + 1}" top: "d{i}" }}\n' for i in range(3000))
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(layers)
    assert [d.code for d in caught.value.diagnostics] == ["unknown-bottom"] * MOST_ERRORS
    assert caught.value.diagnostics[0].related[0].span.line == 2


def test_a_long_chain_in_place_of_layers_with_one_name():
    net = netdef.load(DATA + 'layer { name: "a" type: "ReLU" bottom: "d" top: "d" }\n' * 1000)
    assert [node.name for node in net.layers[-2:]] == ["a#999", "a#1000"]
    assert [d.code for d in net.diagnostics] == ["same-name"] * MOST_WARNINGS


def test_many_tops_and_bottoms():
    tops = " ".join(f'top: "s{i}"' for i in range(3000))
    bottoms = tops.replace("top", "bottom")
    net = netdef.load(
        DATA.replace("3, 8", "3000, 1")
        + f'layer {{ name: "s" type: "Slice" bottom: "d" {tops} }}\n'
        + f'layer {{ name: "c" type: "Concat" {bottoms} top: "c" }}'
    )
    assert net.blobs["c"].shape == (1, 3000, 1, 8)
    assert net.layers[2].layer.span_of("bottom", 2999).text == '"s2999"'


def test_a_misspelled_blob_is_found_among_a_few_unused_ones():
    unused = "".join(f'layer {{ name: "{w}" type: "ReLU" bottom: "d" top: "{w}" }}\n' for w in ("outputt", "seven"))
    loss = 'layer { name: "output" type: "ReLU" bottom: "d" top: "output" }\n'
    loss += 'layer { name: "l" type: "EuclideanLoss" bottom: "output" bottom: "d" top: "l" }'
    found = [(d.code, d.span.text) for d in netdef.load(DATA + unused + loss).diagnostics if d.span]
    assert found == [("alike-names", '"outputt"'), ("unused-top", '"seven"')]


def test_a_file_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(source, "LARGEST", 1 << 20)
    path = tmp_path / "large.net"
    path.write_text("#" * (1 << 20) + "#" * 9)
    with pytest.raises(netdef.NetdefError, match=r"large.net: a file of 1.0 MB is not a network definition"):
        netdef.load(path)


def test_an_unknown_type_of_an_old_layer_is_reported_once():
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(DATA + 'layers { name: "a" type: NOPE bottom: "d" top: "a" }')
    assert [d.code for d in caught.value.diagnostics] == ["wrong-enum"]


def test_a_blob_of_very_many_axes():
    text = DATA.replace("[1, 3, 8, 8]", f"[{', '.join('1' * 40)}]") + 'layer { name: "a" type: "ReLU" bottom: "d" }\n'
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(text)
    told = [d for d in caught.value.diagnostics if d.code == "too-much"]
    assert [d.detail for d in told] == ["layer `d` outputs a blob of 40 axes; the limit is 32, as in Caffe."]


def test_misspellings_are_looked_for_in_a_bounded_number_of_fields(monkeypatch: pytest.MonkeyPatch):
    compared = []

    def counted(name: str, candidates: Iterable[str], n: int = 3) -> list[str]:
        compared.append(name)
        return nearest(name, candidates, n)

    for module in (schema, decode):
        monkeypatch.setattr(module, "nearest", counted)
    strays = " ".join(f"stray{i}: 1" for i in range(5000))
    for text in (f"layer {{ {strays} }}", f'layer {{ type: "Convolution" convolution_param {{ {strays} }} }}'):
        with pytest.raises(netdef.CompileError) as caught:
            netdef.load(text)
        assert "missing-field" in {d.code for d in caught.value.diagnostics}
    assert 0 < len(compared) < 500


def test_many_unused_tops_are_compared_only_with_names_of_the_same_digits(monkeypatch: pytest.MonkeyPatch):
    compared = []
    monkeypatch.setattr(blobs, "slip", lambda a, b: compared.append((a, b)))
    tops = "".join(f'layer {{ name: "l{i}" type: "ReLU" bottom: "d" top: "top{i}" }}\n' for i in range(1000))
    netdef.load(DATA + tops + 'layer { name: "loss" type: "EuclideanLoss" bottom: "d" bottom: "d" }')
    assert len(compared) <= 2 * blobs.MOST_COMPARED


def test_layers_of_both_phases_are_inferred_once():
    wrong = 'layer { name: "c" type: "Convolution" bottom: "d" top: "c" convolution_param { num_output: 1 kernel_size: 9 } }'
    same = load_phases(DATA + 'layer { name: "r" type: "ReLU" bottom: "d" top: "t" }')
    assert [net.phase.name for net in same.nets] == ["TRAIN", "TEST"] and same.nets[0].shapes is same.nets[1].shapes
    faulty = load_phases(DATA + wrong)
    assert [d.code for d in faulty.diagnostics] == ["shape-mismatch"] and len(faulty.nets) == 2
    apart = load_phases(DATA + 'layer { name: "r" type: "ReLU" bottom: "d" top: "t" include { phase: TEST } }')
    assert ["t" in net.blobs for net in apart.nets] == [False, True]


def test_an_unknown_blob_is_compared_with_a_bounded_number_of_others(monkeypatch: pytest.MonkeyPatch):
    counts: list[int] = []
    monkeypatch.setattr(connect, "suggestion", lambda name, others: counts.append(len(others)) or "")
    layers = "".join(f'layer {{ name: "{i}" type: "ReLU" bottom: "d" top: "{i}{"a" * 70}" }}\n' for i in range(3000))
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(DATA + layers + f'layer {{ name: "x" type: "ReLU" bottom: "2999{"a" * 69}" top: "y" }}')
    (fault,) = caught.value.diagnostics
    assert counts == [connect.MOST_COMPARED // 74]
    assert fault.hint == f'"2999{"a" * 70}"'  # among the last blobs


def test_only_the_first_of_many_solvers_are_decoded(monkeypatch: pytest.MonkeyPatch):
    counting = Mock(wraps=decode_solver)
    monkeypatch.setattr(decode, "decode_solver", counting)
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(DATA + 'solver { base_lr: 0.1 lr_policy: "fixed" }\n' * 3000)
    assert {d.code for d in caught.value.diagnostics} == {"given-twice"} and counting.call_count == MOST_ERRORS


def test_at_most_two_hundred_notes():
    text = 'layer { name: "#" type: "Python" top: "t#" python_param { module: "m#" layer: "L" } }\n'
    net = netdef.load("".join(text.replace("#", str(i)) for i in range(300)))
    assert [d.code for d in net.diagnostics if d.severity == "note"] == ["not-run"] * MOST_WARNINGS


@pytest.mark.parametrize(
    "text",
    [
        "#: 1",
        'layer { name: "a" type: "#" }',
        'layer { name: "#" type: "ReLU" bottom: "#" top: "t" }',
        'layer { type: # name: "a" }',
        'let a: "' + "x " * 50_000 + '"\nlayer { type: [a] }',
        "layer { type: [" + "1, " * 50_000 + "1] }",
        DATA + 'layer { name: "p" type: "Pooling" bottom: "d" top: "p" pooling_param { pool: # } }',
        "x: ${#}",
        "x: ${#(1)}",
        'import "std/#.net"',
        'import "' + "a/" * 50_000 + 'b.net"',
    ],
)
def test_a_message_is_short_whatever_it_names(text: str):
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(text.replace("#", "n" * 100_000))
    assert max(len(str(d)) + len(d.hint or "") for d in caught.value.diagnostics) < 5_000
    assert len(str(netdef.NetdefError("n" * 100_000))) < 5_000
