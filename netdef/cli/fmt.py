"""Format .net and prototxt files, nets as well as solvers.

Comments are kept, the meaning never changes, and files that are formatted already are not written. A folder means all
.net and .prototxt files in it, except in folders of runs (those with a run.json), which record what was trained.
Without FILE, or with -, stdin is formatted to stdout. The exit code is 1 if --check or --diff finds a file that would
change, and 2 if a file has a syntax error.

  netdef fmt model.net
  netdef fmt models/ --check
  cat model.prototxt | netdef fmt
"""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from ..files import write_atomically
from ..language.diagnostics import CompileError, Report
from ..language.errors import NetdefError, printable
from ..language.formatter import format
from ..language.parsing.parser import parse
from ..language.source import Source
from . import UsageError, complain, show_faults
from ._options import existing

HELP = "format files"
SUFFIXES = (".net", ".prototxt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="files and folders (default, or -: stdin to stdout)")
    parser.add_argument("--check", action="store_true", help="change nothing, and list the files that would change")
    parser.add_argument("--diff", action="store_true", help="change nothing, and show what would change as a diff")


def run(args: argparse.Namespace) -> int:
    if not args.files or args.files == ["-"]:
        return _stdin(args)
    changed, failed, count = 0, False, 0
    for path in _files(args.files):
        count += 1
        try:
            source = Source.read(path)
            text = formatted(source)
        except CompileError as error:
            show_faults(error)
            failed = True
            continue
        except NetdefError as error:
            complain(str(error), 2)
            failed = True
            continue
        if text.encode() == path.read_bytes():
            continue
        changed += 1
        _report(args, str(path), source.text, text)
        if not (args.check or args.diff):
            _replace(path, text)
    files = f"{count} file{'' if count == 1 else 's'}"
    would = "would be formatted" if args.check or args.diff else "formatted"
    print(f"{changed} of {files} {would}", file=sys.stderr)
    return 2 if failed else int(bool(changed) and (args.check or args.diff))


def formatted(source: Source) -> str:
    """Returns the formatted source text. CompileError if it cannot be parsed."""
    report = Report()
    document = parse(source, report)
    report.stop_on_errors()
    assert document is not None  # None only after an error
    return format(document)


def _stdin(args: argparse.Namespace) -> int:
    source = Source.from_stream(sys.stdin.buffer, "<stdin>")
    text = formatted(source)
    if not (args.check or args.diff):
        sys.stdout.write(text)
        return 0
    if text != source.text:
        _report(args, "<stdin>", source.text, text)
    return int(text != source.text)


def _files(names: list[str]) -> Iterable[Path]:
    """Yields the files, and those in folders in sorted order, without hidden files and folders, and those of runs."""
    for name in names:
        path = Path(name)
        if not path.is_dir():
            yield Path(existing(name))
            continue
        found = list(_inside(path))
        if not found:
            raise UsageError(f"{name}: no .net or .prototxt files in this folder, outside of runs")
        yield from found


def _inside(folder: Path) -> Iterable[Path]:
    from ..training.run_record import RUN  # imported here because files that are named do not need it

    for at, folders, files in os.walk(folder):
        folders[:] = [] if RUN in files else sorted(name for name in folders if not name.startswith("."))
        if RUN not in files:
            yield from (Path(at, name) for name in sorted(files) if _is_net(Path(at, name)))


def _is_net(path: Path) -> bool:
    return path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _report(args: argparse.Namespace, name: str, before: str, after: str) -> None:
    if args.diff:
        lines = difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), name, f"{name} (formatted)"
        )
        sys.stdout.writelines(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
        )
    else:
        print(printable(name))


def _replace(path: Path, text: str) -> None:
    """Writes a file atomically and keeps its permissions."""
    path = path.resolve()  # so that a symbolic link is kept

    def write(aside: Path) -> None:
        aside.write_bytes(text.encode())
        shutil.copymode(path, aside)

    write_atomically(path, write)
