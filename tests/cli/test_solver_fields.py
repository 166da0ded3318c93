"""Options of `netdef train` that are names for fields of the solver."""

from __future__ import annotations

import json

import pytest

TESTED = "display: 1 test_interval: 1 test_iter: 1"


@pytest.fixture
def tested(good):
    good.write_text(good.read_text().replace("display: 1", TESTED))
    return good


def test_each_option_sets_its_field(netdef, tested, tmp_path):
    run = tmp_path / "run"
    words = ["--precision", "bf16", "--early-stop", "loss:7", "--best", "loss", "--freeze", "i."]
    done = netdef("train", tested, "--output", run, *words)
    assert done.code == 0, done.err
    assert json.loads((run / "run.json").read_text())["settings"] == {
        "solver.freeze": ["i."],
        "solver.precision": "BF16",
        "solver.early_stopping.monitor": "loss",
        "solver.early_stopping.patience": 7,
        "solver.snapshot_best.monitor": "loss",
    }
    text = (run / "net.prototxt").read_text()
    assert "precision: BF16" in text and "snapshot_best {" in text and 'freeze: "i."' in text


@pytest.mark.parametrize(
    ("option", "value", "setting"),
    [
        ("--freeze", "ip", "solver.freeze=ip"),
        ("--precision", "bf16", "solver.precision=FLOAT"),
        ("--early-stop", "loss", "solver.early_stopping.patience=3"),
        ("--best", "loss", "solver.snapshot_best.monitor=loss"),
    ],
)
def test_an_option_and_a_setting_of_the_same_field_are_an_error(netdef, tested, option, value, setting):
    done = netdef("train", tested, option, value, "--set", setting)
    assert done.code == 2 and f"{option} and --set {setting.partition('=')[0]} both set the field" in done.err


def test_wrong_values_are_reported(netdef, tested, tmp_path):
    assert "NAME:TESTS" in netdef("train", tested, "--early-stop", "loss:0").err
    assert "invalid choice" in netdef("train", tested, "--precision", "half").err
    done = netdef("train", tested, "--output", tmp_path / "run", "--best", "los")
    assert done.code == 1 and "the test reports loss. Did you mean `loss`" in done.err


def test_a_pattern_that_looks_like_another_value_stays_a_string(netdef, tested, tmp_path):
    tested.write_text(tested.read_text().replace('"ip"', '"7"'))
    done = netdef("train", tested, "--output", tmp_path / "run", "--freeze", "[0-9]+", "--freeze", "7")
    assert done.code == 0, done.err
    assert 'freeze: "7"' in (tmp_path / "run" / "net.prototxt").read_text()
    assert "no layer" in netdef("train", tested, "--freeze", "true").err


def test_a_profile_is_of_an_ordinary_run(netdef, tested, tmp_path):
    assert "remove --dry-run" in netdef("train", tested, "--dry-run", "--profile", tmp_path / "p").err
    assert netdef("train", tested, "--profile", tested).code == 2
