"""Explanations of the constructs of the language, and of the templates of the library `std/`.

Those of templates are generated from the library: the comment above a template, its parameters, and a use of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..language.diagnostics import Report
from ..language.expansion.imports import LIBRARY
from ..language.parsing.parser import parse
from ..language.source import Source
from ..language.syntax import Document, Template


class Text(NamedTuple):
    """One construct or template; `doc` is paragraphs, and `parameters` are (name, default), "required" without one."""

    name: str
    kind: str
    summary: str
    doc: str
    example: str
    parameters: tuple[tuple[str, str], ...] = ()


CONSTRUCTS = (
    Text(
        "import",
        "statement",
        "Imports the constants and templates of another file",
        'Imports the constants and templates of another file, or of the library (`import "std/conv.net"`); its layers '
        "are not imported. The file is in the folder of this one or in the working directory. Allowed only at the top "
        "level.",
        'import "std/resnet.net"\nimport "blocks.net"',
    ),
    Text(
        "let",
        "statement",
        "Defines a constant",
        "Defines a constant for the rest of the file or block. `${name}` is its value. A constant of the top level can "
        "be overridden on the command line with `--set name=value`, and in Python with `set={...}`.",
        "let width: 16\nlet half: ${width // 2}",
    ),
    Text(
        "template",
        "statement",
        "Defines layers that are used like a block",
        "Defines layers with parameters; a parameter with a default is optional. A use is a block with the name of the "
        "template, and its fields are the arguments. Templates may use others, but not themselves.",
        "template stage(name, bottom, out, kernel: 3) {\n"
        '  layer { name: "${name}" type: "Convolution" bottom: ${bottom} top: "${name}"\n'
        "          convolution_param { num_output: ${out} kernel_size: ${kernel} } }\n"
        "}\n"
        'stage { name: "conv1" bottom: "data" out: 32 }',
    ),
    Text(
        "for",
        "statement",
        "Repeats a block",
        "Repeats a block for each element of a list; `range(n)` is 0 to n - 1, `range(a, b)` a to b - 1.",
        'for i in range(3) {\n  layer { name: "relu${i}" type: "ReLU" bottom: "x${i}" top: "x${i}" }\n}',
    ),
    Text(
        "if",
        "statement",
        "Includes a block under a condition",
        "Includes a block if a condition is true, and the block of `else`, if there is one, if it is not.",
        'let bn: true\nif bn {\n  layer { name: "bn" type: "BatchNorm" bottom: "x" top: "x" }\n} else { }',
    ),
)


def templates() -> Iterator[Text]:
    """Yields the templates of the library, in the order of its files."""
    for path in sorted(LIBRARY.rglob("*.net")):
        document = parse(Source.read(path), Report())
        for item in document.body.fields if document else ():
            if isinstance(item, Template):
                assert document is not None
                yield _template(item, document, f"std/{path.relative_to(LIBRARY).as_posix()}")


def _template(item: Template, document: Document, file: str) -> Text:
    comment = _comment_above(item, document)
    default = lambda p: p.default.span.text if p.default is not None else "required"
    needed = " ".join(f"{p.name}: ..." for p in item.parameters if p.default is None)
    use = f'import "{file}"\n\n{item.name} {{ {needed} }}'
    parameters = tuple((p.name, default(p)) for p in item.parameters)
    listed = f"A template with the parameters {', '.join(name for name, _ in parameters)}"
    return Text(item.name, f"template of {file}", _first(comment) or listed, comment, use, parameters)


def _first(comment: str) -> str:
    """The first sentence of a comment, up to a table in it; a period after an initial does not end it."""
    before, _, table = comment.partition(":\n")
    whole = (before if table.startswith(" ") else comment).replace("\n", " ")
    return re.split(r"(?<=[a-z0-9)`])\.(?:\s|$)", whole, maxsplit=1)[0]


def _comment_above(item: Template, document: Document) -> str:
    """The comment in the lines directly above a template."""
    at = {comment.span.line: comment.text.removeprefix("#").removeprefix(" ").rstrip() for comment in document.comments}
    line, found = item.span.line - 1, []
    while line in at:
        found.append(at[line])
        line -= 1
    return "\n".join(reversed(found))
