"""The records that `netdef data` reads: those of a data set, or of a data layer of a net."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError
from . import UsageError, colored
from ._options import add_import_path, add_plugin, settings
from ._output import say


def add_source(parser: argparse.ArgumentParser) -> None:
    """Adds the source and the options for reading its images."""
    parser.add_argument("source", metavar="SOURCE", help="data set, or a net with a data layer")
    parser.add_argument("--layer", metavar="NAME", help="data layer of the net (default: its first)")
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), default="TRAIN", help="phase of the net (default: TRAIN)")
    parser.add_argument("--resize", metavar="HxW", help="resize images to this height and width")
    parser.add_argument("--gray", action="store_true", help="convert images to gray")
    parser.add_argument("--root", metavar="FOLDER", help="folder that the paths in a list or in labels are relative to")
    parser.add_argument("--label-map", metavar="FILE", help="label map of boxes (default: labels 1, 2, ... by name)")
    parser.add_argument("--image-set", metavar="FILE", help="use only the images with labels that this file names")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a constant of the net; may be repeated",
    )
    add_import_path(parser)
    add_plugin(parser)


def read_all(records: Any, show: Callable[[int], None]) -> Iterator[tuple[int, Any]]:
    """Yields each raw record with its index."""
    from ..data.statistics import CHUNK

    for start in range(0, records.size, CHUNK):
        numbers = range(start, min(start + CHUNK, records.size))
        yield from zip(numbers, records.read(numbers), strict=True)
        show(numbers[-1] + 1)


def is_net(path: str) -> bool:
    """Whether a source is a net, not a data set."""
    return path.endswith((".net", ".prototxt", ".pt"))


def net_of(args: argparse.Namespace) -> Any:
    """Returns the net that is the source."""
    from ..compiler import load

    return load(args.source, phase=args.phase, set=settings(args), import_path=args.import_path)


def records_of(args: argparse.Namespace) -> Any:
    """Returns the records of a data set or of the data layer of a net."""
    from ..data.sources import open_source

    if is_net(args.source):
        return _records_of_net(args)
    height, width = _size(args.resize)
    fields = {"new_height": height, "new_width": width, "is_color": False if args.gray else None}
    fields |= {"label_map_file": args.label_map, "image_set": args.image_set}
    return open_source(Path(args.source), root_folder=args.root and args.root.rstrip("/") + "/", **fields)


def _records_of_net(args: argparse.Namespace) -> Any:
    from ..data.layers._image_layer import ImageLayer
    from ..files import locator

    net = net_of(args)
    layers = [n for n in net.layers if isinstance(n.layer, ImageLayer) and args.layer in (None, n.name)]
    if not layers:
        wanted = f"data layer `{args.layer}`" if args.layer else "data layer that reads images"
        raise NetdefError(f"{args.source} has no {wanted} in phase {args.phase}.")
    layer: Any = layers[0].layer
    return layer.records(locator(net.folder))


def _size(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise UsageError(f"--resize expects HEIGHTxWIDTH, as in --resize 50x50, not {text!r}")
    return int(height), int(width)


@contextmanager
def bar(total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Shows a progress bar on a terminal, otherwise a line at each 10 %."""
    if not (sys.stderr.isatty() and colored(sys.stderr)):
        tenths = [0]

        def lines(done: int) -> None:
            if total >= 10_000 and done * 10 // total > tenths[0]:
                tenths[0] = done * 10 // total
                say(f"{done:,} of {total:,} records {what}")

        yield lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn(f"records {what}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)
