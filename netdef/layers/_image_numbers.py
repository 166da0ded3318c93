"""Numbers of images in a batch, where several devices each compute their own rows of it."""

from __future__ import annotations

from ..lazy import Array, jax, lax


def own_image(image: Array, rows: int) -> Array:
    """Returns the numbers of images, of which a device has `rows`, counted from the first row of this device; images of
    other devices are below 0 or at least `rows`."""
    axes = jax.sharding.get_abstract_mesh().manual_axes
    return image - lax.axis_index(axes[0]) * rows if axes else image
