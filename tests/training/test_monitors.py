"""Options of a solver: early stopping, best snapshots, moving averages, stages, frozen layers, precision, `reuse`."""

from __future__ import annotations

import numpy as np
import pytest

import netdef
from netdef import NetdefError
from netdef.interop import snapshot
from netdef.language.errors import printable
from netdef.training import events as ev

QUIET = {"solver.snapshot": 0, "solver.test_interval": 0, "solver.display": 0}


def with_solver(tiny, name, extra):
    path = tiny.parent / f"{name}.net"
    path.write_text(tiny.read_text().replace("solver { ", f"solver {{ {extra} "))
    return path


def weights(result, layer):
    return result.model.get_weights()[layer]


def test_early_stopping_waits_for_patience_tests(tiny, tmp_path):
    path = with_solver(tiny, "early", 'early_stopping { monitor: "accuracy" patience: 2 min_delta: 2 }')
    events = []
    result = netdef.train(path, output=tmp_path / "run", set={"solver.test_interval": 2}, on_event=events.append)
    assert result.iteration == 4  # tests at 0 (the first is best), 2 and 4
    assert "accuracy did not improve on" in result.why
    assert result.snapshot == tmp_path / "run" / "iter_000004"
    assert any(isinstance(e, ev.Notice) and "stopped early" in e.text for e in events)


def test_a_target_that_is_reached_ends_the_run(tiny, tmp_path):
    path = with_solver(tiny, "target", 'early_stopping { monitor: "accuracy" target: 0.7 patience: 100 }')
    result = netdef.train(path, output=tmp_path / "run", set={"solver.test_interval": 2, "solver.max_iter": 200})
    tests = [row for row in result.history if row["phase"] == "test"]
    assert tests[-1]["accuracy"] >= 0.7 and all(row["accuracy"] < 0.7 for row in tests[:-1])
    assert tests[-1]["iteration"] == result.iteration < 200
    assert "accuracy reached" in result.why


def test_a_monitor_of_a_missing_output_or_test_net_is_reported_at_once(tiny, tmp_path):
    path = with_solver(tiny, "unknown", 'early_stopping { monitor: "acuracy" }')
    with pytest.raises(NetdefError, match="`acuracy`.*loss, .*Did you mean `accuracy`"):
        netdef.train(path, output=tmp_path / "run")
    with pytest.raises(NetdefError, match="test net 0.*number of test nets is 0"):
        netdef.train(path, output=tmp_path / "run", set={"solver.test_interval": 0, "solver.test_iter": []})


def test_the_best_and_the_last_snapshots_are_kept(tiny, tmp_path):
    path = with_solver(tiny, "best", 'snapshot_best { monitor: "loss" } snapshot_keep: 2')
    result = netdef.train(path, output=tmp_path / "run", set={"solver.test_interval": 4})
    names = sorted(p.name for p in result.folder.iterdir() if p.is_dir())
    assert names == ["best", "iter_000015", "iter_000020", "source"]
    tests = {row["iteration"]: row["loss"] for row in result.history if row["phase"] == "test" and row["iteration"]}
    best = snapshot.load(result.folder / "best").state["iteration"]
    assert tests[best] == min(tests.values())
    again = netdef.train(
        path, resume=result.folder / "best", set={"solver.test_interval": 4}, output=tmp_path / "again"
    )
    assert all(np.array_equal(a, b) for a, b in zip(weights(again, "ip2"), weights(result, "ip2"), strict=True))


def test_averages_follow_the_weights_and_are_returned(tiny, tmp_path):
    plain = [netdef.train(tiny, output=tmp_path / f"{n}", max_iter=n, set=QUIET) for n in (1, 2)]
    start = netdef.compile(tiny, phase="TRAIN", seed=3).get_weights()["ip2"][0]
    averaged = netdef.train(with_solver(tiny, "ema", "ema: 0.9"), output=tmp_path / "ema", max_iter=2, set=QUIET)
    first = 0.1 * start + 0.9 * weights(plain[0], "ip2")[0]  # the first step keeps (1 + 0) / (10 + 0)
    second = 2 / 11 * first + 9 / 11 * weights(plain[1], "ip2")[0]
    np.testing.assert_allclose(weights(averaged, "ip2")[0], second, rtol=1e-5)
    saved = snapshot.weights(averaged.snapshot)["ip2"][0]
    np.testing.assert_array_equal(saved, weights(averaged, "ip2")[0])


