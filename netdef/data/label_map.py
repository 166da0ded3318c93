"""Label maps of the SSD fork: files with the name of each label.

item { name: "none_of_the_above" label: 0 display_name: "background" }
item { name: "aeroplane" label: 1 display_name: "aeroplane" }
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..files import write_atomically
from ..language import codes
from ..language.diagnostics import Related, Report
from ..language.parsing.parser import parse
from ..language.printer import quoted
from ..language.source import Source
from ..schema import Block, decode, param

BEGINNING = re.compile(r"(?:\s+|#[^\n]*+)*+item\s*+:?\s*+\{")  # possessive: a file may begin with millions of blanks


class Item(Block):
    """`item { }`: one class."""

    name: str = param("Name of the class in annotations.")
    label: int = param("Label of the class.")
    display_name: str = param("Name that is shown; default: `name`.", default="")


class LabelMap(Block):
    """A file of `item` blocks."""

    item: tuple[Item, ...] = param("A block for each class.", default=())

    @property
    def names(self) -> dict[int, str]:
        """The shown name of each label."""
        return {item.label: item.display_name or item.name for item in self.item}


def is_label_map(source: Source) -> bool:
    """Whether a file begins as a label map does, and no net or solver can."""
    return BEGINNING.match(source.text) is not None


def label_map_of(path_or_text: str | Path | Source, report: Report) -> LabelMap | None:
    """Returns the label map in a file; None if errors were reported. Raises NetdefError if the file cannot be read."""
    document = parse(Source.of(path_or_text), report)
    found = decode(LabelMap, document.body, report) if document else None
    if found is None or report.has_errors:
        return None
    for field in ("label", "name"):
        first: dict[object, Item] = {}
        for item in found.item:
            value = getattr(item, field)
            before = first.setdefault(value, item)
            if before is not item:
                place, detail = before.span_of(field), f"two classes have the {field} {value!r}; change one."
                related = [Related("first given here", place)] if place else []
                report.add(codes.GIVEN_TWICE, item.span_of(field), detail, *related)
    return None if report.has_errors else found


def write_label_map(path: Path, names: Mapping[int, str]) -> None:
    """Writes the label map of these names."""
    items = [f"item {{ name: {quoted(name)} label: {label} }}\n" for label, name in sorted(names.items())]
    write_atomically(path, lambda temporary: temporary.write_text("".join(items), encoding="utf-8"))
