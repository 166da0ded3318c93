"""Check files and report every error and warning, without loading JAX.

The nets of both phases are checked; a label map of the SSD fork is checked as such. Each error or warning is printed
with its line, a mark below the place, and a suggestion. The exit code is 0 if there are no errors, else 2.

No code that a file names is run, unless --trust-python is given; a note names the Python modules that would run.

  netdef check model.net
  netdef check models/*.prototxt --strict
  netdef check model.net --json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..data.label_map import is_label_map, label_map_of
from ..language.diagnostics import Diagnostic, Report
from ..language.errors import NetdefError
from ..language.render import count, render, to_json
from ..language.source import Source
from . import UsageError, colored
from ._options import add_caffe_model, add_json, add_settings, add_state, add_trust, existing, load_plugins, settings
from ._output import say
from ._phases import add_phase, load_phases

HELP = "report every error and warning in files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="nets and solvers: .net or .prototxt")
    parser.add_argument("--strict", action="store_true", help="treat warnings as errors")
    add_json(parser)
    add_phase(parser)
    add_state(parser)
    add_trust(parser)
    add_settings(parser)
    add_caffe_model(parser)


def run(args: argparse.Namespace) -> int:
    files = [*args.files, *([args.model] if args.model else [])]
    if not files:
        raise UsageError("FILE is missing; for example, netdef check model.net")
    load_plugins(args.plugin)
    found: list[Diagnostic] = []
    broken: list[str] = []  # messages about files that cannot be read
    for path in files:
        try:
            faults = _faults(existing(path), args)
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


def _faults(path: str, args: argparse.Namespace) -> Sequence[Diagnostic]:
    """Returns the diagnostics of one file. UsageError if it cannot be read."""
    try:
        source = Source.of(Path(path))
    except NetdefError as error:
        raise UsageError(str(error)) from error
    if not is_label_map(source):
        return load_phases(path, args, settings(args)).diagnostics
    report = Report()
    found = label_map_of(source, report)
    if found is not None and not args.json:
        print(f"{path}: label map of {len(found.item)} classes")
    return report.in_order()


def closing(files: int, found: Iterable[Diagnostic]) -> str:
    """Returns the last line: the number of files, errors and warnings."""
    return f"{files} file{'' if files == 1 else 's'} checked: {count(found) or 'no problems'}"
