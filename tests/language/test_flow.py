"""Inside the language, too, imports go one way: texts and places, then codes, parsing, and expansion over all of them."""

from __future__ import annotations

import pytest
from test_imports import FILES, home_of, imports

# Folders and files of `language` from the ground up: each may import those of the lines above its own.
FLOORS = [
    ["shown"],
    ["errors", "spelling", "trust"],
    ["source"],
    ["diagnostics", "syntax"],
    ["codes", "printer", "render"],
    ["parsing"],
    ["formatter", "expansion"],
]
RANKS = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
LANGUAGE = [name for name in FILES if name.startswith("language/") and name != "language/__init__"]


def part_of(name: str) -> str:
    return name.split("/")[1]


def test_every_part_has_a_floor():
    assert {part_of(name) for name in LANGUAGE} == set(RANKS), "give a new part its place in FLOORS"


@pytest.mark.parametrize("name", LANGUAGE)
def test_parts_import_parts_below(name: str):
    others = {home for module, _ in imports(name) if (home := home_of(module)) and home != "language/__init__"}
    upward = [
        other
        for other in sorted(others - {name})
        if part_of(other) != part_of(name) and RANKS[part_of(other)] >= RANKS[part_of(name)]
    ]
    assert not upward, f"{name} imports {upward}"
