"""Functions that run in another process, in which JAX simulates eight devices on the CPU.

def losses(path): ...                                # a function at the top level of a test module
eight(losses, path)                                  # its result, which must be picklable, or its error
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

DEVICES = 8


@pytest.fixture(scope="session")
def eight() -> Iterator[Callable[..., Any]]:
    """Calls functions in the process with eight devices; it is started once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        flags = os.environ.get("XLA_FLAGS", "")
        patch.setenv("XLA_FLAGS", f"{flags} --xla_force_host_platform_device_count={DEVICES}")
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        pool.submit(os.getpid).result()  # the process starts with these flags
    with pool:
        yield lambda function, *given, **named: pool.submit(function, *given, **named).result()
