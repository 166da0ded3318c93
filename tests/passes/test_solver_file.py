"""The nets that a solver names: every command follows Caffe's rule."""

from __future__ import annotations

from pathlib import Path

import pytest

import netdef
from netdef.cli import main
from netdef.compiler import load_phases, plain_tree
from netdef.language.diagnostics import CompileError, Report
from netdef.language.source import Source
from netdef.layers.base import Phase
from netdef.passes.solver_file import is_solver
from netdef.training.solver_nets import nets_of

NET = """
name: "NAME"
layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
"""
RULE = "base_lr: 0.1 max_iter: 1\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        Path(f"{name}.net").write_text(NET.replace("NAME", name))
    wide = NET.replace("NAME", "wide").replace("num_output: 2", "num_output: ${width}")
    Path("wide.net").write_text(f"let width: 2\n{wide}")


def inline(name: str) -> str:
    return f"{{ {NET.replace('NAME', name)} }}"


CASES = [  # fields of the solver, the net that is trained, the nets that are tested
    ('net: "a.net" test_iter: [1, 1]', "a", ["a", "a"]),
    ('train_net: "a.net" test_net: "b.net" test_iter: 1', "a", ["b"]),
    ('train_net: "a.net" test_net: ["b.net", "c.net"] test_iter: [1, 1]', "a", ["b", "c"]),
    (f'train_net: "a.net" test_net: "b.net" test_net_param {inline("i")} test_iter: [1, 1]', "a", ["i", "b"]),
    ('net: "a.net" test_net: "b.net" test_iter: [1, 1]', "a", ["b", "a"]),
    (f"net_param {inline('i')} test_iter: 1", "i", ["i"]),
    (f"train_net_param {inline('i')} test_net_param {inline('j')} test_iter: 1", "i", ["j"]),
    ('test_net: "b.net" train_net: "a.net" test_interval: 1', "a", ["b"]),
]


@pytest.mark.parametrize(("text", "trained", "tested"), CASES)
def test_load_and_train_name_the_same_nets(text: str, trained: str, tested: list[str]):
    nets = nets_of(RULE + text)
    assert (nets.train.name, [net.name for net in nets.tests]) == (trained, tested)
    assert netdef.load(RULE + text, phase="TRAIN").name == trained
    assert netdef.load(RULE + text, phase="TEST").name == tested[0]
    assert [net.name for net in load_phases(RULE + text).nets] == [trained, tested[0]]


def test_a_net_that_is_only_trained_is_also_the_test_net():
    text = RULE + 'train_net: "a.net"'
    assert nets_of(text).tests == ()
    net = netdef.load(text, phase="TEST")
    assert (net.name, net.phase) == ("a", Phase.TEST)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('net: "a.net" train_net: "b.net"', "given-twice"),
        (f'net: "a.net" net_param {inline("i")}', "given-twice"),
        ('test_net: "b.net" test_iter: 1', "missing-field"),
        ("", "missing-field"),
    ],
)
def test_load_and_train_reject_the_same_solvers(text: str, code: str):
    found = []
    for read in (netdef.load, nets_of):
        with pytest.raises(CompileError) as error:
            read(RULE + text)
        found.append([(d.code, d.detail, d.line, d.column) for d in error.value.diagnostics])
    assert found[0] == found[1] and found[0][0][0] == code
    Path("s.prototxt").write_text(RULE + text)
    assert main(["check", "s.prototxt"]) == 2


def test_each_phase_of_a_solver_with_two_inline_nets_is_built_from_its_own():
    text = (
        f"{RULE} train_net_param {inline('i')} test_net_param {inline('j').replace('num_output: 2', 'num_output: 3')}"
    )
    shapes = [net.params["ip"][0] for net in load_phases(text).nets]
    assert shapes == [(2, 3), (3, 3)]


def test_a_constant_of_the_net_is_set_through_its_solver(capsys: pytest.CaptureFixture[str]):
    Path("s.prototxt").write_text(RULE + 'net: "wide.net" display: 1')
    settings = {"width": 5, "solver.base_lr": 0.5}
    nets = nets_of("s.prototxt", settings)
    loaded = netdef.load("s.prototxt", set=settings)
    assert nets.train.params["ip"][0] == loaded.params["ip"][0] == (5, 3)
    assert nets.solver.base_lr == loaded.solver.base_lr == 0.5
    words = ["s.prototxt", "--set", "width=5"]
    assert main(["check", *words]) == 0
    assert main(["train", *words, "--output", "run"]) == 0
    capsys.readouterr()
    assert main(["check", "s.prototxt", "--set", "widht=5"]) == 2
    assert "did you mean width" in capsys.readouterr().out


def test_a_constant_of_one_of_two_nets_is_set_in_that_one(capsys: pytest.CaptureFixture[str]):
    text = RULE + 'train_net: "a.net" test_net: "wide.net" test_iter: 1'
    Path("s.prototxt").write_text(text)
    nets = nets_of("s.prototxt", {"width": 5})
    assert (nets.train.params["ip"][0], nets.tests[0].params["ip"][0]) == ((2, 3), (5, 3))
    for phase in ((), ("--phase", "TRAIN"), ("--phase", "TEST")):
        assert main(["check", "s.prototxt", "--set", "width=5", *phase]) == 0
    capsys.readouterr()
    assert main(["check", "s.prototxt", "--set", "widht=5"]) == 2
    assert "unknown-setting" in capsys.readouterr().out


@pytest.mark.parametrize("inside", [True, False])
def test_check_builds_the_nets_in_the_states_of_the_solver(inside: bool, capsys: pytest.CaptureFixture[str]):
    states = 'train_state { stage: "wide" level: 1 } test_state { stage: "deep" } test_iter: 1 test_interval: 1'
    rules = 'include { stage: "wide" min_level: 1 } include { stage: "deep" }'
    net = NET.replace('name: "ip"', f'name: "ip" {rules}')
    Path("s.net").write_text(f"{net} solver {{ {RULE} {states} }}" if inside else f'{RULE} {states} net: "n.net"')
    Path("n.net").write_text(net)
    found = nets_of("s.net")
    assert [len(net.layers) for net in (found.train, *found.tests)] == [3, 3]
    assert [len(net.layers) for net in load_phases("s.net").nets] == [3, 3]
    assert main(["check", "s.net"]) == 0
    assert main(["check", "s.net", "--stage", "other"]) == 2  # a given state replaces those of the solver
    capsys.readouterr()


def test_a_constant_of_the_solver_is_its_own():
    text = 'let steps: 3\nlet width: 4\nbase_lr: 0.1 max_iter: ${steps} display: ${width} net: "wide.net"'
    solver = nets_of(text, {"steps": 7, "width": 5})
    assert (solver.solver.max_iter, solver.solver.display) == (7, 5)
    assert solver.train.params["ip"][0] == netdef.load(text, set={"width": 5}).params["ip"][0] == (2, 3)


def test_a_solver_in_a_choice_is_one_before_and_after_it_is_expanded():
    text = 'let fast: true\nif fast { base_lr: 1 } else { base_lr: 0.1 }\n# layer\nmax_iter: 1 net: "wide.net"'
    assert netdef.load(text, set={"width": 6}).params["ip"][0] == (6, 3)
    assert is_solver(plain_tree(Source.of(text), Report()).body)
    for net in ('layer { name: "a" }', 'name: "n"', "solver { base_lr: 1 }", "let width: 1"):
        assert not is_solver(plain_tree(Source.of(Source("t", net)), Report()).body)
