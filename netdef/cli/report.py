"""Write a report of a run: one page of HTML that opens anywhere and needs no network.

It holds the scores, the curves, which class is taken for which (with the weights of the last snapshot), the net, and on
what machine, with what versions and seeds the run was trained.

  netdef report runs/Digits
  netdef report runs/Digits -o digits.html --no-test
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import UsageError
from ._options import add_import_path, add_trust, load_plugins, trust_of
from ._output import written_text

HELP = "one page of HTML about a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the folder of a run")
    parser.add_argument("-o", "--output", metavar="FILE", help="write this file (default: report.html in the folder)")
    parser.add_argument("--no-test", action="store_true", help="without the confusion matrix, which runs the net")
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="import this module first: its layers join the others",
    )
    add_import_path(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    from ..observe import facts_of, page

    load_plugins(args.plugin)
    folder = Path(args.run)
    if not folder.is_dir():
        raise UsageError(f"there is no run {folder}; name the folder that `netdef train` wrote")
    path = Path(args.output) if args.output else folder / "report.html"
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")
    written_text(path, page(facts_of(folder, test=not args.no_test, trust=trust_of(args))))
    print(path)
    return 0
