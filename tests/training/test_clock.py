"""A clock that is set back while nets are trained: nothing that a run measures, locks or finds depends on it."""

from __future__ import annotations

import json
import os
import time
from itertools import count
from pathlib import Path

import pytest
from tiny_net import variant

import netdef
from netdef.cli import main
from netdef.observe import facts_of, page
from netdef.training import events as ev

HOUR = 3600.0


@pytest.fixture
def falling_clock(monkeypatch):
    """A clock that is an hour earlier each time it is read."""
    now, calls = time.time(), count()
    monkeypatch.setattr(time, "time", lambda: now - HOUR * next(calls))


def rows_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_while_the_clock_is_set_back(tiny, tmp_path, monkeypatch, falling_clock):
    monkeypatch.chdir(tmp_path)
    events = []
    netdef.train(tiny, max_iter=8, on_event=events.append)
    second = netdef.train(tiny, max_iter=10, on_event=events.append)
    netdef.train(tiny, resume=True, max_iter=12, on_event=events.append)
    assert [e.folder.name for e in events if isinstance(e, ev.Started)] == ["Tiny", "Tiny-2", "Tiny-2"]
    assert events[-1].iteration == 12 and events[-1].folder == second.folder
    assert all(e.images_per_s > 0 for e in events if isinstance(e, (ev.Display, ev.Tested)))
    assert all(e.seconds > 0 for e in events if isinstance(e, ev.Finished))
    for run in (tmp_path / "runs").iterdir():
        seconds = [row["seconds"] for row in rows_of(run)]
        assert seconds == sorted(seconds) and seconds[0] >= 0
        assert not (run / "lock").exists() and not list(run.glob(".*"))


def test_the_last_run_is_the_one_that_began_last(tiny, tmp_path, monkeypatch, falling_clock, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("Tiny", "Tiny-2", "Tiny-10"):
        netdef.train(tiny, max_iter=2, output=tmp_path / "runs" / name)
    for i, name in enumerate(("Tiny-10", "Tiny-2", "Tiny")):  # the latest files are those of the first run
        for file in (tmp_path / "runs" / name).rglob("*"):
            at = time.time() + i * 1000 * HOUR
            os.utime(file, (at, at))
    assert netdef.train(tiny, resume=True, max_iter=4).folder == Path("runs") / "Tiny-10"
    assert main(["test", str(tiny)]) == 0
    assert "Tiny-10" in "".join(capsys.readouterr())


def test_the_page_of_a_run_whose_clock_was_set_back(tiny, tmp_path, falling_clock):
    pytest.importorskip("matplotlib")
    netdef.train(tiny, output=tmp_path / "run", max_iter=8)
    run = netdef.train(tiny, output=tmp_path / "run", resume=True, max_iter=12).folder
    html = page(facts_of(run))
    assert "12 iterations in" in html and "-1" not in html.split("12 iterations in")[1][:20]


def test_events_of_a_resumed_run_are_read_after_those_before(tiny, tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    now = time.time()
    for i, end in enumerate((8, 12, 16)):
        monkeypatch.setattr(time, "time", lambda i=i: now - i * HOUR)
        netdef.train(tiny, output=tmp_path / "run", resume=bool(i) or None, max_iter=end, tensorboard=True)
    begun = [int(p.name.rpartition(".")[2]) for p in sorted((tmp_path / "run/tensorboard/train").iterdir())]
    assert begun == [0, 8, 12]


def test_a_clock_before_the_files_of_a_run(tiny, tmp_path, monkeypatch):
    """As of a board without a battery, which begins in 1970."""
    monkeypatch.setattr(time, "time", lambda: 100.0)
    net = variant(tiny, "early", ("snapshot: 5", "snapshot: 2 snapshot_keep: 1"))
    run = netdef.train(net, output=tmp_path / "run", max_iter=8)
    run.model.save_weights(tmp_path / "w.npz")
    assert [p.name for p in run.folder.glob("iter_*")] == ["iter_000008"]
    assert set(run.model.load_weights(tmp_path / "w.npz").copied) >= {"ip1", "ip2"}
