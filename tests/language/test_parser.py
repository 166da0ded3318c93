"""The parser: trees of every construct, each syntax error at its exact place, and every real file."""

from __future__ import annotations

import json
import math

import pytest

from netdef.language import codes
from netdef.language.diagnostics import Report
from netdef.language.errors import NetdefError
from netdef.language.parsing import tables
from netdef.language.parsing.parser import parse
from netdef.language.source import Source
from netdef.language.syntax import Document, ListValue, Message


def tree(text: str) -> Document:
    report = Report()
    document = parse(Source("test.net", text), report)
    assert document is not None, report.diagnostics[0]
    return document


def show(node) -> str:
    """An s-expression of a value or message."""
    if isinstance(node, Message):
        return "{" + " ".join(f"({f.name} {show(f.value)})" for f in node.fields) + "}"
    if isinstance(node, ListValue):
        return "[" + " ".join(show(item) for item in node.items) + "]"
    return f"{node.kind}:{node.value!r}"


TREES = {
    "": "{}",
    "# nothing": "{}",
    'name: "x"': "{(name string:'x')}",
    "a: 1 b:2 c :3\nd\n:\n4": "{(a int:1) (b int:2) (c int:3) (d int:4)}",
    "a: 1, b: 2; c: 3,": "{(a int:1) (b int:2) (c int:3)}",
    "a { b: 1 } c: { d: 2 } e < f: 3 > g: < h {} >": "{(a {(b int:1)}) (c {(d int:2)}) (e {(f int:3)}) (g {(h {})})}",
    "a\n{\n}\nb#\n{}\nc # {\n : # :\n <>": "{(a {}) (b {}) (c {})}",
    "a: [] b: [1] c: [1, x, \"y\" 'z']": "{(a []) (b [int:1]) (c [int:1 name:'x' string:'yz'])}",
    "a: [{ b: 1 }, < c: 2 >] d [{}]": "{(a [{(b int:1)} {(c int:2)}]) (d [{}])}",
    "a: true b: MAX c: inf d: _1": "{(a name:'true') (b name:'MAX') (c name:'inf') (d name:'_1')}",
    "a: 0 b: 00 c: 017 d: 0x1F e: 0Xff": "{(a int:0) (b int:0) (c int:15) (d int:31) (e int:255)}",
    "a: -5 b: - 5 c: -0x10": "{(a int:-5) (b int:-5) (c int:-16)}",
    "a: - # minus\n 5 b: - # minus\n inf": "{(a int:-5) (b float:-inf)}",
    "a: 1. b: .5 c: 1.5 d: 1e3 e: 1.E-2 f: 2f g: 1.f h: .5F i: 1e5f j: -.5": (
        "{(a float:1.0) (b float:0.5) (c float:1.5) (d float:1000.0) (e float:0.01) (f float:2.0) (g float:1.0)"
        " (h float:0.5) (i float:100000.0) (j float:-0.5)}"
    ),
    "a: -inf b: -Infinity c: -nan d: - inf": "{(a float:-inf) (b float:-inf) (c float:nan) (d float:-inf)}",
    "a: 18446744073709551616": "{(a int:18446744073709551616)}",
    "a: 1e999": "{(a float:inf)}",
    """a: "it's" b: 'a "b"' c: "" d: "#" e: '{' """: (
        """{(a string:"it's") (b string:'a "b"') (c string:'') (d string:'#') (e string:'{')}"""
    ),
    """a: "x" 'y'\n"z" # one\n # two\n "!" b: 1""": "{(a string:'xyz!') (b int:1)}",
    'a: "x" # one': "{(a string:'x')}",
    'a: "x"b: 1': "{(a string:'x') (b int:1)}",
    r'a: "\a\b\f\n\r\t\v\\\?\"" b: "\'"': r"""{(a string:'\x07\x08\x0c\n\r\t\x0b\\?"') (b string:"'")}""",
    r'a: "\0\1011\x41g\x4\377"': r"{(a string:'\x00A1Ag\x04ÿ')}",
    r'a: "\303\251\xc3\xa9\u00e9\U0001F600\ud83d\ude00é"': "{(a string:'ééé😀😀é')}",
    "[a.b]: 1 [ x . y/z ] { }": "{([a.b] int:1) ([x.y/z] {})}",
    "a: 1\r\nb: 2\r\n# c\r\nd { }\r\n": "{(a int:1) (b int:2) (d {})}",
    "for: 1 let: 2 if { } import: 'x' template { } else: 3": (
        "{(for int:1) (let int:2) (if {}) (import string:'x') (template {}) (else int:3)}"
    ),
}


@pytest.mark.parametrize("text", TREES, ids=range(len(TREES)))
def test_tree(text):
    assert show(tree(text).body) == TREES[text]


def test_spans():
    body = tree('x: 1\nlayer { name : "a" "b" } y: [1, {z: -  2}]').body
    x, layer, y = body.fields
    assert (x.span.text, x.name_span.text, x.value.span.text) == ("x: 1", "x", "1")
    assert layer.span.text == 'layer { name : "a" "b" }' and layer.name_span.text == "layer"
    assert layer.value.span.text == '{ name : "a" "b" }'
    name = layer.value.fields[0]
    assert (name.span.text, name.value.span.text, name.span.line, name.span.column) == (
        'name : "a" "b"',
        '"a" "b"',
        2,
        9,
    )
    assert y.value.span.text == "[1, {z: -  2}]" and y.value.items[1].fields[0].value.span.text == "-  2"


