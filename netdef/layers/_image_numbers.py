"""True boxes in the form of the SSD fork, (1, 1, count, 8): rows that begin with the number of their image."""

from __future__ import annotations

from ..lazy import Array, jax, lax
from ..shape import Shape


def of_ssd(truth: Shape) -> bool:
    """Returns whether the rows of true boxes are: image, label, instance, xmin, ymin, xmax, ymax, difficult."""
    return len(truth) == 4 and truth[0] == 1 and truth[3] == 8


def own_image(image: Array, rows: int) -> Array:
    """Returns the numbers of images, of which a device has `rows`, counted from the first row of this device; images of
    other devices are below 0 or at least `rows`."""
    axes = jax.sharding.get_abstract_mesh().manual_axes
    return image - lax.axis_index(axes[0]) * rows if axes else image
