"""`netdef/README.md`, the layout of the code: its paths exist, and its diagram agrees with the imports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_imports import FILES, FLOORS, RANKS, home_of, imports, room_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "netdef"
PAGE = (PACKAGE / "README.md").read_text(encoding="utf-8")
(DIAGRAM,) = re.findall(r"^```mermaid\n(.*?)^```", PAGE, re.S | re.M)


LABEL = re.compile(r'(\w+)\["(\w+)[^"]*"\]')  # `id["room: words"]`; an id alone is the room
ROOM_OF_ID = dict(LABEL.findall(DIAGRAM))


def nodes(line: str) -> list[str]:
    """Returns the rooms in a line."""
    return [ROOM_OF_ID.get(name, name) for name in re.findall(r"\w+", LABEL.sub(r"\1", line))]


def rooms() -> set[str]:
    """Returns the nodes of the diagram, without its frames."""
    lines = [line.strip() for line in DIAGRAM.splitlines()[1:]]
    return {room for line in lines if line != "end" and not line.startswith("subgraph ") for room in nodes(line)}


def arrows() -> list[tuple[str, str]]:
    """Returns (room, imported room) for every arrow; `a & b --> c & d` is four arrows."""
    sides = [line.split("-->") for line in DIAGRAM.splitlines() if "-->" in line]
    return [(a, b) for left, right in sides for a in nodes(left) for b in nodes(right)]


def paths() -> list[str]:
    """Returns the words in backquotes that look like files or folders."""
    code = re.findall(r"`([^`\n]+)`", PAGE.replace(DIAGRAM, ""))
    return [word for word in code if re.fullmatch(r"[\w./]+", word) and ("/" in word or word.endswith((".py", ".md")))]


def imported(room: str) -> set[str]:
    """Returns the rooms that the files of a room import."""
    found = {
        home for name in FILES if room_of(name) == room for module, _ in imports(name) if (home := home_of(module))
    }
    return {room_of(name) for name in found} - {room}


def test_every_path_exists():
    found = paths()
    assert len(found) > 50
    missing = [path for path in found if not (PACKAGE / path).exists() and not (ROOT / path).exists()]
    assert not missing


def test_every_room_is_in_the_diagram():
    assert rooms() == {room for floor in FLOORS for room in floor}


def test_every_arrow_points_down_and_is_an_import():
    found = arrows()
    assert len(found) > 25 and len(set(found)) == len(found)
    assert [f"{a} --> {b}" for a, b in found if RANKS[a] <= RANKS[b]] == []
    assert [f"{a} --> {b}" for a, b in found if b not in imported(a)] == []


@pytest.mark.parametrize("room", RANKS)
def test_every_import_follows_from_the_arrows(room: str):
    """The rooms that a room imports are below it in the diagram."""
    below, todo = set(), [room]
    while todo:
        new = {b for a, b in arrows() if a == todo[-1]} - below
        todo.pop()
        below |= new
        todo += new
    down = {other for other in imported(room) if RANKS[other] < RANKS[room]}
    assert down <= below, f"draw an arrow from {room} to {', '.join(sorted(down - below))}"
