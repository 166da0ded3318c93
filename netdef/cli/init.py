"""Write a commented starter net for some data.

DATA is a folder with a subfolder of images for each class (or with folders train and val, each with such subfolders); a
folder or a .json file of images with boxes (VOC, COCO); arrays with labels: an .npz or .h5 file, or a folder of .npy
files; or a table, .csv or .parquet, one column of which is to be computed from the others.

netdef counts the classes, measures the records, and chooses a net, its size, the batch and the learning rate. The
comments of the file say why; the file is yours to change.

  netdef init photos
  netdef init digits.npz -o nets/digits.net
  netdef init houses.csv --label price
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..language.errors import NetdefError, printable
from ..language.source import ENDINGS
from . import UsageError
from ._options import existing
from ._output import say, written_text

HELP = "write a commented starter net for some data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="folder of images, file of arrays, labels of boxes, or table")
    parser.add_argument("--output", "-o", metavar="FILE", help="write the net to this file (default: NAME.net)")
    parser.add_argument(
        "--task",
        choices=("classify", "regress"),
        help="what the labels are (default: few different integers are classes)",
    )
    parser.add_argument(
        "--label",
        metavar="NAME",
        help="column or array to be computed (default: `label` or the like; of a table, the last)",
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")


def run(args: argparse.Namespace) -> int:
    from ..starter import Request, starter, stem

    data = Path(existing(args.data, "data"))
    if data.suffix in ENDINGS:
        raise UsageError(f"{data} is a net, not data; `netdef train {data}` trains it")
    net = Path(args.output) if args.output else Path(f"{stem(data)}.net")
    if net.suffix not in ENDINGS:
        raise UsageError(f"--output {net}: the name of a net ends in .net")
    if net.exists() and not args.force:
        raise UsageError(f"{net} already exists; choose another name with --output, or replace it with --force")
    try:
        made = starter(Request(data, net, args.task or "", args.label or ""), _show)
        written_text(net, made.text)
    except NetdefError as error:
        raise UsageError(str(error)) from error
    for line in made.found:
        print(printable(line))
    for note in made.notes:
        say(f"note: {note}")
    name = printable(str(net))
    print(f"\nwritten to {name}; its comments say what was measured and chosen. Next:\n")
    steps = {
        f"summary {name}": "shapes and parameters",
        f"train {name}": f"trains it, and saves the run in runs/{made.name}",
        f"test {name}": "scores of the test data",
        f"predict {name} DATA": "what the trained net says of other data",
    }
    for step, what in steps.items():
        print(f"  netdef {step:<{len(name) + 14}} # {what}")
    return 0


def _show(done: int, total: int) -> None:
    """Shows on a terminal how many images have been read."""
    if sys.stderr.isatty() and (done % 20 == 0 or done == total):
        end = "\r" + " " * 40 + "\r" if done == total else ""
        print(f"\rreading images: {done:,} of {total:,}{end}", end="", file=sys.stderr, flush=True)
