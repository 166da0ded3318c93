"""Whether the tables of the training and of its tests are read in the same way."""

from __future__ import annotations

from collections.abc import Iterable

from ..data.feed import Feed
from ..data.layers.table import Measured, TableReader
from ..data.table_columns import Code, listed
from ..language.errors import NetdefError


def check_tables(train: Feed, tests: Iterable[Feed]) -> None:
    """Raises NetdefError if a test reads a top with other categories or means than the training: indices and numbers
    would have other meanings."""
    known = [reader.measured for reader in train.readers.values() if isinstance(reader, TableReader)]
    found = [(name, reader) for feed in tests for name, reader in feed.readers.items()]
    for name, reader in found:
        if not isinstance(reader, TableReader):
            continue
        if what := next(filter(None, (_difference(measured, reader.measured) for measured in known)), ""):
            raise NetdefError(
                f"layer `{name}` in phase TEST reads {what}; use the `source` of phase TRAIN, and name the table of "
                "the tests with `test_source`."
            )


def _difference(train: Measured, test: Measured) -> str:
    """Returns what differs in the tops that both have; empty if nothing does."""
    for top in train.columns.keys() & test.columns.keys():
        for ours, theirs in zip(train.columns[top].codes, test.columns[top].codes, strict=False):
            if ours.categories != theirs.categories:
                return (
                    f"`{top}` with the categories {listed(theirs.categories or ()) or 'none'}, but phase TRAIN has "
                    f"{listed(ours.categories or ()) or 'none'}"
                )
            if ours[2:] != theirs[2:]:
                return f"`{theirs.name}` with {_in_words(theirs)}, but phase TRAIN has {_in_words(ours)}"
    for top in train.coders.keys() & test.coders.keys():
        if train.coders[top].content != test.coders[top].content:
            return f"`{top}` with another vocabulary or tokenizer"
    return ""


def _in_words(code: Code) -> str:
    filled = "" if code.fill is None else f", and {code.fill:.6g} in place of missing values"
    return f"mean {code.mean:.6g} and deviation {code.deviation:.6g}{filled}"
