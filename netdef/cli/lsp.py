"""The language server, for editors: faults as you type, completion, explanations, shapes, renaming, formatting.

An editor starts it and speaks with it over stdin and stdout.  Needs `pip install 'netdef[lsp]'`.

  VS Code     the extension in grammar/editors/vscode
  Neovim      vim.lsp.config("netdef", { cmd = { "netdef", "lsp" }, filetypes = { "netdef" } })
"""

from __future__ import annotations

import argparse
import os
import sys

from ..lazy import need
from ._options import load_plugins

HELP = "the language server for editors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stdio", action="store_true", help="speak over stdin and stdout, as always")
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE", help="import this module first")


def run(args: argparse.Namespace) -> int:
    load_plugins(args.plugin)
    need("pygls.lsp.server", "netdef lsp")
    from ..lsp.server import serve

    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:  # the server closes its stream, and stdout must stay open
        serve().start_io(stdout=out)
    return 0
