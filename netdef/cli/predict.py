"""Classify images: print the most probable classes of each, with their names if they are known.

INPUT is an image, a folder of images, or a .npy or .npz file with an array that is fed to the net without
preprocessing. Images are preprocessed as in training: according to preprocessing.json, which is in the folder of a run
and next to converted weights, or else as in the data layer of the net in phase TEST. For nets of others,
--preprocessing names their training file, whose data may be gone, or options say what to do.

  netdef predict model.net photograph.jpg
  netdef predict model.net folder --run try1 --top 3 --names names.txt
  netdef predict deploy.prototxt folder --weights model.caffemodel --json
  netdef predict deploy.prototxt cat.jpg --weights bvlc.caffemodel --mean 104,117,123 --crop 227 --names words.txt
  netdef predict deploy.prototxt cat.jpg --weights bvlc.caffemodel --preprocessing train_val.prototxt
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError
from . import UsageError
from ._options import add_json
from ._preparing import add_preparing, prepared
from ._trained import add_trained, predictor_of

HELP = "classify images with a trained net"
CHUNK = 256  # images that are decoded at a time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_trained(parser)
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="image, folder of images, or array (.npy, .npz)")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="number of classes to print (default: 5)")
    parser.add_argument("--names", metavar="FILE", help="text file with one class name per line")
    add_preparing(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    if not args.inputs:
        raise UsageError("INPUT is missing: name images, folders or arrays after the net")
    names = _names(args.names)
    predictor = prepared(predictor_of(args), args)
    names = names or predictor.class_names() or []
    found = []
    for name, rows in _rows(predictor, args.inputs):
        for inputs, count in predictor.batches(rows):
            scores = predictor.scores(inputs)[:count]
            found += [_answer(f"{label}", row, names, args.top) for label, row in zip(name, scores, strict=False)]
            name = name[count:]
    if not found:
        raise NetdefError("There is nothing to classify: the arrays are empty.")
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    width = max(len(answer["input"]) for answer in found)
    for answer in found:
        classes = "   ".join(f"{c['name']} {c['score']:.3f}" for c in answer["classes"])
        print(f"{answer['input']:<{width}}  {classes}")
    return 0


def _rows(predictor: Any, inputs: list[str]) -> Iterator[tuple[list[str], Any]]:
    """Yields names and arrays of shape (n, c, h, w), CHUNK images at a time."""
    import numpy as np

    from ..inference.predict import image_files

    pictures = [name for name in inputs if not name.endswith((".npy", ".npz"))]
    for name in inputs:
        if name.endswith((".npy", ".npz")):
            rows = _array(Path(name))
            rows = rows[:, None] if rows.ndim == 3 else rows
            yield [f"{name}[{i}]" for i in range(len(rows))], np.asarray(rows)
    files = image_files(pictures)
    if files and predictor.preprocessing is None:
        print(
            "netdef: note: no preprocessing.json was found; the images are only resized, and their values are "
            "0 to 255 in the order B, G, R",
            file=sys.stderr,
        )
    for start in range(0, len(files), CHUNK):
        some = files[start : start + CHUNK]
        yield [str(path) for path in some], predictor.prepare(some)


def _array(path: Path) -> Any:
    import numpy as np

    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            return found if isinstance(found, np.ndarray) else found[found.files[0]]
    except Exception as error:  # of many types, all of which mean an invalid file
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise NetdefError(f"{path} cannot be read as a NumPy file: {why}") from None


def _names(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from None


def _answer(label: str, scores: Any, names: list[str], top: int) -> dict[str, Any]:
    best = scores.argsort()[::-1][: max(1, top)]
    name = lambda k: names[k] if k < len(names) else f"class {k}"
    return {
        "input": label,
        "classes": [{"class": int(k), "name": name(int(k)), "score": round(float(scores[k]), 6)} for k in best],
    }
