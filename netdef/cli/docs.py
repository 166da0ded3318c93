"""Show the manual: first steps, guides, a gallery of the examples, and a reference of everything, with search.

The manual of this version is built once, kept in the cache folder ($NETDEF_CACHE, else ~/.cache/netdef), and opened
in a browser. It can be reached from this machine only, and nothing is loaded from the network. Ctrl-C ends it. With
--build, the site is written to a folder, for a web server; its pages can be opened as files, too, but then without
search. It requires `pip install mkdocs-material`.

  netdef docs
  netdef docs --port 8080 --no-browser
  netdef docs --build manual
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..language.errors import NetdefError
from . import UsageError, helps

HELP = "show the manual in a browser"
PORT = 8000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, metavar="N", help=f"port of the server (default: {PORT}, or a free one)")
    parser.add_argument("--no-browser", action="store_true", help="serve the manual without opening a browser")
    parser.add_argument("--build", metavar="FOLDER", help="write the site to this folder, and do not serve it")


def run(args: argparse.Namespace) -> int:
    from ..docs import serve, site

    if args.port is not None and not 0 <= args.port <= 65535:
        raise UsageError(f"--port is {args.port}; it must be from 0 to 65535")
    try:
        site.check()  # before anything is announced
    except NetdefError as error:
        raise UsageError(str(error)) from error
    if args.build is not None:
        folder = Path(args.build)
        try:
            site.build(folder, helps())
        except NetdefError as error:
            raise UsageError(str(error)) from error
        except OSError as error:
            raise UsageError(f"--build {folder}: {error.strerror or error}") from error
        print(f"the manual is {folder / 'index.html'}")
        return 0
    with serve.kept(lambda folder: site.build(folder, helps())) as folder:
        try:
            serve.serve(folder, args.port, PORT, browser=not args.no_browser)
        except OSError as error:
            raise UsageError(f"--port {args.port}: {error.strerror or error}; choose another one") from error
    return 0
