"""Write a net as the source of a Flax model that does not import netdef, and its weights in the same folder.

The net is the inference net (see `netdef deploy`). The source has one line per layer, requires only jax, flax and
numpy, and computes the same values as netdef, bit for bit on a CPU. The weights are those of the last run by default.

  netdef eject model.net -o model.py                        model.py and model.npz
  netdef eject --run runs/Digits -o model.py                the net and the weights of this run
  netdef eject train_val.prototxt --weights vgg.caffemodel --shape data=1,3,224,224 -o vgg.py
  python -c "import model; print(model.load()(data=images))"
"""

from __future__ import annotations

import argparse

from . import UsageError
from ._deployed import add_deployed, deployed_model
from ._options import add_net
from ._trained import subject

HELP = "write a net as Flax source that does not import netdef"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    parser.add_argument("-o", required=True, metavar="FILE.py", dest="to", help="write the source to this file")
    parser.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="BLOB",
        dest="output_blobs",
        help="output of the net; may be repeated (default: its predictions)",
    )
    add_deployed(parser)


def run(args: argparse.Namespace) -> int:
    from ..interop import eject

    if not args.to.endswith(".py"):
        raise UsageError(f"{args.to}: the name of a source file must end in .py")
    weights = eject(deployed_model(subject(args), args), args.to)
    print(f"the source is in {args.to}, the weights are in {weights}")
    return 0
