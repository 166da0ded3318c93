"""Find every fault of one or more files in one run, in both phases, without loading jax.

Prints each fault with its line and a mark under it, and what to do.  Exit code 0 if there is no error, else 2.
No code that a file names is run: a note says which Python modules would be, and --trust-python runs them.

  netdef check model.net
  netdef check models/*.prototxt --strict
  netdef check model.net --json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable

from ..language.diagnostics import Diagnostic
from ..language.render import count, render, to_json
from . import UsageError, colored
from ._options import add_caffe_model, add_json, add_settings, add_state, add_trust, existing, load_plugins, settings
from ._output import say
from ._phases import add_phase, load_phases

HELP = "find every fault in files, with line and column"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="nets and solvers: .net or .prototxt")
    parser.add_argument("--strict", action="store_true", help="let warnings count as errors")
    add_json(parser)
    add_phase(parser)
    add_state(parser)
    add_trust(parser)
    add_settings(parser)
    add_caffe_model(parser)


def run(args: argparse.Namespace) -> int:
    files = [*args.files, *([args.model] if args.model else [])]
    if not files:
        raise UsageError("no file was given: netdef check model.net")
    load_plugins(args.plugin)
    found: list[Diagnostic] = []
    broken: list[str] = []  # what could not be read at all
    for path in files:
        try:
            faults = load_phases(existing(path), args, settings(args)).diagnostics
        except UsageError as error:
            broken.append(str(error))
            continue
        found += [d for d in faults if d not in found]
        if not args.json:
            print(render(faults, color=colored(sys.stdout)) + ("\n" if faults else ""), end="")
    failed = bool(broken) or any(d.severity == "error" or (args.strict and d.severity == "warning") for d in found)
    if args.json:
        print(
            json.dumps(
                {"ok": not failed, "files": files, "diagnostics": to_json(found), "unreadable": broken}, indent=2
            )
        )
    else:
        for message in broken:
            say(f"error: {message}")
        if len(broken) < len(files):
            print(closing(len(files) - len(broken), found))
    return 2 if failed else 0


def closing(files: int, found: Iterable[Diagnostic]) -> str:
    """The last line: how many files, and how many faults of each kind."""
    return f"{files} file{'' if files == 1 else 's'} checked: {count(found) or 'no faults'}"
