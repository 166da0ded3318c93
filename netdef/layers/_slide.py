"""How the filters of a convolution slide over an image (n, spatial..., c)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..lazy import Array, jnp


@dataclass(frozen=True)
class Slide:
    """How filters slide: the stride, the zero padding before and after, and the dilation of each spatial axis, and the
    number of groups."""

    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]
    groups: int = 1

    def windows(self, offsets: Sequence[int], steps: Sequence[int]) -> tuple[slice, ...]:
        """Returns the slices of a padded image that select the element at `offsets` of every window."""
        rows = zip(offsets, steps, self.strides, self.dilations, strict=True)
        return tuple(slice(o * d, o * d + s * (n - 1) + 1, s) for o, n, s, d in rows)

    def steps(self, size: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
        """Returns the spatial size of the result."""
        rows = zip(size, kernel, self.strides, self.pads, self.dilations, strict=True)
        return tuple((n + sum(pad) - d * (k - 1) - 1) // s + 1 for n, k, s, pad, d in rows)


def padded(x: Array, slide: Slide) -> Array:
    """Returns the image with its zero padding."""
    return jnp.pad(x, [(0, 0), *slide.pads, (0, 0)])
