"""Train a net with its solver.

The run is saved in the folder runs/NAME, where NAME is the name of the net, or in the folder of --output: snapshots,
metrics.jsonl with one line for each display and each test, and the source of the net. Ctrl-C saves a snapshot and ends
the run; --resume continues it, with the same result as if it had never stopped, and warns if files of its data have
changed since. SIGTERM, SIGHUP and a closed pipe (`| head`) do the same as Ctrl-C; a second signal ends it immediately,
without this snapshot. Snapshots are written while training continues: it stops only while the arrays are copied to host
memory. If stdout or stderr is a file (`> log`), or under nohup, a run continues when its terminal or
pipe is lost. The exit code is 0, 1 after an error, 2 for an invalid file or argument, or 128 + the number of the
signal. While a run is in progress, no other run can use its folder; a warning says so if the file system, as NFS may,
has no locks to ensure this.

With --devices, several devices divide each batch of the file, and the result is that of one device. With --gpu, as in
Caffe, the batch of the file is that of each device: the learning rate stays, gradients are averaged, and each device
computes its own statistics. `mesh` in the solver changes both (`netdef explain mesh`). A batch that the devices cannot
divide evenly is an error.

On several hosts, the same command runs in N processes, with --hosts and --host; under SLURM, Open MPI or in a TPU pod
neither is needed. All devices divide each batch, or have the batch of the file with `--gpu all`, and each process reads
its rows only. All processes must see the same files; process 0 writes the run. A signal to any of them ends all, with
one snapshot. All must be started within five minutes; if one dies, the others end within the time of --heartbeat, with
a line that names it. `netdef launch` starts several processes on one machine.

With Caffe's flag --solver, as scripts for Caffe have it, each snapshot is also written as PREFIX_iter_N.caffemodel and
.solverstate if the solver has a `snapshot_prefix`, and --sigint_effect, --sighup_effect and --log_dir are as in Caffe.

  netdef train model.net
  netdef train model.net --set solver.base_lr=0.01 --max-iter 1000 --output try1
  netdef train model.net --weights vgg.caffemodel --freeze "conv.*"
  netdef train model.net --early-stop accuracy:5 --best accuracy
  netdef train model.net --output try1 --resume
  netdef train model.net --devices all
  netdef train solver.prototxt --gpu 0,1
  netdef train model.net --hosts gpu1:7000 --host 0/2
"""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..language.errors import NetdefError
from ..language.source import ENDINGS
from . import UsageError
from ._options import (
    add_devices,
    add_hosts,
    add_net,
    add_plot,
    add_state,
    existing,
    gpus,
    iterations,
    net_file,
    pictures,
    settings,
)
from ._output import say
from ._phases import load_phases
from ._solver_fields import add_solver_fields, solver_fields, solver_flags
from ._trained import given_weights

if TYPE_CHECKING:
    from ..training.events import Event
    from ..training.lr_range import Rates

HELP = "train a net with its solver"
OTHERS = {  # options of other programs
    "--lr": "--set solver.base_lr=0.01",
    "--learning-rate": "--set solver.base_lr=0.01",
    "--epochs": "--max-iter N, where an epoch has as many iterations as the data have batches",
    "--batch-size": "the `batch_size` of the data layer in the file",
    "--seed": "--set solver.random_seed=1",
}
EFFECTS = ("stop", "snapshot", "none")  # of a signal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    caffe = add_net(parser)
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--weights",
        "-weights",
        action="append",
        metavar="FILE",
        help="start from this weight file, matching layers by name; may be repeated or comma-separated",
    )
    start.add_argument(
        "--resume",
        nargs="?",
        const=True,
        metavar="SNAPSHOT",
        help="continue from this snapshot (default: the last snapshot of the run)",
    )
    start.add_argument("--snapshot", "-snapshot", metavar="FILE", help="same as --resume FILE")
    parser.add_argument("--max-iter", type=iterations, metavar="N", help="end after this many iterations")
    trial = parser.add_mutually_exclusive_group()
    trial.add_argument(
        "--dry-run", action="store_true", help="train, test and save for two iterations, and keep nothing"
    )
    trial.add_argument(
        "--overfit",
        type=iterations,
        metavar="N",
        help="overfit the first N batches, to check that the net can learn",
    )
    trial.add_argument(
        "--lr-find", action="store_true", help="increase the learning rate step by step, and suggest a base_lr"
    )
    parser.add_argument("--watch", action="store_true", help="show statistics of each layer at each display")
    add_plot(parser)
    parser.add_argument("--tensorboard", action="store_true", help="also write events for TensorBoard")
    parser.add_argument("--mlflow", action="store_true", help="also write a run for MLflow, to a file in the folder")
    parser.add_argument("--wandb", action="store_true", help="also write an offline run for Weights & Biases")
    parser.add_argument(
        "--profile", metavar="DIR", help="trace some iterations after the first, with the time of each layer, to DIR"
    )
    add_solver_fields(parser)
    add_state(parser)
    add_devices(parser)
    add_hosts(parser)
    parser.add_argument(
        "--heartbeat",
        type=iterations,
        default=30,
        metavar="S",
        help="seconds after which a silent process ends the others (default: 30)",
    )
    parser.add_argument("--output", metavar="DIR", help="folder of the run (default: runs/NAME)")
    caffe.add_argument(
        "--solver", "-solver", metavar="FILE", help="same as FILE, with snapshots as PREFIX_iter_N.caffemodel too"
    )
    for name, what in (("sigint", "Ctrl-C"), ("sighup", "SIGHUP")):
        caffe.add_argument(
            f"--{name}_effect",
            f"-{name}_effect",
            choices=EFFECTS,
            default="stop",
            help=f"effect of {what}: stop the run with a snapshot, save one and continue, or none (default: stop)",
        )
    caffe.add_argument("--log_dir", "-log_dir", metavar="DIR", help="also write a log file in glog's format in DIR")
    parser.set_defaults(trust_python=True)


