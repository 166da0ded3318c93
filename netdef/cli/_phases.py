"""One file in both phases: its nets, and everything that is wrong with it, each fault once."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any

from ..compiler import Parsed, build_net, read_file
from ..graph import Net
from ..language.diagnostics import CompileError, Diagnostic, Report
from ..language.errors import NetdefError
from ..layers.base import Phase
from ..passes.select import State
from . import UsageError


@dataclass(frozen=True)
class Phases:
    """The nets that the file describes, one for each phase that it is made for, and its diagnostics in order."""

    nets: tuple[Net, ...]
    diagnostics: tuple[Diagnostic, ...]

    def stop_on_errors(self) -> None:
        """CompileError if there is an error."""
        Report(list(self.diagnostics)).stop_on_errors()


def add_phase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--phase", "-phase", type=str.upper, choices=["TRAIN", "TEST"], help="this phase alone (default: both)"
    )


def load_phases(path: str, args: argparse.Namespace, settings: dict[str, Any]) -> Phases:
    """The nets of a file.  UsageError if it cannot be read."""
    report = Report()
    wanted = [Phase[args.phase]] if args.phase else list(Phase)
    made: list[tuple[Net, Parsed]] = []
    try:
        parsed = read_file(path, phase=wanted[0], set=settings)
        for phase in wanted:
            if phase is not wanted[0] and parsed.source.name != path:  # a solver, which may name a net for each phase
                parsed = read_file(path, phase=phase, set=settings)
            alone = replace(parsed, report=Report(list(parsed.report.diagnostics)))
            made.append((build_net(alone, State(phase, args.level, tuple(args.stage))), alone))
    except CompileError as error:  # the text cannot be parsed
        report.diagnostics += error.diagnostics
    except NetdefError as error:
        raise UsageError(str(error)) from error
    meant = [(net, alone) for net, alone in made if _has_inputs(net)] or made
    found = [d for _, alone in meant for d in alone.report.diagnostics]
    errors = {d.span for d in found if d.severity == "error"}  # an error in one phase may be a warning in the other
    found = [d for d in found if d.severity == "error" or d.code != "unknown-type-elsewhere" or d.span not in errors]
    report.diagnostics = list(dict.fromkeys([*report.diagnostics, *found]))  # what both phases have is said once
    return Phases(tuple(net for net, _ in meant), report.in_order())


def _has_inputs(net: Net) -> bool:
    """Whether data comes in at all: a file for training alone has none in phase TEST, and is no worse for it."""
    return any(not node.bottoms and not node.weights for node in net.layers)
