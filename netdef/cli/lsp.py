"""Run the language server: diagnostics as you type, completion, shapes on hover, rename, formatting.

An editor starts it and communicates with it over stdin and stdout. It requires `pip install pygls`. It runs no code
that a net names, unless --trust-python or the setting trustPython of the editor permits it.

  VS Code     the extension in grammar/editors/vscode
  Neovim      vim.lsp.config("netdef", { cmd = { "netdef", "lsp" }, filetypes = { "netdef" } })
"""

from __future__ import annotations

import argparse
import os
import sys

from ..lazy import need
from ._options import add_import_path, add_plugin, add_trust, load_plugins, trust_of

HELP = "run the language server for editors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stdio", action="store_true", help="communicate over stdin and stdout (always the case)")
    add_plugin(parser)
    add_import_path(parser)
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    load_plugins(args.plugin)
    need("pygls.lsp.server", "netdef lsp")
    from ..lsp.server import serve

    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:  # the server closes its stream, and stdout must stay open
        serve(trust_of(args)).start_io(stdout=out)
    return 0
