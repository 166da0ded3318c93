"""Write a net as the source of a Flax model that runs without netdef, with its weights beside it.

The net is the one that is used once it is trained (see `netdef deploy`).  The text has a line for each layer; it needs
jax, flax and numpy, and on a CPU it gives what netdef gives, bit for bit.  The weights are those of the last run.

  netdef eject model.net -o model.py                        model.py and model.npz
  netdef eject train_val.prototxt --weights vgg.caffemodel --shape data=1,3,224,224 -o vgg.py
  python -c "import model; print(model.load()(data=images))"
"""

from __future__ import annotations

import argparse

from . import UsageError
from ._deployed import add_deployed, deployed_model
from ._options import add_net, net_file

HELP = "write a net as Flax source that runs without netdef"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    parser.add_argument("-o", required=True, metavar="FILE.py", dest="to", help="the file of the source")
    parser.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="BLOB",
        dest="output_blobs",
        help="a blob that is wanted; may be given again",
    )
    add_deployed(parser)


def run(args: argparse.Namespace) -> int:
    from ..interop import eject

    if not args.to.endswith(".py"):
        raise UsageError(f"{args.to}: the source of a model ends in .py")
    path = net_file(args)
    weights = eject(deployed_model(path, args), args.to)
    print(f"the source is in {args.to}, its weights in {weights}")
    return 0
