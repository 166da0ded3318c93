"""Test a net: print the means of its outputs over the data of phase TEST, with the weights of a run or of a file.

The result is the mean over as many batches as test_iter of the solver says, as in Caffe. Without test_iter, each record
counts exactly once, as if all records were one batch, also if the last batch has fewer records than the others.
--iterations overrides both. Tests during training do the same, and the same weights have the same score.

  netdef test model.net                           weights and settings of the last run of this net
  netdef test --run try1                          net and weights of this run, which needs no other file
  netdef test model.net --weights model.caffemodel
  netdef test --run try1 --json
  netdef test model.net --devices all             on several devices, which divide each batch
  netdef test ssd.net --pictures found            pictures with the boxes found, and the true ones dashed
  netdef test ssd.net --set solver.ap_version=COCO    AP, AP50, AP75 and by size, with the package faster-coco-eval
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..graph import Net
from ..language.errors import printable
from . import UsageError
from ._options import add_devices, add_json, add_net, add_state, iterations
from ._output import say
from ._phases import load_phases
from ._pictures import Pictures, add_pictures, check_pictures, least_score, write_coco
from ._trained import add_weights, no_snapshot, subject

HELP = "test a trained net on its test data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    caffe = add_net(parser)
    add_weights(parser)
    parser.add_argument(
        "--iterations",
        "-iterations",
        type=iterations,
        metavar="N",
        help="number of batches (default: test_iter of the solver, or all data)",
    )
    parser.add_argument("--confusion", action="store_true", help="print the confusion matrix over all data")
    add_pictures(parser)
    add_devices(parser)
    add_state(parser)
    add_json(parser)
    caffe.add_argument("--solver", "-solver", metavar="FILE", help="same as FILE")
    parser.set_defaults(trust_python=True)


def run(args: argparse.Namespace) -> int:
    args.phase = "TEST"
    found = subject(args)
    loaded = load_phases(found.net, args, found.settings)
    loaded.stop_on_errors()
    weights = found.place
    if not weights:
        raise UsageError(no_snapshot(args))
    if args.confusion:
        return _confusion(loaded.nets[0], weights, args)
    if args.pictures or args.coco:
        _written(loaded.nets[0], weights, args)
    measured = _measure(loaded.nets[0], weights, args)
    if args.json:
        print(json.dumps(measured, indent=2))
        return 0
    for name, value in measured["outputs"].items():
        print(f"{name}: {value}")
    named = printable(str(measured["weights"]))
    print(f"{measured['images']:,} images in {measured['seconds']:.1f} s, weights: {named}")
    return 0


def _confusion(net: Net, weights: list[str] | Path, args: argparse.Namespace) -> int:
    """Prints how often each class was classified as each other class, and the accuracy."""
    from ..inference.predict import Predictor, confusion
    from ..passes.precision import as_computed

    predictor = Predictor(as_computed(net), weights, devices=args.devices)
    counts = confusion(predictor)
    names = predictor.class_names() or [f"class {k}" for k in range(len(counts))]
    right, records = int(counts.trace()), int(counts.sum())
    if args.json:
        print(
            json.dumps({"classes": names, "counts": counts.tolist(), "accuracy": round(right / records, 6)}, indent=2)
        )
        return 0
    for k, row in enumerate(counts):
        taken = [(int(n), j) for j, n in enumerate(row) if n and j != k]
        wrong = ", ".join(f"{names[j]} {n}" for n, j in sorted(taken, reverse=True)[:8])
        if row.sum():
            print(f"{names[k]}: {row[k]} of {row.sum()} correct" + (f"; classified as {wrong}" if wrong else ""))
    print(f"{right:,} of {records:,} records classified correctly: {right / records:.4f}")
    return 0


def _written(net: Net, weights: list[str] | Path, args: argparse.Namespace) -> None:
    """Writes what a detector finds in all data: as pictures, and as COCO JSON."""
    from ..inference.boxes import detector_of, label_names
    from ..inference.examined import examined
    from ..inference.predict import Predictor, stored_with
    from ..passes.precision import as_computed

    least = least_score(args)
    check_pictures(args, detector_of(net) is not None)
    predictor = Predictor(as_computed(net), weights, None, stored_with(weights), devices=args.devices)
    names = label_names(predictor.net, (), predictor.class_names() or ())
    pictures, found = Pictures(args.pictures), []
    for one in examined(predictor, names):
        pictures.add(one.found.input, lambda one=one: one.picture(least))
        found.append(one.found)
    pictures.done()
    write_coco(args.coco, found, names)


def _measure(net: Net, weights: list[str] | Path, args: argparse.Namespace) -> dict[str, Any]:
    """Tests the net with weights from files or from a snapshot. Returns its outputs and facts about the test."""
    from ..training.scoring import score

    found = score(net, weights, args.iterations, args.devices)
    for note in found.notes:
        say(f"warning: {printable(note)}")
    return found.as_dict()
