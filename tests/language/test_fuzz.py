"""Random texts and trees: the parser, expander and formatter never fail, and agree with each other."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdef.language.diagnostics import Report
from netdef.language.expand import expand
from netdef.language.formatter import format
from netdef.language.parser import parse
from netdef.language.printer import print_message
from netdef.language.render import render
from netdef.language.source import Source
from netdef.language.syntax import ListValue, Message

# NETDEF_FUZZ=10000 for a long run
short = settings(
    max_examples=int(os.environ.get("NETDEF_FUZZ", 40)),
    deadline=None,
    derandomize="NETDEF_FUZZ" not in os.environ,
    suppress_health_check=list(HealthCheck),
)

PIECES = """
a b name layer import let template for if else in and or not true false inf nan MAX x1 range len str { } < > [ ] ( )
: , ; = == != <= >= + - * / // % ** . $ ${ $${ " ' "x" 'y' "a${x}" "${" "\\n" "\\q" 1 2.5 0x1F 017 08 1e5 1.f .5
let_x: template_t() conv_{ }
""".split()
PIECES += [" ", "\n", "\t", "# c\n", "#", "é", "\0"]
soup = st.lists(st.sampled_from(PIECES), max_size=40).flatmap(
    lambda parts: st.sampled_from([" ", "", "\n"]).map(lambda joint: joint.join(parts))
)

names = st.sampled_from(["a", "b", "layer", "for", "let", "if", "else", "import", "template", "in", "or", "x.y"])
field_names = names.map(lambda name: f"[{name}]" if "." in name else name)
literals = st.one_of(
    st.integers(-(2**40), 2**40).map(str),
    st.floats(allow_nan=False).map(repr),
    st.text(max_size=8).map(
        lambda text: '"' + "".join(f"\\{byte:03o}" for byte in text.encode("utf-8", "replace")) + '"'
    ),
    st.text(st.characters(exclude_characters='"\\\n\x00', exclude_categories=["Cs"]), max_size=8).map('"{}"'.format),
    st.sampled_from(["MAX", "true", "'it\"s'", "'a' \"b\"", "0x1f", "017", "1.", ".5", "2f", "- 3"]),
)
atoms = st.one_of(st.sampled_from(["x", "1", "2.5", '"s"', "[1, 2]", "true", "MAX", "len([x])", "-x", "(x)", "[x][0]"]))
operators = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", ">=", "and", "or", " if true else "])
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, operators, inner).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
        inner.map("({})".format),
        inner.map("not ({})".format),
    ),
    max_leaves=6,
)
gaps = st.sampled_from([" ", "\n", " # c\n", "\n\n\n", "\t", ", ", "; "])


def block(inner):
    bodies = st.lists(st.tuples(inner, gaps).map("".join), max_size=4).map("".join)
    blank = st.sampled_from([" ", "\n", " # c\n"])
    braces = st.tuples(blank, bodies, blank).map(lambda t: f"{{{t[0]}{t[1]}{t[2]}}}")
    return st.one_of(
        st.tuples(field_names, st.sampled_from(["", " ", ": "]), braces).map("".join),
        st.tuples(field_names, bodies).map(lambda t: f"{t[0]} < {t[1]} >"),
        st.tuples(field_names, st.lists(braces, max_size=2)).map(lambda t: f"{t[0]}: [{', '.join(t[1])}]"),
        st.tuples(expressions, braces).map(lambda t: f"if ({t[0]}) {t[1]}"),
        st.tuples(expressions, braces, blank, braces).map(lambda t: f"if true and {t[0]} {t[1]}{t[2]}else {t[3]}"),
        st.tuples(expressions, braces).map(lambda t: f"for x in [{t[0]}, 2] {t[1]}"),
        braces.map("template t(x, y: 2) {}".format),
    )


items = st.recursive(
    st.one_of(
        st.tuples(field_names, literals).map(": ".join),
        st.tuples(field_names, st.lists(literals, max_size=3)).map(lambda t: f"{t[0]}: [{', '.join(t[1])}]"),
        st.tuples(field_names, expressions).map(lambda t: f"{t[0]}: ${{{t[1]}}}"),
        expressions.filter(lambda e: '"' not in e).map('a: "b${{{}}}c"'.format),
        expressions.map("let x: ({})".format),
        st.sampled_from(["t { x: 1 }", "t { x: 2 y: 3 }", "t { }"]),
    ),
    block,
    max_leaves=8,
)
programs = st.lists(st.tuples(items, gaps.filter(lambda gap: gap not in ", ; ")).map("".join), max_size=6).map("".join)


def meaning(node) -> object:
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        parts = [getattr(node, name) for name in node._fields if not name.endswith("span") and name != "head"]
        return type(node).__name__, [meaning(part) for part in parts]
    return [meaning(item) for item in node] if isinstance(node, tuple) else repr(node)


def check_all(text: str) -> None:
    """Every stage ends well, each span lies in the text, and formatting changes nothing."""
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
    for diagnostic in report.diagnostics:
        span = diagnostic.span
        assert span is not None and 0 <= span.start <= span.end <= len(span.source.text)
        assert diagnostic.detail
    assert render(report.in_order()).count("\n") >= 3 * len(report.diagnostics)


def check_plain(message: Message) -> None:
    """Only plain fields, which print as a text that reads back as the same."""
    for field in message.fields:
        values = field.value.items if isinstance(field.value, ListValue) else (field.value,)
        for value in values:
            if isinstance(value, Message):
                check_plain(value)
            else:
                assert value.kind in ("int", "float", "string", "name")
    text = print_message(message)
    again = parse(Source("plain.net", text), Report())
    assert again is not None and print_message(again.body) == text


@short
@given(st.text(max_size=60))
def test_any_text(text):
    check_all(text)


@short
@given(soup)
def test_any_tokens(text):
    check_all(text)


@short
@given(programs)
def test_any_program(text):
    check_all(text)


@short
@given(programs, st.integers(0, 10_000), st.sampled_from(["", "{", "}", "]", '"', "${", "#", ":", "\n", "let "]))
def test_any_damaged_program(text, at, damage):
    at %= len(text) + 1
    check_all(text[:at] + damage + text[at + 1 :])
