"""A net of phase TEST with the weights of a run or of weight files, for the commands that evaluate it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..language.diagnostics import CompileError
from ..language.errors import NetdefError, printable
from ..language.source import ENDINGS, Source
from ..language.trust import UNTRUSTED, Trust
from . import UsageError
from ._options import add_devices, add_net, add_state, existing, load_plugins, net_file, settings, trust_of
from ._output import say
from ._phases import load_phases
from ._preparing import names_net

if TYPE_CHECKING:
    from ..training.saved_run import SavedRun

T = TypeVar("T")


def add_trained(parser: argparse.ArgumentParser) -> None:
    """Adds the net and the options that select its weights."""
    add_net(parser)
    add_weights(parser)
    parser.add_argument("--blob", metavar="NAME", help="blob of the scores (default: the input of the loss or softmax)")
    parser.set_defaults(phase="TEST", trust_python=True)
    add_devices(parser)
    add_state(parser)


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Adds the options that select the weights."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--weights",
        "-weights",
        action="append",
        metavar="FILE",
        help="load this weight file, matching layers by name; may be repeated or comma-separated",
    )
    source.add_argument(
        "--run",
        metavar="DIR",
        help="use this run or snapshot: weights, settings, and without FILE the net (default: the last run of FILE)",
    )


def given_weights(args: argparse.Namespace) -> list[str]:
    """Returns the weight files of --weights. UsageError if one of them, or the folder of --run, does not exist."""
    if getattr(args, "run", None):
        existing(args.run, "run")
    return [
        existing(name, "weight file") for given in getattr(args, "weights", None) or () for name in given.split(",")
    ]


class Subject(NamedTuple):
    """What a command works on: a net, the settings that it needs, and the run or the files that have its weights."""

    net: str | Source
    settings: dict[str, Any]
    run: SavedRun | None = None
    snapshot: Path | None = None
    files: tuple[str, ...] = ()

    @property
    def weights(self) -> Any:
        """The weights, as `netdef.compile` accepts them."""
        from ..interop import snapshot

        return snapshot.weights(self.snapshot) if self.snapshot else list(self.files)

    @property
    def place(self) -> Any:
        """The snapshot or the files, which have the preprocessing beside them."""
        return self.snapshot or list(self.files)


def subject(args: argparse.Namespace, needs_weights: bool = True) -> Subject:
    """Returns the net that a command works on, with its weights, and names the run that is used.

    With --run, FILE may be missing: the net is then the one that was trained. With FILE, the settings are those of the
    run, except those of --set. Without --run and --weights, the run is the last one of FILE."""
    files, own = tuple(given_weights(args)), settings(args)
    if args.run and not _names_net(args):
        from ..training.saved_run import saved_run

        load_plugins(args.plugin)
        run = _of_user(lambda: saved_run(args.run))
        net, needed = _of_user(run.net)
        return _with_snapshot(Subject(net, needed | own, run), args, needs_weights)
    path = net_file(args)
    if files or not (needs_weights or args.run):
        return Subject(path, own, files=files)
    if args.run:
        return _with_snapshot(Subject(path, own, _run_if_any(args.run)), args, needs_weights)
    run = _last_run(path, own, trust_of(args))
    return _with_snapshot(Subject(path, own, run), args, needs_weights) if run else Subject(path, own)


def _names_net(args: argparse.Namespace) -> bool:
    return any(getattr(args, name, None) for name in ("file", "model", "solver"))


def _of_user(find: Callable[[], T]) -> T:
    """Calls a function; what is wrong is an error in the arguments."""
    try:
        return find()
    except CompileError:
        raise
    except NetdefError as error:
        raise UsageError(str(error)) from error


def _run_if_any(path: str) -> SavedRun | None:
    """The run of a folder or snapshot; None for a folder that is not a run, which has no snapshot either."""
    from ..training.saved_run import saved_run

    try:
        return saved_run(path)
    except NetdefError:
        return None


def _last_run(path: str, own: dict[str, str], trust: Trust) -> SavedRun | None:
    """The last run of a net, also if the file can only be read with the settings of that run."""
    from ..training.saved_run import last_run
    from ..training.solver_nets import nets_of

    try:
        nets = nets_of(path, own, trust)
    except NetdefError:  # a net without a solver, or one that needs settings; the command reports what is wrong
        nets = None
    return last_run(path, nets)


def last_run_of(name: str) -> str:
    """Returns the folder of the last run of a net, and names it; any other path as it is."""
    if not name.endswith(ENDINGS):
        return name
    run = _last_run(existing(name), {}, UNTRUSTED)
    if run is None:
        raise UsageError(f"{name} has no run in runs/ or in the working directory; name the folder of a run")
    say(f"the run is {run.folder}, the last one of {name}")
    return str(run.folder)


def _with_snapshot(found: Subject, args: argparse.Namespace, needs_weights: bool) -> Subject:
    """Adds the settings of the run and its newest snapshot, or the one that --run names, and names both."""
    from ..interop import snapshot
    from ..training.saved_run import written

    run, given = found.run, args.run and Path(args.run)
    settings_of_run = run.settings_for(Path(found.net)) if run and isinstance(found.net, str) else {}
    whole = {**settings_of_run, **found.settings}
    if not needs_weights:
        return found._replace(settings=whole)
    if given and snapshot.is_one(given):
        wrong = snapshot.damage(given)
        path, notes = (None if wrong else given), [f"the snapshot {given} is damaged: {wrong}"] if wrong else []
    else:
        path, notes = run.snapshot() if run else (None, [])
    for note in notes:
        print(f"warning: {printable(note)}", file=sys.stderr)
    if path is None:
        raise UsageError(no_snapshot(args))
    words = "" if args.run else f", the last run of {found.net}"
    used = {name: value for name, value in settings_of_run.items() if name not in found.settings}
    words += f", with its settings {' '.join(f'{k}={written(v)}' for k, v in used.items())}" if used else ""
    say(f"the weights are those of {path}{words}")
    return found._replace(settings=whole, snapshot=path)


def no_snapshot(args: argparse.Namespace) -> str:
    """What is wrong if there are no weights."""
    where = f"in {args.run}" if args.run else "of this net"
    return f"no complete snapshot {where}; name a run with --run, or a weight file with --weights"


def predictor_of(args: argparse.Namespace) -> Any:
    """Returns a predictor: the net with its weights, and the preprocessing stored with them."""
    from ..inference import preprocessing
    from ..inference.predict import Predictor, stored_with

    named = getattr(args, "preprocessing", None)
    stored = preprocessing.load(existing(named)) if named and not names_net(named) else None
    found = subject(args)
    if not found.place:
        raise UsageError(no_snapshot(args))
    loaded = load_phases(found.net, args, found.settings)
    loaded.stop_on_errors()
    return Predictor(loaded.nets[0], found.weights, args.blob, stored or stored_with(found.place), args.devices)
