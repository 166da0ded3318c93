"""Draw a diagram of a net: a box for each layer, an arrow for each blob, a frame around each use of a template.

Boxes have the color of the layer's family, arrows are labeled with shapes. The extension of the output selects the
format: .svg, .png and .pdf require Graphviz; .dot (the Graphviz language), .mmd (Mermaid, which GitHub renders) and
.html require no other software. Without -o, the .dot source is printed.

The .html file is the page of `netdef view` with both phases: zoom, fold templates, search, click a layer for its
shapes, parameters, fields, explanation and source. It needs no network connection.

  netdef draw model.net -o model.svg
  netdef draw examples/resnet152.net --fold residual_bottleneck -o resnet.png
  netdef draw examples/resnet50.net --columns 4 -o resnet.svg
  netdef draw model.net --phase TEST -o model.mmd
  netdef draw model.net -o model.html
"""

from __future__ import annotations

import argparse
import sys

from ..language.diagnostics import CompileError
from ..language.errors import NetdefError
from . import UsageError
from ._options import add_net, add_state, add_trust, iterations, net_file, settings, trust_of
from ._output import say, written_text
from ._phases import load_phases

HELP = "draw a diagram of a net: HTML, SVG, PNG, PDF, DOT or Mermaid"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write this file: .html, .svg, .png, .pdf, .dot or .mmd")
    parser.add_argument(
        "--phase",
        "-phase",
        type=str.upper,
        choices=["TRAIN", "TEST"],
        help="phase of the net (default: TRAIN; both in .html)",
    )
    parser.add_argument(
        "--fold",
        action="append",
        default=[],
        metavar="TEMPLATE",
        help="draw each use of this template, or of `all` templates, as one box; may be repeated",
    )
    parser.add_argument(
        "--columns",
        type=iterations,
        metavar="N",
        help="divide a long diagram into N columns (default: as many as suit a page; 1: never divide it)",
    )
    parser.add_argument("--sideways", action="store_true", help="draw from left to right")
    add_state(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    from ..compiler import load
    from ..inspect import draw
    from ..inspect.columns import fitting, in_columns, length_of

    path = net_file(args)
    trust = trust_of(args)
    if args.output and args.output.lower().endswith(".html"):
        return _page(path, args)
    more = {"set": settings(args), "trust_python": trust.python, "import_path": trust.folders}
    net = load(path, args.phase or "TRAIN", args.stage, args.level, **more)
    whole = draw.picture(net)
    known = {frame.template for box in whole.boxes for frame in draw.around(box.frame)}
    for name in args.fold:
        if name != "all" and name not in known:
            there = f"templates in this net: {', '.join(sorted(known))}" if known else "this net has no such templates"
            raise UsageError(f"--fold {name}: no template of this name expands to several layers; {there}")
    has_columns = not (args.output or "").lower().endswith(".mmd")
    if args.columns and args.columns > 1 and not has_columns:
        raise UsageError(f"{args.output}: Mermaid has no columns; write .svg, .png, .pdf or .dot")
    drawn = draw.picture(net, args.fold) if args.fold else whole
    columns = args.columns or (fitting(drawn, args.sideways) if has_columns else 1)
    if args.output is None:
        sys.stdout.write(draw.dot(in_columns(drawn, columns), args.sideways))
    else:
        try:
            draw.save(net, args.output, fold=args.fold, sideways=args.sideways, columns=columns)
        except CompileError:
            raise
        except NetdefError as error:
            raise UsageError(str(error)) from error
    if args.columns is None and columns > 1:
        less = ", --fold all a smaller diagram" if known and not args.fold else ""
        parts = "rows" if args.sideways else "columns"
        long = f"about {length_of(drawn, args.sideways):,} points long"
        say(f"the diagram is {long} and has been divided into {columns} {parts}; --columns 1 draws one{less}")
    return 0


def _page(path: str, args: argparse.Namespace) -> int:
    """Writes the page of `netdef view` as one file."""
    from ..view.alone import alone
    from ..view.net_page import net_page

    if args.fold or args.sideways or (args.columns or 1) > 1:
        raise UsageError(f"{args.output}: --fold, --sideways and --columns are for other formats; the page has buttons")
    loaded = load_phases(path, args, settings(args))
    loaded.stop_on_errors()
    written_text(args.output, alone(net_page(path, loaded)))
    return 0
