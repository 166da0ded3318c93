"""The expander: the expansion of each addition, the places of its fields, each error at its place, and limits."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from netdef.language import codes
from netdef.language.diagnostics import Report
from netdef.language.expansion.expand import expand
from netdef.language.parsing.parser import parse
from netdef.language.printer import print_message
from netdef.language.source import Source
from netdef.language.syntax import Document

DESIGN = """
let width: 64
template conv_bn(name, bottom, out, kernel: 3, stride: 1) {
  layer { name: "${name}" type: "Convolution" bottom: "${bottom}" top: "${name}"
          convolution_param { num_output: ${out} kernel_size: ${kernel} pad: ${kernel // 2} bias_term: false } }
  layer { name: "${name}/bn" type: "BatchNorm" bottom: "${name}" top: "${name}" batch_norm_param { scale_bias: true } }
}
for i in range(1, 4) {
  conv_bn { name: "conv${i}" bottom: ${"data" if i == 1 else "conv" + str(i - 1)} out: ${width * 2 ** i} }
}
if width > 32 { layer { name: "wide" type: "ReLU" } } else { layer { name: "narrow" type: "TanH" } }
solver { base_lr: 0.1 lr_policy: "multistep" stepvalue: [1000, 2000] }
"""


def expanded(text: str | Source, report: Report | None = None, **settings) -> Document:
    strict = report is None
    report = report or Report()
    source = text if isinstance(text, Source) else Source("test.net", text)
    document = parse(source, report)
    assert document is not None, report.diagnostics[0]
    plain = expand(document, report, settings=settings.pop("set", None))
    assert not strict or not report.diagnostics, report.diagnostics[0]
    return plain


def plain(text: str | Source, **settings) -> str:
    return print_message(expanded(text, **settings).body)


VALUES = {
    "1 + 2 * 3 - 4": "3",
    "(1 + 2) * 3": "9",
    "-2 ** 2": "-4",
    "2 ** -1": "0.5",
    "2 ** 3 ** 2": "512",
    "7 // 2 + 7 % 4": "6",
    "-7 // 2": "-4",
    "1 / 4": "0.25",
    "8 / 2": "4.0",
    "1e-7 * 1": "1e-07",
    "0x10 + 010": "24",
    "1 - - 1": "2",
    "true": "true",
    "not true or 1 < 2 and 2 <= 2": "true",
    "1 == 1.0": "true",
    "true == 1": "false",
    '"a" == "a" and MAX == "MAX"': "true",
    "[1, 2] != [1, 2]": "false",
    '"b" > "a"': "true",
    "1 if 2 > 1 else 1 / 0": "1",
    "false and 1 / 0 > 1": "false",
    "true or 1 / 0 > 1": "true",
    '1 if false else "x" if true else 3': '"x"',
    '"a" + "b" * 3': '"abbb"',
    "MAX": "MAX",
    "MAX if 1 else AVE": "MAX",
    '"abc"[1]': '"b"',
    "[1, [2, 3]][1][-1]": "3",
    "([1] + [2])[1]": "2",
    "len([1, 2, 3]) + len('ab')": "5",
    "min(3, 1, 2) + max([4, 5])": "6",
    "round(2.5) + round(3.5)": "6",
    "round(2.567, 1)": "2.6",
    "int(2.9) + int('7') + int(true)": "10",
    "float('1e3')": "1000.0",
    "str(1) + str(0.5) + str(true) + str(MAX)": '"10.5trueMAX"',
    "inf": "inf",
    "-inf": "-inf",
    "2 ** 63": "9223372036854775808",
    "${1} + (${2})": "3",
}


@pytest.mark.parametrize("expression", VALUES)
def test_value(expression):
    assert plain(f"x: ${{{expression}}}") == f"x: {VALUES[expression]}\n"
    assert plain(f"let y: ({expression}) x: ${{y}}") == f"x: {VALUES[expression]}\n"


PROGRAMS = {
    "a list becomes several fields": ("a: ${[1, 2]} b: ${[]} c: ${range(3)}", "a: 1\na: 2\nc: 0\nc: 1\nc: 2\n"),
    "a list with expressions": ('let n: 2 a: [1, ${n}, "x${n}"]', 'a: 1\na: 2\na: "x2"\n'),
    "text": ('let n: 2 a: "a${n}b${n + 0.5}$${n}" \'c${"d"}\'', 'a: "a2b2.5\\044{n}cd"\n'),
    "escapes beside expressions": (r'let n: 2 a: "\t${n}\"\x41"', 'a: "\\t2\\"A"\n'),
    "only an escaped sign": ('a: "$${x}"', 'a: "\\044{x}"\n'),
    "let in order": ("let a: 1 let b: a + 1 let c: [a, b] x: ${c[1]}", "x: 2\n"),
    "inner names": ("let a: 1 if true { let a: 2 x: ${a} } y: ${a} z { let a: 3 w: ${a} }", "x: 2\ny: 1\nz { w: 3 }\n"),
    "loops": ("for i in [1, 2] { for j in range(i) { x: ${10 * i + j} } }", "x: 10\nx: 20\nx: 21\n"),
    "loops over texts, words and lists": (
        'for x in ["a", MAX, [1, 2]] { y: ${x} }',
        'y: "a"\ny: MAX\ny: 1\ny: 2\n',
    ),
    "a loop over nothing": ("for i in [] { x: 1 }", ""),
    "conditions": (
        "for i in range(4) { if i == 0 { a: 0 } else if i == 1 { b: 1 } else if i == 2 { } else { c: ${i} } }",
        "a: 0\nb: 1\nc: 3\n",
    ),
    "a word true is a condition": (
        "template t(on) { if on { a: 1 } } t { on: true } t { on: 0 } t { on: 1 }",
        "a: 1\na: 1\n",
    ),
    "a template in any block": (
        'template gauss(std: 0.01) { weight_filler { type: "gaussian" std: ${std} } }\n'
        "p { gauss { } } q { gauss { std: 1 } }",
        'p {\n  weight_filler { type: "gaussian" std: 0.01 }\n}\nq {\n  weight_filler { type: "gaussian" std: 1 }\n}\n',
    ),
    "defaults see earlier parameters": (
        "template t(a, b: a * 2) { x: ${b} } t { a: 3 } t { a: 3 b: 1 }",
        "x: 6\nx: 1\n",
    ),
    "templates know their home": ("let a: 1 template t() { x: ${a} } if true { let a: 2 t { } }", "x: 1\n"),
    "templates use templates, also later ones": ("template a() { b { } } template b() { x: 1 } a { }", "x: 1\n"),
    "a template in a template": (
        "template a() { template b(n) { x: ${n} } b { n: 1 } b { n: 2 } } a {}",
        "x: 1\nx: 2\n",
    ),
    "a use before the definition": ("t { } template t() { x: 1 }", "x: 1\n"),
    "arguments of all kinds": (
        "template t(w, l, m, s) { w: ${w} l: ${l} m: ${m} s: ${s} n: ${len(l)} }\n"
        't { w: AVE l: [1, 2] m { a: 1 } s: "x" }',
        'w: AVE\nl: 1\nl: 2\nm { a: 1 }\ns: "x"\nn: 2\n',
    ),
    "arguments from loops": (
        "template t(a) { x: ${a} } for i in range(2) { t { if i == 0 { a: 5 } else { a: ${i} } } }",
        "x: 5\nx: 1\n",
    ),
    "the loop's name in a template's name": ("template t(i) { x: ${i} } for i in [7] { t { i: ${i} } }", "x: 7\n"),
    "fields named like the additions": (
        "for: 1 let: 2 if { a: 1 } else { b: 1 } import: 'x' template { } in: 3 and: 4 not: 5",
        'for: 1\nlet: 2\nif { a: 1 }\nelse { b: 1 }\nimport: "x"\ntemplate {}\nin: 3\nand: 4\nnot: 5\n',
    ),
    "a bare value ends where the next field begins": (
        "let a: 1\nif: 2 let b: a\nor { } let c: b\n[x.y]: 3 let d: c\nand: 4 let e: d\nif e == 1 { z: ${e} }",
        "if: 2\nor {}\n[x.y]: 3\nand: 4\nz: 1\n",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    text, expected = PROGRAMS[name]
    assert plain(text) == expected


def test_design_example(golden):
    golden("expand_design.txt", plain(DESIGN))
    assert 'name: "narrow"' in plain(DESIGN, set={"width": 32})


def test_plain_documents_are_left_alone():
    document = parse(Source("test.net", 'layer { name: "x" }'), Report())
    assert document is not None and expand(document, Report()) is document


def test_via_has_every_use():
    text = "template a(n) { x: ${n} }\ntemplate b(n) { a { n: ${n} } }\nfor i in [5] {\n  b { n: ${i} }\n}"
    field = expanded(text).body.fields[0]
    chain, span = [], field.value.span
    while span is not None:
        chain.append((span.line, span.text))
        span = span.via
    assert chain == [(1, "${n}"), (2, "a"), (4, "b"), (3, "for i in [5]")]
    assert field.span.via == field.name_span.via == field.value.span.via


def test_via_reaches_into_blocks():
    field = expanded("template t() { a { b { c: 1 } } }\nt { }").body.fields[0]
    inner = field.value.fields[0].value.fields[0]
    assert inner.span.via.line == inner.value.span.via.line == 2


@pytest.mark.parametrize(
    ("text", "set", "expected"),
    [
        ("let a: 1 x: ${a}", {"a": 2}, "x: 2\n"),
        ("let a: 1 x: ${a}", {"a": "2"}, "x: 2\n"),
        ("let a: 1 x: ${a}", {"a": "0.5"}, "x: 0.5\n"),
        ("let a: 1 x: ${a}", {"a": "big"}, "x: big\n"),
        ("let a: MAX x: ${a}", {"a": "AVE"}, "x: AVE\n"),
        ("let a: 'b' x: ${a}", {"a": "2"}, 'x: "2"\n'),
        ("let a: 'b' x: ${a}", {"a": 'a b"'}, 'x: "a b\\""\n'),
        ("let a: true if a { x: 1 }", {"a": "false"}, ""),
        ("let a: true if a { x: 1 }", {"a": False}, ""),
        ("let a: [1] x: ${a}", {"a": [2, 3]}, "x: 2\nx: 3\n"),
        ("let a: [1] x: ${a}", {"a": "[2, 3]"}, "x: 2\nx: 3\n"),
        ("let a: 1 let b: a * 2 x: ${b}", {"a": 5}, "x: 10\n"),
        ("solver { base_lr: 1 gamma: 2 }", {"solver.base_lr": 0.5}, "solver { gamma: 2 base_lr: 0.5 }\n"),
        (
            "solver { stepvalue: 1 stepvalue: 2 }",
            {"solver.stepvalue": [3, 4]},
            "solver { stepvalue: 3 stepvalue: 4 }\n",
        ),
        ("solver { type: 'SGD' }", {"solver.type": "Adam"}, 'solver { type: "Adam" }\n'),
        ("base_lr: 1", {"solver.base_lr": "0.5"}, "base_lr: 0.5\n"),
        ("layer { }", {"solver.base_lr": 1}, "layer {}\nsolver { base_lr: 1 }\n"),
        ("solver { early { patience: 1 } }", {"solver.early.patience": 3}, "solver {\n  early { patience: 3 }\n}\n"),
        ("let w: 1 solver { base_lr: ${w} }", {"w": 2, "solver.max_iter": 3}, "solver { base_lr: 2 max_iter: 3 }\n"),
    ],
)
def test_settings(text, set, expected):
    assert plain(text, set=set) == expected


def test_unknown_setting():
    report = Report()
    expanded("let width: 1", report, set={"widht": 2})
    (diagnostic,) = report.diagnostics
    assert (diagnostic.code, diagnostic.file, diagnostic.hint) == ("unknown-setting", "--set", "did you mean width?")
    report = Report()
    expanded("if true { let width: 1 }", report, set={"width": 2})
    assert [d.code for d in report.diagnostics] == ["unknown-setting"]
    report = Report()
    expanded("let base: 1 solver { base_lr: 0.1 }", report, set={"base_lr": 0.2})
    assert [d.hint for d in report.diagnostics] == ["did you mean solver.base_lr?"]


def files(folder, **texts: str) -> Source:
    for name, text in texts.items():
        path = folder / f"{name}.net"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Source.read(folder / "main.net")


def test_import(tmp_path):
    main = files(
        tmp_path,
        main='import "blocks.net" import "sub/more.net" t { n: ${size} } u { }',
        blocks="let size: 3 template t(n) { x: ${n + own} } let own: 10",
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.net").write_text('import "deep.net" template u() { y: ${depth} }')
    (tmp_path / "sub" / "deep.net").write_text("let depth: 7")
    assert plain(main) == "x: 13\ny: 7\n"


def test_imports_are_not_transitive(tmp_path):
    report = Report()
    expanded(files(tmp_path, main='import "a.net" x: ${b}', a='import "b.net" let a: b', b="let b: 1"), report)
    assert [d.code for d in report.diagnostics] == ["unknown-name"]


def test_import_twice_is_once(tmp_path):
    main = files(
        tmp_path,
        main='import "a.net" import "./a.net" import "b.net" x: ${a + b}',
        a="let a: 1",
        b='import "a.net" let b: a',
    )
    assert plain(main) == "x: 2\n"


def test_import_clashes(tmp_path):
    report = Report()
    expanded(files(tmp_path, main='import "a.net" import "b.net" let a: 3', a="let a: 1", b="let a: 2"), report)
    assert [d.code for d in report.diagnostics] == ["duplicate-name", "duplicate-name"]
    assert all(d.related for d in report.diagnostics)


def test_import_cycle(tmp_path):
    report = Report()
    expanded(files(tmp_path, main='import "a.net"', a='import "b.net"', b='import "main.net"'), report)
    assert [d.code for d in report.diagnostics] == ["bad-import"]
    assert "main.net -> a.net -> b.net -> main.net" in report.diagnostics[0].detail


def test_import_of_fields_is_a_warning(tmp_path):
    report = Report()
    expanded(files(tmp_path, main='import "a.net" x: ${a}', a='let a: 1 layer { name: "x" } solver { }'), report)
    (diagnostic,) = report.diagnostics
    assert (diagnostic.code, diagnostic.severity, diagnostic.span.via.line) == ("not-imported", "warning", 1)


def test_import_of_an_invalid_file(tmp_path):
    report = Report()
    expanded(files(tmp_path, main='import "a.net" x: ${a}', a="let a 1"), report)
    assert [d.code for d in report.diagnostics] == ["bad-statement"]
    assert report.diagnostics[0].file.endswith("a.net")


def test_import_of_a_binary_file(tmp_path):
    (tmp_path / "a.caffemodel").write_bytes(b"\0\1\2")
    report = Report()
    expanded(files(tmp_path, main='import "a.caffemodel"'), report)
    assert [d.code for d in report.diagnostics] == ["bad-import"]


def test_misspelled_import(tmp_path):
    report = Report()
    expanded(files(tmp_path, main='import "block.net"', blocks=""), report)
    assert report.diagnostics[0].hint == "did you mean blocks.net?"


def test_import_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.net").write_text("let a: 1")
    assert plain('import "here.net" x: ${a}') == "x: 1\n"


def test_import_stays_in_the_library():
    report = Report()
    expanded('import "std/../compiler.py"', report)
    assert [d.code for d in report.diagnostics] == ["bad-import"]


@pytest.mark.chunks("errors/statements.txt")
def test_statement_error(chunk):
    compare(chunk)


@pytest.mark.chunks("errors/expand.txt")
def test_expansion_error(chunk):
    compare(chunk)


def compare(chunk) -> None:
    report = Report()
    document = parse(Source("test.net", chunk.text), report)
    if document is not None:
        expand(document, report)
    found = [(d.code, (d.line, d.column), d.end) for d in report.in_order()]
    assert found == sorted(((e.code, e.start, e.end) for e in chunk.expected), key=lambda e: e[1])
    for expected in chunk.expected:
        texts = [f"{d.detail} {d.hint}" for d in report.diagnostics if (d.line, d.column) == expected.start]
        assert any(expected.words in text for text in texts)


NO_CHUNK = {"not-imported", "unknown-setting", "bad-range"}  # they need another file or a setting; tested above


def test_every_code_of_the_language_has_a_case(request):
    folder = request.path.parents[1] / "corpus" / "errors"
    text = "".join(
        (folder / name).read_text(encoding="utf-8") for name in ("syntax.txt", "statements.txt", "expand.txt")
    )
    names = set(codes.catalogue(codes.syntax, codes.expansion))
    assert len(names) > 40
    assert {name for name in names if f"^ {name}" not in text} - NO_CHUNK - {"too-deep"} == set()


LANGUAGE_CODES = [code for name, code in codes.catalogue(codes.syntax, codes.expansion).items() if name not in NO_CHUNK]


@pytest.mark.parametrize("code", LANGUAGE_CODES, ids=lambda code: code.name)
def test_catalogue_shows_what_it_says(code):
    def found(text: str) -> set[str]:
        report = Report()
        document = parse(Source("test.net", text), report)
        if document is not None:
            expand(document, report)
        return {d.code for d in report.diagnostics}

    assert found(code.wrong) == {code.name}
    assert found(code.right) == set()


def test_catalogue_shows_files_and_settings(tmp_path):
    def found(example: str) -> list[str]:
        report = Report()
        for name, text in re.findall(r"^# (\w+\.net)\n((?:(?!# ).*\n)*)", example, flags=re.M):
            (tmp_path / name).write_text(text)
        setting = re.match(r"# netdef check model.net --set (\w+)=(\d+)\n", example)
        if setting:
            (tmp_path / "model.net").write_text(example)
        document = parse(Source.read(tmp_path / "model.net"), report)
        assert document is not None
        expand(document, report, settings={setting[1]: setting[2]} if setting else {})
        return [d.code for d in report.diagnostics]

    for code in (codes.NOT_IMPORTED, codes.UNKNOWN_SETTING):
        assert found(code.wrong) == [code.name]
        assert found(code.right) == []


HOSTILE = {
    "loops in loops": "for a in range(9999) { for b in range(9999) { for c in range(9999) { } } }",
    "fields": "for a in range(9999) { for b in range(9999) { x: 1 y { z: 2 } } }",
    "templates that double": "".join(f"template t{i}() {{ t{i + 1} {{ }} t{i + 1} {{ }} }}\n" for i in range(40))
    + "template t40() { x: 1 } t0 { }",
    "templates through and through": "".join(f"template t{i}() {{ t{i + 1} {{ }} }}\n" for i in range(2000)) + "t0 { }",
    "texts that double": "let a0: 'xxxxxxxxxx'\n" + "".join(f"let a{i + 1}: a{i} + a{i}\n" for i in range(60)),
    "texts in fields": "let a: 'x' * 9000 for i in range(9999) { for j in range(99) { x: \"${a}${i}${j}\" } }",
    "lists that double": "let a0: [1]\n"
    + "".join(f"let a{i + 1}: [a{i}, a{i}]\n" for i in range(60))
    + "x: ${a60 == a59}",
    "lists in fields": "let a: range(9999) for i in a { x: ${a} }",
    "numbers that square": "let a0: 3\n" + "".join(f"let a{i + 1}: a{i} * a{i}\n" for i in range(60)),
    "powers": "x: ${9 ** 9 ** 9 ** 9} y: ${9.0 ** 9 ** 9} z: ${(0 - 9) ** (9 ** 9)}",
    "a long sum": "x: ${1" + " + 1" * 50_000 + "}",
    "a long sum of texts": "x: ${'ab'" + " + 'ab'" * 50_000 + "}",
    "many indices": "x: ${a" + "[0]" * 50_000 + "}",
    "deep parentheses": "x: ${" + "(" * 50_000 + "1" + ")" * 50_000 + "}",
    "deep minus": "x: ${" + "-" * 50_000 + "1}",
    "deep not": "x: ${" + "not " * 50_000 + "true}",
    "deep powers": "x: ${" + "1 ** " * 50_000 + "1}",
    "deep conditionals": "x: ${" + "1 if true else " * 50_000 + "1}",
    "deep ifs": "if true { " * 50_000,
    "long ifs": "if false { } " + "else if false { } " * 20_000,
    "deep lists": "let x: " + "[" * 50_000,
    "deep texts": 'x: "' + "${" * 20_000 + '"',
    "many names": "".join(f"let a{i}: {i}\n" for i in range(20_000)),
    "many faults": "".join(f"let w{i}: {i}\n" for i in range(3000)) + "".join(f"x: ${{v{i}}}\n" for i in range(3000)),
    "a fault in a loop": "for i in range(9999) { for j in range(9999) { x: ${abc} } }",
    "a huge range": "x: ${range(0, 10 ** 18, 1)} y: ${range(-10 ** 18, 10 ** 18)} z: ${len(range(10 ** 9))}",
}


CHILD = """
import json, re, sys
from netdef.language.diagnostics import Report
from netdef.language.expansion.expand import expand
from netdef.language.parsing.parser import parse
from netdef.language.source import Source
codes = {}
for name, text in json.load(sys.stdin).items():
    report = Report()
    document = parse(Source("t", text), report)
    if document:
        expand(document, report)
    codes[name] = [d.code for d in report.diagnostics]
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())  # getrusage counts the parent before the fork
print(json.dumps([codes, int(peak[1]) // 1024]))
"""


def test_at_most_fifty_errors():
    report = Report()
    expanded("".join(f"x: ${{a{i}}}\n" for i in range(200)), report)
    assert [d.line for d in report.diagnostics] == list(range(1, 51))
    report = Report()
    expanded("for i in range(9999) {\n  x: ${abc}\n}\ny: ${def}", report)
    assert [d.line for d in report.diagnostics] == [2, 4]


def test_hostile_files_end():
    """Each in a diagnostic, or in a net; all of them in one process of less than 200 MB."""
    text = json.dumps(HOSTILE)
    done = subprocess.run([sys.executable, "-c", CHILD], input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    found, megabytes = json.loads(done.stdout)
    assert {name for name, codes in found.items() if not codes} == {"a long sum", "many names"}
    assert set(sum(found.values(), [])) <= {
        "too-much",
        "too-deep",
        "unknown-name",
        "bad-index",
        "unclosed-interpolation",
    }
    assert megabytes < 200
