"""Run the language server: diagnostics as you type, completion, shapes on hover, rename, formatting.

An editor starts it and communicates with it over stdin and stdout. It requires `pip install 'netdef[lsp]'`.

  VS Code     the extension in grammar/editors/vscode
  Neovim      vim.lsp.config("netdef", { cmd = { "netdef", "lsp" }, filetypes = { "netdef" } })
"""

from __future__ import annotations

import argparse

from ..lazy import need
from ._options import load_plugins

HELP = "run the language server for editors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stdio", action="store_true", help="communicate over stdin and stdout (always the case)")
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="import this Python module first, to register its layers; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    load_plugins(args.plugin)
    need("pygls.lsp.server", "netdef lsp")
    from ..lsp.server import serve

    serve().start_io()
    return 0
