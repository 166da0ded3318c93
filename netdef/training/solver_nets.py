"""The nets that a solver trains and tests: from one `.net` file, or from a solver file and the files that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..compiler import Parsed, Tree, build_net, plain_tree, read_named
from ..graph import Net
from ..language import codes
from ..language.diagnostics import Report
from ..language.errors import NetdefError
from ..language.printer import print_message
from ..language.source import NOWHERE, Source
from ..language.syntax import Field, Message, Scalar
from ..language.trust import UNTRUSTED, Trust
from ..layers.base import Phase
from ..passes.decode import decode_program
from ..passes.recompute import by_layers
from ..passes.select import State
from ..passes.solver_file import NETS, is_solver, net_of, tested_nets, tests_of
from ..shape import Shape
from ..solvers.base import NetState, Solver
from ..solvers.decode import decode_solver

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Nets:
    """A solver, its training net and its test nets."""

    name: str
    solver: Solver
    train: Net
    tests: tuple[Net, ...]
    file: Path | None  # None for source text
    settings: Settings = field(default_factory=dict)  # `set`: overridden constants and solver fields
    resized: Callable[[Mapping[str, Shape]], Net] | None = field(default=None, repr=False)  # the training net again
    body: Message | None = field(default=None, repr=False)  # all of it as one file: settings applied, expanded
    sources: tuple[Source, ...] = field(default=(), repr=False)  # the file, and those of the nets that it names
    trust: Trust = UNTRUSTED

    @cached_property
    def text(self) -> str:
        """The solver and its nets as one file without imports, which needs no settings."""
        return print_message(self._standalone(self.body)) if self.body is not None else self.train.text

    def _standalone(self, body: Message) -> Message:
        """The file with `recompute` in terms of layers: where templates are expanded, their names mean nothing."""
        patterns = by_layers(self.train, self.solver.recompute)
        if tuple(patterns) == self.solver.recompute:
            return body
        written = [Field("recompute", Scalar("string", p, NOWHERE), NOWHERE, NOWHERE) for p in patterns]
        if is_solver(body):
            return _with_fields(body, "recompute", written)
        fields = [
            f._replace(value=_with_fields(f.value, "recompute", written))
            if f.name == "solver" and isinstance(f.value, Message)
            else f
            for f in body.fields
        ]
        return body._replace(fields=tuple(fields))


def scaled(nets: Nets, times: int = 1, parts: int = 1) -> Nets:
    """The nets with a training net for `times` the batch of the file, or for one of `parts` parts of it.  CompileError
    if a layer does not allow it."""
    data = [node for node in nets.train.layers if node.layer.is_data]
    shapes = {top.name: nets.train.shapes[top] for node in data for top in node.tops}
    batch = next((shape[0] for shape in shapes.values() if shape), 0)
    if times == parts or not batch or batch * times % parts or nets.resized is None:
        return nets
    resized = lambda shape: (batch * times // parts, *shape[1:]) if shape and shape[0] == batch else shape
    return replace(nets, train=nets.resized({name: resized(shape) for name, shape in shapes.items()}))


def nets_of(path_or_text: str | Path | Source, set: Settings | None = None, trust: Trust = UNTRUSTED) -> Nets:
    """The solver and its nets.  Errors: CompileError with every diagnostic; NetdefError for a missing file."""
    report = Report()
    tree = plain_tree(Source.of(path_or_text), report, set, trust)
    solver, training, testing = _read(tree, report)
    parsed = (training, *testing)
    train_state = _state(Phase.TRAIN, solver.train_state)
    train = build_net(training, train_state)
    states = solver.test_state or (None,) * len(testing)
    if len(states) != len(testing):
        report.add(
            codes.WRONG_COUNT,
            solver.span_of("test_state"),
            f"there are {len(states)} `test_state` blocks for {len(testing)} test nets; give one for each, or none.",
        )
    tests = [build_net(p, _state(Phase.TEST, s)) for p, s in zip(testing, states, strict=False)]
    report.stop_on_errors()
    solver, tests = _only_tested(solver, tests)
    found = report.in_order()
    path = tree.source.path
    name = train.name or (path.stem if path else "net")
    keep = lambda net: replace(net, solver=solver, diagnostics=found)

    def resized(shapes: Mapping[str, Shape]) -> Net:
        again = build_net(training, train_state, shapes)
        report.stop_on_errors()
        return keep(again)

    return Nets(
        name,
        solver,
        keep(train),
        tuple(map(keep, tests)),
        path,
        dict(set or {}),
        resized,
        _one_file(tree.body, parsed) if is_solver(tree.body) else tree.body,
        tuple({id(source): source for source in (tree.source, *(p.source for p in parsed))}.values()),
        trust,
    )


def _with_fields(message: Message, name: str, fields: Sequence[Field]) -> Message:
    """The message with these fields instead of those with this name."""
    return message._replace(fields=(*(f for f in message.fields if f.name != name), *fields))


def _one_file(solver: Message, parsed: Sequence[Parsed]) -> Message:
    """A solver file with the nets that it names, the training net first: as a net with a `solver` block if all are one
    file, else as a solver with a block for each."""
    block = lambda name, inside: Field(name, inside, NOWHERE, NOWHERE)
    own = tuple(f for f in solver.fields if f.name not in NETS)
    bodies = [tuple(f for f in p.body.fields if f.name != "solver") if p.body else () for p in parsed]
    if all(p is parsed[0] for p in parsed):
        return Message((*bodies[0], block("solver", Message(own, NOWHERE))), NOWHERE)
    names = ["train_net_param", *["test_net_param"] * (len(parsed) - 1)]
    nets = (block(name, Message(body, NOWHERE)) for name, body in zip(names, bodies, strict=True))
    return Message((*own, *nets), NOWHERE)


def _read(tree: Tree, report: Report) -> tuple[Solver, Parsed, list[Parsed]]:
    """The solver, its training net, and its test nets."""
    if is_solver(tree.body):
        solver = decode_solver(tree.body, report)
        report.stop_on_errors()
        assert solver is not None  # without one there was an error
        trained, tested = net_of(tree.body, Phase.TRAIN, report), tested_nets(tree.body, solver, report)
        report.stop_on_errors()
        assert trained is not None
        training, *testing = read_named([trained, *tested], tree, report)
        return solver, training, testing
    program = decode_program(tree.body, report)
    if program.solver is None:
        report.stop_on_errors()
        raise NetdefError(
            f"{tree.source.name} has no solver; add one, such as `solver {{ base_lr: 0.1 max_iter: 1000 }}`."
        )
    training = Parsed(program, tree.source, report, tree.trust)
    return program.solver, training, [training] * tests_of(program.solver)


def _only_tested(solver: Solver, tests: list[Net]) -> tuple[Solver, list[Net]]:
    """The test nets whose `test_iter` is not 0, and the solver that tests only these."""
    if all(solver.test_iter):
        return solver, tests
    batches = tuple(filter(None, solver.test_iter))
    tests = [net for net, count in zip(tests, solver.test_iter, strict=False) if count]
    return solver.replace(test_iter=batches, **({} if batches else {"test_interval": 0})), tests


def _state(phase: Phase, given: NetState | None) -> State:
    if given is None:
        return State(phase)
    return State(given.phase or phase, given.level, given.stage)
