"""The progress of a run in a notebook: one display, which changes in place.

It shows how far the run is, the loss as a number and as a curve, the last test and the warnings.  IPython, which every
notebook has loaded, is not imported.  The styles are attributes, because the display is also seen in saved notebooks,
where no other ones are allowed.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape

from . import events
from .progress import duration, lines

SECONDS = 0.2  # between two changes of the display
POINTS, WIDTH, HEIGHT = 240, 640, 56  # of the curve: points, and its size
MOST_LINES, MOST_NOTES = 40, 5
COLORS = {"bar": "#2f80c3", "done": "#2c9c5a", "stopped": "#c98a1b", "warning": "#a86b00"}
WEAK = "opacity: .68"


def in_notebook() -> bool:
    """Whether this program is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None


@dataclass
class Seen:
    """What a run has reported so far."""

    told: list[str] = field(default_factory=list)  # the last lines that `netdef train` would print
    started: events.Started | None = None
    display: events.Display | None = None
    test: str = ""
    end: str = ""
    notes: list[str] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    iteration: int = 0
    clock: tuple[int, float] | None = None  # an iteration and its time, after compilation
    left: float = math.nan  # seconds

    def see(self, event: events.Event, now: float) -> None:
        """Adds an event, which happens at `now`, in seconds."""
        new = lines(event)
        self.told = [*self.told, *new][-MOST_LINES:]
        match event:
            case events.Started():
                self.started, self.iteration = event, event.iteration
                self.notes += [text if "warning:" in text else f"warning: {text}" for text in event.warnings]
            case events.Stepped():
                self.iteration = event.iteration
            case events.Display():
                self.display, self.iteration = event, event.iteration
                self.losses.append(event.loss)
                self._estimate(now)
            case events.Tested():
                said = new[0].partition("  test")[2]
                self.test = f"test{said}  (iteration {event.iteration:,})"
            case events.Notice():
                self.notes.append(event.text)
            case events.Interrupted() | events.Finished():
                self.iteration = event.iteration
                self.end = self.end or " · ".join(new)

    def _estimate(self, now: float) -> None:
        """The time that is left, from the displays after the first one."""
        if self.clock is None:
            self.clock = (self.iteration, now)
        first, began = self.clock
        if self.started and self.iteration > first:
            self.left = (now - began) / (self.iteration - first) * (self.started.max_iter - self.iteration)


@contextmanager
def live(clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[events.Event], None]]:
    """Yields a function that shows events in the output of the cell."""
    seen, changed = Seen(), -math.inf
    shown = sys.modules["IPython"].display.display({"text/plain": "", "text/html": ""}, raw=True, display_id=True)

    def show(event: events.Event) -> None:
        nonlocal changed
        now = clock()
        seen.see(event, now)
        if isinstance(event, (events.Stepped, events.Display)) and now - changed < SECONDS:
            return
        changed = now
        shown.update({"text/plain": "\n".join(seen.told), "text/html": markup(seen)}, raw=True)

    yield show


def markup(seen: Seen) -> str:
    """Returns the display as HTML."""
    run = seen.started
    if run is None:
        return ""
    where = run.device if run.devices == 1 else f"{run.devices} x {run.device}"
    facts = f"{run.parameters:,} parameters · batch size {run.batch:,} · on {where} · {run.folder}"
    rows = [
        f'<b>{escape(run.name or "training")}</b> <span style="{WEAK}">{escape(facts)}</span>',
        _bar(seen),
        escape(_numbers(seen)),
        _curve(seen.losses),
        escape(seen.test),
        *map(_note, seen.notes[-MOST_NOTES:]),
        f'<span style="{WEAK}">{escape(seen.end)}</span>' if seen.end else "",
    ]
    body = "".join(f"<div>{row}</div>" for row in rows if row)
    return f'<div style="max-width: 44rem; font-size: 13px; line-height: 1.7">{body}</div>'


def _note(text: str) -> str:
    before, mark, after = text.partition("warning:")
    found = f'<b style="color: {COLORS["warning"]}">{mark}</b>' if mark else ""
    return escape(before) + found + escape(after)


def _bar(seen: Seen) -> str:
    assert seen.started is not None
    most = seen.started.max_iter
    share = min(1.0, seen.iteration / most) if most else 1.0
    whole = (
        "width: 75%; height: 6px; border-radius: 3px; overflow: hidden; display: inline-block; vertical-align: middle"
    )
    done = "bar" if not seen.end else "done" if seen.end.startswith("done") else "stopped"
    return (
        f'<div style="{whole}; vertical-align: middle; background: rgba(128,128,128,.25)">'
        f'<div style="width: {share:.1%}; height: 6px; background: {COLORS[done]}"></div></div>'
        f"&nbsp; {seen.iteration:,} of {most:,}"
    )


def _numbers(seen: Seen) -> str:
    if seen.display is None:
        return "" if seen.end else "compiling"
    d = seen.display
    left = f" · {duration(seen.left)} left" if math.isfinite(seen.left) and not seen.end else ""
    return f"loss {d.loss:.4g} · lr {d.lr:.4g} · {d.images_per_s:,.0f} images/s{left}"


def _curve(losses: list[float]) -> str:
    """The losses as a line, on a logarithmic scale if all are positive."""
    step = -(-len(losses) // POINTS)
    values = [value for value in losses[:: max(1, step)] if math.isfinite(value)]
    if len(values) < 3:
        return ""
    if min(values) > 0:
        values = [math.log(value) for value in values]
    low, span = min(values), max(values) - min(values) or 1.0
    x = lambda i: (WIDTH - 4) * i / (len(values) - 1) + 2
    y = lambda value: (HEIGHT - 6) * (1 - (value - low) / span) + 3
    points = " ".join(f"{x(i):.1f},{y(value):.1f}" for i, value in enumerate(values))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="75%" height="{HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="loss"><polyline points="{points}" fill="none" stroke="{COLORS["bar"]}" stroke-width="1.5" '
        'vector-effect="non-scaling-stroke"/></svg>'
    )
