"""Arguments that several commands share, and their evaluation.

Caffe's flags are also accepted (`--model FILE` for the file, `--gpu 0`), with one dash or two, as in gflags.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
import traceback
from pathlib import Path
from typing import Any

from ..language.spelling import asked, nearest
from ..language.trust import Trust
from . import UsageError

OVERRIDE = ("KEY=VALUE", "override a constant or a solver field, as in solver.base_lr=0.1; may be repeated")


def add_net(parser: argparse.ArgumentParser, setting: tuple[str, str] = OVERRIDE) -> Any:
    """Adds the file of a command and the options that change it. Returns the group of Caffe's flags."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="net or solver: .net or .prototxt")
    add_settings(parser, setting)
    return add_caffe_model(parser)


def add_settings(parser: argparse.ArgumentParser, setting: tuple[str, str] = OVERRIDE) -> None:
    """Adds --set, with the form of its value and its help, and the options that say where to look for code."""
    form, words = setting
    parser.add_argument("--set", action="append", default=[], metavar=form, help=words)
    add_plugin(parser)
    add_import_path(parser)


def add_import_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--import-path",
        action="append",
        default=[],
        metavar="FOLDER",
        help="additional folder from which `import` may open files; may be repeated",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Adds the permission to run code that a net names, for commands that only read nets."""
    parser.add_argument(
        "--trust-python",
        action="store_true",
        help="run the modules of Python layers, to infer the shapes of their tops; these modules can run any code",
    )


def trust_of(args: argparse.Namespace) -> Trust:
    """Returns the permissions of the file. A command that runs nets sets `trust_python` itself."""
    return Trust(getattr(args, "trust_python", False), tuple(existing(f, "folder") for f in args.import_path))


def add_shape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="BLOB=DIMS",
        help="shape of an input, as in data=1,3,224,224; may be repeated",
    )


def add_plugin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="import this Python module first, to register its layers; may be repeated",
    )


def add_caffe_model(parser: argparse.ArgumentParser) -> Any:
    """Adds flags of Caffe's commands. Returns their group, so that a command can add more."""
    caffe = parser.add_argument_group("Caffe's flags")
    caffe.add_argument("--model", "-model", metavar="FILE", help="same as FILE")
    caffe.add_argument("--gpu", "-gpu", metavar="IDS", help="ignored, except by `train`: JAX selects the device")
    return caffe


def add_state(parser: argparse.ArgumentParser) -> None:
    """Adds level and stages, which include and exclude rules are compared with in addition to the phase."""
    parser.add_argument("--level", "-level", type=int, default=0, metavar="N", help="level of the net (default: 0)")
    parser.add_argument(
        "--stage", "-stage", action="append", default=[], metavar="NAME", help="stage of the net; may be repeated"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def iterations(text: str) -> int:
    """Parses a positive integer, for argparse."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive integer, not {text!r}")
    return int(text)


def device_count(text: str) -> int | str:
    """Parses a number of devices or `all`, for argparse."""
    return text if text == "all" else iterations(text)


def add_devices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--devices",
        type=device_count,
        metavar="N",
        help="number of devices that divide each batch, or `all` (default: 1)",
    )


def add_hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hosts", metavar="ADDRESS:PORT", help="address of process 0 of a run on several hosts")
    parser.add_argument("--host", metavar="I/N", help="index of this process, from 0, and number of processes")


def gpus(text: str) -> str | list[int]:
    """Parses `all` or indices separated by commas, as Caffe does. UsageError for anything else."""
    if text == "all":
        return text
    found = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in found):
        raise UsageError(f"--gpu {text}: expected the indices of devices, as in --gpu 0,1, or `all`")
    return [int(part) for part in found]


def add_plot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plot",
        action="append",
        default=[],
        metavar="FILE",
        help="write the plot to this file: .png, .svg or .pdf; may be repeated (default: PNG and SVG in the folder)",
    )


def pictures(names: list[str], option: str = "--plot") -> list[str]:
    """Returns the file names of plots. UsageError if one of them cannot be written."""
    for name in names:
        if Path(name).suffix.lower() not in (".png", ".svg", ".pdf"):
            raise UsageError(f"{option} {name}: the name of a plot must end in .png, .svg or .pdf")
        if not Path(name).parent.is_dir():
            raise UsageError(f"{option} {name}: the folder {Path(name).parent} does not exist")
    return names


def net_file(args: argparse.Namespace, uses_gpu: bool = False) -> str:
    """Returns the file, whichever argument named it, and imports the plugins."""
    named = [f for f in (args.file, args.model, getattr(args, "solver", None)) if f]
    if not named:
        raise UsageError("FILE is missing: name a .net or .prototxt file")
    if len(set(named)) > 1:
        raise UsageError(f"expected one file, not {len(named)}: {', '.join(named)}")
    if args.gpu is not None and not uses_gpu:
        print("netdef: note: --gpu is ignored; JAX uses the first accelerator that it finds", file=sys.stderr)
    load_plugins(args.plugin)
    if Path(named[0]).is_dir():
        raise UsageError(f"{named[0]} is a folder, not a net; `netdef init` writes a net for a folder of images")
    return existing(named[0])


def existing(path: str, what: str = "file") -> str:
    """Returns `path`. UsageError if it does not exist, or is a folder where a file is expected."""
    if not Path(path).exists():
        raise UsageError(f"the {what} {path} does not exist{_meant(Path(path))}")
    if what == "file" and Path(path).is_dir():
        raise UsageError(f"{path} is a folder, not a file")
    return path


def _meant(path: Path) -> str:
    """A question about a file beside a missing one that may have been meant; empty if there is none."""
    try:
        beside = list(itertools.islice(path.parent.iterdir(), 1000))
    except OSError:
        return ""
    alike = {file.stem: file.name for file in beside if file.suffix == path.suffix}
    others = [file.name for file in beside if file.suffix != path.suffix]
    meant = [alike[stem] for stem in nearest(path.stem, alike, 1)] or nearest(path.name, others, 1)
    return f"; {asked(meant[0])}" if meant else ""


def load_plugins(modules: list[str]) -> None:
    """Imports modules by name, also from the working directory. UsageError if a module does not exist or fails."""
    if modules and "" not in sys.path:
        sys.path.insert(0, "")
    for name in modules:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # a module may raise anything
            if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
                text = "no such module in the working directory or on Python's path"
            else:
                text = f"its import failed{_place(error)}: {_words(error)}"
            raise UsageError(f"--plugin {name}: {text}") from error


def _place(error: BaseException) -> str:
    """The line at which a module has failed; empty if no line of it has run."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {error.filename}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_of_importing(f.filename)]
    return f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _is_of_importing(file: str) -> bool:
    return file.startswith("<frozen importlib") or file in (__file__, importlib.__file__)


def _words(error: BaseException) -> str:
    """The class of an exception and the first line of its message."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return ": ".join([type(error).__name__, *text.strip().split("\n")[:1]]) if text.strip() else type(error).__name__


def settings(args: argparse.Namespace) -> dict[str, str]:
    """Returns `--set key=value` as a dict of strings. The expander parses them, because it knows what they replace."""
    found: dict[str, str] = {}
    for text in args.set:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set expects KEY=VALUE, as in --set solver.base_lr=0.1, not {text!r}")
        found[key.strip()] = value.strip()
    return found
