"""A net of phase TEST with the weights of a run or of files, for the commands that ask it something."""

from __future__ import annotations

import argparse
from typing import Any

from ._options import add_net, add_state, existing, net_file, settings
from ._phases import load_phases


def add_trained(parser: argparse.ArgumentParser) -> None:
    """The net, and where its weights come from."""
    add_net(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--weights", "-weights", action="append", metavar="FILE", help="weights; may be given again")
    source.add_argument("--run", metavar="DIR", help="the folder of a run, or one of its snapshots (default: the last)")
    parser.add_argument("--blob", metavar="NAME", help="blob of the scores (default: what the loss or softmax takes)")
    parser.set_defaults(phase="TEST")
    add_state(parser)


def predictor_of(args: argparse.Namespace) -> Any:
    """The net and its weights, ready to predict, with what is kept beside them."""
    from ..inference import preprocessing
    from ..inference.predict import Predictor, stored_with
    from ..interop import snapshot
    from .test import trained

    path = net_file(args)
    files = [existing(name, "weight file") for given in args.weights or () for name in given.split(",")]
    if args.run:
        existing(args.run, "run")
    named = getattr(args, "preprocessing", None)
    stored = preprocessing.load(existing(named)) if named else None
    loaded = load_phases(path, args, settings(args))
    loaded.stop_on_errors()
    if files:
        return Predictor(loaded.nets[0], files, args.blob, stored or stored_with(files))
    found = trained(path, settings(args), args.run)
    return Predictor(loaded.nets[0], snapshot.weights(found), args.blob, stored or stored_with(found))
