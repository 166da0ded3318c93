"""A long diagram in several columns, as on a page: it is cut where one blob alone leads on, and the arrow of this blob
goes to the top of the next column.

A cut through a frame makes two frames of it.  The cuts are those that are nearest to equal heights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .draw import Frame, Picture

INSIDE = 2  # boxes by which a column may be longer rather than to be cut inside a frame


def in_columns(drawn: Picture, columns: int) -> Picture:
    """Returns the diagram in this number of columns, or in fewer if it cannot be cut so often."""
    place = {box.key: i for i, box in enumerate(drawn.boxes)}
    steps = [(place[a.start], place[a.end]) for a in drawn.arrows if a.start in place and a.end in place]
    cuts = _chosen(drawn, columns, _ranks(len(place), steps), _possible(len(place), steps))
    if not cuts:
        return drawn
    column = list(accumulate(int(i in cuts) for i in range(len(place))))
    boxes = tuple(replace(b, frame=_in_column(b.frame, column[i])) for i, b in enumerate(drawn.boxes))
    at = {key: column[i] for key, i in place.items()}
    aside = lambda arrow: at.get(arrow.start) != at.get(arrow.end) and arrow.start in at and arrow.end in at
    arrows = tuple(replace(arrow, aside=aside(arrow)) for arrow in drawn.arrows)
    return replace(drawn, boxes=boxes, arrows=arrows, tops=tuple(drawn.boxes[i].key for i in (0, *cuts)))


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