def run(args: argparse.Namespace) -> int:
    if args.hosts:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when jaxlib is loaded, which warns of its services
    _net_after_resume(args)
    path, changes = net_file(args, uses_gpu=True), settings(args) | _train_state(args) | solver_fields(args)
    devices = _devices(args)
    weights = given_weights(args)
    resume = args.resume or args.snapshot or None
    if isinstance(resume, str):
        existing(resume, "snapshot")
    solver = _checked(path, args, changes)

    if pictures(args.plot) and not args.lr_find:
        raise UsageError("--plot requires --lr-find; to plot the curves of a run, use `netdef plot RUN`")
    if args.profile is not None:
        _check_profile(args)
    if args.lr_find:
        return find_rate(path, args, changes, weights)

    from ..training.events import Interrupted, Started
    from ..training.progress import progress
    from ..training.run import train

    def watch(event: Event) -> None:
        if args.gpu is not None and isinstance(event, Started) and event.device == "cpu":
            print(f"netdef: note: JAX finds no GPU; --gpu {args.gpu} selects CPU devices", file=sys.stderr)
        for also in others:
            also(event)
        show(replace(event, resume=again(path, args)) if isinstance(event, Interrupted) else event)

    with progress(sys.stdout) as shown, _as_caffe(args, solver) as others:
        show = _while_read(shown)
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
            mlflow=args.mlflow,
            wandb=args.wandb,
            profile=args.profile,
            devices=devices,
            hosts=args.hosts,
            host=args.host,
            heartbeat=args.heartbeat,
            import_path=args.import_path,
            signals=_signals(args),
        )
    if args.dry_run:
        print("dry run: nothing was kept")
    if result.why == "interrupted":
        return 130
    return 1 if args.overfit and result.why == "max_iter" else 0  # the net did not overfit


def _check_profile(args: argparse.Namespace) -> None:
    """UsageError if no profile can be written."""
    if args.dry_run or args.lr_find:
        raise UsageError(f"--profile traces an ordinary run; remove {'--dry-run' if args.dry_run else '--lr-find'}")
    if not args.profile or os.path.isfile(args.profile):
        raise UsageError(f"--profile expects a folder, not {args.profile!r}")


def _net_after_resume(args: argparse.Namespace) -> None:
    """`train --resume model.net`: a net is FILE, because it cannot be the snapshot that the option accepts."""
    if isinstance(args.resume, str) and args.resume.endswith(ENDINGS) and not (args.file or args.model or args.solver):
        args.file, args.resume = args.resume, True


def _while_read(show: Callable[[Event], None]) -> Callable[[Event], None]:
    """Shows events on stderr after the reader of stdout has gone; then raises BrokenPipeError, which ends the run,
    unless stderr is a file.  After a terminal is lost, it shows nothing more."""
    from ..training.stopping import is_file

    def guarded(event: Event) -> None:
        try:
            show(event)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            lost, stderr = sys.stdout.fileno(), sys.stderr.fileno()
            with open(os.devnull, "w") as nowhere:
                os.dup2(stderr if error.errno == errno.EPIPE else nowhere.fileno(), lost)
            if error.errno == errno.EPIPE and not is_file(stderr):
                raise

    return guarded


