"""The inference net of a file with its weights, for the commands that export it."""

from __future__ import annotations

import argparse
from typing import Any

from ..graph import Net
from ..language.diagnostics import CompileError
from ..language.errors import NetdefError
from . import UsageError
from ._options import add_shape, add_state, add_trust, iterations, trust_of
from ._output import say
from ._trained import Subject, add_weights


def add_deployed(parser: argparse.ArgumentParser) -> None:
    """Adds the options that change the inference net and select its weights."""
    add_weights(parser)
    parser.add_argument("--batch", type=iterations, metavar="N", help="batch size of the inputs")
    add_shape(parser)
    add_state(parser)
    add_trust(parser)


def deployed(found: Subject, args: argparse.Namespace, outputs: list[str], fillers: bool = False) -> Net:
    """Returns the inference net of a file. UsageError if other arguments are needed."""
    from ..inference.deploy import deploy

    shapes = dict(shape_of(text) for text in args.shape)
    more: dict[str, Any] = {"stages": args.stage, "level": args.level, "set": found.settings, "fillers": fillers}
    trust = trust_of(args)
    try:
        net = deploy(
            found.net, args.batch, shapes, outputs, trust_python=trust.python, import_path=trust.folders, **more
        )
    except CompileError:
        raise
    except NetdefError as error:
        raise UsageError(str(error)) from error
    return net


def deployed_model(found: Subject, args: argparse.Namespace) -> Any:
    """Returns the inference net of a file as a model with the given weights or those of the last run.

    If neither exists, the model keeps its initial weights, and a warning is printed."""
    from ..model import compile

    model = compile(deployed(found, args, getattr(args, "output_blobs", []), fillers=True))
    if found.place:
        load_weights(model, found)
    else:
        say("warning: no --weights or --run, and this net has no runs: the weights are those of its fillers")
    return model


def load_weights(model: Any, found: Subject) -> None:
    """Loads the weights, and prints what was loaded."""
    loaded = model.load_weights([str(found.snapshot)] if found.snapshot else list(found.files))
    for line in (*loaded.notes, str(loaded)):
        say(line)


def shape_of(text: str) -> tuple[str, tuple[int, ...]]:
    """Parses `data=1,3,224,224`."""
    name, equals, dims = text.partition("=")
    words = dims.replace("x", ",").split(",")
    if not equals or not name or not all(word.strip().isdigit() for word in words):
        raise UsageError(f"--shape expects BLOB=DIMS, as in --shape data=1,3,224,224, not {text!r}")
    return name, tuple(int(word) for word in words)
