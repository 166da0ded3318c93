"""Draw the curves of runs: loss, accuracies and learning rate, by iteration and by time.

Every value is drawn thin and a running mean bold.  Pictures go to curves.png and curves.svg, in the folder of the run
if one is named, else in the working directory; other names say by their end what is written: .png, .svg or .pdf.  The
folder of a sweep gives the picture of all its runs.

  netdef plot runs/Digits
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

HELP = "curves of one or more runs, or of a sweep: png, svg or pdf"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="folders of runs, or their metrics.jsonl; or of one sweep"
    )
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help="write this picture: .png .svg .pdf; may be given again",
    )
    parser.add_argument(
        "--by", choices=["iteration", "time", "both"], default="both", help="what is below the curves (default both)"
    )
    parser.add_argument(
        "--metric", action="append", default=[], metavar="NAME", help="draw this number; may be given again"
    )
    parser.add_argument(
        "--smooth",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="share of a run that the bold curve is a running mean of (default 0.05; 0: none)",
    )
    parser.add_argument("--log", action="store_true", help="loss on a logarithmic axis")
    parser.add_argument("--title", default="", help="a title for the picture")


def run(args: argparse.Namespace) -> int:
    from ..observe.figure import save_all

    pictures(args.output, "-o")
    if not 0 <= args.smooth < 1:
        raise UsageError(f"--smooth takes the share of a run, from 0 to below 1, not {args.smooth:g}")
    for name in args.runs:
        if not Path(name).exists():
            raise UsageError(f"there is no run {name}; name the folder that `netdef train` wrote")
    for path in save_all(*_figure(args), args.output):
        print(path)
    return 0


def _figure(args: argparse.Namespace) -> tuple[Any, Path]:
    """The picture, and its path without an end if none is given."""
    from ..observe import curves, read_runs
    from ..observe.swept import SWEEP, read_sweep, swept

    first = Path(args.runs[0])
    if (first / SWEEP).exists():
        if len(args.runs) > 1:
            raise UsageError("one sweep is drawn at a time; name its folder alone, or folders of runs")
        return swept(read_sweep(first), args.title), first / "sweep"
    histories = read_runs(args.runs)
    for history in histories:
        if history.damaged:
            say(f"warning: {history.folder}: {history.damaged} damaged lines left out")
    by = ("iteration", "time") if args.by == "both" else (args.by,)
    try:
        drawn = curves(histories, args.metric, by, args.smooth, args.log, args.title)
    except NetdefError as error:
        raise UsageError(str(error)) if args.metric and "no run has" in str(error) else error from None
    return drawn, (histories[0].folder if len(histories) == 1 else Path()) / "curves"
