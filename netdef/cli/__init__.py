"""The `netdef` command: the list of commands, and everything that they have in common.

A command is a module of this package with `HELP` (one line), `add_arguments(parser)` and `run(args) -> int`; its
docstring is its help text. Only the module of the requested command is imported, and it imports heavy packages inside
`run`, so that `netdef check` never waits for JAX. Results go to stdout, everything else to stderr.

Exit codes: 0 success; 1 the run failed; 2 the file or the arguments are wrong; 128 + n ended by signal n: 130 by Ctrl-C
(SIGINT), 143 by SIGTERM, 129 by a lost terminal (SIGHUP), 141 by a closed pipe (SIGPIPE).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import importlib
import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import NoReturn

from .._version import __version__
from ..language.diagnostics import CompileError
from ..language.errors import NetdefError, printable
from ..language.spelling import did_you_mean, suggestion
from ._memory import keep_freed_memory

COMMANDS = (
    *("init", "train", "launch", "sweep", "runs", "plot", "report", "test", "time", "predict", "features"),
    *("check", "view", "summary", "expand", "fmt", "deploy", "draw", "explain"),
    *("convert", "eject", "data", "devices", "lsp", "docs"),
)
RUNNING = ("train", "sweep", "test", "time", "predict", "features")  # commands that run a net many times
ENDING = ("train", "sweep")  # commands that end with a snapshot after the first Ctrl-C, and at once after a second
READING = ("check", "expand", "fmt", "summary")  # commands that read files, and end
ALIASES = {"device_query": "devices"}  # names of Caffe's commands

ABOUT = """\
usage: netdef COMMAND [ARGUMENT ...]

Compile Caffe-style network definition files to JAX models and train them on CPU, GPU and TPU. One .net file holds the
network, its data and its solver. Every Caffe prototxt is a valid .net file.

commands:
{commands}

examples:
  netdef check model.net                       report every error and warning in a file
  netdef train model.net --output run          train it; snapshots and metrics.jsonl are saved in run/
  netdef test model.net --run run              test the trained net on its test data

options:
  --help       show this help message and exit; `netdef COMMAND --help` shows the help of a command
  --version    show the version and exit
