"""`netdef.train` learns, reports events in order, and ends with the same result after an interruption."""

from __future__ import annotations

import json
import os
import shutil
import signal

import numpy as np
import pytest

import netdef
from netdef import NetdefError
from netdef.training import events as ev


def same(a, b):
    """Whether two models have the same arrays, bit for bit."""
    wa, wb = a.get_weights(), b.get_weights()
    return wa.keys() == wb.keys() and all(np.array_equal(x, y) for k in wa for x, y in zip(wa[k], wb[k], strict=True))


def told(history):
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_s")} for row in history]


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """An uninterrupted run with its events."""
    events = []
    result = netdef.train(tiny, output=tmp_path_factory.mktemp("whole") / "run", on_event=events.append)
    return result, events


def reported(events):
    """The iterations at which snapshots are reported."""
    at, found = 0, []
    for event in events:
        at = event.iteration if isinstance(event, ev.Stepped) else at
        found += [at] if isinstance(event, ev.Snapshotted) else []
    return found


def test_events_come_in_caffes_order(whole):
    result, events = whole
    seen = [(type(e).__name__, e.iteration) for e in events if not isinstance(e, (ev.Stepped, ev.Started))]
    saved = [("Snapshotted", n) for n in (5, 10, 15, 20)]  # when they are complete, which may be later
    assert [event for event in seen if event not in saved] == [
        ("Tested", 0), ("Display", 0), ("Display", 4), ("Tested", 8), ("Display", 8), ("Display", 12),
        ("Tested", 16), ("Display", 16), ("Finished", 20),
    ]  # fmt: skip
    assert [event for event in seen if event in saved] == saved and seen[-2:] == [saved[-1], ("Finished", 20)]
    assert all(n <= at for (_, n), at in zip(saved, reported(events), strict=True))
    started = events[0]
    assert isinstance(started, ev.Started)
    assert (started.name, started.max_iter, started.seed, started.batch) == ("Tiny", 20, 3, 16)
    assert [e.iteration for e in events if isinstance(e, ev.Stepped)] == sorted(
        e.iteration for e in events if isinstance(e, ev.Stepped)
    )
    assert (result.iteration, result.why) == (20, "max_iter")


def test_it_learns(whole):
    result, _ = whole
    tests = [row for row in result.history if row["phase"] == "test"]
    assert tests[-1]["accuracy"] >= 0.8 > tests[0]["accuracy"]


