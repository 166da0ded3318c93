"""Random and Bayesian search: each trial is an ordinary run, and an interrupted search ends as if it had not been."""

from __future__ import annotations

import json
import math

import pytest
from tiny_net import variant

import netdef
from netdef import CompileError, NetdefError
from netdef.sweep import search as searches
from netdef.sweep.goal import Score
from netdef.sweep.one_run import Ended, Job, train_alone
from netdef.sweep.search import search
from netdef.sweep.seeds import combined
from netdef.sweep.space import Choice, Interval
from netdef.training import events as ev
from netdef.training.run import Options
from netdef.training.solver_nets import nets_of

pytest.importorskip("optuna")
SHORT = {"solver.snapshot": 0, "solver.max_iter": 8, "solver.test_interval": 4, "solver.snapshot_after_train": False}
RATES = {"solver.base_lr": Interval(0.01, 0.5, log=True)}


BOTH = RATES | {"solver.momentum": Choice((0.5, 0.9))}


@pytest.fixture
def quick(monkeypatch):
    """Runs that are not trained: the accuracy grows with the learning rate and the iterations."""

    def run(nets, job, goal, options):
        job.folder.mkdir(exist_ok=True)
        history, why = [], ""
        for iteration in (0, 2, 4, 6, 8):
            score = min(nets.solver.base_lr, 1.0) * iteration / 8 + 0.01 * (nets.solver.seed % 3)
            event = ev.Tested(iteration, 0, 1 - score, 0.1, {"accuracy": score}, 1.0)
            history.append({"iteration": iteration, "phase": "test", "loss": 1 - score, "accuracy": score})
            why = why or (options.hopeless(event) if options.hopeless else "")
            if why:
                break
        return Ended(history, why or "max_iter")

    monkeypatch.setattr(searches, "train_alone", run)


def test_a_trial_is_the_run_of_the_same_settings(tiny, tmp_path):
    found = search(tiny, BOTH, "bayes", 1, output=tmp_path / "s", set=SHORT)
    row = found.rows[0]
    settings = {name: row[name] for name in BOTH}
    assert row["seed"] == 3 and row["trial"] == 0 and row["state"] == "finished"
    alone = netdef.train(tiny, output=tmp_path / "run", set=SHORT | settings | {"solver.test_after_train": True})
    written = [json.loads(line) for line in (found.folder / row["run"] / "metrics.jsonl").read_text().splitlines()]
    timed = ("seconds", "images_per_s")
    untimed = lambda rows: [{k: v for k, v in r.items() if k not in timed} for r in rows]
    assert untimed(written) == untimed(alone.history)
    assert row["test accuracy"] == alone.scores["accuracy"] and found.score.column == "test accuracy"


def test_a_trial_that_was_killed_is_finished_first(tiny, tmp_path, monkeypatch):
    saving = SHORT | {"solver.snapshot": 4}
    trained = searches.train_alone

    def killed(nets, job, goal, options):
        trained(nets, job, goal, Options(max_iter=4))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(searches, "train_alone", killed)
        with pytest.raises(KeyboardInterrupt):
            search(tiny, RATES, trials=1, output=tmp_path / "s", set=saving)
    (row,) = search(tiny, RATES, trials=1, output=tmp_path / "s", set=saving).rows
    settings = saving | {"solver.base_lr": row["solver.base_lr"], "solver.test_after_train": True}
    alone = netdef.train(tiny, output=tmp_path / "alone", set=settings)
    assert row["iterations"] == 8 and row["test loss"] == alone.scores["loss"]


def test_a_diverged_run_has_a_loss_of_nan(tiny, tmp_path):
    nets = nets_of(tiny, SHORT | {"solver.base_lr": 1e30})
    ended = train_alone(nets, Job("bad", {}, 3, tmp_path / "bad"), None, Options())
    assert ended.why == "diverged" and math.isnan(ended.history[-1]["loss"])


