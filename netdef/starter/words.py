"""The text of a starter net: comments, names, numbers, and the canonical form."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from ..files import shown
from ..language.diagnostics import Report
from ..language.errors import printable
from ..language.formatter import format
from ..language.parsing.parser import parse
from ..language.printer import quoted
from ..language.source import Source

WIDTH = 100  # columns of a comment
MOST_NAMES = 8  # names that are listed; of more, the first and the last ones


def comment(text: str) -> str:
    """Lines of a comment, each with its line break."""
    lines = textwrap.wrap(printable(text), WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def number(value: float) -> str:
    """A measured number with four significant digits, without a needless exponent or zeros."""
    text = f"{value:.4g}"
    return f"{float(text):.0f}" if "e+" in text and abs(float(text)) < 1e15 else text


def listed(names: Sequence[str]) -> str:
    """Names in a sentence; the middle ones of many are left out."""
    short = [shown(name) for name in names]
    if len(short) > MOST_NAMES:
        return f"{', '.join(short[: MOST_NAMES - 2])}, ... and {short[-1]}"
    return " and ".join([", ".join(short[:-1]), short[-1]] if len(short) > 1 else short)


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def net_name(path: Path) -> str:
    """A name for the net, and so for the folder of its runs: that of the data, as one word."""
    return re.sub(r"\W+", "_", stem(path), flags=re.ASCII).strip("_")[:60] or "data"


def stem(path: Path) -> str:
    """The name of a folder, or that of a file without its suffix."""
    whole = Path(os.path.abspath(path))
    return (whole.name if path.is_dir() else whole.stem) or "data"


def source_of(path: Path, net: Path) -> str:
    """The path of data as a string of a net: absolute if it was given so, else relative to the folder of the net."""
    if path.is_absolute():
        return quoted(str(path))
    return quoted(Path(os.path.relpath(path, net.parent)).as_posix())


def canonical(text: str) -> str:
    """The text as `netdef fmt` writes it."""
    document = parse(Source("starter.net", text), Report())
    if document is None:
        raise AssertionError("a starter net cannot be parsed")
    return format(document)
