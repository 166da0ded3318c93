"""A long diagram in several columns, as on a page: it is cut where one blob alone leads on, and the name of the layer
that outputs this blob is at the top of the next column.

A cut through a frame makes two frames of it.  The cuts are those that are nearest to equal heights.  Sizes are
estimated, in points, because other programs find the places of boxes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .draw import Arrow, Frame, Picture

INSIDE = 2  # boxes by which a column may be longer rather than to be cut inside a frame
LONG = 1200  # height or width of a diagram that is not divided: that of a page at two thirds of its size
SHORTER = 0.8  # length of the longest column, relative to that of one column, with which a diagram is divided
PAGE = 1.4  # the longer side of a page, relative to the other one
MOST = 20  # columns of a diagram that is divided to suit a page
RANK, GAP = 73, 20  # height of a box with the arrow below it; distance between boxes side by side
RANK_SIDEWAYS, HEIGHT = 180, 70  # width of a box with the arrow beside it; height of a box
TITLE, LINE, MARGIN = 6.4, 4.9, 18  # width of a character of a title and of a line, and of the margins of a box
CONTINUED = "continued"


def length_of(drawn: Picture, sideways: bool = False) -> int:
    """Returns the height of a diagram in one column; its width, if it is drawn from left to right."""
    return _size(drawn, [0] * len(drawn.boxes), sideways)[1]


def fitting(drawn: Picture, sideways: bool = False) -> int:
    """Returns the number of columns with which a diagram has about the proportions of a page; 1 if it is not long."""
    whole = length_of(drawn, sideways)
    if whole <= LONG:
        return 1

    def misfit(columns: int) -> float:
        breadth, length = _size(drawn, _column_of(drawn, columns), sideways)
        return abs(math.log(length / breadth / PAGE)) if length <= SHORTER * whole or columns == 1 else math.inf

    return min(range(1, MOST + 1), key=misfit)


def in_columns(drawn: Picture, columns: int) -> Picture:
    """Returns the diagram in this number of columns, or in fewer if it cannot be cut so often."""
    of = _column_of(drawn, columns)
    if not any(of):
        return drawn
    boxes = tuple(
        replace(box, frame=_in_column(box.frame, column)) for box, column in zip(drawn.boxes, of, strict=True)
    )
    at = {box.key: column for box, column in zip(drawn.boxes, of, strict=True)}
    titles = {box.key: box.title for box in drawn.boxes}
    ends: dict[str, str] = {}  # box -> the name below it that says that its blob leads to another column
    tops: dict[tuple[str, int], str] = {}  # box and another column -> its name at the top there
    loose = dict(drawn.loose)
    arrows: list[Arrow] = []
    for arrow in drawn.arrows:
        start, end = at.get(arrow.start), at.get(arrow.end)
        if start is None or end is None or start == end:
            arrows.append(arrow)
            continue
        if arrow.start not in ends:
            ends[arrow.start] = f"e{len(ends)}"
            loose[ends[arrow.start]] = CONTINUED
            arrows.append(replace(arrow, end=ends[arrow.start]))
        top = tops.setdefault((arrow.start, end), f"c{len(tops)}")
        loose[top] = titles[arrow.start]
        arrows.append(replace(arrow, start=top))
    return replace(drawn, boxes=boxes, arrows=tuple(arrows), loose=loose, tops=_tops(drawn, of, tops))


def _tops(drawn: Picture, of: Sequence[int], names: Mapping[tuple[str, int], str]) -> tuple[str, ...]:
    """Returns what is at the top of each column: the name of a box, or the first box."""
    found = {column: name for (_, column), name in reversed(list(names.items()))}
    for box, column in zip(drawn.boxes, of, strict=True):
        found.setdefault(column, box.key)
    return tuple(found[column] for column in sorted(found))


def _column_of(drawn: Picture, columns: int) -> list[int]:
    """Returns the column of each box."""
    count, steps = len(drawn.boxes), _steps(drawn)
    cuts = _chosen(drawn, columns, _ranks(count, steps), _possible(count, steps))
    return list(accumulate(int(i in cuts) for i in range(count)))


def _size(drawn: Picture, of: Sequence[int], sideways: bool) -> tuple[float, int]:
    """Returns the size of a diagram with these columns: across them, and along them."""
    inside = [(start, end) for start, end in _steps(drawn) if of[start] == of[end]]
    ranks = _ranks(len(of), inside)
    sizes: dict[tuple[int, int], float] = {}
    for box, column, rank in zip(drawn.boxes, of, ranks, strict=True):
        words = max(TITLE * len(box.title), *(LINE * len(line) for line in box.lines), 0.0)
        sizes[column, rank] = sizes.get((column, rank), 0.0) + GAP + (HEIGHT if sideways else words + MARGIN)
    largest: dict[int, float] = {}
    for (column, _), size in sizes.items():
        largest[column] = max(largest.get(column, 0.0), size)
    return sum(largest.values()), (RANK_SIDEWAYS if sideways else RANK) * (1 + max(ranks, default=0))


def _steps(drawn: Picture) -> list[tuple[int, int]]:
    """Returns the arrows between boxes, by the indices of the boxes."""
    place = {box.key: i for i, box in enumerate(drawn.boxes)}
    return [(place[a.start], place[a.end]) for a in drawn.arrows if a.start in place and a.end in place]


def _ranks(count: int, steps: Sequence[tuple[int, int]]) -> list[int]:
    """Returns for each box the number of boxes above it."""
    ranks = [0] * count
    for start, end in sorted(steps):
        ranks[end] = max(ranks[end], ranks[start] + 1)
    return ranks


def _possible(count: int, steps: Sequence[tuple[int, int]]) -> list[int]:
    """Returns the boxes before which the diagram can be cut: all arrows across the cut begin at one box."""
    reach = [0] * count
    for start, end in steps:
        reach[start] = max(reach[start], end)
    changes = [0] * (count + 1)
    for start, end in enumerate(reach):
        if end > start:
            changes[start + 1] += 1
            changes[end + 1 if end < count else count] -= 1
    crossing = list(accumulate(changes))
    return [i for i in range(1, count) if crossing[i] == 1]


def _chosen(drawn: Picture, columns: int, ranks: Sequence[int], cuts: Sequence[int]) -> list[int]:
    def cost(cut: int, wanted: float) -> float:
        inside = drawn.boxes[cut].frame is not None and drawn.boxes[cut].frame == drawn.boxes[cut - 1].frame
        return abs(ranks[cut] - wanted) + INSIDE * inside

    if not cuts:
        return []
    wanted = [max(ranks) * k / columns for k in range(1, columns)]
    return sorted({min(cuts, key=lambda cut: cost(cut, rank)) for rank in wanted})


def _in_column(frame: Frame | None, column: int) -> Frame | None:
    """Returns the part of a frame in one column."""
    if frame is None or not column:
        return frame
    return replace(frame, key=f"{frame.key}_{column}", inside=_in_column(frame.inside, column))
