"""Compiled programs kept on the disk, so that the second start of a net does not wait for XLA again."""

from __future__ import annotations

import os
from pathlib import Path

import jax

SHORTEST = 0.3  # seconds of compiling that are worth a file


def keep_compiled() -> None:
    """Have jax keep what it compiles in $NETDEF_CACHE, or ~/.cache/netdef; an empty $NETDEF_CACHE, or a cache that
    jax was given already, changes nothing."""
    if getattr(jax.config, "jax_compilation_cache_dir", None):
        return
    try:
        folder = os.environ["NETDEF_CACHE"] if "NETDEF_CACHE" in os.environ else str(Path.home() / ".cache" / "netdef")
        if not folder:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home folder
        return  # the net is compiled each time
    if not os.access(folder, os.W_OK):
        return  # jax would warn at each program
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST)
    compilation_cache.reset_cache()  # jax asks for the folder once, at the first program of the process
