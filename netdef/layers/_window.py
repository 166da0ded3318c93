"""Sizes of sliding windows: fields with one value or one per axis, and the number of windows.

Converts the fields of a layer (`kernel_size`, or `kernel_h` and `kernel_w`) to one value per spatial axis, and sizes of
the input to sizes of the result.  Independent of what is computed in a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..schema import Block, param
from ..shape import Dim, ShapeError


def window_words(block: Block) -> list[str]:
    """Returns a window and its stride as diagrams show them, `["3x2", "/ 2"]`, each only if the file has it."""
    listed, h, w, strides = (getattr(block, name) for name in ("kernel_size", "kernel_h", "kernel_w", "stride"))
    sides = listed or tuple(side for side in (h, w) if side)
    words = ["x".join(map(str, sides * 2 if len(sides) == 1 else sides))] if sides else []
    step = max(strides, default=1)
    return [*words, f"/ {step}"] if step > 1 else words


def per_axis(
    block: Block, name: str, short: str, axes: int, default: int | None = None, *, lone: bool = False
) -> tuple[int, ...]:
    """Returns one value for each of `axes` spatial axes: from the repeated field `name`, or from `short`_h and
    `short`_w.  With `lone`, one of these two may be missing and is then 0.

    Raises ShapeError if both forms are mixed, or if values are missing or too many."""
    listed: tuple[int, ...] = getattr(block, name)
    h, w = getattr(block, f"{short}_h"), getattr(block, f"{short}_w")
    if h is None and w is None:
        return _spread(listed, name, axes, default)
    given = f"{short}_h" if h is not None else f"{short}_w"
    if listed:
        raise ShapeError(f"`{given}` and `{name}` are both given; give only one of them.", field=given)
    if axes != 2:
        raise ShapeError(
            f"`{given}` requires 2 spatial axes, but the input has {axes}; use `{name}` with 1 or {axes} values.",
            field=given,
        )
    if (h is None or w is None) and not lone:
        other = f"{short}_w" if w is None else f"{short}_h"
        raise ShapeError(f"`{given}` is given without `{other}`; give both, or only `{name}`.", field=given)
    return (h or 0, w or 0)


SIDES = ("pad_t", "pad_b", "pad_l", "pad_r")
Pads = tuple[tuple[int, int], ...]  # before and after, for each spatial axis


def side_field(what: str) -> Any:
    """Returns the field for the padding on one side, which several forks have."""
    return param(f"{what} (forks of Intel, Synopsys and others).", default=None, at_least=0)


def padding(block: Block, axes: int, *, lone: bool = False) -> Pads:
    """Returns the padding of each of `axes` spatial axes: from `pad`, from `pad_h` and `pad_w`, or from the four sides,
    which count only if one of them is not 0."""
    sides = {name: getattr(block, name) or 0 for name in SIDES}
    given = next((name for name, value in sides.items() if value), None)
    if given is None:
        return tuple((p, p) for p in per_axis(block, "pad", "pad", axes, 0, lone=lone))
    both = next((name for name in ("pad", "pad_h", "pad_w") if getattr(block, name) not in ((), None)), None)
    if both is not None:
        raise ShapeError(f"`{given}` and `{both}` are both given; give only one of them.", field=given)
    if axes != 2:
        raise ShapeError(f"`{given}` requires 2 spatial axes, but the input has {axes}; use `pad`.", field=given)
    top, bottom, left, right = sides.values()
    return ((top, bottom), (left, right))


def _spread(listed: tuple[int, ...], name: str, axes: int, default: int | None) -> tuple[int, ...]:
    if not listed:
        if default is None:
            raise ShapeError(f"`{name}` is missing; give 1 value, or one for each of {axes} spatial axes.", field=name)
        return (default,) * axes
    if len(listed) not in (1, axes):
        raise ShapeError(
            f"`{name}` has {len(listed)} values, but the input has {axes} spatial axes; give 1 value, or {axes}.",
            field=name,
        )
    return listed * axes if len(listed) == 1 else listed


def steps(size: Dim, extent: int, stride: int, pad: tuple[int, int], axis: str) -> Dim:
    """Returns how many complete windows of `extent` fit into `size` elements with padding `pad` before and after."""
    room = size + pad[0] + pad[1]
    if room < extent:
        padded = f" ({room} with padding)" if any(pad) else ""
        raise ShapeError(
            f"the {axis} of the window is {extent}, but the {axis} of the input is only {size}{padded}; "
            f"use a smaller window, or increase the total padding by {extent - room}.",
            field="kernel_size",
        )
    return (room - extent) // stride + 1


def axis_names(axes: int) -> Sequence[str]:
    """Returns the names of the spatial axes in error messages."""
    return {1: ["length"], 2: ["height", "width"], 3: ["depth", "height", "width"]}.get(
        axes, [f"spatial axis {i}" for i in range(axes)]
    )
