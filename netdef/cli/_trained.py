"""A net of phase TEST with the weights of a run or of weight files, for the commands that evaluate it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError, printable
from . import UsageError
from ._options import add_net, add_state, existing, net_file, settings, trust_of
from ._phases import load_phases
from ._preparing import names_net


def add_trained(parser: argparse.ArgumentParser) -> None:
    """Adds the net and the options that select its weights."""
    add_net(parser)
    add_weights(parser)
    parser.add_argument("--blob", metavar="NAME", help="blob of the scores (default: the input of the loss or softmax)")
    parser.set_defaults(phase="TEST", trust_python=True)
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
        "--run", metavar="DIR", help="use the weights of this run or snapshot (default: the last run of the net)"
    )


def given_weights(args: argparse.Namespace) -> list[str]:
    """Returns the weight files of --weights. UsageError if one of them, or the folder of --run, does not exist."""
    if getattr(args, "run", None):
        existing(args.run, "run")
    return [existing(name, "weight file") for given in args.weights or () for name in given.split(",")]


def trained(path: str, args: argparse.Namespace) -> Path:
    """Returns the newest snapshot of the given run, or of the last run of this net."""
    from ..training.run_folder import resumed
    from ..training.solver_nets import nets_of

    try:
        _, found, notes = resumed(nets_of(path, settings(args), trust_of(args)), None, args.run or True)
    except NetdefError as error:
        where = f"in {args.run}" if args.run else "of this net"
        raise UsageError(
            f"no complete snapshot {where}; name a run with --run, or a weight file with --weights"
        ) from error
    for note in notes:
        print(f"warning: {printable(note)}", file=sys.stderr)
    return found


def predictor_of(args: argparse.Namespace) -> Any:
    """Returns a predictor: the net with its weights, and the preprocessing stored with them."""
    from ..inference import preprocessing
    from ..inference.predict import Predictor, stored_with
    from ..interop import snapshot

    path, files = net_file(args), given_weights(args)
    named = getattr(args, "preprocessing", None)
    stored = preprocessing.load(existing(named)) if named and not names_net(named) else None
    loaded = load_phases(path, args, settings(args))
    loaded.stop_on_errors()
    if files:
        return Predictor(loaded.nets[0], files, args.blob, stored or stored_with(files))
    found = trained(path, args)
    return Predictor(loaded.nets[0], snapshot.weights(found), args.blob, stored or stored_with(found))
