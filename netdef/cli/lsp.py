"""The language server, for editors: faults as you type, completion, explanations, shapes, renaming, formatting.

An editor starts it and speaks with it over stdin and stdout.  Needs `pip install pygls`.
It runs no code that a net names, unless --trust-python or the editor's setting trustPython allows it.

  VS Code     the extension in grammar/editors/vscode
  Neovim      vim.lsp.config("netdef", { cmd = { "netdef", "lsp" }, filetypes = { "netdef" } })
"""

from __future__ import annotations

import argparse

from ..lazy import need
from ._options import add_import_path, add_trust, load_plugins, trust_of

HELP = "the language server for editors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stdio", action="store_true", help="speak over stdin and stdout, as always")
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE", help="import this module first")
    add_import_path(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    load_plugins(args.plugin)
    need("pygls.lsp.server", "netdef lsp")
    from ..lsp.server import serve

    serve(trust_of(args)).start_io()
    return 0
