"""Print the inference net of a training net as plain prototxt.

Data layers become Input layers, a loss becomes its prediction (SoftmaxWithLoss becomes Softmax), and everything that
only training needs is removed. Layers keep their names, so the trained weights fit. If several losses have the same
label, only the one with the greatest weight is kept, unless --output selects other blobs. The MultiBoxLoss of a
detector becomes DetectionOutput, with the thresholds of the SSD fork's examples, which can be changed in the new file.

  netdef deploy train_val.prototxt -o deploy.prototxt
  netdef deploy model.net --batch 16 --output pool5
  netdef deploy --run runs/Digits                                 (the net of a run, as it was trained)
  netdef deploy train_val.prototxt --shape data=1,3,224,224       (if its data is not on this machine)

--fold merges batch normalization and scales into the preceding layers. This changes their weights, so it reads those of
--weights, --run or the last run, and writes the new ones:

  netdef deploy model.net --weights model.caffemodel --fold -o folded.net --save-weights folded.caffemodel
"""

from __future__ import annotations

import argparse
import sys

from ..graph import Net
from . import UsageError
from ._deployed import deployed
from ._options import add_net, add_shape, add_state, add_trust, iterations
from ._output import say, written_text
from ._trained import Subject, add_weights, subject
from .convert import add_dtype

HELP = "print the inference net of a training net"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    parser.add_argument("-o", metavar="FILE", dest="to", help="write the net to this file (default: stdout)")
    parser.add_argument("--batch", type=iterations, metavar="N", help="batch size of the inputs (default: 1)")
    add_shape(parser)
    parser.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="BLOB",
        help="output of the net; may be repeated (default: its predictions)",
    )
    parser.add_argument(
        "--fold", action="store_true", help="merge batch normalization and scales into the preceding layers"
    )
    add_weights(parser)
    parser.add_argument(
        "--save-weights", metavar="FILE", help="write the weights to this file; its extension selects the format"
    )
    add_dtype(parser)
    add_state(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    weights = _weights(args)
    found = subject(args, needs_weights=weights)
    net = deployed(found, args, args.output)
    if weights:
        net = _with_weights(found, net, args)
    if args.to:
        written_text(args.to, net.text)
    else:
        sys.stdout.write(net.text)
    return 0


def _weights(args: argparse.Namespace) -> bool:
    """Returns whether weights are needed. UsageError if the arguments contradict each other."""
    if args.fold and not args.save_weights:
        raise UsageError("--fold changes the weights: write them to a file with --save-weights FILE")
    if args.save_weights:
        _check_ending(args.save_weights)
    if args.weights and not args.save_weights:
        raise UsageError("--weights requires --save-weights FILE, because deploy only prints the net")
    return bool(args.save_weights)


def _check_ending(path: str) -> None:
    from ..interop.formats.base import ending_of, endings

    if not ending_of(path):
        raise UsageError(f"{path}: the name of a weight file must end in one of {', '.join(endings())}")


def _with_weights(found: Subject, net: Net, args: argparse.Namespace) -> Net:
    """Writes the weights. Returns the net that they belong to, which is shorter with --fold."""
    from ..interop.weights import entries_of, write_weights
    from ..model import stored_weights

    if not found.place:
        raise UsageError("this net has no runs; name a weight file with --weights FILE, or a run with --run DIR")
    weights, loaded = stored_weights(net, [str(found.snapshot)] if found.snapshot else list(found.files))
    for line in (*loaded.notes, str(loaded)):
        say(line)
    if args.fold:
        from ..interop import fold

        before = len(net.layers)
        net, weights, notes = fold(net, weights)
        for line in notes:
            say(line)
        say(f"{before} layers became {len(net.layers)}")
    write_weights(args.save_weights, entries_of(net, weights), net, args.dtype)
    return net
