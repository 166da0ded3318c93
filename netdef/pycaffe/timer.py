"""`caffe.Timer`."""

from __future__ import annotations

import time


class Timer:
    """The time between `start` and `stop`, `ms`, in milliseconds."""

    def __init__(self) -> None:
        self._start = self._end = 0.0

    def start(self) -> None:
        self._start = self._end = time.perf_counter()

    def stop(self) -> None:
        self._end = time.perf_counter()

    @property
    def ms(self) -> float:
        return (self._end - self._start) * 1000