def test_settings_depend_on_the_seed_only(tiny, quick, tmp_path):
    drawn = lambda how, seed, folder: [
        row["solver.base_lr"]
        for row in search(tiny, RATES, how, 12, seed=seed, output=tmp_path / folder, set=SHORT).rows
    ]
    for how in ("random", "bayes"):
        first = drawn(how, 1, f"{how}1")
        assert drawn(how, 1, f"{how}2") == first and drawn(how, 2, f"{how}3") != first
        assert len(set(first)) == 12 and all(0.01 <= rate <= 0.5 for rate in first)


def test_an_interrupted_search_ends_as_if_it_had_not_been(tiny, quick, tmp_path):
    whole = search(tiny, BOTH, "bayes", 12, output=tmp_path / "whole", set=SHORT)
    options = {"output": tmp_path / "s", "set": SHORT}

    def interrupt(row, done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tiny, BOTH, "bayes", 12, on_run=interrupt, **options)
    before = []
    again = search(tiny, BOTH, "bayes", 12, on_start=lambda score, done: before.append(done), **options)
    assert before == [3] and again.rows == whole.rows
    assert len(search(tiny, BOTH, "bayes", 14, **options).rows) == 14, "more trials are added"
    for change in ({"seed": 1}, {"prune": "median"}, {"max_iter": 4}):
        with pytest.raises(NetdefError, match="another search"):
            search(tiny, BOTH, "bayes", 12, **options, **change)
    (tmp_path / "s" / "study.log").write_text('{"op_code": 77}\n')
    with pytest.raises(NetdefError, match="study.log"):
        search(tiny, BOTH, "bayes", 12, **options)


@pytest.mark.parametrize("prune", ["median", "hyperband"])
def test_hopeless_runs_end_early(tiny, quick, tmp_path, prune):
    space = {"solver.base_lr": Interval(1e-9, 0.5, log=True)}
    found = search(tiny, space, trials=20, prune=prune, output=tmp_path / "s", set=SHORT)
    pruned = [row for row in found.rows if row["state"] == "pruned"]
    assert pruned and all(2 <= row["iterations"] < 8 for row in pruned)
    assert {row["iterations"] for row in found.rows if row["state"] == "finished"} == {8}
    assert found.best["state"] == "finished"
    assert found.best["solver.base_lr"] == max(r["solver.base_lr"] for r in found.rows if r["state"] == "finished")


def test_the_median_of_several_seeds_counts(tiny, quick, tmp_path):
    found = search(tiny, RATES, trials=3, seeds=3, output=tmp_path / "s", set=SHORT)
    for row in found.rows:
        median = row["solver.base_lr"] + 0.01
        assert row["test accuracy"] == pytest.approx(median) and row["test loss"] == pytest.approx(
            1 - median + 0.01, abs=0.011
        )
        assert (row["lowest"], row["highest"]) == pytest.approx((median - 0.01, median + 0.01))
        assert (row["seeds"], row["iterations"], row["state"]) == (3, 8, "finished")
    assert sorted(p.name for p in found.folder.glob("trial-001*")) == [f"trial-001,seed={n}" for n in (3, 4, 5)]
    alone = search(tiny, RATES, trials=3, output=tmp_path / "alone", set=SHORT)
    assert [row["solver.base_lr"] for row in found.rows] == [row["solver.base_lr"] for row in alone.rows]
    with pytest.raises(NetdefError, match="its seeds is 3, now it is 1"):
        search(tiny, RATES, trials=3, output=tmp_path / "s", set=SHORT)
    with pytest.raises(NetdefError, match="is searched, but each trial has 2 seeds"):
        search(tiny, {"solver.random_seed": Interval(1, 9)}, seeds=2, output=tmp_path / "t", set=SHORT)


def test_seeds_that_finished_are_not_trained_again(tiny, quick, tmp_path, monkeypatch):
    whole = search(tiny, RATES, trials=3, seeds=3, prune="median", output=tmp_path / "whole", set=SHORT)
    trained, fast = [], searches.train_alone

    def killed(nets, job, goal, options):
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append(job.name)
        return fast(nets, job, goal, options)

    options = {"trials": 3, "seeds": 3, "prune": "median", "output": tmp_path / "s", "set": SHORT}
    with monkeypatch.context() as patch:
        patch.setattr(searches, "train_alone", killed)
        with pytest.raises(KeyboardInterrupt):
            search(tiny, RATES, **options)
        assert trained[3] == "trial-001,seed=3"
        trained.insert(0, "")  # the next one is not killed
        trained.extend([""] * 9)
        assert search(tiny, RATES, **options).rows == whole.rows
        assert trained[14] == "trial-001,seed=4"


