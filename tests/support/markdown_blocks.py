"""The code blocks of a page of Markdown, and how they are run: for the tests of README and of the manual.

What is done with a block depends on its kind, and a block of another kind fails the test (`KINDS`):

a title             the page shows the file of that name. The test writes it, or, if it exists, it begins with the block.
console             lines that begin with `$ ` are commands, and the lines after a command are what it prints, where `...`
                    stands for anything
python              is run, with the names of the blocks before it
protobuf            a part of a net: it has no error but what its missing rest causes
text                lines that the commands before it print; digits are not compared, since they vary

A page can have a rule of its own for a block (`Reader.rules`), and stand-ins for the data and the files that only a reader
has. Trainings are cut short, and a command of a package that the tests do without (`ABSENT`) must name that package.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias
from unittest import mock

from netdef.cli import main
from netdef.compiler import load
from netdef.language import codes
from netdef.language.diagnostics import CompileError
from netdef.view import server

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^( *)```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^\1```", re.S | re.M)
# What a fragment of a net must not have; other errors come from its missing rest.
INVALID = {*codes.catalogue(codes.syntax, codes.expansion, codes.meaning)} - {codes.MISSING_FIELD.name}
SHORT = {"train": "--max-iter", "sweep": "--max-iter"}  # commands that train, and the option that cuts them short
COMPLETE = (" --dry-run", " --max-iter")  # with one of these they are run as they are
# Settings of which the tests try fewer.
FEWER = {
    r"--max-iter \d{3,}": "--max-iter 3",
    r"--trials \d+": "--trials 1",
    "depth=1..7": "depth=1..1",
    "ReLU,Sigmoid": "ReLU",
    "true,false": "true",
    r"--seeds \d": "--seeds 2",
}
ABSENT = ("mlflow", "wandb", "libtpu", "jax2onnx", "onnx")  # packages that the extra `test` does without
TRACKERS = ("tensorboard", "mlflow", "wandb")  # programs that show what a run has written for them


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


Rule: TypeAlias = Callable[["Reader", Block], None]


class Reader:
    """Somebody who does what a page says, in the working directory, but trains for `iterations` iterations only.

    `rules` maps the beginning of a block to what is done with it instead: a function of this reader and of the block."""

    def __init__(self, iterations: int, rules: Mapping[str, Rule] = MappingProxyType({})):
        self.iterations = iterations
        self.rules = rules
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""  # by the commands of the page

    def follow(self, block: Block) -> None:
        rule = next((rule for begin, rule in self.rules.items() if block.text.startswith(begin)), None)
        rule = rule or (Reader.file if block.title else KINDS.get(block.kind))
        assert rule, f"line {block.line}: nothing is known about a block of the language {block.kind}"
        rule(self, block)

    def file(self, block: Block) -> None:
        path = Path(block.title)
        if path.exists():
            assert path.read_text(encoding="utf-8").startswith(block.text), f"{path} does not begin like this"
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def console(self, block: Block) -> None:
        for command in commands(block.text):
            printed = self.do(command)
            self.printed += printed
            compare(command, printed)

    def python(self, block: Block) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(block.text, f"line {block.line}", "exec"), self.names)

    def fragment(self, block: Block) -> None:
        read_fragment(block.text)

    def output(self, block: Block) -> None:
        printed = set(map(without_numbers, self.printed.splitlines()))
        for line in filter(str.strip, block.text.splitlines()):
            assert without_numbers(line) in printed, (
                f"line {block.line}: no command has printed\n{line}\n{self.printed}"
            )

    def do(self, command: Command) -> str:
        """Runs a command in this process, and returns what it prints."""
        program, *words = shlex.split(self.shortened(command.text))
        if program == "pip":
            assert words[0] == "install", command
        elif program == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                runpy.run_path(words[0], run_name="__main__")
        elif program in TRACKERS:
            self.show(program, words)
        else:
            assert program == "netdef", f"{program} is not a command that the test knows"
            return self.netdef(command, words)
        return ""

    def shortened(self, text: str) -> str:
        for long, short in FEWER.items():
            text = re.sub(long, short, text)
        option = next((option for name, option in SHORT.items() if text.startswith(f"netdef {name} ")), None)
        return (
            text if option is None or any(word in text for word in COMPLETE) else f"{text} {option} {self.iterations}"
        )

    def netdef(self, command: Command, words: list[str]) -> str:
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.object(server, "serve", opened),
        ):
            code = main(words)
        printed = out.getvalue() + err.getvalue()
        wrong = bool(command.output) and command.output[-1].startswith(("netdef: error", "1 error", "netdef: 1 error"))
        assert (code != 0) == (wrong or is_absent(printed)), f"{command.text}: exit code {code}\n{printed}"
        return printed

    def show(self, program: str, words: list[str]) -> None:
        """The files that a program of others shows exist, unless its package is missing."""
        (path,) = (word.removeprefix("sqlite:///") for word in words if word.startswith(("runs", "sqlite:")))
        assert program in ABSENT and find_spec(program) is None or list(Path().glob(path)), f"{path} does not exist"


KINDS: Mapping[str, Rule] = MappingProxyType(
    {"console": Reader.console, "python": Reader.python, "protobuf": Reader.fragment, "text": Reader.output}
)


def opened(subject: Any, at: socket.socket) -> None:
    """In place of the server of `netdef view`: its page and what it shows can be read."""
    from starlette.testclient import TestClient

    client = TestClient(server.application(subject), base_url="http://127.0.0.1")
    assert client.get("/").status_code == 200
    assert client.get("/page.json").json().get("kind") != "error"


def is_absent(printed: str) -> bool:
    """Whether a command has ended because of a package that is missing, which it names."""
    found = re.search(r"requires the package ([\w-]+), which is not installed; run `pip install \1`", printed)
    return found is not None and found[1] in ABSENT


def without_numbers(line: str) -> str:
    return re.sub(r"\d[\d,.]*", "0", " ".join(line.split()))


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
