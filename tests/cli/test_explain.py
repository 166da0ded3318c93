"""`netdef explain`: every name is explained, according to its declaration."""

from __future__ import annotations

import json
import re

import pytest

from netdef.fillers.base import FILLERS
from netdef.inspect import explain
from netdef.inspect.explain_language import CONSTRUCTS
from netdef.language import codes
from netdef.language.diagnostics import Report
from netdef.language.expansion.expand import expand
from netdef.language.parsing.parser import parse
from netdef.language.source import Source
from netdef.layers.base import LAYERS
from netdef.policies.base import POLICIES
from netdef.solvers.base import SOLVERS

EVERYTHING = [
    *LAYERS.names(),
    *FILLERS.names(),
    *POLICIES.names(),
    *SOLVERS.names(),
    *codes.catalogue(),
    "solver",
    "layer",
]


@pytest.mark.parametrize("name", [*sorted(set(EVERYTHING)), "optax", "optax.lion", "optax.cosine_decay_schedule"])
def test_everything_is_explained(name):
    entries = explain.find(name)
    assert entries, name
    for entry in entries:
        text = explain.text(entry)
        assert entry.name == "optax" or "".join(entry.summary.split()) in "".join(text.split())
        assert all(len(line) <= explain.WIDTH for line in text.partition("\nexample")[0].splitlines())
        for field in (*entry.fields, *entry.beside):
            assert field.doc, f"{name}.{field.name} has no meaning"
            assert field.name in text


def test_an_ellipsis_at_the_end_of_a_summary_is_kept(netdef):
    assert "are the classes 0, 1, 2, ...\n" in netdef("explain").out


def test_a_long_line_of_a_table_continues_in_its_last_column():
    lines = explain.text(explain.find("optax")[0]).splitlines()
    at = next(i for i, line in enumerate(lines) if "optax.contrib.dpsgd" in line)
    column = re.match(r" *\S+ +", lines[at])
    assert column and column.end() == len(lines[at + 1]) - len(lines[at + 1].lstrip())


def test_a_layer(netdef):
    done = netdef("explain", "InnerProduct")
    assert done.code == 0
    assert "y = W x + b" in done.out
    assert "fields of inner_product_param { }" in done.out
    row = next(line for line in done.out.splitlines() if "num_output " in line)
    assert row.split(maxsplit=3) == ["num_output", "int", "required", "Number of outputs. At least 1."]
    assert 'type: "InnerProduct"' in done.out.partition("example")[2]


def test_required_fields_come_first_and_idle_ones_last():
    names = [
        line.split()[0]
        for line in explain.text(explain.find("Convolution")[0]).splitlines()
        if line.startswith("  ") and len(line.split()) > 3
    ]
    assert names.index("num_output") < names.index("kernel_size") < names.index("engine")


def test_a_field_names_the_layers_that_have_it(netdef):
    done = netdef("explain", "bias_filler")
    assert "InnerProduct" in done.out and "Convolution" in done.out


def test_the_values_of_an_enum_are_listed(netdef):
    assert '"L2" | "L1"' in netdef("explain", "regularization_type").out


def test_a_block_leads_to_the_layers_that_read_it(netdef):
    assert "Convolution  (layer type)" in netdef("explain", "convolution_param").out


def test_nested_fields_are_shown(netdef):
    out = netdef("explain", "layer").out
    assert "lr_mult" in out and "min_level" in out


def test_case_does_not_matter_where_it_is_clear(netdef):
    assert netdef("explain", "innerproduct").out == netdef("explain", "InnerProduct").out


def test_a_diagnostic_shows_wrong_and_right(netdef):
    out = netdef("explain", "unknown-field").out
    assert out.index("# wrong") < out.index("# right")


def test_without_a_name_everything_is_listed(netdef):
    out = netdef("explain").out
    for name in EVERYTHING:
        assert f"\n  {name} " in out, name


def test_unknown_name(netdef):
    done = netdef("explain", "Convolutoin")
    assert (done.code, done.out) == (2, "")
    assert "Did you mean Convolution?" in done.err
    assert "`netdef explain` lists" in netdef("explain", "qqqqqqqqqq").err


def test_json(netdef):
    (entry,) = json.loads(netdef("explain", "xavier", "--json").out)
    assert (entry["name"], entry["kind"]) == ("xavier", "filler")
    assert any(field["name"] == "variance_norm" for field in entry["fields"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("residual_bottleneck", "1x1 to a quarter of the channels"),
        ("face_center_loss", 'import "std/face.net"'),
        ("template", "a parameter with a default is optional"),
        ("let", "--set name=value"),
    ],
)
def test_statements_and_templates_are_explained(netdef, name, words):
    done = netdef("explain", name)
    assert done.code == 0 and words in done.out


def test_examples_of_statements_are_correct():
    for text in CONSTRUCTS:
        if text.name != "import":
            report = Report()
            document = parse(Source("<example>", text.example), report)
            assert document is not None
            expand(document, report)
            assert not report.diagnostics, text.name


def test_own_fields_precede_those_of_forks(netdef):
    out = netdef("explain", "ArrayData").out
    assert out.index(" scale ") < out.index(" crop_h ")
