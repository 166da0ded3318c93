"""Options of `netdef train` that are names for fields of the solver.

Each sets exactly one field, as `--set solver.FIELD=VALUE` does, so the run is recorded, resumed and explained alike.
"""

from __future__ import annotations

import argparse
import re
from typing import Any

from ..language.expansion.settings import read
from . import UsageError

PRECISIONS = {"float": "FLOAT", "bf16": "BF16"}
FIELDS = {  # option: field of the solver
    "--freeze": "freeze",
    "--precision": "precision",
    "--early-stop": "early_stopping",
    "--best": "snapshot_best",
}


def add_solver_fields(parser: argparse.ArgumentParser) -> None:
    fields = parser.add_argument_group("names for solver fields", "see `netdef explain solver`")
    fields.add_argument(
        "--freeze",
        action="append",
        default=[],
        metavar="PATTERN",
        help="do not train these layers: a regular expression for the whole name; may be repeated (`freeze`)",
    )
    fields.add_argument(
        "--precision",
        choices=list(PRECISIONS),
        help="compute in float32, or convolutions and products in bfloat16 (`precision`)",
    )
    fields.add_argument(
        "--early-stop",
        type=_monitor,
        metavar="NAME[:TESTS]",
        help="end the run when this output of the tests has not improved in so many tests, as in accuracy:5 (default: "
        "3) (`early_stopping`)",
    )
    fields.add_argument(
        "--best",
        metavar="NAME",
        help="also keep the snapshot with the best test, by this output, as in accuracy, in the folder `best` of the "
        "run (`snapshot_best`)",
    )


def _monitor(text: str) -> tuple[str, int | None]:
    """Parses NAME or NAME:TESTS, for argparse."""
    name, colon, tests = text.rpartition(":")
    if not colon:
        return text, None
    if not name or not re.fullmatch(r"[1-9]\d*", tests):
        raise argparse.ArgumentTypeError(f"expected NAME or NAME:TESTS, as in accuracy:5, not {text!r}")
    return name, int(tests)


def solver_fields(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings that the options mean. UsageError if --set names the same field."""
    found: dict[str, Any] = {}
    if args.freeze:
        found["solver.freeze"] = tuple(map(_string, args.freeze))
    if args.precision:
        found["solver.precision"] = PRECISIONS[args.precision]
    if args.early_stop:
        name, tests = args.early_stop
        found["solver.early_stopping.monitor"] = _string(name)
        found |= {"solver.early_stopping.patience": tests} if tests else {}
    if args.best:
        found["solver.snapshot_best.monitor"] = _string(args.best)
    given = [text.partition("=")[0].strip() for text in args.set]
    for option, field in FIELDS.items():
        own = [name for name in found if name.split(".")[1] == field]
        both = next((name for name in given if own and f"{name}.".startswith(f"solver.{field}.")), None)
        if both:
            raise UsageError(f"{option} and --set {both} both set the field `{field}` of the solver; use one of them")
    return found


def _string(text: str) -> str:
    """A string as `--set` has it: in quotes if it would be read as another value."""
    if read(text)[0] == text:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def solver_flags(args: argparse.Namespace) -> list[str]:
    """Returns the options as words of a command."""
    words = [word for pattern in args.freeze for word in ("--freeze", pattern)]
    words += ["--precision", args.precision] if args.precision else []
    if args.early_stop:
        name, tests = args.early_stop
        words += ["--early-stop", f"{name}:{tests}" if tests else name]
    return words + (["--best", args.best] if args.best else [])
