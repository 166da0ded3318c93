"""Classify images, or find the objects in them: print the most probable classes of each, or the boxes of a detector.

Of a net that neither classifies nor detects, the shape and the range of each output are printed. Names of classes are
those of the training data, of the label map that a detector names, or of --names.

INPUT is an image, a folder of images, or a .npy, .npz or .h5 file with an array of records: the one with the name of
the net's input, or else the first; for a net that reads a table, it is a table (.csv, .tsv, .parquet, .txt) with the
columns of its inputs, in any order. All are preprocessed as in training: according to preprocessing.json, which is in
the folder of a run and next to converted weights, or else as in the data layer of the net in phase TEST. Arrays are not
resized; with --raw, they are fed to the net as they are. For nets of others, --preprocessing names their training file,
whose data may be gone, or options say what to do.

  netdef predict model.net photograph.jpg
  netdef predict --run try1 folder --top 3 --names names.txt
  netdef predict deploy.prototxt folder --weights model.caffemodel --json
  netdef predict houses.net new_houses.csv
  netdef predict model.net folder --devices all
  netdef predict deploy.prototxt cat.jpg --weights bvlc.caffemodel --mean 104,117,123 --crop 227 --names words.txt
  netdef predict deploy.prototxt cat.jpg --weights bvlc.caffemodel --preprocessing train_val.prototxt
  netdef predict ssd.prototxt street.jpg --weights ssd.caffemodel --pictures found --coco found.json
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError, printable
from ..language.source import ENDINGS
from . import UsageError
from ._options import add_json, existing
from ._output import say
from ._pictures import Pictures, add_pictures, check_pictures, least_score, write_coco
from ._preparing import add_preparing, prepared
from ._trained import add_trained, predictor_of

HELP = "classify images, or find objects in them, with a trained net"
CHUNK = 256  # images that are decoded at a time
HDF5 = (".h5", ".hdf5")
ARRAYS = (".npy", ".npz", *HDF5)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_trained(parser)
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="image, folder, array (.npy, .npz, .h5), or table")
    parser.add_argument("--raw", action="store_true", help="feed arrays to the net as they are, without preprocessing")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="number of classes to print (default: 5)")
    parser.add_argument("--names", metavar="FILE", help="text file with one class name per line, or label map")
    add_preparing(parser)
    add_pictures(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from ..inference.answer import Answer

    _without_net(args)
    if not args.inputs:
        raise UsageError("INPUT is missing: name images, folders or arrays after the net")
    names, least = _names(args.names), least_score(args)
    predictor = prepared(predictor_of(args), args)
    check_pictures(args, predictor.detects)
    answer = {Answer.CLASSES: _classes, Answer.BOXES: _boxes, Answer.OUTPUTS: _outputs}[predictor.answer]
    found = answer(predictor, args, names, least)
    if not found:
        raise NetdefError("There is nothing to predict: the arrays are empty.")
    if args.json:
        print(json.dumps([values for values, _ in found], indent=2))
        return 0
    width = max(len(printable(values["input"])) for values, _ in found)
    for values, lines in found:
        for line in lines:
            print(f"{printable(values['input']):<{width}}  {line}")
    return 0


Found = list[tuple[dict[str, Any], list[str]]]  # of each input: the values for JSON, and lines


def _classes(predictor: Any, args: argparse.Namespace, given: Any, least: float) -> Found:
    """Classifies images."""
    known = given or predictor.class_names() or []
    names = dict(known) if isinstance(known, dict) else dict(enumerate(known))
    found: Found = []
    for label, inputs, count in _batches(predictor, args):
        for name, scores in zip(label, predictor.scores(inputs)[:count], strict=False):
            values = _answer(name, scores, names, args.top)
            found.append((values, ["   ".join(f"{c['name']} {c['score']:.3f}" for c in values["classes"])]))
    return found


def _boxes(predictor: Any, args: argparse.Namespace, given: Any, least: float) -> Found:
    """Finds objects, draws them, and writes them as COCO JSON."""
    from ..inference.boxes import label_names, whole
    from ..inference.pictures import boxed, stretched
    from ..inference.predict import picture_of_file, size_of_file

    names = label_names(predictor.net, given, predictor.class_names() or ())
    pictures, found, every = Pictures(args.pictures), [], []
    for labels, inputs, count in _batches(predictor, args):
        rows = next(iter(inputs.values()))[:count]
        files = [Path(label) if Path(label).is_file() else None for label in labels]
        places = [predictor.placing(size_of_file(f)) if f else whole(rows.shape[-2:]) for f in files]
        for i, one in enumerate(predictor.detections(labels, inputs, places, names)):
            picture = lambda f=files[i], row=rows[i]: picture_of_file(f) if f else stretched(row)
            shown = [box for box in one.boxes if box.score >= least]
            pictures.add(one.input, lambda shown=shown, picture=picture: boxed(picture(), shown))
            every.append(one)
            found.append(_listed(one, least))
    pictures.done()
    write_coco(args.coco, every, names)
    return found


def _listed(found: Any, least: float) -> tuple[dict[str, Any], list[str]]:
    shown = [box for box in found.boxes if box.score >= least]
    values = [
        {
            "class": box.label,
            "name": box.name,
            "score": round(box.score, 6),
            "box": [round(x, 2) for x in box.corners],
        }
        for box in shown
    ]
    lines = [f"{b.name} {b.score:.3f}  x {b.xmin:.0f} to {b.xmax:.0f}, y {b.ymin:.0f} to {b.ymax:.0f}" for b in shown]
    return {"input": found.input, "boxes": values}, lines or [f"no object with a score of at least {least:g}"]


def _outputs(predictor: Any, args: argparse.Namespace, given: Any, least: float) -> Found:
    """Describes the outputs of a net that neither classifies nor detects."""
    net = predictor.net
    estimates = predictor.table.estimates if predictor.table is not None else {}
    names = [name for name in net.outputs if net.blobs[name].shape] or [n for n in estimates if n in net.blobs]
    if not names:
        raise NetdefError("the net has no output with one row per image; select a blob with --blob.")
    if not estimates:
        say(
            "note: nothing is classified or detected: the net has no softmax or loss over the classes of an image, and "
            f"no detections; the outputs are {', '.join(names)}, and --blob NAME takes the values of a blob as scores"
        )
    found: Found = []
    for labels, inputs, _ in _batches(predictor, args):
        made = predictor.blobs(inputs, names)
        for i, label in enumerate(labels):
            rows = {name: predictor.row(array, i, inputs) for name, array in made.items()}
            if predictor.table is not None:
                rows = {name: predictor.table.restored(name, row) for name, row in rows.items()}
            values = [_range(name, row) for name, row in rows.items()]
            found.append(({"input": label, "outputs": values}, [_range_in_words(v) for v in values]))
    return found


def _range(name: str, row: Any) -> dict[str, Any]:
    import numpy as np

    finite = row[np.isfinite(row)] if row.size else row
    limits = [round(float(edge), 6) for edge in (finite.min(), finite.max())] if finite.size else [None, None]
    return {
        "name": name,
        "shape": list(row.shape),
        "min": limits[0],
        "max": limits[1],
        "not_finite": int(row.size - finite.size),
    }


def _range_in_words(values: dict[str, Any]) -> str:
    if values["min"] is not None and values["min"] == values["max"] and math.prod(values["shape"]) == 1:
        return f"{values['name']}  {values['min']:.6g}"
    shape = "x".join(map(str, values["shape"])) or "one number"
    bad = f", {values['not_finite']:,} not finite" if values["not_finite"] else ""
    limits = "no values" if values["min"] is None else f"{values['min']:.4g} to {values['max']:.4g}"
    return f"{values['name']}  {shape}  {limits}{bad}"


def _batches(predictor: Any, args: argparse.Namespace) -> Iterator[tuple[list[str], dict[str, Any], int]]:
    """Yields the names of the inputs of each batch, the batch, and their number."""
    from ..data.table_file import is_table

    for name in args.inputs:
        if is_table(Path(name)):
            if args.raw:
                raise UsageError(
                    f"--raw is for arrays, but {name} is a table, whose columns become inputs only as in training"
                )
            yield from predictor.table_batches(name)
    others = [name for name in args.inputs if not is_table(Path(name))]
    for names, rows in _rows(predictor, others, args.raw):
        for inputs, count in predictor.batches(rows):
            yield names[:count], inputs, count
            names = names[count:]


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


def _names(path: str | None) -> Any:
    """Returns the names in a file, by label or as a list."""
    if path is None:
        return ()
    from ..inference.boxes import names_in

    return names_in(Path(existing(path)))


def _answer(label: str, scores: Any, names: dict[int, str], top: int) -> dict[str, Any]:
    best = scores.argsort()[::-1][: max(1, top)]
    name = lambda k: names.get(k, f"class {k}")
    return {
        "input": label,
        "classes": [{"class": int(k), "name": name(int(k)), "score": round(float(scores[k]), 6)} for k in best],
    }
