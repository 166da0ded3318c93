"""Show a net, a run or a folder of runs as a page in a web browser.

The page of a FILE is the diagram of its net: zoom, fold templates, search, and click a layer for its shapes,
parameters, fields, explanation and source; errors and warnings are listed beside it. It is drawn again when the file is
saved.
The page of a RUN has its scores and curves while it trains, the confusion matrix and the images that the net gets most
wrong, its net, and the machine. The page of a FOLDER lists its runs and compares their curves.

The server accepts connections from this machine only, runs no code that a net names, and ends with Ctrl-C. It requires
`pip install starlette uvicorn`; the browser needs no network connection.

  netdef view model.net
  netdef view runs/Digits --port 8000
  netdef view runs
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ..language.errors import NetdefError
from . import UsageError
from ._options import add_settings, load_plugins, settings, trust_of

HELP = "show a net, a run or a folder of runs in a web browser"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE|RUN|FOLDER", help="net or solver, folder of a run, or folder of runs")
    parser.add_argument("--port", type=port, metavar="N", help="port of the server (default: 8640, or a free one)")
    parser.add_argument("--open", action="store_true", help="open the page in the default web browser")
    add_settings(parser)


def port(text: str) -> int:
    """Parses a port, for argparse."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, not {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    from ..view import server

    load_plugins(args.plugin)
    subject = subject_of(args)
    try:
        at = server.listening(args.port)
    except NetdefError as error:
        raise UsageError(str(error)) from None
    address = f"http://127.0.0.1:{at.getsockname()[1]}/"
    try:
        with at:
            server.check()  # before the address is shown
            print(address, flush=True)
            if args.open:
                import webbrowser

                webbrowser.open(address)
            server.serve(subject, at)
    except KeyboardInterrupt:
        sys.stdout.flush()
        os._exit(130)  # at once, even if a thread is testing a run
    return 0


def subject_of(args: argparse.Namespace):
    """Returns what the page shows. UsageError if it does not exist, or is not what a page can show."""
    from ..language.source import Source
    from ..training.saved_run import holds_run, saved_run
    from ..view.subjects import FileSubject, FolderSubject, RunSubject

    path = Path(args.path)
    if not path.exists():
        raise UsageError(f"{args.path} does not exist; name a net, the folder of a run, or a folder of runs")
    if path.is_dir() and (args.set or args.import_path):
        raise UsageError(f"{args.path} is a folder; --set and --import-path are for files")
    try:
        if not path.is_dir():
            Source.read(path)  # a file with errors has a page, but not one that is no text
            return FileSubject(path, settings(args), trust_of(args))
        if holds_run(path):
            return RunSubject(path)
        if holds_run(path.absolute().parent) and not any(holds_run(p) for p in path.glob("*")):
            return RunSubject(saved_run(path).folder)  # a snapshot
    except NetdefError as error:
        raise UsageError(str(error)) from error
    return FolderSubject(path)
