"""Engine: the library that computes a layer in Caffe and its forks.  Many blocks have this field; it has no effect."""

from __future__ import annotations

import enum
from typing import Any

from ..schema import param


class Engine(enum.Enum):
    """The libraries that Caffe and its forks can be built with."""

    DEFAULT = 0
    CAFFE = 1
    CUDNN = 2
    MKL2017 = 3
    MKLDNN = 4


def engine() -> Any:
    """Returns the field `engine`, which is the same in every block."""
    return param("Library that computes the layer in Caffe.", default=Engine.DEFAULT, inert=True)