def test_stages_freeze_layers_for_a_while(tiny, tmp_path):
    path = with_solver(tiny, "stages", 'stages { until: 3 freeze: "ip1|bn" } stages { }')
    start = netdef.compile(path, phase="TRAIN", seed=3).get_weights()
    events = []
    before = netdef.train(path, output=tmp_path / "a", max_iter=3, set=QUIET)
    after = netdef.train(path, output=tmp_path / "b", max_iter=4, set=QUIET, on_event=events.append)
    for layer in ("ip1", "bn"):
        assert all(np.array_equal(a, b) for a, b in zip(weights(before, layer), start[layer], strict=True)), layer
        assert not np.array_equal(weights(after, layer)[0], start[layer][0])
    assert not np.array_equal(weights(before, "ip2")[0], start["ip2"][0])
    assert [(e.iteration, e.text) for e in events if isinstance(e, ev.Notice)] == [
        (0, "stage 1: 2 layers frozen"),
        (3, "stage 2: 0 layers frozen"),
    ]
    resumed = netdef.train(path, output=tmp_path / "a", max_iter=4, set=QUIET, resume=True)
    assert all(np.array_equal(a, b) for a, b in zip(weights(resumed, "ip1"), weights(after, "ip1"), strict=True))


def test_layers_frozen_by_name_stay_with_their_statistics(tiny, tmp_path):
    path = with_solver(tiny, "freeze", 'freeze: "ip1" freeze: "b."')
    start = netdef.compile(path, phase="TRAIN", seed=3).get_weights()
    result = netdef.train(path, output=tmp_path / "run", max_iter=3, set=QUIET)
    for layer in ("ip1", "bn"):
        assert all(np.array_equal(a, b) for a, b in zip(weights(result, layer), start[layer], strict=True)), layer
    with pytest.raises(NetdefError, match='"ip9".*Did you mean `ip1`'):
        netdef.train(with_solver(tiny, "wrong", 'freeze: "ip9"'), output=tmp_path / "other")


def test_half_precision_learns_with_weights_in_float32(tiny, tmp_path):
    half = netdef.train(with_solver(tiny, "half", "precision: BF16"), output=tmp_path / "half")
    full = netdef.train(tiny, output=tmp_path / "full")
    assert all(a.dtype == np.float32 for arrays in half.model.get_weights().values() for a in arrays)
    one, other = (weights(r, "ip2")[0] for r in (half, full))
    assert not np.array_equal(one, other)
    np.testing.assert_allclose(one, other, atol=0.05)
    assert half.history[-2]["loss"] < half.history[1]["loss"]


def test_a_plateau_reduces_the_learning_rate(tiny, tmp_path):
    text = tiny.read_text().replace('lr_policy: "step" gamma: 0.5 stepsize: 10', 'lr_policy: "plateau" gamma: 0.1')
    path = tiny.parent / "plateau.net"
    path.write_text(text.replace("solver { ", 'solver { plateau { monitor: "accuracy" patience: 1 min_delta: 2 } '))
    result = netdef.train(path, output=tmp_path / "run", set={"solver.test_interval": 4, "solver.display": 4})
    rates = [row["lr"] for row in result.history if row["phase"] == "train"]
    np.testing.assert_allclose(rates, [0.1, 0.01, 1e-3, 1e-4, 1e-5], rtol=1e-5)


@pytest.mark.parametrize("many", [1, 2])
def test_weights_of_another_net_under_other_names(tiny, tmp_path, many):
    source = netdef.train(tiny, output=tmp_path / "run", max_iter=2, set=QUIET)
    path = tiny.parent / "reuse.net"
    renamed = tiny.read_text().replace('name: "ip', 'name: "new/ip')
    block = f'reuse {{ source: "{printable(str(source.folder))}" layers: "ip({"[12]" if many == 2 else "1"})" to: "new/ip\\\\1" }} '
    path.write_text(renamed.replace("solver { ", "solver { " + block))
    events = []
    result = netdef.train(
        path, output=tmp_path / "other", max_iter=1, set=QUIET | {"solver.base_lr": 0}, on_event=events.append
    )
    np.testing.assert_array_equal(weights(result, "new/ip1")[0], weights(source, "ip1")[0])
    assert events[0].untouched == (("bn",) if many == 2 else ("bn", "new/ip2"))
    path.write_text(renamed.replace("solver { ", "solver { " + block.replace("new/ip", "new/pi")))
    with pytest.raises(NetdefError, match="no layer `new/pi1`.*Did you mean `new/ip1`"):
        netdef.train(path, output=tmp_path / "third")
