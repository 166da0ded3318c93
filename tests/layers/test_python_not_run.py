"""Looking at a net runs no code that it names: only training, testing and compiling run the module of a Python layer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import netdef
from netdef.cli import main
from netdef.language.source import Source
from netdef.language.trust import Trust
from netdef.lsp.page import read
from netdef.sweep.sweep import sweep

MODULE = """
from pathlib import Path
Path(__file__).with_name("ran").touch()

def double(x):
    return 2 * x
"""
NET = """name: "Doubled"
layer { name: "d" type: "DummyData" top: "x" top: "label" dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }
layer { name: "twice" type: "Python" bottom: "x" top: "y" python_param { module: "their_double" layer: "double" } }
layer { name: "ip" type: "InnerProduct" bottom: "y" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 1 display: 1 test_iter: 1 test_interval: 1 }
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A file with a Python layer, in the working directory; its module leaves the file `ran` when it is imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "their_double.py").write_text(MODULE)
    (tmp_path / "model.net").write_text(NET)
    yield tmp_path / "model.net"
    sys.modules.pop("their_double", None)


def ran(net: Path) -> bool:
    return net.with_name("ran").exists()


LOOKING = [
    "check model.net",
    "check --strict model.net",
    "summary model.net",
    "expand model.net",
    "draw model.net",
    "deploy model.net",
    "convert model.net",
    "fmt --check model.net",
    "data stats model.net",
]


@pytest.mark.parametrize("command", LOOKING)
def test_commands_that_look_at_a_net_do_not_run_its_module(net, command, capsys):
    code = main(command.split())
    said = capsys.readouterr()
    assert not ran(net)
    assert code == (1 if command.startswith(("fmt", "data")) else 0), said.err


@pytest.mark.parametrize("command", ["eject model.net -o m.py", "convert model.net -o m.onnx"])
def test_commands_that_export_a_net_ask_for_permission(net, command, capsys):
    np.savez("a.npz")
    assert main(command.split()) == 1
    assert "--trust-python" in capsys.readouterr().err
    assert not ran(net)


def test_the_functions_that_look_at_a_net_do_not_run_its_module(net):
    for made in (netdef.load(net), netdef.load(net, phase="TEST"), netdef.deploy(net)):
        assert made.blobs["y"].shape is None
        with pytest.raises(
            netdef.NetdefError, match="layer `twice` runs the Python module `their_double`, and the net"
        ):
            netdef.compile(made)
    assert not ran(net)


def test_a_note_says_which_module_would_run(net, capsys):
    (note,) = netdef.load(net).diagnostics
    assert (note.code, note.severity, note.line, note.span.text) == ("not-run", "note", 3, '"their_double"')
    assert "`their_double`" in note.detail and "--trust-python" in note.detail
    assert main(["check", "--strict", str(net)]) == 0
    assert capsys.readouterr().out.endswith("1 file checked: 1 note\n")
    assert main(["check", "--json", str(net)]) == 0
    assert json.loads(capsys.readouterr().out)["diagnostics"][0]["severity"] == "note"


@pytest.mark.parametrize("command", ["check", "summary", "draw", "deploy"])
def test_the_module_runs_with_permission(net, command, capsys):
    assert main([command, "--trust-python", str(net)]) == 0
    assert ran(net) and "not-run" not in capsys.readouterr().err
    made = netdef.load(net, trust_python=True)
    assert (made.blobs["y"].shape, made.diagnostics) == ((4, 3), ())
    assert netdef.compile(netdef.deploy(net, trust_python=True)).net.outputs == ("prob",)


@pytest.mark.parametrize("command", ["train model.net", "time model.net --iterations 1 --warm-up 1"])
def test_commands_that_run_a_net_run_its_module(net, command):
    assert main(command.split()) == 0
    assert ran(net)
    assert netdef.compile(net).net.blobs["y"].shape == (4, 3)


def test_a_trained_net_is_tested_and_reported(net, capsys):
    assert main(["train", "model.net"]) == 0
    for command in ("test model.net", "report runs/Doubled --trust-python"):
        assert main(command.split()) == 0, capsys.readouterr().err
    assert main("deploy model.net --fold --save-weights w.npz".split()) == 1
    assert "--trust-python" in capsys.readouterr().err
    assert main("deploy model.net --fold --save-weights w.npz --trust-python".split()) == 0
    assert sweep(net, {"solver.base_lr": [0.1]}).rows[0]["iterations"] == 1


def test_an_exit_in_a_module_does_not_look_like_success(net, capsys):
    net.write_text(NET.replace("their_double", "sys").replace('"double"', '"exit"'))
    assert main(["check", str(net)]) == 0
    assert main(["check", "--trust-python", str(net)]) == 2
    assert "Sys.exit fails for 4x3: SystemExit" in capsys.readouterr().out.replace("sys.exit", "Sys.exit")
    assert main(["train", str(net)]) == 2


def test_a_page_of_an_editor_does_not_run_the_module(net):
    source = Source(str(net), NET, net)
    assert {d.code for d in read(source).diagnostics} == {"not-run"}
    assert not ran(net)
    assert read(source, Trust(python=True)).diagnostics == ()
    assert ran(net)
