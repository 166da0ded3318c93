"""For any document and any cursor position, an editor gets an answer and never an error."""

from __future__ import annotations

import pytest

from netdef.language.errors import NetdefError
from netdef.language.source import Source
from netdef.lsp.answers import complete, hover
from netdef.lsp.context import context, fields, index
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
        ('import "', [], "import"),
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
def test_the_context_of_the_cursor(mark: str, around: list[str], field: str | None):
    assert inside(NET, mark) == (around, field)


def test_fields_of_nested_blocks():
    text = 'layer { type: "Convolution" convolution_param { weight_filler { type: "msra" '
    assert {"variance_norm"} <= fields(context(text, len(text))).keys()
    assert "num_output" in fields(context(text, text.index("weight_filler"))).keys()
    assert fields(context("nothing { ", 10)) == {}
    assert "lr_mult" in fields(context('layer { type: "ReLU" param { ', 29))


@pytest.mark.parametrize("start", range(0, len(NET), 9))
def test_incomplete_documents(start: int):
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


def test_a_page_without_errors_and_one_that_is_a_solver():
    assert [d.code for d in page(NET).diagnostics] == ["no-loss"] and len(page(NET).nets) == 2
    solver = page('net: "other.prototxt"\nbase_lr: "0.1"\n')
    assert [d.code for d in solver.diagnostics] == ["wrong-type"] and solver.nets == ()


def test_names_composed_by_templates_are_not_renamed():
    whole = page(NET)
    with pytest.raises(NetdefError, match="a template composes its name"):
        rename(whole, NET.index('"res1"') + 2, "other")
    places = rename(whole, NET.index('name: "score"') + 8, "points")
    assert [span.text for span in places] == ['"score"']


def labels(text: str, mark: str, known: str = NET) -> list[str]:
    return [item.label for item in complete(page(known), text, text.index(mark) + len(mark))[1]]


def test_names_in_expressions():
    text = 'let own: 3\ntemplate t(name, out: 2) {\n for k in range(3) { layer { name: "${na'
    found = labels(text, "${na")
    assert {"own", "name", "out", "k", "widths", "range", "len"} <= set(found) and "layer" not in found
    assert "widths" in labels(NET.replace("${widths[i]}", "${wid"), "${wid")
    assert labels('layer { name: "$${na', "$${na") == []


def test_files_to_import():
    found = labels('import "std/re', "std/re", known="")
    assert {"std/resnet.net", "std/conv.net"} <= set(found)


def test_fields_of_a_solver_file():
    solver = 'net: "other.net"\nbase_lr: 0.1\n'
    found = labels(solver + "mom", "mom", known=solver)
    assert {"momentum", "stepsize", "lr_policy", "type"} <= set(found) and "layer" not in found
    assert "fixed" in labels(solver + 'lr_policy: "', 'lr_policy: "', known=solver)
    _, said = hover(page(solver), solver, solver.index("base_lr") + 2) or (None, "")
    assert "learning rate" in said.lower()


def test_definitions_of_arguments_and_loop_variables():
    whole = page(NET)
    (place,) = definition(whole, NET.index("out: ${widths[i]}") + len("out: ${widths[i"))
    assert place.text == "i" and place.line == 8
    (place,) = definition(whole, NET.index('name: "${name}"') + 10)
    assert place.text == "name" and place.line == 3
    assert len(references(whole, NET.index('name: "${name}"') + 10)) == 3
    (place,) = definition(whole, NET.index("${widths") + 4)
    assert place.line == 2


def test_outline_of_loops_and_templates():
    found = {symbol.name: symbol for symbol in outline(page(NET))}
    assert list(found) == [
        "std/resnet.net", "widths", "head", "x", "for i in range(2)", "if len(widths) > 1", "solver",
    ]  # fmt: skip
    assert [s.detail for s in found["head"].inside] == ["InnerProduct"]
    assert [s.detail for s in found["for i in range(2)"].inside] == ["residual_basic"]
    assert [s.name for s in found["if len(widths) > 1"].inside] == ["score"]
    assert found["widths"].detail == "[8, 16]"


@pytest.mark.parametrize("broken", ["", 'layer { name: "a" ', "solver: [1, ", "for i in range(3) { let a: 1 "])
def test_an_index_shortens_the_scan_and_changes_nothing(broken: str):
    layers = "".join(f'layer {{ name: "l{i}" type: "ReLU" bottom: "x${{i}}" }} # }}\n' for i in range(300))
    text = f'name: "n"\nlet width: 3\n{layers}{broken}input: "x"\nlayer {{ type: "Pooling" pooling_param {{ pool: MAX }} }}\n'
    known = index(text)
    assert len(known.offsets) > 3 and known.before(len(layers))[0] > len(layers) - 5000
    for offset in [*range(0, len(text), 97), *range(len(text) - 150, len(text) + 1)]:
        assert context(text, offset, known) == context(text, offset)
