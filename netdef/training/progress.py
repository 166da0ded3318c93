"""The output of a run in progress: a progress bar with loss, learning rate and images per second on a terminal, plain
lines elsewhere.

`with progress(stream) as show: netdef.train(..., on_event=show)`.  The lines are the same in both; the bar is below.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from ..language.errors import printable
from . import events

RESUME = "resume with: "
WIDE, NARROW, SHORT = 95, 55, 45  # columns of a terminal for the whole bar, for a bar, and for the time left
Show = Callable[[events.Event], None]


@contextmanager
def progress(stream: TextIO) -> Iterator[Show]:
    """Yields a function that prints events to `stream`."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda event: _print_lines(event, stream)
        return
    with _bar(stream) as show:
        yield show


def _print_lines(event: events.Event, stream: TextIO) -> None:
    for line in lines(event):
        print(line, file=stream, flush=True)


@contextmanager
def _bar(stream: TextIO) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=stream, highlight=False, soft_wrap=True)
    numbers = _numbers if console.width >= WIDE else _few_numbers
    with Progress(*_columns(console.width), console=console, transient=True, expand=True) as bar:
        task = bar.add_task("", total=None, numbers="compiling")

        def show(event: events.Event) -> None:
            for line in lines(event):
                console.print(line, markup=False)
            if isinstance(event, events.Started):
                # Iterations of an earlier run count as completed, but not for the estimate of the remaining time.
                bar.reset(task, total=event.max_iter, completed=event.iteration, numbers="compiling")
            elif isinstance(event, events.Stepped):
                bar.update(task, completed=event.iteration)
            elif isinstance(event, events.Display):
                bar.update(task, completed=event.iteration, numbers=numbers(event))

        yield show


def _columns(width: int) -> list[Any]:
    """The columns of the bar: in a narrow terminal only those that fit, because rich would shorten all of them."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    whole = lambda: Column(no_wrap=True)
    done, numbers = MofNCompleteColumn(table_column=whole()), TextColumn("{task.fields[numbers]}", table_column=whole())
    left = TimeRemainingColumn(table_column=whole())
    if width >= WIDE:
        return [TextColumn("iteration"), done, BarColumn(bar_width=None), numbers, left, TextColumn("left")]
    bar = [BarColumn(bar_width=None)] if width >= NARROW else []
    return [done, *bar, numbers, *([left] if width >= SHORT else [])]


def lines(event: events.Event) -> list[str]:
    """The lines that describe an event; empty for events that only move the bar.  The command to resume a run is as a
    shell needs it, also if there is a line end in a path."""
    return [line if line.startswith(RESUME) else printable(line) for line in _lines(event)]


def _lines(event: events.Event) -> list[str]:
    match event:
        case events.Started():
            return _started(event)
        case events.Display():
            others = {name: value for name, value in event.outputs.items() if value != event.loss}
            more = _values(others) if len(event.outputs) > 1 else ""
            line = f"iteration {event.iteration:>6}  {_numbers(event)}" + (f"  {more}" if more else "")
            return [line, *_watched(event.extra)]
        case events.Tested():
            which = f"test {event.net}" if event.nets > 1 else "test"
            mark = f"  (statistics of {event.recalibrated} batches)" if event.recalibrated else ""
            return [f"iteration {event.iteration:>6}  {which}: {_values(event.outputs)}{mark}"]
        case events.Snapshotted():
            return [f"iteration {event.iteration:>6}  saved {event.path}"]
        case events.Notice():
            return [f"iteration {event.iteration:>6}  {event.text}"]
        case events.Interrupted():
            saved = f"; saved {event.snapshot}" if event.snapshot else ""
            return [f"stopped after {event.iteration} iterations{saved}", f"{RESUME}{event.resume}"]
        case events.Finished(why="interrupted"):
            return []
        case events.Finished():
            where = f"; the weights are in {event.snapshot}" if event.snapshot else ""
            return [f"done: {event.iteration} iterations in {duration(event.seconds)}{where}"]
    return []


def _watched(extra: Mapping[str, Any]) -> list[str]:
    """One line for each layer of `watch`."""
    if not extra:
        return []
    from .diagnose import table

    rows = table(extra)
    width = max((len(layer) for layer, _ in rows), default=0)
    return [f"    {layer:<{width}}  {_values(numbers)}" for layer, numbers in rows]


def _started(event: events.Started) -> list[str]:
    found = [text if "warning:" in text else f"warning: {text}" for text in event.warnings]
    work = f"{event.parameters:,} parameters, {event.max_iter:,} iterations, batch size {event.batch:,}"
    where = event.device if event.devices == 1 else f"{event.devices} x {event.device}"
    found.append(f"{event.name or 'training'}: {work}, on {where}, output in {event.folder}")
    if event.divided:
        found.append(event.divided)
    if event.resumed_from:
        found.append(f"resuming at iteration {event.iteration} from {event.resumed_from}")
    if event.untouched:
        found.append(f"not in the given weights, initialized by their fillers: {', '.join(event.untouched)}")
    return found


def _numbers(event: events.Display) -> str:
    return f"loss {event.loss:.4g}  lr {event.lr:.4g}  {event.images_per_s:,.0f} images/s"


def _few_numbers(event: events.Display) -> str:
    return f"loss {event.loss:.4g}  {event.images_per_s:,.0f}/s"


def _values(outputs: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {_value(value)}" for name, value in outputs.items())


def _value(value: Any) -> str:
    if isinstance(value, list):
        shown = " ".join(f"{v:.4g}" for v in value[:8])
        return f"[{shown}{' ...' if len(value) > 8 else ''}]"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """`12.3 s`, `4 min 5 s`, `2 h 3 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