def test_the_learning_rate_shown_is_the_one_of_the_iteration(whole):
    rates = {row["iteration"]: row["lr"] for row in whole[0].history if row["phase"] == "train"}
    assert rates == {t: pytest.approx(0.1 * 0.5 ** (t // 10)) for t in (0, 4, 8, 12, 16)}


def test_metrics_are_one_json_object_a_line(whole):
    result, _ = whole
    rows = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert rows == result.history
    assert {"iteration", "phase", "loss", "lr", "images_per_s", "accuracy"} <= rows[0].keys()


@pytest.mark.parametrize("broken_at", [5, 7, 16])
def test_a_resumed_run_ends_like_the_uninterrupted_one(tiny, whole, tmp_path, broken_at):
    netdef.train(tiny, output=tmp_path / "run", max_iter=broken_at)
    result = netdef.train(tiny, output=tmp_path / "run", resume=True)
    assert same(result.model, whole[0].model)
    assert told(result.history) == told(whole[0].history)


def test_weights_and_a_snapshot_to_resume_from_exclude_each_other(tiny, tmp_path):
    with pytest.raises(netdef.NetdefError, match="not both"):
        netdef.train(tiny, output=tmp_path / "run", resume=True, weights={"ip": []})


def test_a_snapshot_can_be_given_and_metrics_after_it_are_dropped(tiny, whole, tmp_path):
    shutil.copytree(whole[0].folder, tmp_path / "run")
    result = netdef.train(tiny, resume=tmp_path / "run" / "iter_000010")
    assert result.folder == tmp_path / "run"
    assert same(result.model, whole[0].model)
    assert told(result.history) == told(whole[0].history)


def test_the_seed_determines_the_run(tiny, whole, tmp_path):
    again = netdef.train(
        tiny, output=tmp_path / "again", set={"solver.display": 1, "solver.snapshot": 0, "solver.test_interval": 0}
    )
    assert same(again.model, whole[0].model)  # the division into pieces does not matter
    other = netdef.train(tiny, output=tmp_path / "other", set={"solver.random_seed": 4, "solver.snapshot": 0})
    assert not same(other.model, whole[0].model)


def test_sigint_saves_a_snapshot_and_says_how_to_resume(tiny, whole, tmp_path):
    events = []

    def watch(event):
        events.append(event)
        if isinstance(event, ev.Stepped) and event.iteration == 9:
            os.kill(os.getpid(), signal.SIGINT)

    result = netdef.train(tiny, output=tmp_path / "run", on_event=watch)
    assert result.why == "interrupted" and result.iteration < 20
    last = next(e for e in events if isinstance(e, ev.Interrupted))
    assert last.snapshot == tmp_path / "run" / f"iter_{result.iteration:06d}" and "resume" in last.resume
    assert isinstance(events[-1], ev.Finished)
    resumed = netdef.train(tiny, output=tmp_path / "run", resume=True)
    assert same(resumed.model, whole[0].model)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_snapshot(tiny, tmp_path):
    events = []
    text = tiny.read_text().replace(
        'lr_policy: "step" gamma: 0.5 stepsize: 10', 'lr_policy: "multifixed" stagelr: [0.1, 1e30] stageiter: [6, 30]'
    )
    path = tiny.parent / "nan.net"
    path.write_text(text)
    with pytest.raises(NetdefError, match=r"iteration (8|9).*iter_000005"):
        netdef.train(path, output=tmp_path / "run", on_event=events.append)
    saved = [e.path for e in events if isinstance(e, ev.Snapshotted)]
    assert saved == [tmp_path / "run" / "iter_000005"] and saved[0].is_dir()
    assert not any(isinstance(e, ev.Display) and not np.isfinite(e.loss) for e in events)


def test_frozen_parameters_stay_and_statistics_move(tiny, tmp_path):
    text = tiny.read_text().replace('name: "ip1"', 'name: "ip1" param { lr_mult: 0 } param { lr_mult: 0 }')
    path = tiny.parent / "frozen.net"
    path.write_text(text)
    before = netdef.compile(path, phase="TRAIN", seed=3).get_weights()
    after = netdef.train(path, output=tmp_path / "run", max_iter=4).model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before["ip1"], after["ip1"], strict=True))
    assert not np.array_equal(before["ip2"][0], after["ip2"][0])
    assert not np.array_equal(before["bn"][0], after["bn"][0])


def test_weights_to_start_from(tiny, tmp_path):
    start = {"ip2": [np.full((3, 6), 0.5, np.float32), np.zeros(3, np.float32)]}
    events = []
    result = netdef.train(
        tiny, weights=start, output=tmp_path / "run", max_iter=1, set={"solver.base_lr": 0}, on_event=events.append
    )
    np.testing.assert_array_equal(result.model.get_weights()["ip2"][0], start["ip2"][0])
    assert events[0].untouched == ("ip1", "bn")
    with pytest.raises(NetdefError, match="ip2.*3x6.*2x2"):
        netdef.train(tiny, weights={"ip2": [np.zeros((2, 2)), np.zeros(3)]}, output=tmp_path / "other")


def test_errors_of_a_run_are_one_line(tiny, tmp_path):
    with pytest.raises(NetdefError, match="no snapshot to resume from"):
        netdef.train(tiny, output=tmp_path / "nothing", resume=True)
    with pytest.raises(NetdefError, match="max_iter"):
        netdef.train(tiny, output=tmp_path / "run", set={"solver.max_iter": 0})
    net = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }'
    unfed = net + " solver { base_lr: 1 max_iter: 1 }"
    with pytest.raises(NetdefError, match="use a data layer"):
        netdef.train(unfed, output=tmp_path / "run")
    with pytest.raises(NetdefError, match="no solver"):
        netdef.train(net, output=tmp_path / "run")


def test_resuming_with_another_solver_or_net_is_refused(tiny, whole):
    with pytest.raises(NetdefError, match="of the solver SGD.*Adam"):
        netdef.train(tiny, resume=whole[0].folder, set={"solver.type": "Adam"})
    other = tiny.parent / "other.net"
    other.write_text(tiny.read_text().replace('name: "ip2"', 'name: "ip3"'))
    with pytest.raises(NetdefError, match="another net.*ip[23]"):
        netdef.train(other, resume=whole[0].folder)


def test_without_test_iter_a_test_covers_the_data_once(tiny, tmp_path):
    events = []
    path = tiny.parent / "pass.net"
    path.write_text(tiny.read_text().replace("test_iter: 2 ", ""))
    netdef.train(path, output=tmp_path / "run", max_iter=1, on_event=events.append)
    tested = [e for e in events if isinstance(e, ev.Tested)]
    assert len(tested) == 1 and (tested[0].outputs["accuracy"] * 15) % 1 == pytest.approx(0, abs=1e-5)
