"""What windows that slide over an image have in common: their sides given once or per axis, and where they stand.

Takes the fields of a layer as written (`kernel_size`, or `kernel_h` and `kernel_w`) and gives one number per spatial
axis; takes shapes and gives the size of the result.  Knows nothing of what is computed in a window.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..schema import Block
from ..shape import Dim, ShapeError


def window_words(block: Block) -> list[str]:
    """A window and its step as a drawing shows them, `["3x2", "/ 2"]`: each where the file gives it."""
    listed, h, w, strides = (getattr(block, name) for name in ("kernel_size", "kernel_h", "kernel_w", "stride"))
    sides = listed or tuple(side for side in (h, w) if side)
    words = ["x".join(map(str, sides * 2 if len(sides) == 1 else sides))] if sides else []
    step = max(strides, default=1)
    return [*words, f"/ {step}"] if step > 1 else words


def per_axis(
    block: Block, name: str, short: str, axes: int, default: int | None = None, *, lone: bool = False
) -> tuple[int, ...]:
    """The values of a repeated field `name` for each of `axes` spatial axes, or those of `short`_h and `short`_w, of
    which one may be left out (it is 0) if `lone`.

    ShapeError where both ways are mixed, where a number is missing, or where there are too few or too many."""
    listed: tuple[int, ...] = getattr(block, name)
    h, w = getattr(block, f"{short}_h"), getattr(block, f"{short}_w")
    if h is None and w is None:
        return _spread(listed, name, axes, default)
    given = f"{short}_h" if h is not None else f"{short}_w"
    if listed:
        raise ShapeError(f"`{given}` and `{name}` are both given; give one of them.", field=given)
    if axes != 2:
        raise ShapeError(
            f"`{given}` is for 2 spatial axes, and the input has {axes}; give `{name}` once, or {axes} times.",
            field=given,
        )
    if (h is None or w is None) and not lone:
        other = f"{short}_w" if w is None else f"{short}_h"
        raise ShapeError(f"`{given}` is given without `{other}`; give both, or `{name}` once.", field=given)
    return (h or 0, w or 0)


def _spread(listed: tuple[int, ...], name: str, axes: int, default: int | None) -> tuple[int, ...]:
    if not listed:
        if default is None:
            raise ShapeError(f"`{name}` must be given: once, or once for each of the {axes} spatial axes.", field=name)
        return (default,) * axes
    if len(listed) not in (1, axes):
        raise ShapeError(
            f"`{name}` is given {len(listed)} times, and the input has {axes} spatial axes; "
            f"give it once, or {axes} times.",
            field=name,
        )
    return listed * axes if len(listed) == 1 else listed


def steps(size: Dim, extent: int, stride: int, pad: tuple[int, int], axis: str) -> Dim:
    """How many windows of `extent` fit, whole, into `size` numbers with `pad` before and after them."""
    room = size + pad[0] + pad[1]
    if room < extent:
        padded = f" ({room} with its padding)" if any(pad) else ""
        raise ShapeError(
            f"the window is {extent} long and the input only {size}{padded} in its {axis}; "
            f"make the window smaller, or pad by {extent - room} more.",
            field="kernel_size",
        )
    return (room - extent) // stride + 1


def axis_names(axes: int) -> Sequence[str]:
    """How the spatial axes are called in an error."""
    return {1: ["length"], 2: ["height", "width"], 3: ["depth", "height", "width"]}.get(
        axes, [f"spatial axis {i}" for i in range(axes)]
    )
