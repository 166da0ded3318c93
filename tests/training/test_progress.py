"""The output of a run: the same lines on a terminal and in a file, and a bar only on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from netdef.training import events
from netdef.training.progress import duration, lines, progress

RUN = [
    events.Started("Digits", Path("run"), 0, 600, 1, 64, 29000, "cpu", untouched=("fc8",), warnings=("a shape",)),
    events.Stepped(10),
    events.Display(20, 0.5, 0.05, {"loss": 0.5}, 1234.5),
    events.Tested(100, 0, 0.1, 0.05, {"accuracy": 0.975, "loss": 0.1}, 2000.0),
    events.Snapshotted(200, Path("run/snapshot_200")),
    events.Notice(300, "the rate fell"),
    events.Finished(600, 75.4, Path("run"), Path("run/snapshot_600")),
]
SHOWN = """\
warning: a shape
Digits: 29,000 parameters, 600 iterations, batch size 64, on cpu, output in run
not in the given weights, initialized by their fillers: fc8
iteration     20  loss 0.5  lr 0.05  1,234 images/s
iteration    100  test: accuracy 0.975  loss 0.1
iteration    200  saved run/snapshot_200
iteration    300  the rate fell
done: 600 iterations in 1 min 15 s; the weights are in run/snapshot_600
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_without_a_terminal():
    stream = io.StringIO()
    with progress(stream) as show:
        for event in RUN:
            show(event)
    assert stream.getvalue() == SHOWN


def test_paths_with_line_ends_are_shown_on_one_line():
    folder = Path("a\nb é")
    told = [
        events.Started("n", folder, 2, 6, 1, 64, 9, "cpu", folder / "iter_000002", warnings=(f"{folder} is full",)),
        events.Snapshotted(2, folder / "iter_000002"),
        events.Notice(3, f"{folder}: cannot be written"),
        events.Finished(6, 7.5, folder, folder / "iter_000006"),
        events.Interrupted(3, folder, "resume=True"),
    ]
    shown = [line for event in told for line in lines(event)]
    assert len(shown) == 8 and not [line for line in shown if "\n" in line]
    assert [line for line in shown if "a\\nb é" in line] == shown[:-1]
    (_, command) = lines(events.Interrupted(3, None, "netdef train 'a\nb.net' --resume"))
    assert command == "resume with: netdef train 'a\nb.net' --resume"  # as a shell needs it


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    with progress(stream) as show:
        for event in RUN:
            show(event)
    shown = stream.getvalue()
    for line in SHOWN.splitlines():
        assert line in shown
    assert "20/600" in shown and "left" in shown


@pytest.mark.parametrize("width", [40, 50, 60, 80, 100])
def test_a_bar_in_a_narrow_terminal_is_not_shortened(monkeypatch: pytest.MonkeyPatch, width):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    stream = Terminal()
    with progress(stream) as show:
        show(events.Started("n", Path("run"), 0, 60000, 1, 64, 10, "cpu"))
        show(events.Display(50000, 0.01234, 0.0012, {"loss": 0.01234}, 25120.0))
    shown = stream.getvalue()
    assert "50000/60000" in shown and "loss 0.01234" in shown and "25,120" in shown and "\u2026" not in shown


def test_an_interrupted_run_says_how_to_resume():
    shown = lines(events.Interrupted(321, Path("run/snapshot_321"), "netdef train x.net --resume"))
    assert shown == [
        "stopped after 321 iterations; saved run/snapshot_321",
        "resume with: netdef train x.net --resume",
    ]
    assert lines(events.Finished(321, 1.0, Path("run"), why="interrupted")) == []


def test_a_resumed_run_says_from_where():
    started = events.Started("n", Path("run"), 200, 600, 1, 64, 10, "cpu", resumed_from=Path("run/snapshot_200"))
    assert lines(started)[-1] == "resuming at iteration 200 from run/snapshot_200"


def test_several_outputs_and_nets_are_distinguished():
    shown = lines(events.Display(1, 3.0, 0.1, {"loss1": 1.0, "loss2": 2.0}, 1.0))[0]
    assert shown.endswith("loss1 1  loss2 2")
    tested = events.Tested(1, 1, 1.0, 0.1, {"per_class": [0.5] * 12}, 1.0, nets=2)
    assert lines(tested) == ["iteration      1  test 1: per_class [0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 ...]"]


def test_watched_layers_are_shown_below_the_display():
    extra = {"watch/conv1/weight": 1.5, "watch/conv1/update": 0.001, "watch/ip/weight": 2.0}
    assert lines(events.Display(1, 3.0, 0.1, {}, 1.0, extra))[1:] == [
        "    conv1  weight 1.5  update 0.001",
        "    ip     weight 2",
    ]


def test_durations():
    assert [duration(s) for s in (1.25, 61, 7380)] == ["1.2 s", "1 min 1 s", "2 h 3 min"]
