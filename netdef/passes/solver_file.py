"""Solver files: whether a file is one, which settings are its own, and which nets it names.

Works on trees and reads no other file. Source: BVLC/caffe src/caffe/solver.cpp, InitTrainNet and InitTestNets: one net
is trained; the test nets are the inline ones, then the files of `test_net`, then the net itself once for each remaining
value of `test_iter`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..language import codes
from ..language.diagnostics import Report
from ..language.syntax import Document, Field, For, If, Let, ListValue, Message, Scalar
from ..layers.base import Phase
from ..solvers.base import Solver
from .decode import NetParameter

SOLVER = "solver."  # the prefix of settings for fields of the solver
NETS = tuple(f"{which}net{how}" for which in ("", "train_", "test_") for how in ("", "_param"))  # fields that name nets
TRAINED = "net, net_param, train_net or train_net_param"


class Named(NamedTuple):
    """A net that a solver names: its inline message or the path of its file, and the field that names it."""

    inline: Message | None = None
    path: str = ""
    field: str = ""


class NamedNets(NamedTuple):
    """The nets that a solver names: only for training, only for testing, and for both."""

    train: tuple[Named, ...]
    test: tuple[Named, ...]
    both: tuple[Named, ...]


def is_solver(body: Message) -> bool:
    """Whether a file, expanded or not, is a solver: it has fields that only solvers have, and no layers."""
    names = {field.name for field in _fields(body.fields)}
    if names & {"layer", "layers", "input", "solver"}:
        return False
    return bool(names & (Solver.params().keys() - NetParameter.params().keys()))


def _fields(items: Iterable[Any]) -> Iterator[Field]:
    """The fields of a file, including those in its loops and conditions."""
    for item in items:
        if isinstance(item, Field):
            yield item
        elif isinstance(item, For):
            yield from _fields(item.body.fields)
        elif isinstance(item, If):
            yield from _fields(item.then.fields)
            yield from _fields(item.otherwise.fields if isinstance(item.otherwise, Message) else [item.otherwise])


def divided(settings: Mapping[str, Any], document: Document) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the settings of this file, the settings of the nets that it names).

    A solver file uses the fields of the solver and its own constants; any other file uses all settings."""
    if not settings or not is_solver(document.body):
        return dict(settings), {}
    known = constants(document)
    own = {name: value for name, value in settings.items() if name.startswith(SOLVER) or name in known}
    return own, {name: value for name, value in settings.items() if name not in own}


def constants(document: Document) -> frozenset[str]:
    """The constants of a file that settings can override."""
    return frozenset(item.name for item in document.body.fields if isinstance(item, Let))


def named_nets(body: Message) -> NamedNets:
    """The nets that a solver names, in Caffe's order: inline ones before files."""

    def found(field: str) -> tuple[Named, ...]:
        inline = [Named(inline=f.value) for f in body.all(f"{field}_param") if isinstance(f.value, Message)]
        values = [v for f in body.all(field) for v in (f.value.items if isinstance(f.value, ListValue) else [f.value])]
        return (*inline, *(Named(path=str(value.value), field=field) for value in values if isinstance(value, Scalar)))

    return NamedNets(found("train_net"), found("test_net"), found("net"))


def net_of(body: Message, phase: Phase, report: Report) -> Named | None:
    """The net of one phase: the trained net, or the first test net (the trained net if there is none). None if an error
    was reported."""
    named = named_nets(body)
    trained = (*named.train, *named.both)
    if len(trained) > 1:
        detail = "this solver names several nets to train; give only one of net, net_param, train_net, train_net_param."
        report.add(codes.GIVEN_TWICE, body.fields[0].span, detail)
        return None
    of_phase = trained if phase is Phase.TRAIN else (*named.test, *named.both, *named.train)
    if not of_phase:
        what = " to train" if named.test else ""
        report.add(codes.MISSING_FIELD, body.span, f"this solver names no net{what}; give {TRAINED}.")
        return None
    return of_phase[0]


def tests_of(solver: Solver, named: int = 0) -> int:
    """The number of nets that a solver tests: one per value of `test_iter`; without values, the named nets, or one."""
    return len(solver.test_iter) or (max(named, 1) if solver.test_interval else 0)


def tested_nets(body: Message, solver: Solver, report: Report) -> tuple[Named, ...]:
    """The nets that a solver tests, one for each value of `test_iter`."""
    named = named_nets(body)
    wanted = tests_of(solver, len(named.test))
    found = (*named.test, *named.both * max(wanted - len(named.test), 0))[:wanted]
    if len(named.test) > wanted or (len(found) < wanted and solver.test_iter):
        report.add(
            codes.WRONG_COUNT,
            solver.span_of("test_iter"),
            f"`test_iter` has {len(solver.test_iter)} values for {len(named.test) + len(named.both)} test nets; "
            "give the number of batches for each net.",
        )
    return found
