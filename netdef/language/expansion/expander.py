"""Expands a document; `expand` calls it for files that contain more than plain fields.

Given the items of a block and the scope of their names, it appends the plain fields to which they expand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import codes
from ..diagnostics import Related, Report
from ..source import Source, Span
from ..spelling import did_you_mean
from ..syntax import Document, Field, For, If, Import, Interpolation, Let, ListValue, Message, Scalar, Template
from ..trust import Trust
from . import imports
from . import settings as overrides
from .evaluate import condition, evaluate
from .scope import UNKNOWN, Budget, Scope
from .values import Fault, Told, TooMuch, Unread, describe, evaluated, is_list, node

DEEPEST = 100  # levels of blocks, templates and loops inside each other
MOST_FAULTS = 50  # errors that are reported for one file; more would not help


class TooManyFaults(TooMuch):
    """Enough errors have been reported."""


def expand_document(
    document: Document, report: Report, settings: Mapping[str, Any], load: Callable[[Path], Source], trust: Trust
) -> Document:
    """Expands a document that is not plain, or that has settings; see `expand`."""
    expander = Expander(document.source, report, settings, load, trust)
    fields = expander.file(document)
    overrides.report_unknown(settings, expander.settable, fields, report)
    fields = overrides.override_solver(fields, settings, report)
    return document._replace(body=Message(tuple(fields), document.body.span), plain=True)


class Expander:
    """The state of one expansion: the budget, the templates being expanded, and the imported files."""

    def __init__(
        self, source: Source, report: Report, settings: Mapping[str, Any], load: Callable[[Path], Source], trust: Trust
    ) -> None:
        self.report = report
        self.settings = settings
        self.settable: list[str] = []  # the names of the top level
        self.budget = Budget(source.path.parent if source.path else None)
        self.importer = imports.Importer(source, report, load, self.definitions, trust)
        self.active: list[Template] = []
        self.depth = 0
        self.faults = 0
        self.orders: dict[int, tuple[tuple[Any, ...], bool]] = {}

    def file(self, document: Document) -> list[Field]:
        """The plain fields of the whole file."""
        fields: list[Field] = []
        try:
            self.statements(document.body, Scope(), None, fields, top=True)
        except TooMuch as fault:
            if not isinstance(fault, TooManyFaults):
                self.fault(fault, None)
            fields.clear()  # later stages must not work on an incomplete net
        except RecursionError:
            self.report.add(codes.TOO_DEEP, None, f"The expressions of {document.source.name} are nested too deeply.")
        return fields

    def definitions(self, document: Document) -> Scope:
        """The `let` and `template` statements of an imported file."""
        scope = Scope()
        body = document.body._replace(fields=tuple(f for f in document.body.fields if not isinstance(f, Field)))
        self.statements(body, scope, None, [], imported=True)
        return scope

    def fault(self, fault: Fault, via: Span | None) -> None:
        self.faults += 1
        if isinstance(fault, Told) or fault.code is codes.UNKNOWN_NAME and self.importer.failed:
            return  # the name may be defined in a file that could not be imported
        span = fault.span if fault.span.via else with_via(fault.span, via)
        self.report.add(fault.code, span, fault.detail, *fault.related, hint=fault.hint)
        if not isinstance(fault, TooMuch) and len(self.report.diagnostics) >= MOST_FAULTS:
            raise TooManyFaults(fault.code, span, "")

    def statements(
        self,
        body: Message,
        scope: Scope,
        via: Span | None,
        out: list[Field],
        *,
        top: bool = False,
        imported: bool = False,
        inner: bool = False,
    ) -> None:
        """Appends the plain fields of a block to `out`. Its templates can be used before their definitions, constants
        only after theirs. The names that an `inner` block defines are local to it."""
        self.depth += 1
        if self.depth > DEEPEST:
            detail = f"Blocks, templates and loops are nested more than {DEEPEST} levels deep here."
            raise TooMuch(codes.TOO_DEEP, with_via(body.span, via), detail)
        items, defines = self.order(body)
        if defines:
            scope = Scope(scope) if inner else scope
            scope.body = body
        rest = iter(items)
        depth, active = self.depth, len(self.active)
        while True:
            try:
                for item in rest:
                    kind = type(item)
                    if kind is Field:
                        self.field(item, scope, via, out)
                    elif kind is Let:
                        self.let(item, scope, via, top)
                    elif kind is For:
                        self.loop(item, scope, via, out)
                    elif kind is If:
                        self.choice(item, scope, via, out)
                    elif kind is Template:
                        scope.define(item.name, item.name_span, template=(item, scope))
                    else:
                        self.importer.take(item, scope, top or imported)
                break
            except TooMuch:
                raise
            except Fault as fault:  # skip this item and continue with the next
                self.fault(fault, via)
                self.depth = depth
                del self.active[active:]
        self.depth -= 1

    def order(self, body: Message) -> tuple[tuple[Any, ...], bool]:
        """The items of a block, its templates first, and whether it defines names. The result is cached because the
        blocks of templates and loops are expanded often; a block lives as long as its document, so its id is safe."""
        known = self.orders.get(id(body))
        if known is None:
            items = tuple(sorted(body.fields, key=lambda item: type(item) is not Template))
            known = self.orders[id(body)] = items, any(type(item) in (Template, Let, Import) for item in items)
        return known

    def let(self, let: Let, scope: Scope, via: Span | None, top: bool) -> None:
        if top:
            self.settable.append(let.name)
        try:
            value = evaluate(let.value, scope, self.budget)
        except TooMuch:
            raise
        except Fault as fault:
            given = isinstance(fault, Unread) and top and let.name in self.settings  # then the folder is not needed
            if not given:
                self.fault(fault, via)
            value = 0 if given else UNKNOWN
        if top and let.name in self.settings:
            try:
                value = overrides.converted(let.name, self.settings[let.name], value)
            except Fault as fault:
                self.fault(fault, None)
                value = UNKNOWN
        scope.define(let.name, let.name_span, value)

    def loop(self, loop: For, scope: Scope, via: Span | None, out: list[Field]) -> None:
        values = evaluate(loop.values, scope, self.budget)
        if not is_list(values):
            hint = f"write range({values})" if isinstance(values, int) else None
            raise Fault(codes.NOT_A_LIST, loop.values.span, f"`for` expects a list, not {describe(values)}.", hint=hint)
        here = with_via(loop.head, via)
        for value in values:
            self.budget.step(here, 3)
            inner = Scope(scope, {loop.name: value}, places={loop.name: loop.name_span})
            before = self.faults
            self.statements(loop.body, inner, here, out)
            if self.faults > before:
                break  # the next pass would have the same errors

    def choice(self, choice: If, scope: Scope, via: Span | None, out: list[Field]) -> None:
        branch: If | Message | None = choice
        while isinstance(branch, If):
            value = evaluate(branch.test, scope, self.budget)
            branch = branch.then if condition(value, branch.test.span) else branch.otherwise
        if branch is not None:
            self.statements(branch, scope, via, out, inner=True)

    def field(self, field: Field, scope: Scope, via: Span | None, out: list[Field]) -> None:
        if found := scope.template(field.name):
            return self.use(field, *found, scope, via, out)
        name, value, name_span, span = field
        if via is not None:
            name_span = Span(name_span.source, name_span.start, name_span.end, via)
            span = Span(span.source, span.start, span.end, via)
        self.budget.field(span)
        if type(value) is Scalar:
            at = value.span
            value = value if via is None else Scalar(value.kind, value.value, Span(at.source, at.start, at.end, via))
            out.append(Field(name, value, name_span, span))
        elif type(value) is Interpolation:
            result = evaluate(value, scope, self.budget)
            place = with_via(value.span, via)
            values = result if is_list(result) else (result,)
            for one in values:
                self.budget.field(span)
                out.append(Field(name, node(one, place), name_span, span))
        else:
            out.append(Field(name, self.value(value, scope, via), name_span, span))

    def value(self, value: Any, scope: Scope, via: Span | None) -> Any:
        """The plain value of a written one."""
        place = with_via(value.span, via)
        if type(value) is Scalar:
            return Scalar(value.kind, value.value, place)
        if type(value) is Message:
            fields: list[Field] = []
            self.statements(value, scope, via, fields, inner=True)
            return Message(tuple(fields), place)
        if type(value) is ListValue:
            self.budget.step(place, len(value.items))
            return ListValue(tuple(self.value(item, scope, via) for item in value.items), place)
        return node(evaluate(value, scope, self.budget), place)

    def use(
        self, field: Field, template: Template, home: Scope, scope: Scope, via: Span | None, out: list[Field]
    ) -> None:
        """Appends the fields of a template where it is used."""
        if any(active is template for active in self.active):
            detail = f"The template `{template.name}` uses itself, directly or through another template."
            raise Fault(codes.RECURSIVE_TEMPLATE, field.name_span, detail, Related("defined here", template.name_span))
        if not isinstance(field.value, Message):
            names = " ".join(f"{parameter.name}: ..." for parameter in template.parameters)
            detail = f"`{template.name}` is a template and must be used like a block."
            place = Related("defined here", template.name_span)
            hint = f"write {template.name} {{ {names} }}"
            raise Fault(codes.TEMPLATE_WITHOUT_BLOCK, field.span, detail, place, hint=hint)
        given: list[Field] = []
        before = self.faults
        self.statements(field.value, scope, via, given, inner=True)
        if self.faults > before:
            return  # do not report an invalid argument as missing
        inner = self.bound(field, template, given, home)
        here = with_via(field.name_span, via)
        self.budget.step(here, 15)
        self.active.append(template)
        self.statements(template.body, inner, here, out)
        self.active.pop()

    def bound(self, use: Field, template: Template, given: list[Field], home: Scope) -> Scope:
        """The scope of a template's body: its arguments, inside the scope of its definition."""
        scope = Scope(home)
        known = {parameter.name: parameter for parameter in template.parameters}
        arguments: dict[str, Field] = {}
        place = Related("defined here", template.name_span)
        for argument in given:
            name = argument.name
            if name not in known:
                has = ", ".join(f"`{one}`" for one in list(known)[:20]) or "none"
                detail = f"The template `{template.name}` has no parameter `{name}`; it has {has}."
                hint = did_you_mean(name, known)
                raise Fault(codes.UNKNOWN_ARGUMENT, argument.name_span, detail, place, hint=hint)
            if name in arguments:
                detail = f"`{name}` is given twice."
                earlier = Related("first given here", arguments[name].span)
                raise Fault(
                    codes.DUPLICATE_ARGUMENT, argument.span, detail, earlier, hint=f"for a list, write {name}: [a, b]"
                )
            arguments[name] = argument
        for name, parameter in known.items():
            if name in arguments:
                value = evaluated(arguments[name].value)
            elif parameter.default is not None:
                value = evaluate(parameter.default, scope, self.budget)
            else:
                missing = [n for n, p in known.items() if p.default is None and n not in arguments]
                detail = f"The template `{template.name}` requires {' and '.join(f'`{n}`' for n in missing)}."
                hint = f"write {missing[0]}: VALUE in this block"
                raise Fault(codes.MISSING_ARGUMENT, use.name_span, detail, place, hint=hint)
            scope.values[name], scope.places[name] = value, parameter.span
        return scope


def with_via(span: Span, via: Span | None) -> Span:
    return span if via is None else Span(span.source, span.start, span.end, via)
