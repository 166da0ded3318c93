"""Train a net as its solver says, and show how it goes.

The run's folder (runs/NAME of the net, if --output names no other) gets snapshots, metrics.jsonl with a line for each
display and each test, and the text of the net.
Ctrl-C ends a run with a snapshot; --resume goes on from the last one as if nothing had happened.

  netdef train model.net
  netdef train model.net --set solver.base_lr=0.01 --max-iter 1000 --output try1
  netdef train model.net --weights vgg.caffemodel
  netdef train model.net --output try1 --resume
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..language.errors import NetdefError
from . import UsageError
from ._options import add_net, add_plot, add_state, existing, iterations, net_file, pictures, settings
from ._output import say
from ._phases import load_phases
from ._trained import given_weights

if TYPE_CHECKING:
    from ..training.lr_range import Rates

HELP = "train a net as its solver says"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    caffe = add_net(parser)
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--weights",
        "-weights",
        action="append",
        metavar="FILE",
        help="start from these weights, layer by layer by name; may be given again, or several with commas",
    )
    start.add_argument(
        "--resume",
        nargs="?",
        const=True,
        metavar="SNAPSHOT",
        help="go on from the last snapshot of the run, or from this one",
    )
    start.add_argument("--snapshot", "-snapshot", metavar="FILE", help="Caffe's name of --resume FILE")
    parser.add_argument("--max-iter", type=iterations, metavar="N", help="end after this many iterations")
    trial = parser.add_mutually_exclusive_group()
    trial.add_argument(
        "--dry-run", action="store_true", help="two iterations, shown, tested and saved; nothing is kept"
    )
    trial.add_argument(
        "--overfit",
        type=iterations,
        metavar="N",
        help="learn the first N batches by heart: a net that cannot is broken",
    )
    trial.add_argument(
        "--lr-find", action="store_true", help="let the learning rate grow, and say where the loss falls fastest"
    )
    parser.add_argument("--watch", action="store_true", help="show at each display what the layers do")
    add_plot(parser)
    parser.add_argument("--tensorboard", action="store_true", help="write events for TensorBoard too")
    add_state(parser)
    parser.add_argument("--output", metavar="DIR", help="the run's folder (default: runs/NAME of the net)")
    caffe.add_argument("--solver", "-solver", metavar="FILE", help="the same as FILE")
    parser.set_defaults(trust_python=True)


def run(args: argparse.Namespace) -> int:
    path, changes = net_file(args), settings(args) | _train_state(args)
    weights = given_weights(args)
    resume = args.resume or args.snapshot or None
    if isinstance(resume, str):
        existing(resume, "snapshot")
    _check(path, args, changes)

    if pictures(args.plot) and not args.lr_find:
        raise UsageError("--plot draws what --lr-find found; `netdef plot RUN` draws the curves of a run")
    if args.lr_find:
        return find_rate(path, args, changes, weights)

    from ..training.events import Event, Interrupted
    from ..training.progress import progress
    from ..training.run import train

    def watch(event: Event) -> None:
        show(replace(event, resume=again(path, args)) if isinstance(event, Interrupted) else event)

    with progress(sys.stdout) as show:
        result = train(
            path,
            weights=weights or None,
            resume=resume,
            max_iter=args.max_iter,
            output=args.output,
            set=changes,
            on_event=watch,
            watch=args.watch,
            overfit=args.overfit or 0,
            dry_run=args.dry_run,
            tensorboard=args.tensorboard,
            import_path=args.import_path,
        )
    if result.why == "interrupted":
        return 130
    return 1 if args.overfit and result.why == "max_iter" else 0  # what was to be learnt was not


def find_rate(path: str, args: argparse.Namespace, changes: dict[str, Any], weights: list[str]) -> int:
    """Print the loss at each learning rate, and the rate to begin with."""
    from ..training.lr_range import lr_find

    more = {"output": args.output, "import_path": args.import_path}
    found = lr_find(path, iterations=args.max_iter or 100, set=changes, weights=weights or None, **more)
    for rate, loss in found.points:
        print(f"lr {rate:<12.4g}loss {loss:.6g}")
    _draw_rates(found, args.plot)
    if found.diverged is not None:
        print(f"the loss left all bounds at lr {found.diverged:.3g}")
    if found.suggestion is None:
        print("the loss never fell; look at the labels, the input's scale, and --overfit 1")
        return 1
    print(f"suggested: base_lr: {found.suggestion:.2g}")
    return 0


def _draw_rates(found: Rates, given: list[str]) -> None:
    """The picture of the range test, in its folder or where it was asked for; none without matplotlib."""
    from ..observe.figure import save_all
    from ..observe.rates import rates

    try:
        drawn = rates(found.points, found.suggestion, found.diverged, f"{found.folder.name}: learning-rate range test")
    except NetdefError as error:
        if given:
            raise
        say(f"warning: no picture: {error}")
        return
    for path in save_all(drawn, found.folder / "lr_find", given):
        print(path, file=sys.stderr)


def _train_state(args: argparse.Namespace) -> dict[str, Any]:
    """Level and stages of the net that is trained, as Caffe's flags set them in the solver."""
    level = {"solver.train_state.level": args.level} if args.level else {}
    return level | ({"solver.train_state.stage": tuple(args.stage)} if args.stage else {})


def again(path: str, args: argparse.Namespace) -> str:
    """The command that goes on with this run."""
    given = {"--set": args.set, "--plugin": args.plugin, "--import-path": args.import_path, "--stage": args.stage}
    more = [word for flag, values in given.items() for value in values for word in (flag, value)]
    more += ["--level", str(args.level)] if args.level else []
    more += ["--max-iter", str(args.max_iter)] if args.max_iter else []
    more += ["--output", args.output] if args.output else []
    return shlex.join(["netdef", "train", path, *more, "--resume"])


def _check(path: str, args: argparse.Namespace, changes: dict[str, Any]) -> None:
    """Faults of the file are told before jax is loaded."""
    args.phase = "TRAIN"
    loaded = load_phases(path, args, changes)
    loaded.stop_on_errors()
    if loaded.nets and loaded.nets[0].solver is None:
        raise UsageError(
            f"{path} has no solver; give it a `solver {{ }}` block, or name a solver file that names the net"
        )