def test_comments_are_kept_in_order():
    document = tree("# one\na: 1 # two\r\nb { # three\n} #four")
    assert [comment.text for comment in document.comments] == ["# one", "# two", "# three", "#four"]
    assert [comment.span.text for comment in document.comments] == ["# one", "# two\r", "# three", "#four"]


def test_nan_is_a_word_and_negative_nan_a_number():
    positive, negative = tree("a: nan b: -nan").body.fields
    assert positive.value.value == "nan" and math.isnan(negative.value.value)


@pytest.mark.chunks("errors/syntax.txt")
def test_syntax_error(chunk):
    report = Report()
    document = parse(Source("test.net", chunk.text), report)
    found = [(d.code, (d.line, d.column), d.end) for d in report.diagnostics]
    assert found == [(e.code, e.start, e.end) for e in chunk.expected]
    for diagnostic, expected in zip(report.diagnostics, chunk.expected, strict=True):
        assert expected.words in f"{diagnostic.detail} {diagnostic.hint}"
    assert document is None


def test_every_syntax_code_has_a_case(request):
    text = (request.path.parents[1] / "corpus" / "errors" / "syntax.txt").read_text(encoding="utf-8")
    at = list(codes.catalogue(codes.syntax))
    of_syntax = at[: at.index("too-deep")]
    assert len(of_syntax) > 15
    assert [code for code in of_syntax if f"^ {code}" not in text] == []


@pytest.mark.parametrize("text", ["a {" * 99 + "}" * 99, "a: [{" * 40 + "}]" * 40])
def test_deep_is_fine(text):
    assert len(tree(text).body.fields) == 1


@pytest.mark.parametrize("text", ["a {" * 100_000, "a: [{" * 100_000, "a <" * 100_000 + ">" * 100_000])
def test_too_deep(text):
    report = Report()
    assert parse(Source("test.net", text), report) is None
    assert [d.code for d in report.diagnostics] == ["too-deep"]


@pytest.mark.parametrize(
    "text",
    [
        *("}" * 50_000, "a\n" * 50_000, '"' * 50_000, "{" * 50_000, "a: [" * 50_000, " " * 50_000 + "@", "#" * 50_000),
        *("a: " + "9" * 50_000, "a: 1.5" + "9" * 50_000, 'a: "' + "\\" * 49_999, "a:" * 50_000, "a: 1" * 50_000),
        *("a: 'x" + "\\q" * 20_000 + "'", "\x00\x01\x02", "a: [" + "1," * 50_000, "[" * 50_000, "a b " * 20_000),
    ],
    ids=range(17),
)
def test_rubbish_is_reported(text):
    report = Report()
    document = parse(Source("test.net", text), report)
    assert (document is None) == bool(report.diagnostics)
    assert len(report.diagnostics) <= 20


def test_stored_tables_are_those_of_the_grammar(request):
    built = json.dumps(tables.build(tables.grammar_text()), separators=(",", ":")) + "\n"
    if request.config.getoption("--update-goldens"):
        tables.STORED.write_text(built, encoding="utf-8")
    assert tables.STORED.read_text(encoding="utf-8") == built, "run this test with --update-goldens"


def test_read(tmp_path):
    def written(name: str, raw: bytes) -> Source:
        (tmp_path / name).write_bytes(raw)
        return Source.read(tmp_path / name)

    assert written("bom.net", b'\xef\xbb\xbfname: "\xc3\xa9"').text == 'name: "é"'
    assert written("latin.net", b'name: "\xe9"').text == 'name: "é"'
    assert written("crlf.net", b"a: 1\r\nb: 2").line(1) == "a: 1"
    assert written("empty.net", b"").text == ""
    for bad in (tmp_path / "absent.net", tmp_path, "x" * 5000, "a\0b"):
        with pytest.raises(NetdefError) as error:
            Source.read(bad)
        assert "\n" not in str(error.value)
    with pytest.raises(NetdefError, match="binary"):
        written("net.caffemodel", b"\n\x05LeNet\x12\x00\x00")


def test_corpus(corpus_rows, corpus):
    """Every real file parses, or its errors are not before the place where real Caffe's own parser stops."""
    faulty = 0
    for row in corpus_rows:
        report = Report()
        document = parse(Source.read(corpus / row["file"], row["file"]), report)
        assert (document is None) == bool(report.diagnostics)
        if document is None:
            faulty += 1
            assert row["bvlc_ok"] == "0", report.diagnostics[0]
            assert all(d.span and d.detail for d in report.diagnostics)
        else:
            assert document.plain  # no word of it is taken for an addition, and `expand` leaves it alone
        if "Expected identifier" in row["bvlc_cpp_err"]:
            _, line, column, _ = row["bvlc_cpp_err"].split(":", 3)
            assert (report.diagnostics[0].line, report.diagnostics[0].column) == (int(line), int(column))
    assert len(corpus_rows) > 400 and 10 < faulty < 25
