"""A net as it is used, with weights, for the commands that hand it on: what they take, and what becomes of it."""

from __future__ import annotations

import argparse
from typing import Any

from ..graph import Net
from ..language.diagnostics import CompileError
from ..language.errors import NetdefError
from . import UsageError
from ._options import add_state, add_trust, iterations, settings, trust_of
from ._output import say
from ._trained import add_weights, given_weights, trained


def add_deployed(parser: argparse.ArgumentParser) -> None:
    """What changes the net on its way, and where its weights come from."""
    add_weights(parser)
    parser.add_argument("--batch", type=iterations, metavar="N", help="items in a batch of inputs")
    parser.add_argument(
        "--shape", action="append", default=[], metavar="BLOB=DIMS", help="the shape of an input; may be given again"
    )
    add_state(parser)
    add_trust(parser)


def deployed(path: str, args: argparse.Namespace, outputs: list[str], fillers: bool = False) -> Net:
    """The inference net of a file.  UsageError for what the arguments can put right."""
    from ..inference.deploy import deploy

    shapes = dict(shape_of(text) for text in args.shape)
    more: dict[str, Any] = {"stages": args.stage, "level": args.level, "set": settings(args), "fillers": fillers}
    trust = trust_of(args)
    try:
        return deploy(path, args.batch, shapes, outputs, trust_python=trust.python, import_path=trust.folders, **more)
    except CompileError:
        raise
    except NetdefError as error:
        raise UsageError(str(error)) from error


def deployed_model(path: str, args: argparse.Namespace) -> Any:
    """The inference net of a file as a model, with the weights that were named, or those of the last run; where there
    are none the fillers' numbers stand, and that is said."""
    from ..model import compile

    model = compile(deployed(path, args, getattr(args, "output_blobs", []), fillers=True))
    files = weight_files(path, args)
    if files:
        loaded = model.load_weights(files)
        for line in (*loaded.notes, str(loaded)):
            say(line)
    else:
        say("warning: no weights are given, and there is no run of this net: its fillers' numbers are written")
    return model


def weight_files(path: str, args: argparse.Namespace) -> list[str]:
    """The weights that were named, or the last run's; none if there is none."""
    files = given_weights(args)
    if files:
        return files
    try:
        return [str(trained(path, args))]
    except NetdefError:
        if args.run:
            raise
        return []


def shape_of(text: str) -> tuple[str, tuple[int, ...]]:
    """`data=1,3,224,224`."""
    name, equals, dims = text.partition("=")
    words = dims.replace("x", ",").split(",")
    if not equals or not name or not all(word.strip().isdigit() for word in words):
        raise UsageError(f"--shape takes BLOB=DIMS, as in --shape data=1,3,224,224, not {text!r}")
    return name, tuple(int(word) for word in words)