"""


class UsageError(NetdefError):
    """An error in the arguments of the command line, or in a file they name: exit code 2."""


class Parser(argparse.ArgumentParser):
    """An argument parser that suggests the nearest option for a misspelled one, or one for that of other programs."""

    others: Mapping[str, str] = {}  # options of other programs, and what to write here

    @property
    def has_commands(self) -> bool:
        """Whether the first argument is a command of its own."""
        return any(action.nargs == argparse.PARSER for action in self._actions)

    def commands(self) -> dict[str, tuple[str, str]]:
        """Maps the commands of this command to their lines in its help and their own help."""
        inner = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        lines = {choice.dest: choice.help or "" for action in inner for choice in action._choices_actions}
        parsers = {name: parser for action in inner for name, parser in action.choices.items()}
        return {name: (lines.get(name, ""), parser.manual()) for name, parser in parsers.items()}

    def manual(self) -> str:
        """Returns the help text at the width of the manual's pages, whatever the terminal."""
        self.formatter_class = functools.partial(argparse.RawDescriptionHelpFormatter, width=88)
        return self.format_help()

    def error(self, message: str) -> NoReturn:
        options = [name for action in self._actions for name in action.option_strings]
        if message.startswith("unrecognized arguments: "):
            given = message.split(": ", 1)[1].split()[0].partition("=")[0]
            meant = did_you_mean(given, options, 1) if given.startswith("-") else None
            meant = f"write {self.others[given]}" if given in self.others else meant
            message += f" ({meant})" if meant else ""
        self.exit(2, f"{self.prog}: error: {message}\nSee `{self.prog} --help`.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. An error of the user never results in a traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:  # in our own process: trees are large and acyclic, and looking for cycles takes 20 % of the time
        gc.set_threshold(3_000_000 if words[:1] and words[0] in READING else 100_000, 20, 50)
        if words and words[0] in RUNNING:
            keep_freed_memory()
        if words and words[0] in ENDING and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # Python would raise an exception instead: only when its main thread runs, and somewhere in a library that
            # may discard it, as JAX does if it comes during a garbage collection.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a terminal may know less than a file
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
        # The reader of the output has exited (`| head`): stop quietly. The flush at exit needs open files.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
                continue
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 141
    except OSError as error:
        where = f"{printable(str(error.filename))}: " if error.filename else ""
        return complain(f"{where}{error.strerror or error}", 1)
    except KeyboardInterrupt:
        return complain("interrupted", 130)
    except SystemExit as ended:  # a run that a signal ended, after its snapshot
        return ended.code if isinstance(ended.code, int) else 1
    except Exception as error:
        if not out_of_memory(error):
            raise
        why = str(error).splitlines()[0] if str(error) else "an allocation failed"
        return complain(f"out of memory: {why}; try a smaller batch_size, with iter_size to accumulate gradients", 1)


def out_of_memory(error: Exception) -> bool:
    """Whether the host or the device is out of memory. Compares the message, because the class would need jax."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def dispatch(words: list[str]) -> int:
    """Runs the command that the first word names with the other words as its arguments."""
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
    module, parser = parser_of(name)
    try:
        # Options may be between FILE and its inputs, except where the rest of the line is another command.
        whole = "--" in words or parser.has_commands
        args = parser.parse_args(words[1:]) if whole else parser.parse_intermixed_args(words[1:])
    except SystemExit as done:  # argparse has printed its message
        return int(done.code or 0)
    return module.run(args)


def parser_of(name: str) -> tuple[ModuleType, Parser]:
    """Returns the module of a command and the parser of its arguments."""
    module = importlib.import_module(f"{__name__}.{name}")
    parser = Parser(
        prog=f"netdef {name}",
        description=(module.__doc__ or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.others = getattr(module, "OTHERS", {})
    module.add_arguments(parser)
    return module, parser


def helps() -> dict[str, tuple[str, str]]:
    """Maps each command, and each command of a command, to its line in the list and its help, for the manual."""
    found = {}
    for name in COMMANDS:
        module, parser = parser_of(name)
        found[name] = (module.HELP, parser.manual())
        for inner, (line, text) in parser.commands().items():
            found[f"{name} {inner}"] = (line, text)
    return found


def about() -> str:
    helps = ((name, importlib.import_module(f"{__name__}.{name}").HELP) for name in COMMANDS)
    return ABOUT.format(commands="\n".join(f"  {name:<11}{line}" for name, line in helps))


def unknown_command(name: str) -> str:
    if os.path.exists(name):
        return f"a command is required before the file: netdef check {name}, or netdef train {name}"
    meant = suggestion(name, (*COMMANDS, *ALIASES), "`netdef {}`")
    return f"unknown command `{name}`.{meant} The commands are {', '.join(COMMANDS)}."


def show_faults(error: CompileError) -> None:
    """Prints all diagnostics of a file with their lines, then their count."""
    from ..language.render import count, render

    print(render(error.diagnostics, color=colored(sys.stderr)), file=sys.stderr)
    print(f"netdef: {count(error.diagnostics)}", file=sys.stderr)


def complain(message: str, code: int) -> int:
    with contextlib.suppress(BrokenPipeError):  # the exit code is all that remains
        print(f"netdef: {'error: ' if code != 130 else ''}{printable(message)}", file=sys.stderr)
    return code


def colored(stream: object) -> bool:
    """Whether to use color: on a terminal, or anywhere with FORCE_COLOR, but never with NO_COLOR."""
    if os.environ.get("NO_COLOR"):
        return False
    is_terminal = getattr(stream, "isatty", lambda: False)()
    return bool(os.environ.get("FORCE_COLOR")) or (is_terminal and os.environ.get("TERM") != "dumb")
