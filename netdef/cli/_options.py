"""Arguments that several commands share, and what becomes of them.

Caffe's flags are accepted beside our own (`--model FILE` for the file, `--gpu 0`), with one dash or two as gflags does.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from ..language.trust import Trust
from . import UsageError


def add_net(parser: argparse.ArgumentParser) -> Any:
    """The one file of a command, and what changes it; returns the group of Caffe's flags."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="a net or a solver: .net or .prototxt")
    add_settings(parser)
    return add_caffe_model(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the file, as in --set solver.base_lr=0.1; may be given again",
    )
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="import this module first: its layers join the others; may be given again",
    )
    add_import_path(parser)


def add_import_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--import-path",
        action="append",
        default=[],
        metavar="FOLDER",
        help="`import` may open files of this folder too; may be given again",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Permission to run code that a net names, for the commands that only look at nets."""
    parser.add_argument(
        "--trust-python",
        action="store_true",
        help="run the modules of Python layers, for the shapes of their tops: they may do anything",
    )


def trust_of(args: argparse.Namespace) -> Trust:
    """What the file may do; a command that runs nets sets `trust_python` itself."""
    return Trust(getattr(args, "trust_python", False), tuple(existing(f, "folder") for f in args.import_path))


def add_caffe_model(parser: argparse.ArgumentParser) -> Any:
    """Flags of Caffe's own commands; the group is returned for more of them."""
    caffe = parser.add_argument_group("Caffe's names")
    caffe.add_argument("--model", "-model", metavar="FILE", help="the same as FILE")
    caffe.add_argument("--gpu", "-gpu", metavar="IDS", help="no effect: jax chooses its devices (`netdef devices`)")
    return caffe


def add_state(parser: argparse.ArgumentParser) -> None:
    """Level and stages: what include and exclude rules are held against beside the phase."""
    parser.add_argument("--level", "-level", type=int, default=0, metavar="N", help="the net's level (default 0)")
    parser.add_argument(
        "--stage", "-stage", action="append", default=[], metavar="NAME", help="set this stage; may be given again"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def iterations(text: str) -> int:
    """A number of iterations, for argparse."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a whole number of iterations is needed, not {text!r}")
    return int(text)


def add_plot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plot",
        action="append",
        default=[],
        metavar="FILE",
        help="write the picture here: .png .svg .pdf; may be given again (default: PNG and SVG in the folder)",
    )


def pictures(names: list[str], option: str = "--plot") -> list[str]:
    """Names of pictures, if they can be written."""
    for name in names:
        if Path(name).suffix.lower() not in (".png", ".svg", ".pdf"):
            raise UsageError(f"{option} {name}: the name of a picture ends in .png, .svg or .pdf")
        if not Path(name).parent.is_dir():
            raise UsageError(f"{option} {name}: there is no folder {Path(name).parent}")
    return names


def net_file(args: argparse.Namespace) -> str:
    """The file that was named in one way or another; loads the plugins too."""
    named = [f for f in (args.file, args.model, getattr(args, "solver", None)) if f]
    if not named:
        raise UsageError("no file was given: name a .net or .prototxt file")
    if len(set(named)) > 1:
        raise UsageError(f"one file is needed, and {len(named)} were given: {', '.join(named)}")
    if args.gpu is not None:
        print("netdef: note: --gpu has no effect; jax uses the first accelerator that it finds", file=sys.stderr)
    load_plugins(args.plugin)
    return existing(named[0])


def existing(path: str, what: str = "file") -> str:
    """`path`, if it is a file that can be read."""
    if not Path(path).exists():
        raise UsageError(f"there is no {what} {path}")
    if what == "file" and Path(path).is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    return path


def load_plugins(modules: list[str]) -> None:
    """Import modules by name, from the working directory too."""
    if modules and "" not in sys.path:
        sys.path.insert(0, "")
    for name in modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            raise UsageError(f"--plugin {name}: there is no such module on Python's path or in this folder") from error


def settings(args: argparse.Namespace) -> dict[str, str]:
    """`--set key=value` as a dict of strings; the language reads them, for it knows what each replaces."""
    found: dict[str, str] = {}
    for text in args.set:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set takes KEY=VALUE, as in --set solver.base_lr=0.1, not {text!r}")
        found[key.strip()] = value.strip()
    return found
