"""Plot loss, accuracy and learning rate of one or more runs, by iteration and by time.

Values are drawn as thin lines, running means as bold lines. The plot is written to curves.png and curves.svg, in the
folder of a single run, otherwise in the working directory. -o selects other files and formats. For the folder of a
sweep, the results of all its runs are plotted.

  netdef plot runs/Digits
  netdef plot model.net
  netdef plot runs/Digits runs/Digits-2 -o both.svg --by time
  netdef plot runs/Digits --metric loss --log --smooth 0.1
  netdef plot runs/digits_depth-sweep
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError
from . import UsageError
from ._options import pictures
from ._output import say
from ._trained import last_run_of

HELP = "plot the curves of runs, or the results of a sweep"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="folder of a run, its metrics.jsonl, a net for its last run, or folder of a sweep",
    )
    parser.add_argument("--run", action="append", default=[], metavar="DIR", help="same as RUN; may be repeated")
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help="write the plot to this file: .png, .svg or .pdf; may be repeated",
    )
    parser.add_argument(
        "--by", choices=["iteration", "time", "both"], default="both", help="horizontal axis (default: both)"
    )
    parser.add_argument(
        "--metric", action="append", default=[], metavar="NAME", help="plot this metric; may be repeated (default: all)"
    )
    parser.add_argument(
        "--smooth",
        type=float,
        default=0.05,
        metavar="FRACTION",
        help="window of the running mean as a fraction of the run, or 0 for none (default: 0.05)",
    )
    parser.add_argument("--log", action="store_true", help="use a logarithmic axis for the loss")
    parser.add_argument("--title", default="", help="title of the plot")


def run(args: argparse.Namespace) -> int:
    from ..observe.figure import save_all

    pictures(args.output, "-o")
    args.runs = [last_run_of(name) for name in (*args.runs, *args.run)]
    if not args.runs:
        raise UsageError("RUN is missing: name a folder that `netdef train` wrote, or a net")
    if not 0 <= args.smooth < 1:
        raise UsageError(f"--smooth expects a fraction of the run, at least 0 and less than 1, not {args.smooth:g}")
    for name in args.runs:
        if not Path(name).exists():
            raise UsageError(f"the run {name} does not exist; name a folder that `netdef train` wrote")
    for path in save_all(*_figure(args), args.output):
        print(path)
    return 0


def _figure(args: argparse.Namespace) -> tuple[Any, Path]:
    """Returns the figure and its default path without extension."""
    from ..observe import curves, read_runs
    from ..observe.sweep_record import SWEEP, read_sweep
    from ..observe.swept import swept

    first = Path(args.runs[0])
    if (first / SWEEP).exists():
        if len(args.runs) > 1:
            raise UsageError("expected the folder of one sweep, or folders of runs")
        return swept(read_sweep(first), args.title), first / "sweep"
    histories = read_runs(args.runs)
    for history in histories:
        if history.damaged:
            say(f"warning: {history.folder}: skipped {history.damaged} damaged lines")
    by = ("iteration", "time") if args.by == "both" else (args.by,)
    try:
        drawn = curves(histories, args.metric, by, args.smooth, args.log, args.title)
    except NetdefError as error:
        raise UsageError(str(error)) if args.metric and "no run has" in str(error) else error from None
    return drawn, (histories[0].folder if len(histories) == 1 else Path()) / "curves"
