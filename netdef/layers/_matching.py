"""Matching of predicted or default boxes with true boxes, as in MatchBBox of the SSD fork's bbox_util.cpp.

The overlaps are (true boxes, boxes) of a whole batch. Each true box belongs to a group, an image or a class of an
image, and is matched only within it; 0 means that a pair cannot be matched.
"""

from __future__ import annotations

from ..lazy import Array, jnp, lax

Matches = tuple[Array, Array]  # overlaps and indices of true boxes, (groups, boxes)


def claims(overlaps: Array, least: float) -> tuple[Array, Array]:
    """Returns for overlaps (detections, true boxes) which true box each detection claims, the one that it overlaps
    most, at least by `least`, and whether it is the first one that claims it.  Overlaps of pairs that cannot match are
    below 0."""
    best = jnp.max(overlaps, 1, initial=-1.0)
    nearest = (overlaps == best[:, None]) & ((best >= least) & (best >= 0))[:, None]
    nearest &= jnp.cumsum(nearest, 1) == 1  # the first in case of ties
    return nearest, jnp.any(nearest & (jnp.cumsum(nearest, 0) == 1), 1)


def best_matches(overlaps: Array, group: Array, groups: int) -> Matches:
    """Returns for each box the true box of the group that it overlaps most, the first in case of ties: (groups, boxes);
    -1 where it overlaps none."""

    def step(state: Matches, one: tuple[Array, Array, Array]) -> tuple[Matches, None]:
        best, who = state
        at, values, index = one
        better = values > best[at]
        best = best.at[at].set(jnp.where(better, values, best[at]))
        return (best, who.at[at].set(jnp.where(better, index, who[at]))), None

    number, boxes = overlaps.shape
    start = jnp.zeros((groups, boxes), overlaps.dtype), jnp.full((groups, boxes), -1, jnp.int32)
    return lax.scan(step, start, (group, overlaps, jnp.arange(number, dtype=jnp.int32)))[0]


def bipartite(overlaps: Array, group: Array, groups: int) -> Array:
    """Returns the true box (groups, boxes) of each box, -1 where it has none: the pair of a group with the largest
    overlap is matched, then the next one of boxes that are not matched; in case of ties, the first box comes first."""
    number, boxes = overlaps.shape
    column = jnp.arange(boxes)
    member = group == jnp.arange(groups)[:, None]  # (groups, true boxes)

    def nearest(overlaps: Array) -> tuple[Array, Array]:
        most = jnp.max(overlaps, 1)
        return most, jnp.min(jnp.where(overlaps == most[:, None], column, boxes), 1)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        overlaps, matched, most, at = state
        best = jnp.max(jnp.where(member, most, 0.0), 1, keepdims=True, initial=0.0)
        among = member & (most == best) & (best > 0)
        box = jnp.min(jnp.where(among, at, boxes), 1, initial=boxes)
        among &= at == box[:, None]
        true = jnp.min(jnp.where(among, jnp.arange(number), number), 1, initial=number)
        matched = matched.at[true].set(box, mode="drop")
        overlaps = jnp.where(column == box[group][:, None], 0.0, overlaps).at[true].set(0.0, mode="drop")
        return overlaps, matched, *nearest(overlaps)

    start = (overlaps, jnp.full(number, boxes), *nearest(overlaps))
    matched = lax.while_loop(lambda state: jnp.any(state[2] > 0), step, start)[1]
    nothing = jnp.full((groups, boxes), -1, jnp.int32)
    return nothing.at[group, matched].set(jnp.arange(number, dtype=jnp.int32), mode="drop")
