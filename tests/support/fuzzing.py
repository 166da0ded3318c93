"""Properties of any source text: every stage returns a value or reports diagnostics, and formatting keeps the meaning.

`test_fuzz` checks them on random programs, `fuzzing/fuzz_language.py` for any length of time.
"""

from __future__ import annotations

import functools

import netdef
from netdef.compiler import load_phases
from netdef.language import codes
from netdef.language.diagnostics import Diagnostic, Report
from netdef.language.expansion.expand import expand
from netdef.language.formatter import format
from netdef.language.parsing.parser import parse
from netdef.language.printer import print_message
from netdef.language.render import render
from netdef.language.source import Source
from netdef.language.syntax import ListValue, Message

SHAPES = {"shape-mismatch", "too-many-params"}  # codes of the stage that infers shapes
STAGES = ("parse", "expand", "decode", "connect", "infer", "check", "net")


def check_all(text: str) -> None:
    """Parser, expander, formatter and printer agree on a text, and each span is within the text."""
    report = Report()
    document = parse(Source("t.net", text), report)
    assert (document is None) == bool(report.diagnostics)
    if document is not None:
        plain = expand(document, report)
        check_plain(plain.body)
        once = format(document)
        again = parse(Source("again.net", once), Report())
        assert again is not None and meaning(again.body) == meaning(document.body)
        assert sorted(c.text.rstrip() for c in again.comments) == sorted(c.text.rstrip() for c in document.comments)
        assert format(again) == once
    check_places(report.in_order())


def check_net(text: str) -> set[str]:
    """Loading the text results in a net or in diagnostics, in both phases.  Returns the codes of the errors."""
    return check_together(text) if len(text) % 4 else check_each(text)


def check_together(text: str) -> set[str]:
    """Both phases are read at once, as `netdef check` and the language server do."""
    try:
        made = load_phases(text + "\n")
    except netdef.NetdefError as error:
        assert "\n" not in str(error)
        return set()
    check_places(made.diagnostics)
    errors = {d.code for d in made.diagnostics if d.severity == "error"}
    assert made.nets or errors
    return errors


def check_each(text: str) -> set[str]:
    """Each phase is loaded by itself."""
    errors = set()
    for phase in ("TRAIN", "TEST"):
        try:
            made = netdef.load(text + "\n", phase=phase)
        except netdef.CompileError as error:
            found = {d.code for d in error.diagnostics if d.severity == "error"}
            assert found
            errors |= found
            check_places(error.diagnostics)
        except netdef.NetdefError as error:
            assert "\n" not in str(error)
        else:
            check_places(made.diagnostics)
    return errors


def stage_of(errors: set[str]) -> str:
    """The earliest stage that refuses a text with errors of these codes; "net" if none does."""
    modules = zip(("parse", "expand", "decode", "connect", "check"), codes.STAGES, strict=True)
    names = {stage: set(codes.catalogue(module)) for stage, module in modules}
    names |= {"connect": names["connect"] - SHAPES, "infer": SHAPES, "net": errors}
    return next((stage for stage in STAGES if errors & names[stage]), "net")


def check_places(diagnostics: tuple[Diagnostic, ...]) -> None:
    for diagnostic in diagnostics:
        span = diagnostic.span
        assert span is not None and 0 <= span.start <= span.end <= len(span.source.text)
        assert diagnostic.detail
    assert render(diagnostics).count("\n") >= 3 * len(diagnostics)


def check_plain(body: Message) -> None:
    """There are only plain fields, and printing and parsing them results in the same fields."""
    check_kinds(body)
    for field in body.fields:
        text = print_message(body._replace(fields=(field,)))
        assert printed_again(text) == text


def check_kinds(message: Message) -> None:
    """There are only plain fields."""
    for field in message.fields:
        values = field.value.items if isinstance(field.value, ListValue) else (field.value,)
        for value in values:
            if isinstance(value, Message):
                check_kinds(value)
            else:
                assert value.kind in ("int", "float", "string", "name")


@functools.lru_cache(10_000)  # the layers of several texts are often the same
def printed_again(text: str) -> str:
    """The text parsed and printed."""
    again = parse(Source("plain.net", text), Report())
    assert again is not None
    return print_message(again.body)


def meaning(node: object) -> object:
    """Returns a tree without source positions."""
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        parts = [getattr(node, name) for name in node._fields if not name.endswith("span") and name != "head"]
        return type(node).__name__, [meaning(part) for part in parts]
    return [meaning(item) for item in node] if isinstance(node, tuple) else repr(node)
