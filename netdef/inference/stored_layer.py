"""A data layer as prototxt, in the files of preprocessing."""

from __future__ import annotations

from ..language.diagnostics import Report
from ..language.parsing.parser import parse
from ..language.printer import print_message
from ..language.source import NOWHERE, Source
from ..language.syntax import Message
from ..layers.base import Layer
from ..passes.decode import decode_program
from ..passes.encode import encode_layer


def text_of(layer: Layer) -> str:
    """Returns a layer as prototxt."""
    return print_message(Message((encode_layer(layer),), NOWHERE))


def layer_of(text: str, name: str) -> Layer:
    """Returns the layer in a text; `name` is that of its file.  Raises ValueError if it is not one layer."""
    report = Report()
    document = parse(Source(name, text), report)
    program = decode_program(document.body, report) if document is not None else None
    if report.has_errors or program is None:
        raise ValueError(report.diagnostics[0].message if report.diagnostics else "no layer")
    if len(program.layers) != 1:
        raise ValueError(f"expected one layer, not {len(program.layers)}")
    return program.layers[0]
