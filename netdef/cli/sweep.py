"""Train a net with several settings and seeds, and compare the runs in a table and a plot.

The values of --set are separated by commas; integers can also be a range. Every combination is trained. Runs that
differ only in seed, base_lr and weight_decay are trained together in one compiled step. If a sweep is started again, it
continues with the unfinished runs. Its folder contains sweep.json, sweep.png, sweep.svg and a folder for each run;
`netdef report FOLDER` writes a report of it.

With --search, the settings of --trials runs are drawn from ranges instead, at random, or near the best runs so far
(bayes: tree-structured Parzen estimators of the package optuna). Ranges are 1..7 for integers, 0.5..0.99 for real
numbers, and log(0.001..0.1) or log(8..512) for a logarithmic scale. Each trial is trained as `netdef train` trains the
net with the same settings. --prune ends runs that are worse than others at the same iteration. With --seeds, a trial is
several runs, its scores are their medians, and a trial that is worse than others has fewer runs. The study is saved in
the folder as study.log: the same command continues it, also with more --trials.

The best run has the best score of the last test: the first accuracy, or else the loss, unless --maximize or --minimize
names another output.

  netdef sweep model.net --set width=16,32,64 --set solver.base_lr=0.1,0.01 --seeds 3
  netdef sweep model.net --set depth=1..7 --set bn=true,false --until "accuracy>=0.9"
  netdef sweep model.net --search random --set "solver.base_lr=log(0.001..0.1)" --set width=16..256
  netdef sweep model.net --search bayes --trials 50 --prune median --set "solver.base_lr=log(0.001..0.1)"
  netdef sweep model.net --search bayes --seeds 3 --set "solver.base_lr=log(0.001..0.1)"
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_text_atomically
from ..language.errors import NetdefError
from ..sweep.space import Values, listed, parse
from . import UsageError
from ._options import add_json, add_net, add_plot, iterations, net_file, pictures, trust_of
from ._output import say
from ._sweeping import Lines, best_of, contents, table
from ._sweeping import line as line  # for the tests of narrow terminals

if TYPE_CHECKING:
    from ..sweep.goal import Score

HELP = "train a net with several settings and compare the runs"
TRIALS = 20


def _seed(text: str) -> int:
    """Parses a seed, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected an integer from 0 on, not {text!r}")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser, ("KEY=VALUES", "constant or solver field to vary, with its values or range; may be repeated"))
    parser.add_argument(
        "--seeds",
        type=iterations,
        default=1,
        metavar="N",
        help="number of runs per setting or trial, with different seeds (default: 1)",
    )
    parser.add_argument(
        "--until", metavar="GOAL", help="end a run at the first test that meets this, as in accuracy>=0.9"
    )
    parser.add_argument(
        "--search",
        choices=["random", "bayes"],
        help="draw the settings of each run from the ranges of --set (default: train every combination)",
    )
    parser.add_argument(
        "--trials", type=iterations, metavar="N", help=f"number of runs of a search (default: {TRIALS})"
    )
    parser.add_argument("--seed", type=_seed, metavar="S", help="seed with which a search draws settings (default: 0)")
    parser.add_argument(
        "--prune",
        choices=["none", "median", "hyperband"],
        default="none",
        help="end runs of a search early that are worse than the median of the others, or by Hyperband (default: none)",
    )
    aim = parser.add_mutually_exclusive_group()
    aim.add_argument("--maximize", metavar="NAME", help="output of the tests of which more is better, as in accuracy")
    aim.add_argument("--minimize", metavar="NAME", help="output of the tests of which less is better, as in loss")
    parser.add_argument("--max-iter", type=iterations, metavar="N", help="end each run after this many iterations")
    parser.add_argument("--output", metavar="DIR", help="folder of the sweep (default: runs/NAME-sweep)")
    add_plot(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    path = net_file(args)
    _check(args)
    drawn = None
    if args.search is not None:
        drawn = {"search": args.search, "trials": args.trials or TRIALS, "seed": args.seed or 0, "prune": args.prune}
        drawn |= {"seeds": args.seeds} if args.seeds > 1 else {}
    vary, space = ({}, ranges(args.set)) if drawn else (values(args.set), {})
    pictures(args.plot)

    from ..observe.sweep_record import SWEEP
    from ..sweep.search import search
    from ..sweep.sweep import folder_of, sweep

    folder = folder_of(path, args.output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: this is a file, but the output of a sweep is a folder")

    def write(rows: Sequence[Any], score: Score) -> str:
        text = json.dumps(contents(rows, folder, score, args.until, drawn), indent=1, default=str)
        write_text_atomically(folder / SWEEP, text)
        return text

    more: dict[str, Any] = {"output": args.output, "max_iter": args.max_iter, "until": args.until, **_aim(args)}
    with Lines((*vary, *space), write, args.json) as lines:
        more |= {"on_run": lines, "on_start": lines.start, "on_event": lines.event}
        more["import_path"] = trust_of(args).folders
        if drawn is None:
            found = sweep(path, vary, args.seeds, **more)
        else:
            more |= {"seed": drawn["seed"], "seeds": args.seeds, "prune": args.prune}
            found = search(path, space, drawn["search"], drawn["trials"], **more)
    text, best = write(found.rows, found.score), best_of(found.rows, found.score)
    several = len(found.rows) > 1
    print(text if args.json else table(found.rows, found.settings, best[0] if best and several else None))
    if not args.json and several and best:
        say(f"best run: {best[1]}")
    for path in _drawn(found.folder, args.plot):
        print(path, file=sys.stderr)
    return 0


def _aim(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the score that compares the runs, and whether more is better; None if it is not given."""
    score = args.maximize or args.minimize
    return {"score": score, "upwards": bool(args.maximize) if score else None}


def _check(args: argparse.Namespace) -> None:
    """UsageError for options that do not go together."""
    if args.search is None:
        given = {"--trials": args.trials, "--seed": args.seed, "--prune": args.prune != "none" or None}
        if alone := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"{alone[0]} requires --search random or --search bayes; without it, a sweep is a grid")
    elif not args.set:
        raise UsageError("--search requires ranges, as in --set 'solver.base_lr=log(0.001..0.1)'")


def _drawn(folder: Path, given: list[str]) -> list[Path]:
    """Writes the plots of a sweep, by default PNG and SVG in its folder. Returns their paths, if any."""
    from ..observe.figure import save_all
    from ..observe.sweep_record import read_sweep
    from ..observe.swept import swept

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
    return {name: listed(name, text) for name, text in _split(given)}


def ranges(given: Sequence[str]) -> dict[str, Values]:
    """Parses the ranges of a search by name."""
    return {name: parse(name, text) for name, text in _split(given)}


def _split(given: Sequence[str]) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for text in given:
        key, equals, words = text.partition("=")
        if not equals or not key.strip() or not words.strip():
            raise UsageError(f"--set expects KEY=VALUE,VALUE,..., as in --set solver.base_lr=0.1,0.01, not {text!r}")
        if key.strip() in found:
            raise UsageError(f"--set {key.strip()} is given twice; separate its values with commas")
        found[key.strip()] = words
    return list(found.items())
