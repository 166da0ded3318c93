"""The nets that a solver trains and tests: from one `.net` file, or from a solver file and those that it names.

Source: BVLC/caffe src/caffe/solver.cpp, InitTrainNet and InitTestNets: test nets are the inline ones, then the files of
`test_net`, then the net itself as often as `test_iter` has further values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..compiler import Parsed, build_net, is_solver, plain_tree, source_of
from ..files import locator
from ..graph import Net
from ..language import codes
from ..language.diagnostics import Report
from ..language.errors import NetdefError
from ..language.source import Source
from ..language.syntax import Message, Scalar
from ..layers.base import Phase
from ..passes.decode import Program, decode_program
from ..passes.select import State
from ..passes.upgrade import upgrade
from ..solvers.base import NetState, Solver
from ..solvers.decode import decode_solver

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Nets:
    """A solver, the net that it trains and the nets that it tests."""

    name: str
    solver: Solver
    train: Net
    tests: tuple[Net, ...]
    file: Path | None  # that was asked for
    settings: Settings = field(default_factory=dict)  # that it was changed by


def nets_of(path_or_text: str | Path, set: Settings | None = None) -> Nets:
    """The solver and its nets.  Errors: CompileError with every diagnostic; NetdefError for a missing file."""
    source, report = source_of(path_or_text), Report()
    body = plain_tree(source, report, _settings_of(source, set))
    if is_solver(body):
        solver = decode_solver(body, report)
        report.stop_on_errors()
        assert solver is not None  # without one there was an error
        programs = _Programs(body, source, report, set)
        training, testing = programs.training(solver), programs.testing(solver)
    else:
        program = decode_program(body, report)
        if program.solver is None:
            report.stop_on_errors()
            raise NetdefError(
                f"{source.name}: there is no solver to train with; add `solver {{ base_lr: 0.1 max_iter: 1000 }}`."
            )
        solver = program.solver
        training = Parsed(program, source, report)
        count = len(solver.test_iter) or (1 if solver.test_interval else 0)
        testing = [training] * count
    train = build_net(training, _state(Phase.TRAIN, solver.train_state))
    states = solver.test_state or (None,) * len(testing)
    if len(states) != len(testing):
        report.add(
            codes.WRONG_COUNT,
            solver.span_of("test_state"),
            f"there are {len(states)} test states for {len(testing)} test nets; give one for each, or none.",
        )
    tests = [build_net(p, _state(Phase.TEST, s)) for p, s in zip(testing, states, strict=False)]
    report.stop_on_errors()
    found = report.in_order()
    named = train.name or (source.path.stem if source.path else "net")
    keep = lambda net: replace(net, solver=solver, diagnostics=found)
    return Nets(named, solver, keep(train), tuple(map(keep, tests)), source.path, dict(set or {}))


def _settings_of(source: Source, set: Settings | None) -> Settings:
    """The settings that concern a file: a solver file takes its own constants and leaves the others to the nets it
    names."""
    if set is None or re.search(r"\blayers?\b", source.text):
        return set or {}
    return {
        k: v for k, v in set.items() if k.startswith("solver.") or re.search(rf"\blet\s+{re.escape(k)}\b", source.text)
    }


def _state(phase: Phase, given: NetState | None) -> State:
    if given is None:
        return State(phase)
    return State(given.phase or phase, given.level, given.stage)


class _Programs:
    """The programs that a solver file names, each file read and decoded once."""

    def __init__(self, body: Message, source: Source, report: Report, set: Settings | None):
        self.body, self.source, self.report = body, source, report
        own = _settings_of(source, set)
        self.set = {k: v for k, v in (set or {}).items() if k not in own}
        self.read: dict[Path, Parsed] = {}

    def training(self, solver: Solver) -> Parsed:
        given = [
            *self._inline("train_net_param"),
            *self._inline("net_param"),
            *self._files("train_net"),
            *self._files("net"),
        ]
        if len(given) > 1:
            self.report.add(
                codes.GIVEN_TWICE,
                self.body.fields[0].span,
                "this solver names several nets to train; give one of net, net_param, train_net and train_net_param.",
            )
        if not given:
            names = "net, net_param, train_net or train_net_param"
            self.report.add(codes.MISSING_FIELD, self.body.span, f"this solver names no net to train; give {names}.")
        self.report.stop_on_errors()
        return given[0]

    def testing(self, solver: Solver) -> list[Parsed]:
        named = [*self._inline("test_net_param"), *self._files("test_net")]
        general = [*self._inline("net_param"), *self._files("net")]
        wanted = len(solver.test_iter) or (max(len(named), 1) if solver.test_interval else 0)
        found = (named + general * max(wanted - len(named), 0))[:wanted]
        if len(named) > wanted or (len(found) < wanted and solver.test_iter):
            self.report.add(
                codes.WRONG_COUNT,
                solver.span_of("test_iter"),
                f"`test_iter` is given {len(solver.test_iter)} times for {len(named) + len(general)} test nets; "
                "give the number of batches of each.",
            )
        return found

    def _inline(self, field: str) -> list[Parsed]:
        found = [f.value for f in self.body.all(field) if isinstance(f.value, Message)]
        return [Parsed(decode_program(upgrade(m, self.report), self.report), self.source, self.report) for m in found]

    def _files(self, field: str) -> list[Parsed]:
        folder = self.source.path.parent if self.source.path else None
        scalars = [
            v for f in self.body.all(field) for v in getattr(f.value, "items", (f.value,)) if isinstance(v, Scalar)
        ]
        return [self._file(locator(folder)(str(v.value))) for v in scalars]

    def _file(self, path: Path) -> Parsed:
        if path not in self.read:
            source = Source.read(path)
            program: Program = decode_program(plain_tree(source, self.report, self.set), self.report)
            self.read[path] = Parsed(program, source, self.report)
        return self.read[path]
