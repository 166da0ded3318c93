"""Time a net: its forward pass, forward and backward, and the whole training step, with XLA's count for each layer.

Each is compiled for itself and runs on random inputs, so that reading data is not measured; every iteration is waited
for.  Shown are the median and the spread, images a second, the FLOP/s that were reached (by the counts below), the time
to compile, and the memory that XLA plans for.  The table of layers is XLA's cost analysis of each layer lowered alone
under its name: FLOP (two for a multiply-add) and the bytes that it touches before fusion; with --layers also the time
that it takes alone, which is more than its share where XLA joins layers.
A net with a loss is timed in phase TRAIN, one without in phase TEST.  The data need not be there: --shape says what it
would be.

  netdef time model.net
  netdef time deploy.prototxt --iterations 20
  netdef time model.net --phase TEST --json
  netdef time train_val.prototxt --shape data=64,3,227,227
"""

from __future__ import annotations

import argparse
import json
import sys

from ..compiler import build_net, read_file
from ..graph import Net
from ..language.render import render
from ..passes.select import State
from ..shape import Shape, known, show
from . import UsageError, colored
from ._deployed import shape_of
from ._options import add_json, add_net, add_state, iterations, net_file, settings, trust_of
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
    parser.add_argument("--layers", action="store_true", help="measure each layer alone as well")
    parser.add_argument("--batch", type=iterations, metavar="N", help="items in a batch of the net's inputs")
    parser.add_argument(
        "--shape", action="append", default=[], metavar="BLOB=DIMS", help="the shape of an input; may be given again"
    )
    add_json(parser)
    caffe.add_argument("--solver", "-solver", metavar="FILE", help="the same as FILE")
    parser.set_defaults(trust_python=True)


def run(args: argparse.Namespace) -> int:
    if args.warm_up < 1:
        raise UsageError(
            f"--warm-up takes at least 1, since the first iteration is never like the others: {args.warm_up}"
        )
    path = net_file(args)
    loaded = load_phases(path, args, settings(args))
    loaded.stop_on_errors()
    net = _chosen(loaded.nets)
    if not net.layers:
        raise UsageError(f"{path}: the net has no layers; there is nothing to time")
    shapes = _shapes(net, args)
    if shapes:
        net = _resized(path, net, args, shapes)
    elif loaded.diagnostics:
        print(render(loaded.diagnostics, color=colored(sys.stderr)), file=sys.stderr)
    _refuse_unknown(net)

    from ..inspect.timing import measure

    timing = measure(net, args.iterations, args.warm_up, args.layers)
    print(json.dumps(timing.as_dict(), indent=2) if args.json else timing)
    return 0


def _shapes(net: Net, args: argparse.Namespace) -> dict[str, Shape]:
    """The inputs whose shapes are asked for; beside a blob whose shape is given, labels get its batch."""
    given = dict(shape_of(text) for text in args.shape)
    fed = [node for node in net.layers if node.layer.is_input]
    names = [top.name for node in fed for top in node.tops]
    for name in given:
        if name not in names:
            raise UsageError(f"--shape {name}: the net has no input `{name}`; it has {', '.join(names) or 'none'}")
    if args.batch and not names:
        raise UsageError("--batch: nothing is fed to this net; its batch stands in its layers")
    found: dict[str, Shape] = {}
    for node in fed:
        batch = args.batch or next((given[top.name][0] for top in node.tops if given.get(top.name)), None)
        for top in node.tops:
            if top.name in given:
                found[top.name] = given[top.name]
            elif batch:
                found[top.name] = (batch, *(net.shapes.get(top) or ())[1:])
    return found


def _resized(path: str, net: Net, args: argparse.Namespace, shapes: dict[str, Shape]) -> Net:
    """The net with inputs of these shapes.  CompileError if it does not take them."""
    parsed = read_file(path, phase=net.phase, set=settings(args), trust=trust_of(args))
    made = build_net(parsed, State(net.phase, args.level, tuple(args.stage)), shapes)
    parsed.report.stop_on_errors()
    return made


def _refuse_unknown(net: Net) -> None:
    for name in net.inputs:
        shape = net.blobs[name].shape
        if not known(shape):
            raise UsageError(
                f"the shape of `{name}` is {show(shape)}, since its data is not here; give it, as in "
                f"--shape {name}=64,3,227,227"
            )


def _chosen(nets: tuple[Net, ...]) -> Net:
    """The first net with a loss, of TRAIN and TEST in this order, or else the last: that of TEST."""
    has_loss = lambda net: any(any(node.loss_weights) for node in net.layers)
    return next((net for net in nets if has_loss(net)), nets[-1])
