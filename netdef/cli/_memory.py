"""How the process allocates memory on a CPU."""

from __future__ import annotations

import ctypes
import os
import sys

# Parameters of glibc's mallopt (malloc.h) and their values: one arena for all threads, no separate mappings for large
# blocks, and nothing given back to the kernel.
KEEPING = {"M_ARENA_MAX": (-8, 1), "M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1)}


def keep_freed_memory() -> bool:
    """Makes this process keep freed memory for its next allocation; returns whether it does.

    XLA allocates the temporary memory of a program for each of its runs, hundreds of megabytes, and the kernel would
    clear every page of it again: a fifth of the time of a step of ResNet-50. Only possible before jax starts its
    threads, with glibc, and not done if the user has set the allocator's variables."""
    chosen = any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ
    if chosen or sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all([mallopt(*setting) for setting in KEEPING.values()])
