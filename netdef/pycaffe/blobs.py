"""Blobs as in pycaffe: NumPy arrays `data` and `diff`, which are updated in place.

An array is on the device until a script accesses it. From then on it is a NumPy array, which every pass reads again and
writes to. Arrays that a script never accesses are therefore not copied, and references to the others are up to date.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..layers._caffe_class import OldAxes
from ..shape import Shape, show
from .errors import WrongValue, unknown


class Held:
    """One float32 array: on the device, and as a NumPy array after the first access. It is initially zero."""

    def __init__(self, shape: Shape, fill: float = 0.0):
        self.shape, self._fill = tuple(shape), fill
        self._host: np.ndarray | None = None
        self._device: Any = None

    def host(self) -> np.ndarray:
        """Returns the array for a script, which may write to it."""
        if self._host is None:
            made = np.full(self.shape, self._fill, np.float32)
            if self._device is not None:
                made[...] = np.asarray(self._device, np.float32).reshape(self.shape)
            self._host, self._device = made, None
        return self._host

    def value(self) -> Any:
        """Returns the array for JAX; a copy if a script has accessed it, because JAX could read later changes."""
        if self._host is not None:
            return jnp.array(self._host, copy=True)
        if self._device is None:
            self._device = jnp.full(self.shape, self._fill, jnp.float32)
        return self._device

    def put(self, value: Any) -> None:
        """Stores a result of JAX."""
        if tuple(np.shape(value)) != self.shape:
            value = value.reshape(self.shape)
        if self._host is None:
            self._device = value
        else:
            np.copyto(self._host, np.asarray(value, np.float32))

    def clear(self) -> None:
        """Sets the array to zero."""
        if self._host is None:
            self._device, self._fill = None, 0.0
        else:
            self._host[...] = 0

    def resize(self, shape: Shape) -> None:
        """Changes the shape. As in Caffe, values are kept in their order as far as they fit."""
        shape = tuple(shape)
        if shape == self.shape:
            return
        before = self.host().reshape(-1) if self._host is not None else None
        self.shape, self._host, self._device = shape, None, None
        if before is not None:
            flat = self.host().reshape(-1)
            count = min(flat.size, before.size)
            flat[:count] = before[:count]


class Blob(OldAxes):
    """`data` and `diff`, float32 arrays of the same shape."""

    def __init__(self, shape: Shape, loss_weight: float = 0.0):
        self._data, self._diff = Held(shape), Held(shape, loss_weight)

    @property
    def data(self) -> np.ndarray:
        return self._data.host()

    @property
    def diff(self) -> np.ndarray:
        return self._diff.host()

    @property
    def shape(self) -> Shape:
        return self._data.shape

    def reshape(self, *dims: Any) -> None:
        """Changes the shape: `blob.reshape(1, 3, 227, 227)`. The next pass updates the shapes of other blobs."""
        given = tuple(int(d) for d in (dims[0] if len(dims) == 1 and not np.isscalar(dims[0]) else dims))
        if any(d < 0 for d in given):
            raise WrongValue(f"a blob cannot have the shape {show(given)}")
        self._data.resize(given)
        self._diff.resize(given)

    def __repr__(self) -> str:
        return f"<Blob {show(self.shape)}>"


class Named(OrderedDict):
    """A dict in the order of the net. The error for a missing name suggests similar ones."""

    def __init__(self, what: str, items: Any, aliases: dict[str, str] | None = None):
        super().__init__(items)
        self.what, self.aliases = what, aliases or {}

    def __missing__(self, name: Any) -> Any:
        if name in self.aliases:
            return self[self.aliases[name]]
        raise unknown(name, self.what, list(self))


def wait(tree: Any) -> Any:
    """Waits until results are computed, because scripts may then write to the inputs."""
    return jax.block_until_ready(tree)
