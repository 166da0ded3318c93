"""The progress of a run in a notebook, and lines in a script."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pages import read

import netdef
from netdef.training import events
from netdef.training.live import in_notebook, live


@pytest.fixture
def shown(monkeypatch) -> list[dict[str, str]]:
    """What the output of a cell contains, one entry for each change; the program is the kernel of a notebook."""
    assert netdef.train  # flax is imported now, because it looks for IPython, too
    changes: list[dict[str, str]] = []

    def display(data, raw, display_id):
        assert raw and display_id
        changes.append(data)
        return SimpleNamespace(update=lambda data, raw: changes.append(data))

    shell = SimpleNamespace(kernel=object())
    module = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", module)
    return changes


def run(seconds: float = 1.0, **changes) -> list[tuple[float, events.Event]]:
    """Events with their times, which are `seconds` apart."""
    started = {"name": "<b>", "folder": Path("<i>"), "iteration": 0, "max_iter": 100, "seed": 1, "batch": 64}
    started |= {"parameters": 29000, "device": "cpu", "warnings": ("<w>",)} | changes
    losses = [events.Display(10 * i, 1 / (i + 1), 0.05, {"loss": 0.5}, 1234.5) for i in range(5)]
    rest = [
        events.Tested(40, 0, 0.1, 0.05, {"<a>": 0.975}, 2000.0),
        events.Notice(50, "the <rate> fell"),
        events.Snapshotted(100, Path("<s>")),
        events.Finished(100, 75.4, Path("run"), Path("<s>")),
    ]
    return [(seconds * i, event) for i, event in enumerate([events.Started(**started), *losses, *rest])]


def show_all(told: list[tuple[float, events.Event]]) -> None:
    times = iter([at for at, _ in told])
    with live(lambda: next(times)) as show:
        for _, event in told:
            show(event)


def test_a_program_without_a_kernel_is_no_notebook(monkeypatch, shown):
    assert in_notebook()
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: SimpleNamespace())  # IPython on a terminal
    assert not in_notebook()
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_one_display_changes(shown):
    show_all(run())
    assert len(shown) == 1 + len(run())
    last = shown[-1]["text/html"]
    text = read(last).text
    for words in ("<b>", "29,000 parameters", "<i>", "100 of 100", "loss 0.2", "<a> 0.975", "<w>", "the <rate> fell"):
        assert words in text, words
    assert "width: 100.0%" in last and "<polyline" in last and "done: 100 iterations in 1 min 15 s" in text
    assert shown[-1]["text/plain"].splitlines()[-1] == "done: 100 iterations in 1 min 15 s; the weights are in <s>"
    assert "compiling" in shown[1]["text/html"]
    assert "width: 40.0%" in shown[6]["text/html"] and "6.0 s left" in shown[6]["text/html"]


def test_the_display_changes_a_few_times_a_second(shown):
    show_all(run(seconds=0.01))
    assert len(shown) == 1 + 5  # the start, the test, the notice, the snapshot and the end
    assert "done" in shown[-1]["text/html"]


def test_losses_that_are_not_finite_and_many(shown):
    losses = [float("nan"), float("inf"), *(0.5 for _ in range(3000)), -1.0]
    show_all([(0, run()[0][1]), *((i, events.Display(i, x, 0, {}, 1.0)) for i, x in enumerate(losses))])
    assert len(shown[-1]["text/plain"].splitlines()) == 40  # not those of a run of days
    assert "nan" not in shown[-1]["text/html"].replace("loss nan", "") and len(shown[-1]["text/html"]) < 6000


def test_an_interrupted_run_says_how_to_resume(shown):
    show_all(
        [
            run()[0],
            (1, events.Interrupted(30, None, "resume=True")),
            (2, events.Finished(30, 1, Path(), why="interrupted")),
        ]
    )
    text = read(shown[-1]["text/html"]).text
    assert "30 of 100" in text and "stopped after 30 iterations · resume with: resume=True" in text


def test_training_in_a_notebook(shown, tiny, tmp_path, capsys):
    netdef.train(tiny, max_iter=2, output=tmp_path / "run")
    assert "done: 2 iterations" in shown[-1]["text/html"] and capsys.readouterr().out == ""
    del shown[:]
    netdef.train(tiny, max_iter=2, output=tmp_path / "quiet", progress=False)
    assert not shown


def test_a_script_prints_what_the_command_prints(tiny, tmp_path, capsys):
    seen: list[events.Event] = []
    result = netdef.train(tiny, max_iter=2, output=tmp_path / "run")
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("Tiny: ") for line in printed) and printed[-1].startswith("done: 2 iterations")
    assert result.loss > 0 and set(result.scores) == {"accuracy", "loss"}
    for quiet in ({"progress": False}, {"on_event": seen.append}):
        netdef.train(tiny, max_iter=2, output=tmp_path / "run", **quiet)
        assert capsys.readouterr().out == ""
    netdef.train(tiny, max_iter=2, output=tmp_path / "run", on_event=seen.append, progress=True)
    assert "done: 2 iterations" in capsys.readouterr().out and len(seen) % 2 == 0
