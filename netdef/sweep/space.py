"""The values that a sweep tries for a setting, as they are written after `--set NAME=`.

    16,32,64            these values
    1..7                integers, both ends included
    0.5..0.99           real numbers
    log(0.001..0.1)     on a logarithmic scale, so that 0.001 to 0.01 is as likely as 0.01 to 0.1; also log(8..512)

A grid tries every value, so its ranges are of integers; a search draws from all of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ..language import codes
from ..language.diagnostics import CompileError, Diagnostic
from ..language.expansion.settings import read
from ..language.source import Source, Span

NUMBER = r"[-+]?(?:\d+\.\d+|\d+|\.\d+)(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\s*\.\.\s*({NUMBER})")
STEPS = 1000  # real numbers of a range are rounded to a thousandth of its length, on a logarithmic scale to four digits


@dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`; both are integers, or both are floats."""

    low: int | float
    high: int | float
    log: bool = False

    @property
    def of_integers(self) -> bool:
        return isinstance(self.low, int)

    def rounded(self, value: float) -> int | float:
        """Returns a number of the interval with few digits, which can be typed again after `--set`."""
        if self.of_integers:
            return int(value)
        step = (self.high - self.low) / STEPS
        near = float(f"{value:.4g}") if self.log or not step else round(value, max(0, math.ceil(-math.log10(step))))
        return min(max(near, self.low), self.high)

    def __str__(self) -> str:
        return f"log({self.low}..{self.high})" if self.log else f"{self.low}..{self.high}"


@dataclass(frozen=True)
class Choice:
    """Some values, in order."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ",".join(str(v).lower() if isinstance(v, bool) else str(v) for v in self.values)


Values = Interval | Choice


def parse(name: str, text: str) -> Values:
    """Returns the values that `text` means.  CompileError, with the place, if it is an invalid range."""
    at = _Place(name, text)
    whole = text.strip()
    if whole.startswith("log("):
        inside = re.fullmatch(r"log\((.*)\)", whole)
        bounds = RANGE.fullmatch(inside[1].strip()) if inside else None
        if bounds is None:
            at.refuse(whole, f"`{whole}` is not a logarithmic range.", "write two numbers, as in log(0.001..0.1)")
        return _interval(at, bounds, log=True)
    if bounds := RANGE.fullmatch(whole):
        return _interval(at, bounds)
    found: list[Any] = []
    for word in (part.strip() for part in whole.split(",")):
        bounds = RANGE.fullmatch(word)
        if not word:
            at.refuse(",", "A value is missing before or after a comma.")
        elif bounds is not None:
            inside = _interval(at, bounds)
            if not inside.of_integers:
                at.refuse(word, f"A list of values cannot contain {word}, a range of real numbers.")
            found += range(int(inside.low), int(inside.high) + 1)
        elif word.startswith("log(") or re.match(r"[-+]?\.?\d[^/]*\.\.", word):
            at.refuse(word, f"`{word}` is not a range.", "write numbers, as in 1..7 or log(0.001..0.1)")
        else:
            found.append(number(word))
    return Choice(tuple(found))


def number(text: str) -> Any:
    """Parses a number or boolean as the language does; other strings are returned unchanged."""
    value, _ = read(text)
    return value if isinstance(value, (bool, int, float)) else text


def listed(name: str, text: str) -> list[Any]:
    """Returns the values of a grid.  CompileError for a range that has no list of values."""
    found = parse(name, text)
    if isinstance(found, Choice):
        return list(found.values)
    if found.log or not found.of_integers:
        hint = "list the values, separated by commas, or add --search random or --search bayes"
        _Place(name, text).refuse(text.strip(), f"A grid cannot try every number of the range {found}.", hint)
    return list(range(int(found.low), int(found.high) + 1))


@dataclass(frozen=True)
class _Place:
    """`NAME=VALUES` of the command line."""

    name: str
    text: str

    def refuse(self, word: str, detail: str, hint: str | None = None) -> NoReturn:
        """Raises a CompileError at a part of the values."""
        source = Source("--set", f"{self.name}={self.text}")
        begin = len(self.name) + 1 + max(self.text.find(word), 0)
        span = Span(source, begin, begin + max(len(word), 1))
        raise CompileError((Diagnostic(codes.BAD_RANGE, detail, span, hint=hint),))


def _interval(at: _Place, bounds: re.Match[str], log: bool = False) -> Interval:
    """The interval of a match of `RANGE`; of integers if both ends are."""
    number = float if re.search(r"[.eE]", bounds[1] + bounds[2]) else int
    low, high = number(bounds[1]), number(bounds[2])
    if not (math.isfinite(low) and math.isfinite(high)):
        at.refuse(bounds[0], f"An end of the range {bounds[0]} is too large for a number.")
    if low > high:
        at.refuse(bounds[0], f"The range begins at {low}, which is above its end, {high}.", f"write {high}..{low}")
    if log and low <= 0:
        at.refuse(bounds[0], f"A logarithmic range begins above 0, but this one at {low}.")
    return Interval(low, high, log)


def described(space: dict[str, Values]) -> dict[str, str]:
    """The space as a user writes it."""
    return {name: str(values) for name, values in space.items()}


def size(space: Sequence[Values]) -> float:
    """How many combinations there are; infinite if one of the ranges is of real numbers."""
    many = lambda v: len(set(v.values)) if isinstance(v, Choice) else v.high - v.low + 1 if v.of_integers else math.inf
    return math.prod(many(values) for values in space)
