"""Write a report of a run or of a sweep: a single HTML file that needs no network connection.

It contains the scores, the curves, the confusion matrix or the images that a detector gets most wrong (with the weights
of the last snapshot), the net, and the machine, versions and seeds of the run. That of a sweep compares its runs: the
best one, a figure of the scores by setting, and a table.

  netdef report runs/Digits
  netdef report model.net
  netdef report runs/Digits -o digits.html --no-test
  netdef report runs/digits_depth-sweep
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import UsageError
from ._options import add_import_path, add_plugin, add_trust, load_plugins, trust_of
from ._output import written_text
from ._trained import last_run_of

HELP = "write a report of a run or a sweep as one HTML file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", metavar="RUN", help="folder of a run or a sweep, or a net for its last run"
    )
    parser.add_argument("--run", metavar="DIR", help="same as RUN")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write the report to this file (default: report.html in RUN)"
    )
    parser.add_argument(
        "--no-test", action="store_true", help="omit the confusion matrix and the images, which require testing the net"
    )
    add_plugin(parser)
    add_import_path(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    from ..observe import facts_of, page
    from ..observe.sweep_page import sweep_page
    from ..observe.sweep_record import SWEEP, read_sweep

    load_plugins(args.plugin)
    named = [name for name in (args.folder, args.run) if name]
    if len(named) != 1:
        raise UsageError("expected one RUN: the folder of a run, or a net for its last run")
    folder = Path(last_run_of(named[0]))
    if not folder.is_dir():
        raise UsageError(f"the run {folder} does not exist; name a folder that `netdef train` wrote")
    path = Path(args.output) if args.output else folder / "report.html"
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")
    if (folder / SWEEP).exists():
        text = sweep_page(read_sweep(folder))
    else:
        text = page(facts_of(folder, test=not args.no_test, trust=trust_of(args)))
    written_text(path, text)
    print(path)
    return 0
