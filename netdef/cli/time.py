"""Time a net: the forward pass, forward and backward pass, and whole training step, with XLA's cost of each layer.

Each of the three is compiled separately and runs on random inputs, so reading data is not measured. An iteration ends
when its result is ready. The output contains the median and the spread, images per second, FLOP/s, the compile time and
the memory that XLA allocates: in all, and for temporary values alone. If the solver has `recompute`, FLOP include the
layers that are computed twice. The table of layers is XLA's cost analysis of each layer alone: FLOP (two per
multiply-add) and bytes accessed before fusion. With --layers, each layer is also timed alone, which takes longer than
within the net where XLA fuses layers.

A net with a loss is timed in phase TRAIN, any other in phase TEST. The data can be missing if --shape is given.

  netdef time model.net
  netdef time deploy.prototxt --iterations 20
  netdef time model.net --phase TEST --json
  netdef time --run runs/Digits
  netdef time train_val.prototxt --shape data=64,3,227,227

With --target, nothing is run: the training step (without a loss or a solver, the passes before it) is compiled for a
device that is not present. The output contains FLOP, traffic, memory and collectives of each device, whether the net
fits into its memory, and a lower bound of the time, which follows from the published peaks of the device. The time
itself is not known and not reported. The batch is divided among all devices of the target, or among N with --devices;
random data (DummyData) count as inputs, and a net without inputs runs on one. Targets are v4:2x2x1, v5e:2x2, v5p:2x2x1
and v6e:2x2, or other numbers of these chips, which require the package libtpu, and h100:8, which requires the CUDA
plugin of JAX. Compiling can take minutes.

Without --target, --devices measures on N of the devices at hand, which divide the batch, and lists the collectives of a
step: what the devices exchange, and the bytes of the results on each.

  netdef time model.net --devices all
  netdef time model.net --target v5e:2x2
  netdef time model.net --target v5p:2x2x2 --devices 4 --json
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..compiler import build_net, read_file
from ..graph import Net
from ..inspect.target import Target, TargetError, environment, require_compiler, target_of
from ..language.render import render
from ..passes.select import State
from ..shape import Shape, known, show
from . import UsageError, colored
from ._deployed import shape_of
from ._options import add_json, add_net, add_shape, add_state, device_count, iterations, trust_of
from ._phases import add_phase, load_phases
from ._trained import Subject, subject

HELP = "measure the speed of a net, and the cost of each layer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    caffe = add_net(parser)
    parser.add_argument("--run", metavar="DIR", help="use the settings of this run, and without FILE its net")
    add_phase(parser)
    add_state(parser)
    parser.add_argument(
        "--iterations",
        "-iterations",
        type=iterations,
        metavar="N",
        help="number of iterations of each pass (default: as many as fit in 10 seconds, from 5 to 50)",
    )
    parser.add_argument("--warm-up", type=int, metavar="N", help="number of iterations before measuring (default: 3)")
    parser.add_argument("--layers", action="store_true", help="also time each layer alone")
    parser.add_argument("--batch", type=iterations, metavar="N", help="batch size of the inputs")
    add_shape(parser)
    parser.add_argument(
        "--target", metavar="CHIP:SHAPE", help="compile for a device that is not present, as in v5e:2x2"
    )
    parser.add_argument(
        "--devices",
        type=device_count,
        metavar="N",
        help="number of devices that divide the batch, or `all` (default: 1, or all of the target)",
    )
    add_json(parser)
    caffe.add_argument("--solver", "-solver", metavar="FILE", help="same as FILE")
    parser.set_defaults(trust_python=True)


def run(args: argparse.Namespace) -> int:
    if args.warm_up is not None and args.warm_up < 1:
        raise UsageError(
            f"--warm-up is {args.warm_up}; it must be at least 1, because the first iteration is always slower"
        )
    try:
        return _run(args, _target(args))
    except TargetError as error:
        raise UsageError(str(error)) from error


def _run(args: argparse.Namespace, target: Target | None) -> int:
    found = subject(args, needs_weights=False)
    loaded = load_phases(found.net, args, found.settings)
    loaded.stop_on_errors()
    net = _chosen(loaded.nets)
    if not net.layers:
        raise UsageError(f"{args.file or args.model or args.solver or args.run}: the net has no layers")
    shapes = _shapes(net, args)
    if shapes:
        net = _resized(found, net, args, shapes)
    elif loaded.diagnostics:
        print(render(loaded.diagnostics, color=colored(sys.stderr)), file=sys.stderr)
    _refuse_unknown(net)
    result = _measured(net, args) if target is None else _estimated(net, target, args.devices)
    print(json.dumps(result.as_dict(), indent=2) if args.json else result)
    return 0


def _target(args: argparse.Namespace) -> Target | None:
    """Returns the parsed --target. TargetError if it does not exist, UsageError if other options contradict it."""
    if args.target is None:
        return None
    for option, given in (("--iterations", args.iterations), ("--warm-up", args.warm_up), ("--layers", args.layers)):
        if given:
            raise UsageError(f"{option} measures time on a device that is present; omit it, or omit --target")
    return target_of(args.target)


def _measured(net: Net, args: argparse.Namespace) -> Any:
    from ..inspect.timing import measure

    return measure(net, args.iterations, 3 if args.warm_up is None else args.warm_up, args.layers, args.devices)


def _estimated(net: Net, target: Target, devices: int | str | None) -> Any:
    require_compiler(target)
    if sys.stderr.isatty():
        print(f"netdef: compiling for {target.chip.title}; this can take minutes", file=sys.stderr)
    with environment(target):
        from ..inspect.estimate import estimate

        return estimate(net, target, devices if isinstance(devices, int) else None)


def _shapes(net: Net, args: argparse.Namespace) -> dict[str, Shape]:
    """Returns the shapes of inputs that --shape and --batch set. The labels of a blob get its batch size."""
    given = dict(shape_of(text) for text in args.shape)
    fed = [node for node in net.layers if node.layer.is_input]
    names = [top.name for node in fed for top in node.tops]
    for name in given:
        if name not in names:
            raise UsageError(f"--shape {name}: the net has no input `{name}`; its inputs: {', '.join(names) or 'none'}")
    if args.batch and not names:
        raise UsageError("--batch requires a net with inputs; the batch size of this net is set in its layers")
    found: dict[str, Shape] = {}
    for node in fed:
        batch = args.batch or next((given[top.name][0] for top in node.tops if given.get(top.name)), None)
        for top in node.tops:
            if top.name in given:
                found[top.name] = given[top.name]
            elif batch:
                found[top.name] = (batch, *(net.shapes.get(top) or ())[1:])
    return found


def _resized(found: Subject, net: Net, args: argparse.Namespace, shapes: dict[str, Shape]) -> Net:
    """Returns the net with inputs of these shapes. CompileError if they are invalid."""
    parsed = read_file(found.net, phase=net.phase, set=found.settings, trust=trust_of(args))
    made = build_net(parsed, State(net.phase, args.level, tuple(args.stage)), shapes)
    parsed.report.stop_on_errors()
    return made


def _refuse_unknown(net: Net) -> None:
    for name in net.inputs:
        shape = net.blobs[name].shape
        if not known(shape):
            raise UsageError(
                f"the shape of `{name}` is {show(shape)}, because its data was not found; set it, as in "
                f"--shape {name}=64,3,227,227"
            )


def _chosen(nets: tuple[Net, ...]) -> Net:
    """Returns the first net with a loss, TRAIN before TEST, or the last net if none has a loss."""
    has_loss = lambda net: any(any(node.loss_weights) for node in net.layers)
    return next((net for net in nets if has_loss(net)), nets[-1])
