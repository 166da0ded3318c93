"""The HTML of nets, models, diagnostics, runs and scores: what it contains, and that nothing in it is unescaped."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pages import read

import netdef
from netdef.graph import Net
from netdef.inference.predict import Prediction
from netdef.inspect import draw
from netdef.notebook import page, traceback_of
from netdef.training.run import Result
from netdef.training.scoring import Evaluation

EXAMPLES = Path(__file__).parents[2] / "examples"
EVIL = "<img src=x onerror=alert(1)>&\"'"


def net_named(name: str) -> Net:
    quoted = json.dumps(name)
    return netdef.load(
        f"""
        name: {quoted}
        layer {{ name: "in" type: "Input" top: {quoted} input_param {{ shape {{ dim: [2, 3] }} }} }}
        layer {{ name: {quoted} type: "InnerProduct" bottom: {quoted} top: "out"
                 inner_product_param {{ num_output: 4 bias_term: false }} }}
        """,
        phase="TEST",
    )


def test_a_net_is_a_table_of_its_layers():
    found = read(page(netdef.load(EXAMPLES / "digits.net")))
    assert found.tags.count("tr") == 1 + 14
    for words in ("Digits", "phase TRAIN", "30,762 parameters", "14 layers", "64x32x3x3", "18,432", "conv3 64x64x4x4"):
        assert words in found.text, words


def test_the_table_of_many_layers_is_closed_below_that_of_the_blocks():
    html = page(netdef.load(EXAMPLES / "resnet152.net"))
    assert "<details open><summary>10 blocks" in html and "<details><summary>671 layers" in html
    blocks = read(html[: html.index("671 layers")].rpartition("<details>")[0] + "</div>")
    assert blocks.tags.count("tr") == 11
    assert "residual_stage res24216x256x56x56218,634" in blocks.text  # layers, output, parameters
    assert "<details open><summary>14 layers" in page(netdef.load(EXAMPLES / "digits.net"))


def test_unknown_shapes_are_question_marks():
    net = netdef.load('layer { name: "d" type: "Data" top: "x" data_param { source: "no" batch_size: 2 } }')
    assert "2x?" in read(page(net)).text and "1 error" not in page(net)
    assert "1 warning" in read(page(net)).text


def test_nets_are_shown_without_jax():
    code = (
        f"import netdef, sys; net = netdef.load({str(EXAMPLES / 'digits.net')!r}); from netdef.notebook import page;"
        "page(net); page(net.diagnostics); print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize(("program", "drawn"), [("", False), ("echo '<svg/>'", True), ("exit 1", False)])
def test_the_diagram_is_drawn_if_graphviz_is_there(monkeypatch, tmp_path, program, drawn):
    if program:
        (tmp_path / "dot").write_text(f"#!/bin/sh\ncat > {shlex.quote(str(tmp_path))}/source\n{program}\n")
        (tmp_path / "dot").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    html = page(netdef.load(EXAMPLES / "digits.net"))
    assert ("data:image/svg+xml;base64," in html) == ("diagram" in read(html).text) == drawn
    assert not program or (tmp_path / "source").read_text().startswith('digraph "Digits"')


def test_large_diagrams_are_folded_and_too_large_ones_left_out(monkeypatch):
    drawn = []
    monkeypatch.setattr(draw, "by_graphviz", lambda source, *more: drawn.append(source) or b"<svg/>")
    page(netdef.load(EXAMPLES / "resnet152.net"))
    assert len(drawn) == 1 and drawn[0].count("[label=<<b>") < 70
    layers = "".join(
        f'layer {{ name: "{i}" type: "InnerProduct" bottom: "{i}" top: "{i + 1}" inner_product_param {{ num_output: 1 }} }}'
        for i in range(200)
    )
    page(netdef.load('layer { name: "in" type: "Input" top: "0" input_param { shape { dim: [1, 1] } } }' + layers))
    assert len(drawn) == 1


def test_names_are_escaped(monkeypatch):
    monkeypatch.setenv("PATH", "")
    net = net_named(EVIL)
    assert read(page(net)).text.count(EVIL) == 3  # the net, the blob, the layer
    assert read(page(netdef.compile(net))).text.count(EVIL) == 3


def test_a_model_is_shown_as_its_net(tiny):
    model = netdef.compile(tiny, phase="TRAIN")
    assert "Tiny model · phase TRAIN" in read(page(model)).text
    assert repr(model).startswith("<Model of <Net Tiny, phase TRAIN: 7 layers") and len(repr(model)) < 120


def errors_of(text: str) -> netdef.CompileError:
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(text)
    return caught.value


WRONG = """layer { name: "a" type: "Inputt" top: "x" }
layer { name: "<b>&amp;" typo: 1 type: "Input" top: "y" }
"""


def test_diagnostics_have_their_source_lines_and_carets():
    error = errors_of(WRONG)
    for shown in (error, error.diagnostics):
        found = read(page(shown))
        assert WRONG.splitlines()[1] in found.text and "2 errors" in found.text
        assert '<span class="error">^^^^^^^^</span>' in page(shown)
    assert "typo" not in read(page(error.diagnostics[0])).text
    assert "no errors, no warnings" in read(page(netdef.load(EXAMPLES / "digits.net").diagnostics)).text


def test_control_characters_in_a_file_are_no_colors():
    found = page(errors_of('layer { name: "a" type: "\x1b[31mx\x1b[7m" top: "x" }'))
    assert "\x1b" not in found
    read(found)


def test_what_was_long_is_one_short_line():
    net = netdef.load(EXAMPLES / "digits.net")
    error = errors_of(WRONG)
    found = [net, net.layers[1], net.layers[1].span, error.diagnostics[0]]
    assert [line for line in map(repr, found) if "\n" in line or len(line) > 140] == []
    assert repr(net.layers[1]) == "<layer conv1: conv1 = Convolution(data)>"
    many = Prediction("cat.jpg", np.linspace(0, 1, 1000), ("tench",))
    assert repr(many) == "<Prediction cat.jpg: class 999 1, class 998 0.999, class 997 0.998>"


def test_the_public_names_are_completed():
    names = {name for name in dir(netdef) if not name.startswith("_")}
    assert names >= {"compile", "train", "predict", "deploy", "test", "runs", "load", "features", "data"}
    assert names == set(netdef.__all__)  # and not what it imports, or its modules


# Errors


def test_a_traceback_has_the_lines_of_the_caller_only():
    def mine():
        netdef.load("nothing.net")

    with pytest.raises(netdef.NetdefError) as caught:
        mine()
    *places, message = traceback_of(caught.value)
    assert message.endswith("NetdefError\x1b[0m: nothing.net: file not found")
    assert len(places) == 2 and all(str(Path(__file__)) in place for place in places)
    assert places[1].endswith('in mine: netdef.load("nothing.net")')


def test_the_traceback_of_a_net_shows_every_error():
    lines = traceback_of(errors_of(WRONG))
    assert sum("^^^" in line for line in lines) == 2 and "\x1b[1mCompileError\x1b[0m: 2 errors" in lines


def test_the_cause_of_an_error_is_shown():
    try:
        try:
            raise ValueError("of the user")
        except ValueError as cause:
            raise netdef.NetdefError("not read") from cause
    except netdef.NetdefError as error:
        assert "ValueError: of the user" in traceback_of(error)


def test_ipython_finds_the_pages():
    formatters = pytest.importorskip("IPython.core.formatters")
    html = formatters.HTMLFormatter()
    error = errors_of(WRONG)
    for shown in (netdef.load(EXAMPLES / "digits.net"), error.diagnostics[0], error.diagnostics, error):
        assert html(shown) == page(shown)


# Runs


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A finished run with a name that is markup, and one that died."""
    sitting = {"began": "2026-01-01T10:00:00Z", "from": 0, "to": 20, "ended": "max_iter"}
    rows = [{"iteration": 10 * i, "phase": "train", "loss": 1 / (i + 1), "lr": 0.1, "seconds": i} for i in range(3)]
    rows += [{"iteration": 10 * i, "phase": "test", "loss": 1.0, "accuracy": i / 4, "seconds": i} for i in range(3)]
    for name, record in (
        ("<b>&", {"settings": {"a<b": "<i>"}, "sittings": [sitting]}),
        ("x", {"sittings": [{"began": "2025"}]}),
    ):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text(json.dumps({"max_iter": 20, **record}))
        (tmp_path / "runs" / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "runs"


def result_of(folder: Path, **changes) -> Result:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return Result(**{"model": None, "history": rows, "folder": folder, "iteration": 20, "snapshot": None} | changes)


def test_a_result_has_scores_and_curves(runs):
    html = page(result_of(runs / "<b>&", why="max_iter", loss=0.25))
    found = read(html)
    assert "<b>& 20 iterations · finished · loss 0.25" in found.text and "test accuracy" in found.text
    assert "svg" in found.tags and "#000000" not in html and "currentColor" in html
    assert html.count("<style") == 1  # that of the page, none of the figure, which would be one of the whole notebook


def test_a_result_without_records_or_without_matplotlib_says_so(runs, monkeypatch):
    empty = result_of(runs / "x", history=[], why="a < b", loss=float("nan"))
    assert "a < b · loss not finite" in read(page(empty)).text
    assert "no curves" in read(page(empty)).text
    with pytest.raises(netdef.NetdefError, match="nothing was recorded"):
        empty.plot()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    without = result_of(runs / "x", why="max_iter")
    assert "pip install matplotlib" in read(page(without)).text
    with pytest.raises(netdef.NetdefError, match="matplotlib"):
        without.plot()


def test_plots_are_figures_that_notebooks_show(runs, tmp_path):
    pytest.importorskip("matplotlib")
    result = result_of(runs / "x", why="max_iter")
    figure = result.plot(metrics=["loss"], by=["iteration"])
    assert [axes.get_ylabel() for axes in figure.axes] == ["Loss"]
    figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    formatters = pytest.importorskip("IPython.core.formatters")
    assert "<svg" in formatters.SVGFormatter()(figure)
    found = netdef.runs(runs)
    assert len(found[0].plot().axes) == 6 and len(found.plot(by=["time"]).axes) == 3
    with pytest.raises(netdef.NetdefError, match="none of the runs has a record"):
        netdef.runs(tmp_path).__class__().plot()


def test_runs_are_a_table(runs):
    found = netdef.runs(runs)
    shown = read(page(found))
    assert shown.tags.count("tr") == 3 and "<b>&" in shown.text and "a<b=<i>" in shown.text
    assert "finished" in shown.text and "died" in shown.text
    one = read(page(found[0]))
    assert "<b>& 20 iterations · finished · a<b = <i>" in one.text and "svg" in one.tags
    assert repr(found[0]).endswith("finished, 20 iterations, test accuracy 0.5>") and "\n" not in repr(found)
    (runs / "x/metrics.jsonl").write_text("")
    assert "svg" not in read(page(netdef.runs(runs)[1])).tags
    assert "no runs" in read(page(type(found)())).text


def test_scores_are_a_table():
    outputs = {"accuracy": np.float32(0.5), "each": np.array([0.25, np.nan] * 10), "<i>": np.float32(1)}
    found = Evaluation(0.125, outputs, 2, 1000, 61, ("a <b>",), "<w>")
    shown = read(page(found)).text
    for words in (
        "1,000 records in 1 min 1 s",
        "<w>",
        "0.125",
        "0.25 not finite 0.25",
        " ...",
        "<i>",
        "warning: a <b>",
    ):
        assert words in shown, words
    assert found.scores["each"][:2] == [0.25, None]
    scores = "loss 0.125, accuracy 0.5, each [20 values], <i> 1.0"
    assert repr(found) == f"<Evaluation of 1000 records: {scores}; weights <w>>"
