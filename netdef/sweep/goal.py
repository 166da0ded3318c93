"""The goal of the runs of a sweep: `accuracy>=0.9`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..language.errors import NetdefError
from ..policies.base import Monitor


@dataclass(frozen=True)
class Until:
    """A goal such as `accuracy>=0.9`; the iteration of the first test that meets it is the run's `reached`."""

    output: str
    value: float
    upwards: bool

    @classmethod
    def read(cls, text: str) -> Until:
        """Parses a goal.  NetdefError if the string is not one."""
        found = re.fullmatch(r"\s*([^<>=\s]+)\s*(>=|<=)\s*(\S+)\s*", text)
        try:
            assert found is not None
            return cls(found[1], float(found[3]), found[2] == ">=")
        except (AssertionError, ValueError):
            raise NetdefError(f'"{text}" is not a goal; examples: accuracy>=0.9, loss<=0.1.') from None

    def met(self, row: Mapping[str, Any]) -> bool:
        """Whether the record of a test meets the goal."""
        value = row.get(self.output)
        return isinstance(value, (int, float)) and (value >= self.value if self.upwards else value <= self.value)

    def monitor(self) -> Monitor:
        """The goal as a monitor for the solver's early stopping."""
        mode = "max" if self.upwards else "min"
        return Monitor(monitor=self.output, target=self.value, mode=mode, patience=1_000_000_000)
