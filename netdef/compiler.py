"""The compiler, top to bottom: text to tree to typed blocks to a net with shapes.

    text -parse-> tree -expand-> plain tree -upgrade-> today's layers -decode-> typed blocks       (once for a file)
    typed blocks -select(phase)-> layers -connect-> nodes -infer-> shapes -gradients-> -check-> Net  (once for a phase)

Every stage adds to one Report and goes on, so that one run shows every fault.  Nothing here imports jax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .files import locator
from .graph import Net
from .language import codes
from .language.diagnostics import Report
from .language.errors import NetdefError
from .language.expansion.expand import expand
from .language.parsing.parser import parse
from .language.source import Source
from .language.syntax import Message, Scalar
from .layers.base import Phase
from .passes.checks import check
from .passes.connect import connect
from .passes.decode import NetParameter, Program, decode_program, report_unknown
from .passes.gradients import mark_gradients, mark_overwritten
from .passes.select import State, check_rules, select
from .passes.shapes import infer
from .passes.upgrade import upgrade
from .shape import Shape
from .solvers.base import Solver
from .solvers.decode import decode_solver

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Parsed:
    """A file that went through the front end: its program, and where it came from."""

    program: Program
    source: Source
    report: Report

    @property
    def folder(self) -> Path | None:
        return self.source.path.parent if self.source.path else None


def load(
    path_or_text: str | Path,
    phase: str | Phase = "TRAIN",
    stages: Sequence[str] = (),
    level: int = 0,
    set: Settings | None = None,
) -> Net:
    """The net of one phase, with every shape that can be known; jax is not imported.

    `path_or_text` is a path (it ends in .net or .prototxt, or exists) or the text itself; a solver file stands for the
    net that it names.  `set` overrides constants and solver fields: `{"width": 32, "solver.base_lr": 0.1}`.
    Errors: CompileError with every diagnostic; NetdefError for a file that is not there.
    """
    parsed = read_file(path_or_text, phase=phase_of(phase), set=set)
    net = build_net(parsed, State(phase_of(phase), level, tuple(stages)))
    parsed.report.stop_on_errors()
    return replace(net, diagnostics=parsed.report.in_order())


def read_file(path_or_text: str | Path, *, phase: Phase = Phase.TRAIN, set: Settings | None = None) -> Parsed:
    """Parse, expand, upgrade and decode; of a solver file, the net that it names for this phase.

    Errors: CompileError if the text cannot be parsed; everything else goes to the report."""
    source = source_of(path_or_text)
    report = Report()
    body = plain_tree(source, report, set)
    if not is_solver(body):
        return Parsed(decode_program(body, report), source, report)
    solver = decode_solver(body, report)
    report.stop_on_errors()
    assert solver is not None  # without one there was an error
    net_body, net_source = _net_of(solver, body, source, phase, report, set)
    program = decode_program(net_body, report)
    return Parsed(replace(program, solver=solver), net_source, report)


def build_net(parsed: Parsed, state: State, shapes: Mapping[str, Shape] | None = None) -> Net:
    """Build the net of one phase; faults go to the report of `parsed`.  `shapes` overrides those of fed blobs."""
    program, report = parsed.program, parsed.report
    state = _with_own_state(state, program.net)
    check_rules(program.layers, report)
    chosen = select(program.layers, state)
    report_unknown(program.layers, chosen, report)
    connected = connect(chosen, report)
    nodes, inferred = infer(connected.nodes, locator(parsed.folder), report, shapes)
    nodes = mark_gradients(nodes, state.phase, connected.outputs, program.net.force_backward)
    if not report.has_errors:
        nodes = mark_overwritten(nodes, report)
    net = Net(
        name=program.net.name,
        phase=state.phase,
        layers=nodes,
        shapes=inferred,
        outputs=connected.outputs,
        solver=program.solver,
        folder=parsed.folder,
        text=parsed.source.text,
    )
    if not report.has_errors:  # warnings about a net that is half understood would be noise
        check(net, report)
    return net


def net_of_text(text: str, name: str, path: Path | None) -> Net:
    """The net of phase TEST of a text that was made from the file `path`.  CompileError."""
    report = Report()
    document = parse(Source(name, text, path), report)
    report.stop_on_errors()
    assert document is not None  # without one there was an error
    parsed = Parsed(decode_program(document.body, report), document.source, report)
    made = build_net(parsed, State(Phase.TEST))
    report.stop_on_errors()
    return made


def plain_tree(source: Source, report: Report, set: Settings | None = None) -> Message:
    """Parse, expand and upgrade: what every later stage reads.  CompileError if the text cannot be parsed or
    expanded."""
    document = parse(source, report)
    if document is None:
        report.stop_on_errors()
        raise AssertionError("the parser gave nothing and no error")
    expanded = expand(document, report, settings=set or {})
    report.stop_on_errors()  # fields that could not be expanded would only be missed again by every later stage
    return upgrade(expanded.body, report)


def source_of(path_or_text: str | Path) -> Source:
    """A path ends in .net, .prototxt or .pt or exists; anything else is text."""
    if isinstance(path_or_text, Path):
        return Source.read(path_or_text)
    text = path_or_text
    one_line = "\n" not in text and "{" not in text and len(text) < 4096
    if one_line and (text.endswith((".net", ".prototxt", ".pt")) or (text.strip() and Path(text).exists())):
        return Source.read(text)
    if one_line and ":" not in text and text.strip():
        raise NetdefError(f"{text}: there is no such file (and it is not the text of a net)")
    return Source("<text>", text)


def phase_of(phase: str | Phase) -> Phase:
    """`"train"` and `"TRAIN"` are Phase.TRAIN."""
    if isinstance(phase, Phase):
        return phase
    if str(phase).upper() not in Phase.__members__:
        raise NetdefError(f"phase is TRAIN or TEST, not {phase!r}")
    return Phase[str(phase).upper()]


def is_solver(body: Message) -> bool:
    """Whether a file is a solver: it has fields that only solvers have, and no layers."""
    names = {field.name for field in body.fields}
    if names & {"layer", "layers", "input", "solver"}:
        return False
    return bool(names & (Solver.params().keys() - NetParameter.params().keys()))


def _net_of(
    solver: Solver, body: Message, source: Source, phase: Phase, report: Report, set: Settings | None
) -> tuple[Message, Source]:
    """The net that a solver names: inline or in another file, for training or the first one for testing."""
    kinds = ("train", "test") if phase is Phase.TRAIN else ("test", "train")
    order = [f"{kinds[0]}_net", "net", f"{kinds[1]}_net"]
    for name in order:
        inline, named = body.get(f"{name}_param"), body.get(name)
        if inline is not None and isinstance(inline.value, Message):
            return upgrade(inline.value, report), source
        if named is not None and isinstance(named.value, Scalar):
            folder = source.path.parent if source.path else None
            found = Source.read(locator(folder)(str(named.value.value)))
            return plain_tree(
                found, report, {k: v for k, v in (set or {}).items() if not k.startswith("solver.")}
            ), found
    report.add(codes.MISSING_FIELD, body.span, 'this solver names no net; say which one: `net: "model.net"`.')
    report.stop_on_errors()
    raise AssertionError


def _with_own_state(state: State, net: NetParameter) -> State:
    """Level and stages that the file itself sets join those that were asked for."""
    if net.state is None:
        return state
    return State(state.phase, max(state.level, net.state.level), (*state.stages, *net.state.stage))
