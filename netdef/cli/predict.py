"""Classify images: print the most probable classes of each, with their names if they are known.

INPUT is an image, a folder of images, or a .npy, .npz or .h5 file with an array of records: the one with the name of
the net's input, or else the first. Both are preprocessed as in training: according to preprocessing.json, which is in
the folder of a run and next to converted weights, or else as in the data layer of the net in phase TEST. Arrays are not
resized; with --raw, they are fed to the net as they are. For nets of others, --preprocessing names their training file,
whose data may be gone, or options say what to do.

  netdef predict model.net photograph.jpg
  netdef predict --run try1 folder --top 3 --names names.txt
  netdef predict deploy.prototxt folder --weights model.caffemodel --json
  netdef predict model.net folder --devices all
  netdef predict deploy.prototxt cat.jpg --weights bvlc.caffemodel --mean 104,117,123 --crop 227 --names words.txt
  netdef predict deploy.prototxt cat.jpg --weights bvlc.caffemodel --preprocessing train_val.prototxt
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError
from ..language.source import ENDINGS
from . import UsageError
from ._options import add_json
from ._output import say
from ._preparing import add_preparing, prepared
from ._trained import add_trained, predictor_of

HELP = "classify images with a trained net"
CHUNK = 256  # images that are decoded at a time
HDF5 = (".h5", ".hdf5")
ARRAYS = (".npy", ".npz", *HDF5)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_trained(parser)
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="image, folder, or array (.npy, .npz, .h5)")
    parser.add_argument("--raw", action="store_true", help="feed arrays to the net as they are, without preprocessing")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="number of classes to print (default: 5)")
    parser.add_argument("--names", metavar="FILE", help="text file with one class name per line")
    add_preparing(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    _without_net(args)
    if not args.inputs:
        raise UsageError("INPUT is missing: name images, folders or arrays after the net")
    names = _names(args.names)
    predictor = prepared(predictor_of(args), args)
    names = names or predictor.class_names() or []
    found = []
    for name, rows in _rows(predictor, args.inputs, args.raw):
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


def _without_net(args: argparse.Namespace) -> None:
    """With --run, the first argument is an input, unless it is a net."""
    if args.run and args.file and not args.file.endswith(ENDINGS):
        args.inputs.insert(0, args.file)
        args.file = None


def _rows(predictor: Any, inputs: list[str], raw: bool) -> Iterator[tuple[list[str], Any]]:
    """Yields names and arrays of shape (n, c, h, w), CHUNK images at a time."""
    import numpy as np

    from ..inference.predict import image_files

    pictures = [name for name in inputs if not name.endswith(ARRAYS)]
    for name in inputs:
        if not name.endswith(ARRAYS):
            continue
        rows = _array(Path(name), predictor.net.inputs)
        if raw:
            rows = rows[:, None] if rows.ndim == 3 else rows
        else:
            way = predictor.preprocessing
            if way is not None and way.words:
                say(f"the rows of {name} are prepared as by layer `{way.layer.name}`: {way.words}; --raw leaves them")
            rows = predictor.prepare_rows(rows, name)
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


def _array(path: Path, wanted: Sequence[str]) -> Any:
    """Returns the array of a file that has the name of an input, or else the first one.  NetdefError if it has none, or
    not of numbers."""
    what = "an HDF5 file" if path.suffix in HDF5 else "a NumPy file"
    try:
        name, found = (_from_hdf5 if path.suffix in HDF5 else _from_numpy)(path, wanted)
    except Exception as error:  # of many types, all of which mean an invalid file
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise NetdefError(f"{path} cannot be read as {what}: {why}") from None
    if found.dtype.kind not in "fiub" or not found.ndim:
        held = f"elements of type {found.dtype}" if found.ndim else "one number"
        raise NetdefError(f"{path}: the array{name and f' `{name}`'} has {held}; rows of numbers are required.")
    return found


def _from_numpy(path: Path, wanted: Sequence[str]) -> tuple[str, Any]:
    import numpy as np

    with path.open("rb") as file:
        found: Any = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return "", found
        name = _chosen(found.files, wanted)
        return name, found[name]


def _from_hdf5(path: Path, wanted: Sequence[str]) -> tuple[str, Any]:
    import h5py

    with h5py.File(path, "r") as file:
        name = _chosen([key for key, value in file.items() if isinstance(value, h5py.Dataset)], wanted)
        found: Any = file[name]
        return name, found[()]


def _chosen(names: Sequence[str], wanted: Sequence[str]) -> str:
    """The first wanted name that there is, or else the first name.  ValueError if there is none."""
    if not names:
        raise ValueError("it has no arrays")
    return next((name for name in wanted if name in names), names[0])


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
