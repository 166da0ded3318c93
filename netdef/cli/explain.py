"""Explain a layer type, a field, a filler, a learning rate policy, a solver type or a diagnostic.

Without NAME, all of them are listed by family.

  netdef explain Convolution         formula, blobs, fields with defaults, an example
  netdef explain kernel_size         all blocks that have this field
  netdef explain unknown-field       what a diagnostic means, and how to fix it
  netdef explain optax               the optimizers and schedules of optax
"""

from __future__ import annotations

import argparse
import dataclasses
import json

from . import UsageError
from ._options import add_json, add_plugin, load_plugins

HELP = "explain a layer type, field, filler, policy, solver or diagnostic"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="layer type, field, filler, ... (default: list all)")
    add_plugin(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from ..inspect import explain

    load_plugins(args.plugin)
    if args.name is None:
        found = list(explain.entries())
    else:
        found = explain.find(args.name)
        if not found:
            meant = explain.suggested(args.name) or " `netdef explain` lists all names."
            raise UsageError(explain.refused(args.name) or f"unknown name {args.name}.{meant}")
    if args.json:
        print(json.dumps([dataclasses.asdict(entry) for entry in found], indent=2))
    elif args.name is None:
        print(explain.listing(), end="")
    else:
        print("\n".join(explain.text(entry) for entry in found), end="")
    return 0
