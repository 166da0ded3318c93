"""The mesh of several devices: one axis, along which they divide the rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ..language.errors import NetdefError

AXIS = "data"

# A number or "all"; the indices that Caffe's --gpu names, or slice(None) for all of them; or the default.
Devices = int | str | Sequence[int] | slice | None


def mesh_of(devices: Sequence[Any]) -> Mesh:
    """Returns the mesh of these devices of JAX, in this order."""
    return Mesh(np.array(devices), (AXIS,))


def chosen(devices: int | str | Sequence[int] | slice) -> list[Any]:
    """Returns the devices of JAX that are meant.  NetdefError if JAX does not find them."""
    present = jax.devices()
    what = f"JAX finds {len(present)} {present[0].platform} device{'s' if len(present) > 1 else ''}"
    if devices == "all":
        return present
    if isinstance(devices, slice):
        return present[devices]
    if isinstance(devices, str):
        raise NetdefError(f'devices: expected a number, "all" or a list of indices, not "{devices}".')
    if isinstance(devices, int):
        if not 1 <= devices <= len(present):
            raise NetdefError(f"the run is for {devices} devices, but {what}{_simulated(present, devices)}.")
        return present[:devices]
    indices = list(dict.fromkeys(devices))
    if not indices or max(indices) >= len(present) or min(indices) < 0:
        given = ",".join(map(str, indices))
        raise NetdefError(f"the run is for the devices {given or 'of an empty list'}, but {what}, counted from 0.")
    return [present[i] for i in indices]


def _simulated(present: Sequence[Any], wanted: int) -> str:
    if wanted < 1 or present[0].platform != "cpu":
        return ""
    return f"; to try several on one CPU, set XLA_FLAGS=--xla_force_host_platform_device_count={wanted}"