@pytest.mark.parametrize("prune", ["median", "hyperband"])
def test_hopeless_trials_have_fewer_seeds(tiny, quick, tmp_path, prune):
    space = {"solver.base_lr": Interval(1e-9, 0.5, log=True)}
    found = search(tiny, space, trials=20, seeds=3, prune=prune, output=tmp_path / "s", set=SHORT)
    pruned = [row for row in found.rows if row["state"] == "pruned"]
    assert pruned and all(1 <= row["seeds"] <= 3 for row in pruned) and any(row["seeds"] < 3 for row in pruned)
    assert {row["seeds"] for row in found.rows if row["state"] == "finished"} == {3}
    assert found.best["state"] == "finished"


def test_seeds_that_diverge_are_worse_than_others():
    score = Score("accuracy", upwards=True, tested=True)
    good = lambda n: {
        "run": "a",
        "seed": n,
        "test accuracy": n / 10,
        "test loss": 1.0,
        "iterations": 8,
        "state": "finished",
    }
    bad = good(9) | {"state": "diverged"}
    row = combined([good(5), bad, good(6)], {}, score)
    assert (row["test accuracy"], row["state"], row["highest"]) == (0.5, "finished", 0.6)
    row = combined([good(5), bad, bad], {}, score)
    assert (row["test accuracy"], row["test loss"], row["state"]) == (None, None, "diverged")


def test_each_combination_of_a_small_space_is_trained_once(tiny, quick, tmp_path):
    totals = []
    space = {"solver.base_lr": Choice((0.1, 0.2)), "solver.momentum": Choice((0.5, 0.9))}
    more = {"on_run": lambda row, done, total: totals.append((done, total)), "output": tmp_path / "s", "set": SHORT}
    found = search(tiny, space, trials=50, score="loss", upwards=False, **more)
    assert totals == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len({(row["solver.base_lr"], row["solver.momentum"]) for row in found.rows}) == 4
    assert found.best["solver.base_lr"] == 0.2 and found.score.words == "test loss"


def test_a_combination_that_the_net_does_not_allow_is_a_row(tiny, quick, tmp_path):
    path = variant(tiny, "combined", ("num_output: 6", "num_output: ${a - b}"))
    path.write_text("let a: 3\nlet b: 0\n" + path.read_text())
    space = {"a": Choice((3, 2, 9)), "b": Choice((0, 2))}
    found = search(path, space, trials=6, output=tmp_path / "s", set=SHORT)
    states = {(row["a"], row["b"]): row["state"] for row in found.rows}
    assert len(states) == 6 and [pair for pair, state in states.items() if state == "invalid"] == [(2, 2)]
    with pytest.raises(CompileError):  # the last value of `b` with the first of `a`
        search(path, {"a": Choice((2, 9)), "b": Choice((0, 2))}, trials=4, output=tmp_path / "t", set=SHORT)


def test_wrong_searches_are_refused_at_once(tiny, tmp_path):
    options = {"output": tmp_path / "s", "set": SHORT}
    with pytest.raises(NetdefError, match="`acuracy`.*Did you mean `accuracy`"):
        search(tiny, RATES, score="acuracy", **options)
    with pytest.raises(CompileError, match="base_lrr"):
        search(tiny, {"solver.base_lrr": Interval(0.1, 0.2)}, **options)
    with pytest.raises(CompileError):
        search(tiny, {"solver.max_iter": Choice((1, -1))}, **options)
    with pytest.raises(NetdefError, match="random, bayes"):
        search(tiny, RATES, "grid", **options)
    with pytest.raises(NetdefError, match="test_interval"):
        quiet = {"solver.test_interval": 0, "solver.display": 0, "solver.test_iter": []}
        search(tiny, RATES, prune="median", output=tmp_path / "s", set=SHORT | quiet)
    assert not (tmp_path / "s").exists()
