"""The compiler: from source text to a tree, to typed blocks, to a net with shapes.

    text -parse-> tree -expand-> plain tree -upgrade-> current layers -decode-> typed blocks       (once for a file)
    typed blocks -select(phase)-> layers -connect-> nodes -infer-> shapes -gradients-> -check-> Net  (once for a phase)

Every stage adds to one Report and continues, so that one run shows all errors. Nothing here imports jax.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from .files import Locate, locator, shown
from .graph import Net, Node
from .language import codes
from .language.diagnostics import Code, CompileError, Diagnostic, Related, Report
from .language.errors import NetdefError, printable
from .language.expansion.expand import expand
from .language.parsing.mended import mended
from .language.parsing.parser import parse
from .language.source import Source, Span
from .language.syntax import Document, Message
from .language.trust import UNTRUSTED, Trust
from .layers.base import Layer, Phase
from .passes.checks import check
from .passes.connect import connect
from .passes.decode import Program, decode_program, report_unknown
from .passes.gradients import mark_gradients, mark_overwritten
from .passes.select import State, check_rules, phase_of, select
from .passes.shapes import Shapes, infer
from .passes.solver_file import Named, constants, divided, is_solver, named_nets, net_of
from .passes.upgrade import upgrade
from .shape import Shape
from .solvers.base import Solver
from .solvers.decode import decode_solver

Settings = Mapping[str, Any]


class Tree(NamedTuple):
    """A file after expansion and upgrade: plain fields, with current layers."""

    body: Message
    source: Source
    others: Settings  # for a solver file: the settings of the nets that it names
    trust: Trust


@dataclass(frozen=True)
class Parsed:
    """A decoded file: its program, its source and the report."""

    program: Program
    source: Source
    report: Report
    trust: Trust = UNTRUSTED
    body: Message | None = None  # the fields of the file, expanded and in the current format

    @property
    def folder(self) -> Path | None:
        return self.source.path.parent if self.source.path else None


@dataclass(frozen=True)
class Phases:
    """The nets of a file, one for each phase for which it is meant, and its diagnostics in order, each once."""

    nets: tuple[Net, ...]
    diagnostics: tuple[Diagnostic, ...]

    def stop_on_errors(self) -> None:
        """Raises CompileError if there is an error."""
        Report(list(self.diagnostics)).stop_on_errors()


def load(
    path_or_text: str | Path | Source,
    phase: str | Phase = "TRAIN",
    stages: Sequence[str] = (),
    level: int = 0,
    set: Settings | None = None,
    *,
    trust_python: bool = False,
    import_path: Sequence[str | Path] = (),
) -> Net:
    """Returns the net of one phase, with all shapes that can be inferred; jax is not imported.

    `path_or_text` is a path (it ends in .net or .prototxt, or exists) or the text itself; for a solver file, the net
    that it names is loaded. `set` overrides constants and solver fields: `{"width": 32, "solver.base_lr": 0.1}`.
    No code that the file names is run: the tops of a Python layer have unknown shapes, unless `trust_python` allows
    its module to run. Files are imported from the folder of the file, the working directory, the library, and the
    folders of `import_path`.
    Raises CompileError with all diagnostics, or NetdefError if a file does not exist.
    """
    state = State(phase_of(phase), level, tuple(stages))
    trust = Trust(trust_python, tuple(import_path))
    parsed = read_file(path_or_text, phase=state.phase, set=set, trust=trust)
    net = build_net(parsed, state)
    parsed.report.stop_on_errors()
    return replace(net, diagnostics=parsed.report.in_order())


def read_file(
    path_or_text: str | Path | Source,
    *,
    phase: Phase = Phase.TRAIN,
    set: Settings | None = None,
    trust: Trust = UNTRUSTED,
) -> Parsed:
    """Parses, expands, upgrades and decodes a file, or for a solver file, the net that it names for this phase.

    Raises CompileError if the text cannot be parsed; all other errors go to the report."""
    return read_phases(path_or_text, [phase], set, trust)[phase]


def build_net(parsed: Parsed, state: State, shapes: Mapping[str, Shape] | None = None) -> Net:
    """Builds the net of one phase; errors go to the report of `parsed`. `shapes` overrides the shapes of inputs."""
    return finished(parsed, state, typed_layers(parsed, state, shapes))


class Typed(NamedTuple):
    """The layers of a net in some state: as they are in the file, and connected, with shapes. `diagnostics` are those
    that were found meanwhile."""

    chosen: list[Layer]
    nodes: tuple[Node, ...]
    shapes: Shapes
    outputs: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...]


def typed_layers(
    parsed: Parsed, state: State, shapes: Mapping[str, Shape] | None = None, before: Typed | None = None
) -> Typed:
    """Selects, connects and infers the layers of one state. If they are those of the state `before`, as in both phases
    of many nets, its result is used again."""
    program, report = parsed.program, parsed.report
    check_rules(program.layers, report)
    chosen = select(program.layers, state.joined(program.net.state))
    report_unknown(program.layers, chosen, report)
    if before is not None and len(chosen) == len(before.chosen) and all(map(operator.is_, chosen, before.chosen)):
        report.extend(before.diagnostics)
        return before
    start = len(report.diagnostics)
    connected = connect(chosen, report)
    nodes, inferred = infer(connected.nodes, locator(parsed.folder), report, shapes, parsed.trust.python)
    return Typed(chosen, nodes, inferred, connected.outputs, tuple(report.diagnostics[start:]))


def finished(parsed: Parsed, state: State, typed: Typed) -> Net:
    """The net of typed layers, which are checked."""
    program, report = parsed.program, parsed.report
    state = state.joined(program.net.state)
    nodes = mark_gradients(typed.nodes, state.phase, typed.outputs, program.net.force_backward)
    if not report.has_errors:
        nodes = mark_overwritten(nodes, report)
    net = Net(
        name=program.net.name,
        phase=state.phase,
        layers=nodes,
        shapes=typed.shapes,
        outputs=typed.outputs,
        solver=program.solver,
        folder=parsed.folder,
        text=parsed.source.text,
        trust_python=parsed.trust.python,
    )
    if not report.has_errors:  # warnings about a net with errors would be noise
        check(net, report)
    return net


def with_shapes(net: Net, shapes: Mapping[str, Shape]) -> Net:
    """Returns a net whose inputs, which are unknown because their data is missing, have these shapes.  Raises
    CompileError if they do not fit."""
    report = Report()
    nodes, found = infer(net.layers, locator(net.folder), report, shapes, net.trust_python)
    report.stop_on_errors()
    return replace(net, layers=mark_gradients(nodes, net.phase, net.outputs, False), shapes=found)


# The front end


def read_phases(
    path_or_text: str | Path | Source,
    phases: Iterable[Phase] = Phase,
    set: Settings | None = None,
    trust: Trust = UNTRUSTED,
) -> dict[Phase, Parsed]:
    """Like `read_file`, for several phases; each file is read once."""
    report = Report()
    tree = plain_tree(Source.of(path_or_text), report, set, trust)
    if not is_solver(tree.body):
        return dict.fromkeys(phases, decoded(tree, report))
    solver = decode_solver(tree.body, report)
    report.stop_on_errors()
    wanted = {phase: named for phase in phases if (named := net_of(tree.body, phase, report))}
    report.stop_on_errors()
    found = read_named(wanted.values(), tree, report)
    own = lambda parsed: replace(parsed, program=replace(parsed.program, solver=solver))
    return {phase: own(parsed) for phase, parsed in zip(wanted, found, strict=True)}


def read_named(nets: Iterable[Named], solver: Tree, report: Report) -> list[Parsed]:
    """The nets that a solver file names, each read once. Raises as `read_file` does; NetdefError for a missing file."""
    locate = locator(solver.source.path.parent if solver.source.path else None)
    settings = _settings_of(solver, locate)
    found: dict[str | int, Parsed] = {}

    def read(named: Named) -> Parsed:
        if named.inline is not None:
            return decoded(Tree(upgrade(named.inline, report), solver.source, {}, solver.trust), report)
        source = _source_of(named, locate(named.path), solver)
        if source.is_named_as_net:
            return decoded(plain_tree(source, report, settings(named.path), solver.trust), report)
        return read_unlikely(source, solver, settings(named.path), report)

    keyed = [(named.path or id(named.inline), named) for named in nets]
    for key, named in keyed:
        if key not in found:
            found[key] = read(named)
    return [found[key] for key, _ in keyed]


def _settings_of(solver: Tree, locate: Locate) -> Callable[[str], Settings]:
    """A function from the path of a net that a solver names to the settings for it: those of constants that it has, and
    those that no net of the solver has, which are reported as unknown. A net that is not read may have a constant,
    too."""
    if not solver.others:
        return lambda path: {}
    paths = {named.path for of_phase in named_nets(solver.body) for named in of_phase if named.path}
    own = {path: _constants(locate(path)) for path in paths}
    owned = frozenset().union(*own.values())
    return lambda path: {k: v for k, v in solver.others.items() if k in own[path] or k not in owned}


def _constants(path: Path) -> frozenset[str]:
    """The constants of a file that settings can override; none if it cannot be read, which is reported elsewhere."""
    try:
        document = parse(Source.read(path), Report())
    except NetdefError:
        return frozenset()
    return constants(document) if document else frozenset()


def _source_of(named: Named, path: Path, solver: Tree) -> Source:
    """The text of a file that a solver names.  NetdefError that names its field if it cannot be read."""
    try:
        return Source.read(path)
    except NetdefError as error:
        why = str(error).removeprefix(printable(f"{path}: "))
        raise NetdefError(f"{solver.source.name}: `{named.field}`: {shown(path)}: {why}") from error


def read_unlikely(source: Source, solver: Tree, settings: Settings, report: Report) -> Parsed:
    """Returns a net that a solver names, from a file without an extension of nets. Raises NetdefError if it has errors,
    because the solver may name any file, and diagnostics would show its lines."""
    own = Report()
    try:
        parsed = decoded(plain_tree(source, own, settings, solver.trust), own)
        own.stop_on_errors()
    except CompileError as error:
        count = sum(d.severity == "error" for d in error.diagnostics)
        raise NetdefError(
            f"{source.name}: the solver {solver.source.name} names this file as its net, but it is not one, or has "
            f"{count} error{'s' if count > 1 else ''}; `netdef check {source.name}` shows them"
        ) from None
    return replace(parsed, report=report)


def decoded(tree: Tree, report: Report) -> Parsed:
    return Parsed(decode_program(tree.body, report), tree.source, report, tree.trust, tree.body)


def plain_tree(source: Source, report: Report, set: Settings | None = None, trust: Trust = UNTRUSTED) -> Tree:
    """Parses, expands and upgrades a source. Raises CompileError if it cannot be parsed or expanded."""
    document = parse(source, report)
    if document is None:
        report.stop_on_errors()
        raise AssertionError("the parser returned neither a document nor an error")
    if not document.body.fields:
        report.add(codes.EMPTY, Span(source, 0, 0), "there is no layer, solver or definition in it.")
    return expanded_tree(document, report, set, trust)


def expanded_tree(document: Document, report: Report, set: Settings | None = None, trust: Trust = UNTRUSTED) -> Tree:
    """Expands and upgrades a parsed document. Raises CompileError if it cannot be expanded."""
    own, others = divided(set or {}, document)
    expanded = expand(document, report, settings=own, trust=trust)
    report.stop_on_errors()  # every later stage would report the fields that could not be expanded as missing
    return Tree(upgrade(expanded.body, report), document.source, others, trust)


# A file in several phases


def load_phases(
    path_or_text: str | Path | Source,
    phases: Sequence[Phase] = tuple(Phase),
    stages: Sequence[str] = (),
    level: int = 0,
    set: Settings | None = None,
    trust: Trust = UNTRUSTED,
) -> Phases:
    """The nets of a file and all its diagnostics. Raises NetdefError if the file does not exist."""
    try:
        return build_phases(read_phases(path_or_text, phases, set, trust), stages, level)
    except CompileError as error:  # the text cannot be parsed
        return Phases((), error.diagnostics)


class _Silent(Report):
    """Keeps no diagnostics, because those of the same file are known."""

    def add(self, code: Code, span: Span | None, detail: str = "", *related: Related, hint: str | None = None) -> None:
        self.errors_met += code.severity == "error"

    @property
    def has_errors(self) -> bool:
        return True


def remaining_nets(
    path_or_text: str | Path | Source, set: Settings | None = None, trust: Trust = UNTRUSTED
) -> tuple[Net, ...]:
    """The nets of what can be read of a file with errors, whose diagnostics are those of `load_phases`: without lines
    that cannot be parsed or expanded. Of layers with other errors, `faulty` is True. Raises NetdefError if the file
    does not exist."""
    report = _Silent()
    tree = _remaining(Source.of(path_or_text), set, trust, report)
    try:
        if tree is not None and is_solver(tree.body):
            tree = _remaining_of_solver(tree, report)
        return build_phases(dict.fromkeys(Phase, decoded(tree, report))).nets if tree is not None else ()
    except CompileError:  # the file is too large
        return ()


def _remaining(source: Source, set: Settings | None, trust: Trust, report: Report) -> Tree | None:
    document = mended(source)
    if document is None:
        return None
    own, others = divided(set or {}, document)
    expanded = expand(document, report, settings=own, trust=trust)
    return Tree(upgrade(expanded.body, report), document.source, others, trust)


def _remaining_of_solver(solver: Tree, report: Report) -> Tree | None:
    """The first net that a solver names, unless it is a file that is not named as a net; see `read_unlikely`."""
    named = next((one for of_phase in named_nets(solver.body) for one in of_phase), None)
    if named is None:
        return None
    if named.inline is not None:
        return Tree(upgrade(named.inline, report), solver.source, {}, solver.trust)
    source = Source.read(locator(solver.source.path.parent if solver.source.path else None)(named.path))
    return _remaining(source, solver.others, solver.trust, report) if source.is_named_as_net else None


def build_phases(read: Mapping[Phase, Parsed], stages: Sequence[str] = (), level: int = 0) -> Phases:
    """The nets of a file that was read, in the given state, by default in the states that its solver gives them. Nets
    without any input are ignored if another phase has inputs, because a file that is meant only for training may have
    no data in phase TEST."""
    made: list[tuple[Net, Report]] = []
    typed: Typed | None = None
    for phase, parsed in read.items():
        alone = replace(parsed.report, diagnostics=list(parsed.report.diagnostics))
        state = State(phase, level, tuple(stages)) if stages or level else _state_of(parsed.program.solver, phase)
        parsed = replace(parsed, report=alone)
        typed = typed_layers(parsed, state, before=typed)
        made.append((finished(parsed, state, typed), alone))
    meant = [(net, report) for net, report in made if any(not n.bottoms and not n.weights for n in net.layers)] or made
    found = dict.fromkeys(d for _, report in meant for d in report.diagnostics)  # each diagnostic once
    errors = {d.span for d in found if d.severity == "error"}  # an error in one phase may be a warning in the other
    kept = [d for d in found if d.code != "unknown-type-elsewhere" or d.span not in errors]
    nets = tuple(replace(net, diagnostics=report.in_order()) for net, report in meant)
    return Phases(nets, Report(kept).in_order())


def _state_of(solver: Solver | None, phase: Phase) -> State:
    """The state of the net that a solver trains, or of the first that it tests."""
    given = solver and (solver.train_state if phase is Phase.TRAIN else next(iter(solver.test_state), None))
    return State(phase).joined(given or None)
