"""protobuf's text format reads the output of `netdef expand`, with the fields of Caffe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import netdef
from netdef.cli import main
from netdef.language.diagnostics import Report
from netdef.language.parsing.parser import parse
from netdef.language.source import Source
from netdef.language.syntax import Message

text_format = pytest.importorskip("google.protobuf.text_format")
from caffe_schema import message  # noqa: E402

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.net"))
# The others have fields that BVLC's Caffe lacks, such as `scale_bias` (NVIDIA's) and `array_data_param` (netdef's own).
FOR_CAFFE = {"lenet", "face", "googlenet", "mobilenet", "resnet18", "resnet50", "resnet152", "squeezenet", "vgg16"}


def expanded(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["expand", str(path), *options]) == 0
    return capsys.readouterr().out


def unknown(body: Message, descriptor: Any) -> set[str]:
    """Returns the fields of a block that a protobuf message does not have."""
    found = set()
    for field in body.fields:
        known = descriptor.fields_by_name.get(field.name)
        if known is None:
            found.add(field.name)
        elif isinstance(field.value, Message):
            found |= unknown(field.value, known.message_type)
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("options", [(), ("--solver",)], ids=["net", "solver"])
def test_examples_are_read(path: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    if options and "solver {" not in path.read_text(encoding="utf-8"):
        assert main(["expand", str(path), *options]) == 2
        return
    text = expanded(path, capsys, *options)
    document = parse(Source("expanded", text), Report())
    made = message("SolverParameter" if options else "NetParameter")()
    assert document is not None
    beyond = unknown(document.body, made.DESCRIPTOR)
    assert not (beyond and path.stem in FOR_CAFFE)
    text_format.Parse(text, made, allow_unknown_field=bool(beyond))
    assert made.ListFields()


@pytest.mark.parametrize("name", ["lenet", "resnet18", "mobilenet"])
def test_the_output_of_protobuf_is_the_same_net(name: str, capsys: pytest.CaptureFixture[str]):
    path = next(path for path in EXAMPLES if path.stem == name)
    made = text_format.Parse(expanded(path, capsys), message("NetParameter")())
    for phase in ("TRAIN", "TEST"):
        again, first = netdef.load(text_format.MessageToString(made), phase), netdef.load(path, phase)
        assert str(again) == str(first)
        assert [node.layer for node in again.layers] == [node.layer for node in first.layers]


def test_protobuf_rejects_a_field_that_caffe_does_not_have():
    with pytest.raises(text_format.ParseError, match="scale_bias"):
        text_format.Parse("layer { batch_norm_param { scale_bias: true } }", message("NetParameter")())
