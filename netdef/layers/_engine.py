"""Engine: who computes a layer in Caffe and its forks.  Files name it in many blocks; here it changes nothing."""

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
    """The field `engine`, the same in every block."""
    return param("Library that computes the layer in Caffe.", default=Engine.DEFAULT, inert=True)
