"""The code blocks of a page of Markdown, and how they are run: for the tests of README and of the manual.

A block with a title is the file of that name: the page shows it, and the test writes it. In a block `console`, lines that
begin with `$ ` are commands and the lines after a command are what it prints, where `...` stands for anything. A block
`python` without a title is run where it stands. A block `text` without a title is not run: it is output that differs from
machine to machine, or a command on data of the reader; its options must exist.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from netdef.cli import main, parser_of
from netdef.compiler import load
from netdef.language import codes
from netdef.language.diagnostics import CompileError

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^( *)```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^\1```", re.S | re.M)
# What a fragment of a net must not have; other errors come from its missing rest.
INVALID = {*codes.catalogue(codes.syntax, codes.expansion, codes.meaning)} - {codes.MISSING_FIELD.name}
SHORT = {"train": "--max-iter", "sweep": "--max-iter"}  # commands that train, and the option that cuts them short
COMPLETE = ("--max-iter", "--dry-run", "--overfit", "--lr-find")  # with one of these they are run as they are


class Block(NamedTuple):
    """A fenced block: its language, its title, its text and the line of the page on which it begins."""

    kind: str
    title: str
    text: str
    line: int


class Command(NamedTuple):
    """A command of a `console` block, and the lines that it prints according to the page."""

    text: str
    output: tuple[str, ...]


def blocks(page: str) -> list[Block]:
    """Returns the blocks of a page in their order."""
    found = []
    for match in FENCE.finditer(page):
        indent, kind, title, text = match.groups()
        text = re.sub(f"^{indent}", "", text, flags=re.M)
        found.append(Block(kind, title or "", text, page.count("\n", 0, match.start()) + 1))
    return found


def commands(text: str) -> Iterator[Command]:
    """Yields the commands of a `console` block."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, *output = re.sub(r"\\\n\s*", "", part).splitlines()
        yield Command(re.sub(r"\s+# .*", "", command).strip(), tuple(line for line in output if line.strip()))


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command of a page in a process of its own, with the Python that runs the tests."""
    name, *words = shlex.split(command)
    program = {"netdef": [sys.executable, "-m", "netdef"], "python": [sys.executable]}[name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run([*program, *words], capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


class Reader:
    """Somebody who does what a page says, in the working directory, but trains for `iterations` iterations only."""

    def __init__(self, iterations: int):
        self.iterations = iterations
        self.names: dict[str, Any] = {"__name__": "__main__"}

    def follow(self, block: Block) -> None:
        if block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.kind == "console":
            for command in commands(block.text):
                self.do(command)
        elif block.kind == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block.text, f"line {block.line}", "exec"), self.names)
        elif block.kind == "protobuf":
            read_fragment(block.text)
        else:
            assert block.kind in ("text", "json"), f"a block of the language {block.kind} is not tested"
            for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
                if line.startswith("netdef "):
                    parse(line)

    def do(self, command: Command) -> None:
        """Runs a command in this process, and compares what it prints with the page."""
        program, *words = shlex.split(command.text)
        if program == "pip":
            assert words[0] == "install", command
            return
        if program == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                runpy.run_path(words[0], run_name="__main__")
            return
        assert program == "netdef", f"{program} is not a command that the test knows"
        option = SHORT.get(words[0])
        if option and not set(COMPLETE) & set(words):
            words += [option, str(self.iterations)]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
        wrong = bool(command.output) and command.output[-1].startswith(("netdef: error", "1 error", "netdef: 1 error"))
        assert (code != 0) == wrong, f"{command.text}: exit code {code}\n{out.getvalue()}\n{err.getvalue()}"
        compare(command, out.getvalue() + err.getvalue())


def compare(command: Command, printed: str) -> None:
    """Each line of the page is printed, in this order, with anything in the place of `...`."""
    lines = iter(line.rstrip() for line in printed.splitlines())
    for expected in command.output:
        pattern = ".*".join(re.escape(part) for part in expected.rstrip().split("..."))
        found = any(re.fullmatch(pattern, line) for line in lines)
        assert found, f"{command.text}\ndoes not print, or not in this order:\n{expected}\nbut\n{printed}"


def read_fragment(text: str) -> None:
    """A part of a net has no mistake that does not come from the missing rest of it."""
    try:
        load(text)
    except CompileError as error:
        wrong = [str(d) for d in error.diagnostics if d.severity == "error" and d.code in INVALID]
        assert not wrong, f"{text}\n{wrong}"


def parse(line: str) -> None:
    """The command and the options of a line exist."""
    name, *words = shlex.split(line, comments=True)[1:]
    if name == "launch":
        return
    parser = parser_of(name)[1]
    (parser.parse_args if parser.has_commands else parser.parse_intermixed_args)(words)
