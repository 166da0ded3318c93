"""Time a net: its forward pass, forward and backward, and the whole training step, with XLA's count for each layer.

Each is compiled for itself and runs on random inputs, so that reading data is not measured; every iteration is waited
for.  Shown are the median and the spread, images a second, the FLOP/s that were reached (by the counts below), the time
to compile, and the memory that XLA plans for.  The table of layers is XLA's cost analysis of each layer lowered alone
under its name: FLOP (two for a multiply-add) and the bytes that it touches before fusion.
A net with a loss is timed in phase TRAIN, one without in phase TEST.

  netdef time model.net
  netdef time deploy.prototxt --iterations 20
  netdef time model.net --phase TEST --json
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..language.render import render
from . import UsageError, colored
from ._options import add_json, add_net, add_state, iterations, net_file, settings
from ._phases import add_phase, load_phases

HELP = "how fast a net is, and what each layer takes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    caffe = add_net(parser)
    add_phase(parser)
    add_state(parser)
    parser.add_argument(
        "--iterations",
        "-iterations",
        type=iterations,
        metavar="N",
        help="of each pass (default: 50, or what ten seconds allow, at least 5)",
    )
    parser.add_argument("--warm-up", type=int, default=3, metavar="N", help="iterations before those (default 3)")
    add_json(parser)
    caffe.add_argument("--solver", "-solver", metavar="FILE", help="the same as FILE")


def run(args: argparse.Namespace) -> int:
    if args.warm_up < 1:
        raise UsageError(
            f"--warm-up takes at least 1, since the first iteration is never like the others: {args.warm_up}"
        )
    loaded = load_phases(net_file(args), args, settings(args))
    loaded.stop_on_errors()
    if loaded.diagnostics:
        print(render(loaded.diagnostics, color=colored(sys.stderr)), file=sys.stderr)

    from ..timing import measure

    timing = measure(_chosen(loaded.nets), args.iterations, args.warm_up)
    print(json.dumps(timing.as_dict(), indent=2) if args.json else timing)
    return 0


def _chosen(nets: tuple[Any, ...]) -> Any:
    """The first net with a loss, of TRAIN and TEST in this order, or else the last: that of TEST."""
    has_loss = lambda net: any(any(node.loss_weights) for node in net.layers)
    return next((net for net in nets if has_loss(net)), nets[-1])
