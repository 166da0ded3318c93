"""Sweeps: every run of the table ends as if it were trained alone, and an interrupted sweep can be continued."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

import netdef
from netdef import NetdefError
from netdef.lazy import jnp
from netdef.policies.base import POLICIES, Policy
from netdef.sweep import batched_runs
from netdef.sweep import sweep as sweeps
from netdef.training.solver_nets import nets_of

SHORT = {"solver.snapshot": 0, "solver.max_iter": 8, "solver.test_interval": 8, "solver.snapshot_after_train": False}


def test_batched_runs_have_the_results_of_separate_ones(tiny, tmp_path, monkeypatch):
    calls = []
    shared = batched_runs.train_batched
    monkeypatch.setattr(sweeps, "train_batched", lambda runs, *rest: calls.append(len(runs)) or shared(runs, *rest))
    found = sweeps.sweep(
        tiny,
        {"solver.base_lr": [0.1, 0.01], "solver.weight_decay": [0.0, 0.01]},
        seeds=2,
        output=tmp_path / "s",
        set=SHORT,
    )
    assert calls == [8] and len(found.rows) == 8
    for row in (found.rows[0], found.rows[5], found.rows[7]):
        settings = SHORT | {k: row[k] for k in ("solver.base_lr", "solver.weight_decay")}
        alone = netdef.train(tiny, output=tmp_path / row["run"], set=settings | {"solver.random_seed": row["seed"]})
        losses = [r["loss"] for r in alone.history if r["phase"] == "train"]
        assert row["loss"] == pytest.approx(losses[-1], rel=1e-4)
        assert row["test accuracy"] == pytest.approx(alone.history[-1]["accuracy"], abs=1e-6)
        written = (tmp_path / "s" / row["run"] / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["iteration"] for line in written] == [r["iteration"] for r in alone.history]


def test_runs_with_different_programs_train_separately(tiny, tmp_path):
    path = tiny.parent / "width.net"
    path.write_text("let width: 6\n" + tiny.read_text().replace("num_output: 6", "num_output: ${width}"))
    found = sweeps.sweep(path, {"width": [3, 5]}, output=tmp_path / "s", set=SHORT, max_iter=2)
    assert [row["width"] for row in found.rows] == [3, 5]
    assert found.settings == ("width",)
    assert [row["iterations"] for row in found.rows] == [2, 2], "each is tested at the end"
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["width=3", "width=5"]


def test_a_sweep_that_is_started_again_keeps_its_results(tiny, tmp_path):
    first = sweeps.sweep(tiny, {"solver.base_lr": [0.1, 0.01]}, output=tmp_path / "s", set=SHORT)
    written = lambda: {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("*/metrics.jsonl")}
    before = written()
    again = sweeps.sweep(tiny, {"solver.base_lr": [0.1, 0.01]}, output=tmp_path / "s", set=SHORT)
    assert len(before) == 2 and written() == before and again.rows == first.rows


def test_reached_is_the_iteration_at_which_a_run_meets_until(tiny, tmp_path):
    settings = SHORT | {"solver.test_interval": 2, "solver.max_iter": 60}
    found = sweeps.sweep(
        tiny, {"solver.base_lr": [0.1, 1e-9]}, until="accuracy>=0.7", output=tmp_path / "s", set=settings
    )
    fast, never = found.rows
    assert 0 < fast["reached"] <= 60 and fast["reached"] % 2 == 0
    assert never["reached"] is None and never["iterations"] == 60
    assert np.isfinite(fast["loss"])
    with pytest.raises(NetdefError, match="accuracy>=0.9"):
        sweeps.sweep(tiny, {}, until="accuracy is good")


@pytest.fixture
def halved():
    """A user-defined policy that reacts to tests; unregistered after the test."""
    with POLICIES.apart():

        class Halved(Policy, name="halved"):
            """A policy that halves the learning rate after each test."""

            def initial(self):
                return {"tests": jnp.int32(0)}

            def rate(self, iteration, at, state):
                return at.base_lr * 0.5 ** state["tests"]

            def tested(self, state, iteration, outputs):
                return {"tests": state["tests"] + 1}

        yield Halved


def test_runs_that_react_to_their_tests_are_not_batched(tiny, halved):
    def shares(*change):
        path = tiny.parent / "alone.net"
        path.write_text(tiny.read_text().replace(*change))
        return batched_runs.can_share([nets_of(path)])

    step = 'lr_policy: "step" gamma: 0.5 stepsize: 10'
    assert shares(step, 'lr_policy: "exp" gamma: 0.5')
    assert not shares(step, 'lr_policy: "plateau" gamma: 0.5')
    assert not shares(step, 'lr_policy: "halved"')
    for field in ("ema: 0.9", "early_stopping { }", "precision: BF16", 'stages { freeze: "ip1" }'):
        assert not shares("solver { ", f"solver {{ {field} "), field


def test_a_diverged_run_stops_changing_and_the_others_continue(tiny, tmp_path):
    found = sweeps.sweep(tiny, {"solver.base_lr": [0.1, 1e30]}, output=tmp_path / "s", set=SHORT)
    good, bad = found.rows
    assert np.isfinite(good["loss"]) and np.isfinite(good["test loss"])
    assert np.isnan(bad["test loss"])
    alone = netdef.train(tiny, output=tmp_path / "alone", set=SHORT)
    assert good["loss"] == pytest.approx([r["loss"] for r in alone.history if r["phase"] == "train"][-1], rel=1e-4)


def test_a_batch_that_is_interrupted_has_no_results(tiny, tmp_path, monkeypatch):
    class Interrupting(batched_runs.BatchedRuns):
        def emit(self, event):
            if event.iteration == 3:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(batched_runs, "BatchedRuns", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        sweeps.sweep(tiny, {"solver.base_lr": [0.1, 0.01]}, output=tmp_path / "s", set=SHORT)
    assert sorted(tmp_path.glob("s/*")) and not list(tmp_path.glob("s/*/result.json"))
    assert all("to" not in json.loads(path.read_text())["sittings"][0] for path in tmp_path.glob("s/*/run.json"))
