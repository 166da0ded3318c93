"""Draw a net: boxes for layers, coloured by family, arrows with the shapes of blobs, frames round what templates made.

The end of the output's name says what is written: .svg, .png and .pdf need Graphviz; .dot (Graphviz's text) and .mmd
(Mermaid, which GitHub shows) need nothing.  Without -o, .dot is printed.

  netdef draw model.net -o model.svg
  netdef draw examples/resnet152.net --fold residual_bottleneck -o resnet.png
  netdef draw model.net --phase TEST -o model.mmd
"""

from __future__ import annotations

import argparse
import sys

from ..language.diagnostics import CompileError
from ..language.errors import NetdefError
from . import UsageError
from ._options import add_net, add_state, add_trust, net_file, settings, trust_of

HELP = "a picture of a net: svg, png, pdf, dot or mermaid"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write this file: .svg .png .pdf .dot .mmd")
    parser.add_argument(
        "--phase", "-phase", type=str.upper, choices=["TRAIN", "TEST"], default="TRAIN", help="default TRAIN"
    )
    parser.add_argument(
        "--fold",
        action="append",
        default=[],
        metavar="TEMPLATE",
        help="draw each use of this template as one box, or with `all` of every one; may be given again",
    )
    parser.add_argument("--sideways", action="store_true", help="from left to right")
    add_state(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    from ..compiler import load
    from ..inspect import draw

    path = net_file(args)
    trust = trust_of(args)
    more = {"set": settings(args), "trust_python": trust.python, "import_path": trust.folders}
    net = load(path, args.phase, args.stage, args.level, **more)
    known = {frame.template for box in draw.picture(net).boxes for frame in draw.around(box.frame)}
    for name in args.fold:
        if name != "all" and name not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "there are none in this net"
            raise UsageError(f"--fold {name}: no template of this name makes several layers; {there}")
    if args.output is None:
        sys.stdout.write(draw.dot(draw.picture(net, args.fold), args.sideways))
        return 0
    try:
        draw.save(net, args.output, fold=args.fold, sideways=args.sideways)
    except CompileError:
        raise
    except NetdefError as error:
        raise UsageError(str(error)) from error
    return 0
