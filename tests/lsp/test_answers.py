"""For any document and any cursor position, an editor gets an answer and never an error."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from netdef.language.errors import NetdefError
from netdef.language.expansion.imports import MOST_FILES
from netdef.language.parsing.parser import parse
from netdef.language.source import Source
from netdef.lsp import page as page_module
from netdef.lsp.answers import complete, hover
from netdef.lsp.context import context, fields, index
from netdef.lsp.fixes import applied, fixes
from netdef.lsp.names import definition, outline, references, rename
from netdef.lsp.page import Page, read
from netdef.lsp.shapes import shape_hints

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
    assert found["head"].detail == "(name, bottom)"
    assert [s.detail for s in found["head"].inside] == ["InnerProduct"]
    (block,) = found["for i in range(2)"].inside
    made = [s.name for s in block.inside]  # the layers of both iterations, those of each phase once
    assert block.detail == "residual_basic" and {"res0", "res1", "res1_branch2a"} < {*made}
    assert len(made) == len({*made}) and all(s.span == block.span for s in block.inside)
    (head,) = found["if len(widths) > 1"].inside
    assert head.name == "score" and [(s.name, s.detail) for s in head.inside] == [("score", "InnerProduct")]
    assert found["widths"].detail == "[8, 16]"


@pytest.mark.parametrize("broken", ["", 'layer { name: "a" ', "solver: [1, ", "for i in range(3) { let a: 1 "])
def test_an_index_shortens_the_scan_and_changes_nothing(broken: str):
    layers = "".join(f'layer {{ name: "l{i}" type: "ReLU" bottom: "x${{i}}" }} # }}\n' for i in range(300))
    text = f'name: "n"\nlet width: 3\n{layers}{broken}input: "x"\nlayer {{ type: "Pooling" pooling_param {{ pool: MAX }} }}\n'
    known = index(text)
    assert len(known.offsets) > 3 and known.before(len(layers))[0] > len(layers) - 5000
    for offset in [*range(0, len(text), 97), *range(len(text) - 150, len(text) + 1)]:
        assert context(text, offset, known) == context(text, offset)


# Quick fixes


def offered(text: str) -> list[tuple[str, str]]:
    """(title, the text after it) of all fixes of a text."""
    return [(fix.title, applied(text, fix.edits)) for fix in fixes(page(text), 0, len(text))]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("num_output: 2", "num_ouput: 2"),
        ('"InnerProduct"', '"InnerProdct"'),
        ('type: "Adam"', 'type: "Adan"'),
        ('lr_policy: "step"', "lr_policy: step"),
        ("base_lr: 0.1", 'base_lr: "0.1"'),
        ("base_lr: 0.1", "base_lr 0.1"),
        ('"std/resnet.net"', '"std/resnat.net"'),
        ("${widths[i]}", "${width[i]}"),
        ("out: ${", "outt: ${"),
        ("[1, 4, 8, 8]", "[1, 4; 8, 8]"),
        ("i in range(2)", "i in rang(2)"),
        ("inner_product_param { num_output: 2 }", "num_output: 2"),
    ],
)
def test_a_hint_is_a_quick_fix(right: str, wrong: str):
    assert right in NET
    text = NET.replace(right, wrong)
    (title, changed), *_ = offered(text)
    assert changed == NET and title.split()[0] in ("Change", "Write", "Move")


def test_a_field_is_moved_into_its_block():
    text = 'solver { type: "optax.lion"\n  b1: 0.5\n  base_lr: 1 optax_param { b2: 0.8 } }\n'
    ((title, changed),) = offered(text)
    assert title == "Move `b1` into `optax_param { }`"
    assert changed == 'solver { type: "optax.lion"\n  base_lr: 1 optax_param { b1: 0.5 b2: 0.8 } }\n'


@pytest.mark.parametrize(
    "wrong",
    [
        "[1, 4, 8, 8",  # the hint says to close it, but not where
        "[1, 4, 8, 8] } } }\nlet x: ${widths[7]}",
        '[1, 4, 8, 8] } } }\nlayer { name: "${widths}_r" type: "ReLU" bottom: "y${1}" top: "z" }',
    ],
)
def test_a_hint_that_does_not_help_is_no_quick_fix(wrong: str):
    assert offered(NET.replace("[1, 4, 8, 8] } >", wrong)) == []


def test_quick_fixes_are_those_of_the_range():
    text = NET.replace("num_output", "num_ouput").replace("Adam", "Adan")
    at = text.index("num_ouput") + 3
    assert [fix.diagnostic.code for fix in fixes(page(text), at, at)] == ["unknown-field"]
    assert fixes(page(text), 0, 5) == []


# Shapes


def test_shapes_are_shown_where_tops_are_written_and_templates_used():
    text = NET.replace("#", "#")
    found = [
        (text[: hint.offset].rpartition(" ")[2], hint.label, hint.detail) for hint in shape_hints(page(text), 0, 9999)
    ]
    assert found == [
        ('"${name}"', "1x2", "`score`"),
        ('"x"', "1x4x8x8", "`x`"),
        ("}", "1x8x8x8, 1x16x8x8", "`res0`, `res1`"),
        ("}", "1x2", "`score`"),
    ]
    assert shape_hints(page(text), 0, 20) == [] == shape_hints(page(text.replace("Input", "Inputt")), 0, 9999)


def test_shapes_of_the_phases_differ():
    layer = (
        'layer {{ name: "x" type: "Input" top: "x" include {{ phase: {} }} input_param {{ shape {{ dim: {} }} }} }}\n'
    )
    text = layer.format("TRAIN", 64) + layer.format("TEST", 100)
    text += 'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }\nlayer { name: "s" type: "Split" bottom: "x" top: "a" top: "b" }\n'
    assert [hint.label for hint in shape_hints(page(text), 0, 9999)] == ["64", "100", *["64 (TRAIN), 100 (TEST)"] * 3]


def test_names_and_arguments_of_optax_are_completed():
    text = 'solver { type: "optax.lion" base_lr: 1 lr_policy: "optax.constant_schedule"\n optax_param { } optax_schedule_param { value: 1 } }\n'
    whole = page('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }\n' + text)

    def labels(mark: str) -> set[str]:
        return {item.label for item in complete(whole, whole.source.text, whole.source.text.index(mark) + len(mark))[1]}

    assert {"optax.adafactor", "optax.contrib.muon", "SGD"} <= labels('type: "optax.')
    assert {"optax.cosine_decay_schedule", "step"} <= labels('lr_policy: "optax.')
    assert {"b1", "b2", "weight_decay"} <= labels("optax_param { ")
    assert "value" in labels("optax_schedule_param { ")
    _, said = hover(whole, whole.source.text, whole.source.text.index("optax.lion") + 3) or (None, "")
    assert "b1" in said and "optax_param" in said


def test_each_imported_file_is_read_once_for_all_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.net").write_text("let width: 3\ntemplate block(name) { }\n")
    text = 'import "a.net"\n' * 300 + "".join(f'import "no{i}.net"\n' for i in range(300)) + "block { }\nx: ${width}\n"
    opened = read(Source("net.net", text, tmp_path / "net.net"))
    counting = Mock(wraps=parse)
    monkeypatch.setattr(page_module, "parse", counting)
    assert [*opened.templates] == ["block"] and "template block(name)" in str(hover(opened, text, text.index("block")))
    assert "let width: 3" in str(hover(opened, text, text.rindex("width")))
    assert outline(opened) and definition(opened, text.rindex("width"))
    assert counting.call_count == 1 and len(opened.imported) == MOST_FILES
