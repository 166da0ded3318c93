"""Print the net that is used once a net is trained, as plain prototxt.

Data layers become Input, a loss becomes its prediction (SoftmaxWithLoss a Softmax), and what training alone needs falls
away.  Layers keep their names, so that the trained weights fit.  Of several losses on one label only the one of the
greatest weight is kept; --output says what is wanted instead.

  netdef deploy train_val.prototxt -o deploy.prototxt
  netdef deploy model.net --batch 16 --output pool5
  netdef deploy train_val.prototxt --shape data=1,3,224,224       (where its data is not here)

With --fold batch normalisation and scales become part of the layers before them, which needs the weights (those of the
last run, if no others are named) and makes others:

  netdef deploy model.net --weights model.caffemodel --fold -o folded.net --save-weights folded.caffemodel
"""

from __future__ import annotations

import argparse
import sys

from ..graph import Net
from . import UsageError
from ._deployed import deployed, weight_files
from ._options import add_net, add_state, add_trust, iterations, net_file
from ._output import say, written_text
from ._trained import add_weights
from .convert import add_dtype

HELP = "derive the net for use from the net for training, and fold it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    parser.add_argument("-o", metavar="FILE", dest="to", help="write this file instead of printing")
    parser.add_argument("--batch", type=iterations, metavar="N", help="items in a batch of inputs (default 1)")
    parser.add_argument(
        "--shape", action="append", default=[], metavar="BLOB=DIMS", help="the shape of an input; may be given again"
    )
    parser.add_argument(
        "--output", action="append", default=[], metavar="BLOB", help="a blob that is wanted; may be given again"
    )
    parser.add_argument("--fold", action="store_true", help="fold batch normalisation and scales")
    add_weights(parser)
    parser.add_argument("--save-weights", metavar="FILE", help="write the weights of the new net; the ending says how")
    add_dtype(parser)
    add_state(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    path = net_file(args)
    weights = _weights(args)
    net = deployed(path, args, args.output)
    if weights:
        net = _with_weights(path, net, args)
    if args.to:
        written_text(args.to, net.text)
    else:
        sys.stdout.write(net.text)
    return 0


def _weights(args: argparse.Namespace) -> bool:
    """Whether weights are needed.  UsageError where the arguments do not agree."""
    if args.fold and not args.save_weights:
        raise UsageError("--fold makes other weights, too: say where to with --save-weights FILE")
    if args.save_weights:
        _check_ending(args.save_weights)
    if (args.weights or args.run) and not args.save_weights:
        raise UsageError("weights are read to be folded or written: give --save-weights FILE, and --fold if wanted")
    return bool(args.save_weights)


def _check_ending(path: str) -> None:
    from ..interop.formats.base import ending_of, endings

    if not ending_of(path):
        raise UsageError(f"{path}: the ending of a weight file is one of {', '.join(endings())}")


def _with_weights(path: str, net: Net, args: argparse.Namespace) -> Net:
    """Write the weights; gives the net that they are for."""
    from ..interop.weights import entries_of, write_weights
    from ..model import compile

    files = weight_files(path, args)
    if not files:
        raise UsageError("there is no run of this net; name its weights with --weights FILE, or a run with --run DIR")
    model = compile(net)
    loaded = model.load_weights(files)
    weights = model.get_weights()
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
