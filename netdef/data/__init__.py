"""Data layers, a file per family, and the batches that they deliver.

for batch in netdef.data.batches("net.prototxt", phase="TEST"): ...     # {top: float32 array}, without end
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def batches(
    path_or_text: str | Path, phase: str = "TEST", root: str | Path | None = None, *, seed: int = 0, **options: Any
) -> Iterator[dict[str, Any]]:
    """Batches of a net's data layers: {top: float32 array}, the layers of `phase` alone, without end.

    `root` is the folder that paths in the net are relative to (default: the folder of its file); `seed` decides every
    random number; further options are those of `netdef.load`.  Errors: CompileError, NetdefError for the data.
    """
    from ..compiler import load
    from .feed import Feed

    net = load(path_or_text, phase=phase, **options)

    def deliver() -> Iterator[dict[str, Any]]:
        with Feed(net, seed=seed, root=root) as feed:
            if not feed.readers:
                return
            yield from feed

    return deliver()
