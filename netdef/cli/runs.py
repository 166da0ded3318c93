"""List the runs in a folder: when each was started, its state, its scores, and the settings in which the runs differ.

The most recent run is first. The state is running, finished, interrupted (by a signal; `netdef train --resume`
continues it) or died (by an error or a lost machine). The score is the first accuracy of the tests, or else the loss,
with its best value and the iteration of that. --json has all scores and all settings.

  netdef runs
  netdef runs experiments --json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from . import UsageError
from ._options import add_json

HELP = "list runs with their state, settings and scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", default="runs", metavar="FOLDER", help="folder of runs (default: runs)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from ..observe.listing import runs, table

    if not Path(args.folder).is_dir():
        wrong = "is a file, not a folder" if Path(args.folder).exists() else "does not exist"
        raise UsageError(f"{args.folder} {wrong}; name a folder of runs")
    found = runs(args.folder)
    if args.json:
        print(json.dumps([one.as_dict() for one in found], indent=2, default=str))
    else:
        print(table(found) if found else f"there are no runs in {args.folder}")
    return 0
