"""The `netdef` command: which commands there are, and what every one of them does alike.

A command is one module of this package with `HELP` (one line), `add_arguments(parser)` and `run(args) -> int`; its
docstring is its help text.  Only the module of the command that runs is imported, and what is heavy only inside its
`run`, so that `netdef check` never waits for jax.  Results go to stdout, everything else to stderr.

Exit codes: 0 done; 1 the run failed; 2 the file or the arguments are wrong; 128 + n ended by signal n: 130 by Ctrl-C
(SIGINT), 143 by SIGTERM, 129 by a lost terminal (SIGHUP), 141 by a closed pipe (SIGPIPE).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from .._version import __version__
from ..language.diagnostics import CompileError
from ..language.errors import NetdefError
from ..language.spelling import did_you_mean, suggestion

COMMANDS = (
    *("train", "sweep", "plot", "report", "test", "time", "predict", "features"),
    *("check", "summary", "expand", "fmt", "deploy", "draw", "explain"),
    *("convert", "eject", "data", "devices", "lsp"),
)
ALIASES = {"device_query": "devices"}  # Caffe's names

ABOUT = """\
usage: netdef COMMAND ...        netdef COMMAND --help

netdef compiles Caffe-style network definition files to JAX models and trains them on CPU, GPU and TPU.
One .net file holds the network, its data and its solver; every Caffe prototxt is a .net file too.

commands
{commands}

for example
  netdef check model.net                       find every fault in a file, with line and column
  netdef train model.net --output run          train it; run/ gets snapshots and metrics.jsonl
  netdef test model.net --run run              measure what was trained on the net's test data

options
  --help       this text; `netdef COMMAND --help` tells more of a command
  --version    the version
"""


class UsageError(NetdefError):
    """A file or an argument of the command line is wrong: exit code 2."""


class Parser(argparse.ArgumentParser):
    """argparse with a nearest option where one is misspelt."""

    def error(self, message: str) -> NoReturn:
        options = [name for action in self._actions for name in action.option_strings]
        if message.startswith("unrecognized arguments: "):
            given = message.split(": ", 1)[1].split()[0].partition("=")[0]
            meant = did_you_mean(given, options, 1) if given.startswith("-") else None
            message += f" ({meant})" if meant else ""
        self.exit(2, f"{self.prog}: error: {message}\n{self.prog} --help shows what it takes\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code and never shows a traceback for a user's mistake."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:  # the process is ours: trees are large and hold no circles, and looking for some takes a tenth
        gc.set_threshold(100_000, 20, 50)
    try:
        code = dispatch(words)
        sys.stdout.flush()
        return code
    except CompileError as error:
        show_faults(error)
        return 2
    except UsageError as error:
        return complain(str(error), 2)
    except NetdefError as error:
        return complain(str(error), 1)
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): stop quietly, and let the last flush find an open file.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
                continue
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return complain(f"{where}{error.strerror or error}", 1)
    except KeyboardInterrupt:
        return complain("interrupted", 130)
    except SystemExit as ended:  # a run that a signal ended, after its snapshot
        return ended.code if isinstance(ended.code, int) else 1
    except Exception as error:
        if not out_of_memory(error):
            raise
        why = str(error).splitlines()[0] if str(error) else "the machine gave no more"
        return complain(f"not enough memory: {why}; a smaller batch_size needs less (iter_size adds batches up)", 1)


def out_of_memory(error: Exception) -> bool:
    """Whether the machine or its accelerator has no memory left; jax is not imported to ask for its own error."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def dispatch(words: list[str]) -> int:
    """Find the command that the first word names, and run it with the others."""
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if not words or words[0] in ("-h", "--help"):
        print(about(), end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    if words[0] == "--version":
        print(f"netdef {__version__}")
        return 0
    name = ALIASES.get(words[0], words[0])
    if name not in COMMANDS:
        raise UsageError(unknown_command(name))
    module = importlib.import_module(f"{__name__}.{name}")
    parser = Parser(
        prog=f"netdef {name}",
        description=(module.__doc__ or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    try:
        args = parser.parse_args(words[1:])
    except SystemExit as done:  # argparse has said what it had to say
        return int(done.code or 0)
    return module.run(args)


def about() -> str:
    helps = ((name, importlib.import_module(f"{__name__}.{name}").HELP) for name in COMMANDS)
    return ABOUT.format(commands="\n".join(f"  {name:<11}{line}" for name, line in helps))


def unknown_command(name: str) -> str:
    if os.path.exists(name):
        return f"the command comes before the file: netdef check {name}, or netdef train {name}"
    meant = suggestion(name, (*COMMANDS, *ALIASES), "`netdef {}`")
    return f"there is no command `{name}`; there are {', '.join(COMMANDS)}.{meant}"


def show_faults(error: CompileError) -> None:
    """All diagnostics of a file with their lines, then their number."""
    from ..language.render import count, render

    print(render(error.diagnostics, color=colored(sys.stderr)), file=sys.stderr)
    print(f"netdef: {count(error.diagnostics)}", file=sys.stderr)


def complain(message: str, code: int) -> int:
    with contextlib.suppress(BrokenPipeError):  # the exit code is what remains to tell
        print(f"netdef: {'error: ' if code != 130 else ''}{message}", file=sys.stderr)
    return code


def colored(stream: object) -> bool:
    """Whether colour is wanted: on a terminal, unless NO_COLOR says otherwise; FORCE_COLOR asks for it anywhere."""
    if os.environ.get("NO_COLOR"):
        return False
    is_terminal = getattr(stream, "isatty", lambda: False)()
    return bool(os.environ.get("FORCE_COLOR")) or (is_terminal and os.environ.get("TERM") != "dumb")
