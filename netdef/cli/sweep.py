"""Train a net with several settings and seeds, and compare the runs in a table and a plot.

The values of --set are separated by commas; integers can also be a range. Every combination is trained. Runs that
differ only in seed, base_lr and weight_decay are trained together in one compiled step. If a sweep is started again, it
continues with the unfinished runs. Its folder contains sweep.json, sweep.png, sweep.svg and a folder for each run.

  netdef sweep model.net --set width=16,32,64 --set solver.base_lr=0.1,0.01 --seeds 3
  netdef sweep model.net --set depth=1..7 --set bn=true,false --until "accuracy>=0.9"
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import write_text_atomically
from ..language.errors import NetdefError
from ..language.expansion.settings import read
from ..policies.base import Monitor
from . import UsageError
from ._options import add_json, add_net, add_plot, iterations, net_file, pictures, trust_of
from ._output import say

HELP = "train a net with several settings and compare the runs"
RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    parser.add_argument(
        "--seeds",
        type=iterations,
        default=1,
        metavar="N",
        help="number of runs per setting, with different seeds (default: 1)",
    )
    parser.add_argument(
        "--until", metavar="GOAL", help="end a run at the first test that meets this, as in accuracy>=0.9"
    )
    parser.add_argument("--max-iter", type=iterations, metavar="N", help="end each run after this many iterations")
    parser.add_argument("--output", metavar="DIR", help="folder of the sweep (default: runs/NAME-sweep)")
    add_plot(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    path = net_file(args)
    vary = values(args.set)
    pictures(args.plot)

    from netdef.observe.swept import SWEEP
    from netdef.sweep.sweep import sweep
    from netdef.training.progress import duration

    began, first = time.monotonic(), []

    def tell(row: dict[str, Any], done: int, total: int) -> None:
        if not args.json:
            line = f"{done}/{total}  {row['run']}  training loss {_shown(row.get('loss'))}"
            score = next((f"  {name} {_shown(row[name])}" for name in row if _is_score(name)), "")
            first.append(done)  # the first of this sitting: of runs that were finished before, no time was taken
            spent, new = time.monotonic() - began, len(first)
            left = f"  about {duration(spent / new * (total - done))} left" if done < total and spent > 1 else ""
            print(f"{line}{score}{left}", file=sys.stderr, flush=True)

    more = {"on_run": tell, "import_path": trust_of(args).folders}
    found = sweep(path, vary, args.seeds, args.output, args.max_iter, args.until, **more)
    told = {"folder": str(found.folder), "until": args.until, "rows": found.rows}
    text = json.dumps(told, indent=1, default=str)
    write_text_atomically(found.folder / SWEEP, text)
    print(text if args.json else table(found.rows, found.settings))
    if not args.json and len(found.rows) > 1 and (best := best_of(found.rows)):
        say(f"best run: {best}")
    for path in _drawn(found.folder, args.plot):
        print(path, file=sys.stderr)
    return 0


def best_of(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the best run and its score in words: the one that reached the goal first, or else that with the best
    first accuracy of the tests, the best test loss, or the best training loss. Empty if no run has a score."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    ranked = [*(n for n in names if n == "reached"), *(n for n in names if _is_score(n)), "test loss", "loss"]
    for name in ranked:
        known = [row for row in rows if isinstance(row.get(name), (int, float)) and math.isfinite(row[name])]
        if known:
            best = (max if _is_score(name) else min)(known, key=lambda row: row[name])
            words = {"reached": "goal reached at iteration", "loss": "training loss"}.get(name, name)
            return f"{best['run']}  {words} {_shown(best[name])}"
    return ""


def _is_score(name: str) -> bool:
    """Whether a column is a score of the tests of which more is better."""
    return name.startswith("test ") and Monitor(monitor=name.removeprefix("test ")).upwards


def _drawn(folder: Path, given: list[str]) -> list[Path]:
    """Writes the plots of a sweep, by default PNG and SVG in its folder. Returns their paths, if any."""
    from netdef.observe.figure import save_all
    from netdef.observe.swept import read_sweep, swept

    try:
        drawn = swept(read_sweep(folder))
    except NetdefError as error:
        if given:
            raise
        say(f"warning: no plot: {error}")
        return []
    return save_all(drawn, folder / "sweep", given)


def values(given: Sequence[str]) -> dict[str, list[Any]]:
    """Parses `width=16,32` to {"width": [16, 32]}, and `depth=1..3` to {"depth": [1, 2, 3]}."""
    found: dict[str, list[Any]] = {}
    for text in given:
        key, equals, words = text.partition("=")
        if not equals or not key.strip() or not words.strip():
            raise UsageError(f"--set expects KEY=VALUE,VALUE,..., as in --set solver.base_lr=0.1,0.01, not {text!r}")
        many: list[Any] = []
        for word in words.split(","):
            bounds = RANGE.fullmatch(word.strip())
            many += range(int(bounds[1]), int(bounds[2]) + 1) if bounds else [number(word.strip())]
        found[key.strip()] = many
    return found


def number(text: str) -> Any:
    """Parses a number or boolean, for the table and the plot. Returns other strings unchanged."""
    value, _ = read(text)
    return value if isinstance(value, (bool, int, float)) else text


def table(rows: Sequence[dict[str, Any]], settings: Sequence[str]) -> str:
    """Formats rows as a table: settings first, numbers with four digits."""
    names = [*settings, *(n for row in rows for n in row if n not in (*settings, "run", "seed"))]
    columns = list(dict.fromkeys(name for name in names if any(name in row for row in rows)))
    heads = ["training loss" if name == "loss" else name for name in columns]
    cells = [heads, *([_shown(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
