"""A cache of compiled programs on disk, so that a net is compiled only once."""

from __future__ import annotations

import os
from pathlib import Path

import jax

SHORTEST = 0.1  # seconds: programs that compile faster are not cached


def keep_compiled() -> None:
    """Makes jax cache compiled programs in $NETDEF_CACHE, by default ~/.cache/netdef.  Does nothing if $NETDEF_CACHE is
    empty or jax already has a cache."""
    if getattr(jax.config, "jax_compilation_cache_dir", None):
        return
    try:
        folder = os.environ["NETDEF_CACHE"] if "NETDEF_CACHE" in os.environ else str(Path.home() / ".cache" / "netdef")
        if not folder:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        return  # the net is compiled each time
    if not os.access(folder, os.W_OK):
        return  # jax would warn at each program
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST)
    compilation_cache.reset_cache()  # because jax reads the folder only once, at the first program of the process
