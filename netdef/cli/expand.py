"""Print a file as plain prototxt for Caffe, with all imports, constants, templates and loops expanded.

Caffe expects the net and the solver in two files: the net is printed, or with --solver the solver. If the solver names
no net, `net` is the name of the file with the extension .prototxt.

  netdef expand model.net > model.prototxt
  netdef expand model.net --solver > solver.prototxt
  netdef expand model.net --set width=32 -o model.prototxt
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..language.diagnostics import Report
from ..language.expansion.expand import expand
from ..language.parsing.parser import parse
from ..language.printer import print_message
from ..language.render import render
from ..language.source import NOWHERE, Source
from ..language.syntax import Field, Message, Scalar
from . import UsageError, colored
from ._options import add_net, net_file, settings, trust_of
from ._output import written_text

HELP = "print a file as plain prototxt for Caffe"
NETS = ("net", "net_param", "train_net", "train_net_param")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    parser.add_argument("--solver", dest="only_solver", action="store_true", help="print the solver instead of the net")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the result to this file (default: stdout)")


def run(args: argparse.Namespace) -> int:
    path = net_file(args)
    report = Report()
    document = parse(Source.read(path), report)
    report.stop_on_errors()
    assert document is not None  # None only after an error
    body = expand(document, report, settings=settings(args), trust=trust_of(args)).body
    report.stop_on_errors()
    if report.diagnostics:
        print(render(report.in_order(), color=colored(sys.stderr)), file=sys.stderr)
    text = print_message(solver_of(body, path) if args.only_solver else net_of(body))
    if args.output:
        written_text(args.output, text)
    else:
        sys.stdout.write(text)
    return 0


def net_of(body: Message) -> Message:
    """Returns everything except the solver."""
    return body._replace(fields=tuple(field for field in body.fields if field.name != "solver"))


def solver_of(body: Message, path: str) -> Message:
    """Returns the fields of the solver, with the file of the net. UsageError if there is no solver."""
    blocks = [field.value for field in body.fields if field.name == "solver" and isinstance(field.value, Message)]
    if not blocks:
        raise UsageError(f"{path} has no solver")
    fields = blocks[-1].fields
    if any(field.name in NETS for field in fields):
        return blocks[-1]
    name = Scalar("string", Path(path).with_suffix(".prototxt").name, NOWHERE)
    return blocks[-1]._replace(fields=(Field("net", name, NOWHERE, NOWHERE), *fields))
