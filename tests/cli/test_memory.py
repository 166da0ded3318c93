"""A command that runs nets keeps the memory that it has freed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from netdef.cli import RUNNING, main

FAULTS = """
import resource, sys
import numpy as np
from netdef.cli import keep_freed_memory
kept = keep_freed_memory()
def touch():
    return np.ones(8 << 20, np.float32).sum()  # 32 MiB, twice
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    touch()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> tuple[str, int]:
    """Returns whether memory is kept, and the page faults of ten allocations."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "GLIBC_TUNABLES"}
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, env=env | environment)
    kept, count = done.stdout.split()
    return kept, int(count)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_freed_memory_is_used_again() -> None:
    kept, count = faults()
    assert kept == "True" and count < 100
    kept, count = faults(MALLOC_TRIM_THRESHOLD_="131072")  # the user's choice
    assert kept == "False"


def test_only_for_the_commands_that_run_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr("netdef.cli.keep_freed_memory", lambda: called.append("kept"))
    for command in ("check", *RUNNING):
        monkeypatch.setattr(sys, "argv", ["netdef", command, "--help"])
        main()
    assert len(called) == len(RUNNING)
