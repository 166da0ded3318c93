"""Random texts and trees: parser, expander, decoder and formatter never fail, and agree with each other."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fuzzing import check_all, check_net
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netdef

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


EXAMPLES = Path(__file__).parents[2] / "examples"
NET = re.sub(r"#.*", "", (EXAMPLES / "digits_depth.net").read_text(encoding="utf-8"))
WORDS = re.findall(r"[\w.]+|\"[^\"\n]*\"|\$\{[^}]*\}|\S", NET.replace('"data/', f'"{EXAMPLES.as_posix()}/data/'))
words = st.sampled_from(WORDS + PIECES)


@short
@given(st.lists(st.tuples(st.integers(0, len(WORDS) - 1), st.integers(0, 3), st.lists(words, max_size=2)), max_size=3))
def test_any_damaged_net(changes):
    tokens = list(WORDS)
    for at, gone, new in changes:
        tokens[at : at + gone] = new
    check_net(" ".join(tokens))


def test_the_net_that_is_damaged_is_whole():
    assert len(netdef.load(" ".join(WORDS)).layers) > 8
