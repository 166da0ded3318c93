"""Print the net that is used once a net is trained, as plain prototxt.

Data layers become Input, a loss becomes its prediction (SoftmaxWithLoss a Softmax), and what training alone needs falls
away.  Layers keep their names, so that the trained weights fit.  Of several losses on one label only the one of the
greatest weight is kept; --output says what is wanted instead.

  netdef deploy train_val.prototxt -o deploy.prototxt
  netdef deploy model.net --batch 16 --output pool5
  netdef deploy train_val.prototxt --shape data=1,3,224,224       (where its data is not here)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..language.diagnostics import CompileError, NetdefError
from . import UsageError
from ._options import add_net, add_state, iterations, net_file, settings

HELP = "derive the net for use from the net for training"


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
    add_state(parser)


def run(args: argparse.Namespace) -> int:
    from ..deploy import deploy

    shapes = dict(_shape(text) for text in args.shape)
    path = net_file(args)
    try:
        net = deploy(path, args.batch, shapes, args.output, stages=args.stage, level=args.level, set=settings(args))
    except CompileError:
        raise
    except NetdefError as error:
        raise UsageError(str(error)) from error
    if args.to:
        Path(args.to).write_text(net.text, encoding="utf-8")
    else:
        sys.stdout.write(net.text)
    return 0


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    """`data=1,3,224,224`."""
    name, equals, dims = text.partition("=")
    words = dims.replace("x", ",").split(",")
    if not equals or not name or not all(word.strip().isdigit() for word in words):
        raise UsageError(f"--shape takes BLOB=DIMS, as in --shape data=1,3,224,224, not {text!r}")
    return name, tuple(int(word) for word in words)
