"""The page of a run: its state, scores, curves, hardware, and how its last snapshot does on the test data."""

from __future__ import annotations

import base64
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..interop import snapshot
from ..language.errors import NetdefError
from ..observe.facts import Confusion, proper
from ..observe.listing import state_of
from ..observe.page import sitting_facts
from ..observe.runs import Best, Curve, History, kind, read_run, scores_of
from ..observe.worst import Found, Worst
from ..training.progress import duration
from ..training.saved_run import SavedRun, written
from .net_page import Fact

MOST_POINTS = 1500  # of a curve that are sent
CHARTS = {"loss": "Loss", "accuracy": "Scores", "rate": "Learning rate", "speed": "Images per second"}
PLAIN = {"lr": "learning rate", "images_per_s": "images per second"}  # which tests have, too, but do not measure


@dataclass(frozen=True)
class Line:
    """A curve: values that are not finite are None, as are unknown times."""

    name: str
    test: bool
    iterations: tuple[float, ...]
    seconds: tuple[float | None, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Chart:
    """One set of axes."""

    kind: str  # a key of CHARTS
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Score:
    """A metric with its last and best value."""

    name: str
    last: str
    best: str
    at: str


@dataclass(frozen=True)
class RunPage:
    """The page of a run; `snapshot` is the name of the last one, or empty."""

    kind: str
    title: str
    name: str
    state: str
    iterations: int
    max_iter: int | None
    cards: tuple[Fact, ...]
    settings: tuple[Fact, ...]
    scores: tuple[Score, ...]
    charts: tuple[Chart, ...]
    sittings: tuple[tuple[Fact, ...], ...]
    notes: tuple[str, ...]
    snapshot: str


def run_page(folder: Path) -> RunPage:
    """Returns the page of a run, which may have no records yet."""
    saved, told = SavedRun(folder), proper(SavedRun(folder).record)
    notes: list[str] = []
    try:
        history = read_run(folder)
    except NetdefError:
        history = History(folder.absolute().name, folder, ())
        notes.append("The run has no records yet; a record is written at each display and each test of the solver.")
    if history.damaged:
        notes.append(f"Damaged lines of metrics.jsonl that were skipped: {history.damaged}")
    sittings, scores = saved.sittings, scores_of(history)
    done = [sittings[-1].get("to") if sittings else None, *(row["iteration"] for row in history.rows)]
    most = saved.record.get("max_iter")
    return RunPage(
        "run",
        str(told.get("name") or history.name),
        history.name,
        state_of(folder, sittings[-1] if sittings else {}),
        max((n for n in done if isinstance(n, int)), default=0),
        most if isinstance(most, int) else None,
        tuple(_cards(history, told, scores)),
        tuple(Fact(str(name), written(value)) for name, value in saved.settings.items()),
        tuple(Score(s.name, number(s.last), number(s.best), f"{s.at:,}") for s in scores),
        tuple(_charts(history)),
        tuple(tuple(Fact(*item) for item in sitting_facts(s, told).items()) for s in told.get("sittings", ())),
        tuple(notes),
        last_snapshot(folder),
    )


def last_snapshot(folder: Path) -> str:
    """Returns the name of the last snapshot, or an empty string; whether it is intact is not checked, which reads
    all of it."""
    return next((path.name for path in snapshot.found(folder)), "")


def _cards(history: History, told: dict, scores: Sequence[Best]) -> Iterable[Fact]:
    """Yields the most important values."""
    tests = [s for s in scores if s.name.startswith("test")]
    yield from (Fact(s.name, number(s.last)) for s in (tests or scores)[:4])
    speeds = [v for row in history.of("train") if isinstance(v := row.get("images_per_s"), (int, float))]
    if speeds:
        yield Fact("images per second", f"{statistics.median(speeds):,.0f}")
    spent = sum(float(s.get("seconds") or 0) for s in told.get("sittings", ())) or _last_second(history)
    if spent:
        yield Fact("training time", duration(spent))
    if "parameters" in told:
        yield Fact("learned parameters", f"{told['parameters']:,}")


def _last_second(history: History) -> float:
    return max((float(s) for row in history.rows if isinstance(s := row.get("seconds"), (int, float))), default=0.0)


def _charts(history: History) -> Iterable[Chart]:
    """Yields the charts that are not empty."""
    lines: dict[str, list[Line]] = {name: [] for name in CHARTS}
    for name in history.names():
        of = "speed" if name == "images_per_s" else kind(name)
        if name.startswith(("watch/", "top/")):
            continue
        lines[of] += lines_of(history, name)
    yield from (Chart(of, CHARTS[of], tuple(found)) for of, found in lines.items() if found)


def lines_of(history: History, name: str) -> list[Line]:
    """Returns the curves of a metric: in training, then in the tests of each net."""
    found = [("train", history.curve(name, "train"), False)]
    if name not in PLAIN:
        nets = history.test_nets
        found += [(f"test {n}" if len(nets) > 1 else "test", history.curve(name, "test", n), True) for n in nets]
    plain = name in PLAIN
    words = lambda phase: PLAIN[name] if plain else f"{phase} {name}"
    return [_line(words(phase), curve, test) for phase, curve, test in found if curve]


def _line(name: str, curve: Curve, test: bool) -> Line:
    finite = lambda numbers: tuple(n if math.isfinite(n) else None for n in thinned(numbers))
    return Line(name, test, thinned(curve.iterations), finite(curve.seconds), finite(curve.values))


def thinned(values: tuple[float, ...]) -> tuple[float, ...]:
    """Returns evenly spaced values if there are more than a screen has columns; the last one is kept."""
    step = -(-len(values) // MOST_POINTS)
    return values if step <= 1 else values[(len(values) - 1) % step :: step]


def number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "not finite"


# How the last snapshot does


@dataclass(frozen=True)
class Mistake:
    """An image that the net gets wrong: the address of its data, and a line about it."""

    image: str
    words: str


@dataclass(frozen=True)
class Judged:
    """How a snapshot does on the test data: a confusion matrix, or the mistakes of a detector."""

    snapshot: str
    words: str = ""
    names: tuple[str, ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    notes: tuple[str, ...] = ()


def judged_page(found: Confusion | Found | None, notes: Iterable[str]) -> Judged:
    if isinstance(found, Confusion):
        share = f" ({found.right / found.records:.2%})" if found.records else ""
        words = f"{found.right:,} of {found.records:,} records{share} are classified correctly."
        return Judged(found.snapshot, words, found.names, found.counts, _mistakes(found.worst), tuple(notes))
    if isinstance(found, Found):
        hit = found.boxes - found.missed
        words = f"{hit:,} of {found.boxes:,} objects in {found.images:,} images are found; false: {found.false:,}."
        return Judged(found.snapshot, words, mistakes=_mistakes(found.worst), notes=tuple(notes))
    return Judged("", notes=tuple(notes))


def _mistakes(worst: Iterable[Worst]) -> tuple[Mistake, ...]:
    address = lambda picture: "data:image/png;base64," + base64.b64encode(picture).decode()
    return tuple(Mistake(address(one.picture), one.words) for one in worst)
