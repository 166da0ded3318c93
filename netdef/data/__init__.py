"""The data layers, one file per family, and the batches that they deliver.

for batch in netdef.data.batches("net.prototxt", phase="TEST"): ...     # {top: float32 array}, endless
feed = netdef.data.Feed(net, seed=0)                                     # the same, with a state to save and restore
resident = netdef.data.on_device(feed, budget=1 << 30)                   # batches made inside a compiled function

A custom data source is a subclass of `DataLayer` whose `open` returns a `Reader` or, if it delivers images, a subclass
of `ImageLayer` whose `records` returns `Records`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..language.errors import NetdefError

if TYPE_CHECKING:
    from .base import DataLayer, Fit, Reader
    from .device import on_device
    from .feed import Feed
    from .layers._image_layer import Corrupt, ImageLayer, Record, Records

# Imported on first use: name -> module.
_LATER = {
    **dict.fromkeys(("DataLayer", "Fit", "Reader"), ".base"),
    **dict.fromkeys(("Corrupt", "ImageLayer", "Record", "Records"), ".layers._image_layer"),
    "Feed": ".feed",
    "on_device": ".device",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'netdef.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name], __name__), name)


def batches(
    path_or_text: str | Path, phase: str = "TEST", root: str | Path | None = None, *, seed: int = 0, **options: Any
) -> Iterator[dict[str, Any]]:
    """Returns an endless iterator over the batches, {top: float32 array}, of a net's data layers in one phase.

    `root` is the folder that paths in the net are relative to (default: the folder of its file); `seed` determines all
    random numbers; further options are those of `netdef.load`.  Raises CompileError, or NetdefError for the data.
    """
    from ..compiler import load
    from .feed import Feed

    net = load(path_or_text, phase=phase, **options)

    def deliver() -> Iterator[dict[str, Any]]:
        with Feed(net, seed=seed, root=root) as feed:
            if not feed.readers:
                raise NetdefError(f"net {net.name or '(no name)'} has no data layer in phase {net.phase.name}.")
            yield from feed

    return deliver()


__all__ = [
    "Corrupt",
    "DataLayer",
    "Feed",
    "Fit",
    "ImageLayer",
    "Reader",
    "Record",
    "Records",
    "batches",
    "on_device",
]
