"""Options that write what a detector found: pictures with boxes, and COCO JSON."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..files import write_atomically
from ..language.errors import NetdefError
from . import UsageError
from ._output import say, written_text

SHOWN = 0.3  # least score of a box in a picture


def add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pictures", metavar="DIR", help="write each picture with the boxes found, as PNG, to this folder"
    )
    parser.add_argument("--coco", metavar="FILE", help="write the boxes found as COCO JSON to this file")
    parser.add_argument(
        "--least",
        type=float,
        default=SHOWN,
        metavar="P",
        help=f"least score of the boxes in pictures and on the terminal (default: {SHOWN}); COCO JSON has all",
    )


def check_pictures(args: argparse.Namespace, detects: bool) -> None:
    """UsageError if pictures or COCO JSON are wanted of a net that does not detect, or cannot be written."""
    for option in ("pictures", "coco"):
        if getattr(args, option) and not detects:
            raise UsageError(
                f"--{option} writes the boxes of a detector, but no layer of this net outputs detections, as "
                "DetectionOutput does"
            )
    if args.coco and not Path(args.coco).parent.is_dir():
        raise UsageError(f"{args.coco}: the folder {Path(args.coco).parent} does not exist")
    if args.pictures:
        try:
            Path(args.pictures).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{args.pictures}: the folder cannot be created ({error.strerror})") from None


class Pictures:
    """Writes pictures to a folder, under names that are theirs alone; without a folder, none."""

    def __init__(self, folder: str | None):
        self.folder = Path(folder) if folder else None
        self.names: set[str] = set()

    def add(self, name: str, made: Callable[[], bytes]) -> None:
        if self.folder is None:
            return
        picture, path = made(), self.folder / f"{self._free(name)}.png"
        write_atomically(path, lambda aside: aside.write_bytes(picture))

    def _free(self, name: str) -> str:
        stem = re.sub(r"[^\w.-]+", "_", Path(name).stem if "[" not in name else name).strip("_") or "image"
        free, n = stem, 2
        while free in self.names:
            free, n = f"{stem}-{n}", n + 1
        self.names.add(free)
        return free

    def done(self) -> None:
        if self.folder is not None:
            say(f"{len(self.names):,} pictures are in {self.folder}")


def write_coco(path: str | None, found: Iterable[Any], names: Mapping[int, str]) -> None:
    from ..inference.boxes import coco_text

    if path:
        found = list(found)
        written_text(path, coco_text(found, names))
        say(f"{sum(len(d.boxes) for d in found):,} boxes in {len(found):,} images are in {path}")


def least_score(args: argparse.Namespace) -> float:
    if not 0 <= args.least <= 1:
        raise NetdefError(f"--least is {args.least:g}; a score is from 0 to 1.")
    return args.least
