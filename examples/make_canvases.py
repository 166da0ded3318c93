"""Places the digits of examples/data on canvases, at random places and sizes, with a box around each.

    python examples/make_canvases.py [FOLDER]        (default: examples/data)

Writes canvases_train.lmdb (600 canvases) and canvases_test.lmdb (200, with digits that are not in the others), which
are databases for AnnotatedData: PNG files of 64x64 pixels, gray, with one to four digits of 12 to 30 pixels that do not
overlap. The box of a digit is the smallest rectangle around its ink, and its label is the digit + 1, because 0 is the
background; canvases.labelmap.prototxt has the names of the labels.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from netdef.data.convert import convert, open_sink
from netdef.data.label_map import write_label_map
from netdef.data.sources import open_source

SIDE, SMALLEST, LARGEST, MOST = 64, 12, 30, 4
LEVELS = 15  # of gray, so that the files are small
INK = 3  # levels of a pixel that belongs to the digit


def canvas(random: np.random.Generator, digits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    """Returns an image (64, 64) uint8 and a list of label, xmin, ymin, xmax, ymax."""
    made, boxes = np.zeros((SIDE, SIDE), np.uint8), []
    for _ in range(random.integers(1, MOST + 1)):
        chosen, side = random.integers(len(digits)), int(random.integers(SMALLEST, LARGEST + 1))
        small = Image.fromarray((digits[chosen, 0] * 255).astype(np.uint8))
        digit = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)) // (256 // (LEVELS + 1))
        rows, columns = np.flatnonzero((digit >= INK).any(1)), np.flatnonzero((digit >= INK).any(0))
        digit = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        for _ in range(20):  # places that are tried
            top, left = (int(random.integers(SIDE - length + 1)) for length in digit.shape)
            place = slice(top, top + digit.shape[0]), slice(left, left + digit.shape[1])
            if not made[place].any():
                made[place] = digit
                boxes.append([int(labels[chosen]), left, top, left + digit.shape[1], top + digit.shape[0]])
                break
    return made * (255 // LEVELS), boxes


def write(folder: Path, source: Path, target: Path, count: int, random: np.random.Generator) -> None:
    """Writes `count` canvases and a table of their boxes to `folder`, and converts them to the database `target`."""
    with h5py.File(source) as file:
        digits, labels = np.asarray(file["data"], np.float32), np.asarray(file["label"])
    lines = ["image,label,xmin,ymin,xmax,ymax"]
    for i in range(count):
        image, boxes = canvas(random, digits, labels)
        Image.fromarray(image).save(folder / f"{i:04d}.png", optimize=True)
        lines += [f"{i:04d}.png,{','.join(map(str, box))}" for box in boxes]
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    records = open_source(folder, is_color=False)
    with open_sink(target, "lmdb", resume=False) as sink:
        convert(records, range(records.size), sink, encoded=True)


def main(folder: Path) -> None:
    random, digits = np.random.default_rng(0), Path(__file__).parent / "data"
    for name, count in (("train", 600), ("test", 200)):
        with tempfile.TemporaryDirectory() as images:
            write(Path(images), digits / f"digits_{name}.h5", folder / f"canvases_{name}.lmdb", count, random)
    names = {0: "background"} | {digit + 1: str(digit) for digit in range(10)}
    write_label_map(folder / "canvases.labelmap.prototxt", names)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
