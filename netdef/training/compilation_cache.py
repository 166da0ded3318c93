"""A cache of compiled programs on disk, so that a net is compiled only once."""

from __future__ import annotations

import os
from pathlib import Path

import jax

SHORTEST = 0.3  # seconds: programs that compile faster are not cached


def keep_compiled() -> None:
    """Makes jax cache compiled programs in $NETDEF_CACHE, by default ~/.cache/netdef.  Does nothing if $NETDEF_CACHE is
    empty or jax already has a cache."""
    folder = os.environ.get("NETDEF_CACHE", str(Path.home() / ".cache" / "netdef"))
    if not folder or getattr(jax.config, "jax_compilation_cache_dir", None):
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # the home folder is not writable: the net is compiled each time
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST)
    compilation_cache.reset_cache()  # because jax reads the folder only once, at the first program of the process
