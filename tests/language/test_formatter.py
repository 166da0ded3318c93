"""The formatter: one look, nothing changed, every comment kept, its own output left alone."""

from __future__ import annotations

import re

import pytest

from netdef.language.diagnostics import Report
from netdef.language.formatter import format
from netdef.language.parsing.parser import parse
from netdef.language.printer import print_message
from netdef.language.source import Source
from netdef.language.syntax import Document, Message

CASES = {
    "one field per line": ("a: 1 b : 2,c:3;", "a: 1\nb: 2\nc: 3\n"),
    "blocks": ("a{b{c:1}}\nd: <e: 1;>\nf\n{\n}", "a {\n  b { c: 1 }\n}\nd { e: 1 }\nf {}\n"),
    "a layer is never one line": ('layer { name: "a" }', 'layer {\n  name: "a"\n}\n'),
    "quotes": (
        r"""a: 'x' b: 'say "x"' c: "it's" d: "a\"b" e: 'a' "b" """,
        'a: "x"\nb: \'say "x"\'\nc: "it\'s"\nd: "a\\"b"\ne: "a" "b"\n',
    ),
    "numbers stay as they were": ("a: 0x1F b: 1e-4 c: .5 d: 1. e: 2f f: - 3 g: 017", None),
    "lists": ("a: [ 1,2 , 'x' ] b: [] c: [{d:1},<e{f:2}>]", 'a: [1, 2, "x"]\nb: []\nc: [{ d: 1 }, { e { f: 2 } }]\n'),
    "long lists": (
        "a: [" + ", ".join(["1000000000000"] * 8) + "]",
        "a: [\n  " + ", ".join(["1000000000000"] * 6) + ",\n  1000000000000, 1000000000000\n]\n",
    ),
    "long blocks": ("a { b: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' c: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' }", None),
    "comments": (
        "# 1\na: 1# 2\n\n\n#3   \n\nb { # 4\n # 5\nc: 1 } # 6\nd: # 7\n 2 e # 8\n { } # 9",
        "# 1\na: 1  # 2\n\n#3\n\nb {  # 4\n  # 5\n  c: 1\n}  # 6\n# 7\nd: 2\n# 8\ne {}  # 9\n",
    ),
    "comments in a list": ("a: [1, # 1\n 2 # 2\n]\nb: 1", "# 1\n# 2\na: [1, 2]\nb: 1\n"),
    "comments at the end of a block": ("a {\n b: 1\n\n # 1\n\n}\n# 2", "a {\n  b: 1\n\n  # 1\n}\n# 2\n"),
    "only comments": ("\n\n# 1\n\n\n# 2\n\n", "# 1\n\n# 2\n"),
    "nothing": ("", ""),
    "line ends": ("\ta: 1\r\n\r\n\r\nb: 2\r\n", "a: 1\n\nb: 2\n"),
    "extension names": ("[ a . b ]: 1", "[a.b]: 1\n"),
    "statements": (
        "import  'b.net' let   x :1+2 template  t( a,b :2 ){c:${a}}for i in range( 3 ){t{a:${i}}}",
        'import "b.net"\nlet x: 1 + 2\ntemplate t(a, b: 2) {\n  c: ${a}\n}\nfor i in range(3) {\n  t { a: ${i} }\n}\n',
    ),
    "conditions": (
        "if x>1{a:1}else if y{b:2}else{c:3}if z{}",
        "if x > 1 {\n  a: 1\n} else if y {\n  b: 2\n} else {\n  c: 3\n}\nif z {\n}\n",
    ),
    "a field named else behind a condition": (
        "if x { a: 1 } else: { b: 1 } else < > if x { } else < c { } >",
        "if x {\n  a: 1\n}\nelse: { b: 1 }\nelse {}\nif x {\n}\nelse: {\n  c {}\n}\n",
    ),
    "comments in conditions": (
        "if x { # 1\na: 1 # 2\n} # 3\n else # 4\n { # 5\n} # 6",
        "if x {  # 1\n  a: 1  # 2\n} else {\n  # 3\n  # 4\n  # 5\n}  # 6\n",
    ),
    "expressions": (
        """a: ${ -x [ 1 ]**2 if not( a<b ) and c else f( -1,[ 1 ],"s" ) } b: 'c${ i+1 }${"d"}'""",
        'a: ${-x[1] ** 2 if not (a < b) and c else f(-1, [1], "s")}\nb: \'c${i + 1}${"d"}\'\n',
    ),
}


def read(text: str) -> Document:
    report = Report()
    document = parse(Source("test.net", text), report)
    assert document is not None, report.diagnostics[0]
    return document


def meaning(node) -> object:
    """A tree without its places."""
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        parts = [getattr(node, name) for name in node._fields if not name.endswith("span") and name != "head"]
        return type(node).__name__, [meaning(part) for part in parts]
    if isinstance(node, tuple):
        return [meaning(item) for item in node]
    return repr(node)


def check(document: Document) -> str:
    """The formatted text, which means the same, keeps the comments, and stays as it is when formatted again."""
    once = format(document)
    again = read(once)
    assert meaning(again.body) == meaning(document.body)
    assert sorted(c.text.rstrip() for c in again.comments) == sorted(c.text.rstrip() for c in document.comments)
    assert format(again) == once
    return once


@pytest.mark.parametrize("name", CASES)
def test_case(name, golden):
    text, expected = CASES[name]
    formatted = check(read(text))
    if expected is None:
        golden(f"format_{name.replace(chr(32), chr(95))}.txt", formatted)
    else:
        assert formatted == expected


def test_no_trailing_blanks_and_no_tabs():
    text = check(read("a {\t# x \n\n\n b: 1\t\n\n}\t"))
    assert not re.search(r"[ \t]$|\t", text, re.M) and "\n\n\n" not in text


def test_spellings_of_one_net_get_one_look():
    forms = [
        "layer { name: 'a' param { lr_mult: 1 decay_mult: 2 } }",
        'layer {\n\n\tname: "a",\n param: <\n lr_mult: 1;\n decay_mult: 2\n>\n}\n\n',
        'layer\n{\nname:"a"param\n{lr_mult:1\ndecay_mult:2}}',
    ]
    assert len({format(read(form)) for form in forms}) == 1


def test_corpus(corpus_rows, corpus):
    """Every real file: the same meaning, every comment, and a plain print that means the same too."""
    checked = 0
    for row in corpus_rows:
        if int(row["size"]) > 20_000:
            continue
        document = parse(Source.read(corpus / row["file"], row["file"]), Report())
        if document is not None:
            check(document)
            plain = print_message(document.body)
            assert meaning(read(plain).body) == meaning(unrolled(document.body))
            assert print_message(read(plain).body) == plain
            checked += 1
    assert checked > 300


def unrolled(message: Message) -> Message:
    """The message with a field for each element of a list; bare floats are kept as they are."""
    fields = []
    for field in message.fields:
        for value in getattr(field.value, "items", None) or (() if hasattr(field.value, "items") else (field.value,)):
            fields.append(field._replace(value=unrolled(value) if isinstance(value, Message) else value))
    return message._replace(fields=tuple(fields))
