"""What all commands have in common: help, names, exit codes, closed pipes, and never a traceback."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import netdef as package
from netdef import NetdefError, cli
from netdef.language.errors import printable

LESS = "try a smaller batch_size, with iter_size to accumulate gradients"


def test_help_names_every_command_and_gives_three_examples(netdef):
    done = netdef("--help")
    assert done.code == 0
    for command in cli.COMMANDS:
        assert f"\n  {command} " in done.out
    examples = done.out.partition("examples:\n")[2].partition("\n\n")[0]
    assert len(examples.splitlines()) == 3


def test_every_command_module_is_in_the_table():
    modules = {module.name for module in pkgutil.iter_modules(cli.__path__) if not module.name.startswith("_")}
    assert modules == set(cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(netdef, command):
    for words in ([command, "--help"], ["help", command]):
        done = netdef(*words)
        assert done.code == 0
        assert done.out.startswith(f"usage: netdef {command}")


def test_version(netdef):
    assert netdef("--version").out == f"netdef {package.__version__}\n"


def test_without_a_command_the_help_is_an_error(netdef):
    done = netdef()
    assert (done.code, done.out) == (2, "")
    assert "commands" in done.err


def test_misspelled_command(netdef):
    done = netdef("trian", "x.net")
    assert done.code == 2
    assert "Did you mean `netdef train`?" in done.err


def test_file_in_place_of_a_command(netdef, good):
    done = netdef(good)
    assert done.code == 2
    assert printable(f"netdef check {good}") in done.err


def test_misspelled_option(netdef, good):
    done = netdef("check", good, "--strct")
    assert done.code == 2
    assert "did you mean --strict?" in done.err


def test_options_are_not_abbreviated(netdef, good):
    assert netdef("check", good, "--stric").code == 2


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (NetdefError("the disk is full"), 1, "netdef: error: the disk is full\n"),
        (cli.UsageError("no file"), 2, "netdef: error: no file\n"),
        (PermissionError(13, "Permission denied", "run"), 1, "netdef: error: run: Permission denied\n"),
        (KeyboardInterrupt(), 130, "netdef: interrupted\n"),
        (MemoryError("no 4 GiB"), 1, f"netdef: error: out of memory: no 4 GiB; {LESS}\n"),
        (
            RuntimeError("RESOURCE_EXHAUSTED: 9 GB\n..."),
            1,
            f"netdef: error: out of memory: RESOURCE_EXHAUSTED: 9 GB; {LESS}\n",
        ),
    ],
    ids=["run", "usage", "os", "ctrl-c", "memory", "accelerator"],
)
def test_exit_codes(netdef, monkeypatch, error, code, shown):
    def fails(words):
        raise error

    monkeypatch.setattr(cli, "dispatch", fails)
    done = netdef("check")
    assert (done.code, done.err) == (code, shown)


def test_a_closed_stdout_is_no_error(tmp_path):
    command = [sys.executable, "-m", "netdef", "explain"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # as `| head` does
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_color_is_for_terminals(monkeypatch):
    class Terminal:
        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert cli.colored(Terminal()) and not cli.colored(object())
    monkeypatch.setenv("TERM", "dumb")
    assert not cli.colored(Terminal())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert cli.colored(object())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not cli.colored(Terminal())
