"""Print the layers of a net with shapes, parameters, multiply-adds and memory, for training and for testing.

Multiply-adds and memory are for one batch in a forward pass. Memory is the size of the blobs in float32; a blob that is
modified in place counts once. If the solver has `recompute`, the layers that it recomputes are counted, and
listed with --json. With `precision: BF16` memory is that of the dtypes that are shown, and the layers that compute in
float32 are listed with the reason. On a terminal, types have the color of their family, as in diagrams. JAX is not
loaded.

  netdef summary model.net
  netdef summary model.net --phase TEST --json
"""

from __future__ import annotations

import argparse
import json
import sys

from ..language.render import render
from . import colored
from ._options import add_json, add_net, add_state, add_trust, net_file, settings
from ._phases import add_phase, load_phases

HELP = "print layers, shapes, parameters, multiply-adds and memory of a net"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    add_phase(parser)
    add_state(parser)
    add_trust(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from ..inspect.summary import summarize

    loaded = load_phases(net_file(args), args, settings(args))
    loaded.stop_on_errors()
    if loaded.diagnostics:
        print(render(loaded.diagnostics, color=colored(sys.stderr)), file=sys.stderr)
    summaries = [summarize(net) for net in loaded.nets]
    if args.json:
        print(json.dumps([summary.as_dict() for summary in summaries], indent=2))
        return 0
    same = len(summaries) > 1 and all(summary.rows == summaries[0].rows for summary in summaries)
    print("\n\n".join(summary.table(colored(sys.stdout)) for summary in (summaries[:1] if same else summaries)))
    if same:
        print("phase TEST is the same")
    return 0