def find_rate(path: str, args: argparse.Namespace, changes: dict[str, Any], weights: list[str]) -> int:
    """Prints the loss at each learning rate, and the suggested base_lr."""
    from ..training.lr_range import lr_find

    more = {"output": args.output, "import_path": args.import_path}
    found = lr_find(path, iterations=args.max_iter or 100, set=changes, weights=weights or None, **more)
    for rate, loss in found.points:
        print(f"lr {rate:<12.4g}loss {loss:.6g}")
    _draw_rates(found, args.plot)
    if found.diverged is not None:
        print(f"the loss diverged at lr {found.diverged:.3g}")
    if found.suggestion is None:
        print("the loss never decreased; check the labels and the scale of the input, or try --overfit 1")
        return 1
    print(f"suggested base_lr: {found.suggestion:.2g}")
    return 0


def _draw_rates(found: Rates, given: list[str]) -> None:
    """Writes the plots of the range test, by default in its folder. None without matplotlib, unless files are given."""
    from ..observe.figure import save_all
    from ..observe.rates import rates

    try:
        drawn = rates(found.points, found.suggestion, found.diverged, f"{found.folder.name}: learning-rate range test")
    except NetdefError as error:
        if given:
            raise
        say(f"warning: no plot: {error}")
        return
    for path in save_all(drawn, found.folder / "lr_find", given):
        print(path, file=sys.stderr)


def _train_state(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the solver settings for --level and --stage, as in Caffe."""
    level = {"solver.train_state.level": args.level} if args.level else {}
    return level | ({"solver.train_state.stage": tuple(args.stage)} if args.stage else {})


def again(path: str, args: argparse.Namespace) -> str:
    """Returns the command that resumes this run."""
    given = {"--set": args.set, "--plugin": args.plugin, "--import-path": args.import_path, "--stage": args.stage}
    more = [word for flag, values in given.items() for value in values for word in (flag, value)]
    more += solver_flags(args)
    more += ["--level", str(args.level)] if args.level else []
    more += ["--max-iter", str(args.max_iter)] if args.max_iter else []
    more += ["--devices", str(args.devices)] if args.devices else []
    more += ["--gpu", args.gpu] if args.gpu else []
    more += ["--output", args.output] if args.output else []
    more += ["--log_dir", args.log_dir] if args.log_dir else []
    more += [f"--{tracker}" for tracker in ("tensorboard", "mlflow", "wandb") if getattr(args, tracker)]
    for name in ("sigint_effect", "sighup_effect"):
        more += [f"--{name}", getattr(args, name)] if getattr(args, name) != "stop" else []
    return shlex.join(["netdef", "train", path, *more, "--resume"])


def _devices(args: argparse.Namespace) -> Any:
    """Returns the devices that --devices or --gpu select; None if neither is given."""
    if args.devices is not None and args.gpu is not None:
        raise UsageError("--devices divides the batch, --gpu gives the whole batch to each device; use one of them")
    if args.gpu is None:
        return args.devices
    chosen = gpus(args.gpu)
    return slice(None) if chosen == "all" else chosen


@contextmanager
def _as_caffe(args: argparse.Namespace, solver: Any) -> Iterator[list[Callable[[Event], None]]]:
    """Yields the listeners that write what Caffe would: its snapshots, and a log file."""
    from ..training.caffe_files import caffe_files
    from ..training.glog import log_file

    keeps = args.solver and solver.snapshot_prefix and not (args.dry_run or args.overfit)
    listeners = [caffe_files(solver, lambda text: say(f"warning: {text}"))] if keeps else []
    if args.log_dir is None:
        yield listeners
        return
    with log_file(existing(args.log_dir, "folder")) as log:
        yield [*listeners, log]


def _signals(args: argparse.Namespace) -> dict[int, str]:
    """Returns the effects of signals other than to stop the run."""
    chosen = {"SIGINT": args.sigint_effect, "SIGHUP": args.sighup_effect}
    effects = {name: effect for name, effect in chosen.items() if effect != "stop" and hasattr(signal, name)}
    if effects and args.host:
        raise UsageError("--sigint_effect and --sighup_effect require a run in one process, because all save together")
    return {int(getattr(signal, name)): effect for name, effect in effects.items()}


def _checked(path: str, args: argparse.Namespace, changes: dict[str, Any]) -> Any:
    """Returns the solver. Reports errors in the file before JAX is loaded."""
    args.phase = "TRAIN"
    loaded = load_phases(path, args, changes)
    loaded.stop_on_errors()
    if loaded.nets and loaded.nets[0].solver is None:
        raise UsageError(
            f"{path} has no solver; add a `solver {{ }}` block, or name a solver file that refers to this net"
        )
    return loaded.nets[0].solver if loaded.nets else None
