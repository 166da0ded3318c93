"""The nets of one file: of both phases, or of the phase that `--phase` names."""

from __future__ import annotations

import argparse
from typing import Any

from .. import compiler
from ..compiler import Phases
from ..language.errors import NetdefError
from ..language.source import Source
from ..layers.base import Phase
from . import UsageError
from ._options import trust_of


def add_phase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--phase", "-phase", type=str.upper, choices=["TRAIN", "TEST"], help="use this phase only (default: both)"
    )


def load_phases(path: str | Source, args: argparse.Namespace, settings: dict[str, Any]) -> Phases:
    """Returns the nets of a file. UsageError if it cannot be read."""
    wanted = [Phase[args.phase]] if args.phase else list(Phase)
    try:
        return compiler.load_phases(path, wanted, args.stage, args.level, settings, trust_of(args))
    except NetdefError as error:
        raise UsageError(str(error)) from error
