"""Mean images: Caffe's `.binaryproto` and numpy's `.npy`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..files import written_aside
from ..shape import show
from .entries import existing_file, foreign
from .formats.caffemodel import read_mean, write_mean


def convert_mean(source: Path, to: Path) -> str:
    """Write the array of one file in the form of the other; gives its shape in words."""
    existing_file(source, "mean file")
    if source.suffix == ".binaryproto":
        array = read_mean(source)
    else:
        try:
            array = np.asarray(np.load(source, allow_pickle=False, mmap_mode="r"), np.float32)
        except Exception as error:
            raise foreign(source, "a .npy of numbers", error) from error
    write = write_mean if to.suffix == ".binaryproto" else lambda path, a: _save(path, a)
    written_aside(to, lambda path: write(path, array))
    return show(array.shape)


def _save(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:  # numpy.save would add an ending to a name
        np.save(file, array, allow_pickle=False)
