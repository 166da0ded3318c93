"""Whatever stands in the text and wherever the cursor is, an editor gets an answer and never an error."""

from __future__ import annotations

import pytest

from netdef.language.diagnostics import NetdefError
from netdef.language.source import Source
from netdef.lsp.answers import complete, hover
from netdef.lsp.context import context, fields
from netdef.lsp.names import definition, outline, references, rename
from netdef.lsp.page import Page, read

NET = """import "std/resnet.net"
let widths: [8, 16]
template head(name, bottom) {  # scores
  layer { name: "${name}" type: "InnerProduct" bottom: "${bottom}" top: "${name}" inner_product_param { num_output: 2 }
  }
}
layer { name: "x" type: 'Input' top: "x" input_param < shape { dim: [1, 4, 8, 8] } > }
for i in range(2) {
  residual_basic { id: "${i}" bottom: ${"x" if i == 0 else "res0"} out: ${widths[i]} project: true }
}
if len(widths) > 1 { head { name: "score" bottom: "res1" } } else { }
solver { type: "Adam" base_lr: 0.1, lr_policy: "step"; gamma: 0.1 stepsize: 100 }
"""


def page(text: str) -> Page:
    return read(Source("net.net", text))


def inside(text: str, mark: str) -> tuple[list[str], str | None]:
    at = context(text, text.index(mark) + len(mark))
    return [a.name for a in at.around], at.field


@pytest.mark.parametrize(
    ("mark", "around", "field"),
    [
        ('import "', [], None),
        ("input_param < sh", ["layer", "input_param"], None),
        ("shape { dim: [1, ", ["layer", "input_param", "shape"], "dim"),
        ('bottom: "res', ["head"], "bottom"),
        ("base_lr: ", ["solver"], "base_lr"),
        ('"step"; ga', ["solver"], None),
        ("out: ${widths[i]} pr", ["residual_basic"], None),
        ("solver {", ["solver"], None),
        ('stepsize: 100 }\n', [], None),
    ],
)  # fmt: skip
def test_where_the_cursor_stands(mark: str, around: list[str], field: str | None):
    assert inside(NET, mark) == (around, field)


def test_fields_of_nested_messages():
    text = 'layer { type: "Convolution" convolution_param { weight_filler { type: "msra" '
    assert {"variance_norm"} <= fields(context(text, len(text))).keys()
    assert "num_output" in fields(context(text, text.index("weight_filler"))).keys()
    assert fields(context("nothing { ", 10)) == {}
    assert "lr_mult" in fields(context('layer { type: "ReLU" param { ', 29))


@pytest.mark.parametrize("start", range(0, len(NET), 9))
def test_half_written_texts(start: int):
    whole, text = page(NET), NET[:start]
    now = page(text)
    for offset in {0, start // 2, max(start - 1, 0), start}:
        for known in (now, whole):
            _, items = complete(known, text, offset)
            assert all(item.label for item in items)
            hover(known, text, offset)
        assert all(span.start <= span.end for span in definition(now, offset) + references(now, offset))
        with pytest.raises(NetdefError):
            rename(now, offset, "x")
    assert all(symbol.name for symbol in outline(now))


def test_a_page_without_faults_and_one_that_is_a_solver():
    assert page(NET).diagnostics == () and len(page(NET).nets) == 2
    solver = page('net: "other.prototxt"\nbase_lr: "0.1"\n')
    assert [d.code for d in solver.diagnostics] == ["wrong-type"] and solver.nets == ()


def test_names_that_templates_make_are_not_renamed():
    whole = page(NET)
    with pytest.raises(NetdefError, match="makes its name out of parts"):
        rename(whole, NET.index('"res1"') + 2, "other")
    places = rename(whole, NET.index('name: "score"') + 8, "points")
    assert [span.text for span in places] == ['"score"']
