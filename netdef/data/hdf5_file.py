"""Datasets of HDF5 files, checked before memory is requested for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..files import shown
from ..language.errors import NetdefError
from .damage import check_size

KIND = "HDF5 file"


def dataset(file: Any, path: Path, name: str, fault: Callable[[str], NetdefError] = NetdefError) -> Any:
    """Returns the dataset of numbers `name` of an open file.  Raises NetdefError if it is missing or damaged."""
    import h5py

    if name not in file:
        there = ", ".join(f"`{shown(other)}`" for other in file) or "no dataset"
        source = "a top is read from the dataset of the same name"
        raise fault(f"{path} has no dataset `{name}`; {source}, and the file has {there}.")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.shape is None or found.dtype.kind not in "fiub":
        kind = getattr(found, "dtype", "a group")
        raise fault(f"`{name}` in {path} is not an array of numbers, but {kind}.")
    if not found.is_virtual and found.external is None:
        size = math.prod(found.shape) * found.dtype.itemsize
        check_size(path, KIND, name, size, fault)
        stored = found.id.get_storage_size()
        if found.chunks is None and stored not in (0, size):
            raise fault(f"{path} is not a readable {KIND} (`{name}` has {stored} of {size} bytes).")
    return found
