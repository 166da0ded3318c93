"""Mean and standard deviation of a data layer's images, and other values that are measured once and cached.

The cache is a folder of small JSON files: `$NETDEF_CACHE`, else `netdef` in the user's cache folder.  A file's name is
a hash of everything that its values depend on.  A cache that cannot be written is not an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..files import write_atomically
from ..language.errors import NetdefError
from ..lazy import np

CHUNK = 256  # records decoded at a time


class Moments:
    """Running sums over images (c, h, w) of any size: mean and deviation of each channel, and the mean image."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Any = None  # (c) of x and of x^2, and the number of pixels
        self.squares: Any = None
        self.pixels = 0
        self.image: Any = None  # sum of all images, (c, h, w) float64; None if their shapes differ

    def add(self, image: Any) -> None:
        """Adds one image.  Raises ValueError if the preceding images have another number of channels."""
        x = image.astype(np.float64)
        if self.count == 0:
            self.sums, self.squares, self.image = np.zeros(len(x)), np.zeros(len(x)), np.zeros(x.shape)
        if len(x) != len(self.sums):
            raise ValueError(f"it has {len(x)} channels, but the preceding images have {len(self.sums)}")
        self.count += 1
        self.sums += x.sum((1, 2))
        self.squares += np.square(x).sum((1, 2))
        self.pixels += x[0].size
        if self.image is not None:
            self.image = self.image + x if self.image.shape == x.shape else None

    @property
    def mean(self) -> Any:
        """Mean of each channel, (c) float32."""
        return (self.sums / self.pixels).astype(np.float32)

    @property
    def deviation(self) -> Any:
        """Standard deviation of each channel, (c) float32; 1 for a constant channel."""
        variance = self.squares / self.pixels - np.square(self.sums / self.pixels)
        return np.where(variance > 1e-12, np.sqrt(np.maximum(variance, 0)), 1).astype(np.float32)

    @property
    def mean_image(self) -> Any:
        """The mean image, (c, h, w) float32; None if the images differ in shape."""
        return None if self.image is None else (self.image / self.count).astype(np.float32)


def standard(images: Iterator[Any], key: str) -> tuple[Any, Any]:
    """Returns (mean, deviation) of each channel, from the cache if it has `key`, else measured from `images`."""

    def measured() -> dict[str, Any]:
        moments = Moments()
        for image in images:
            moments.add(image)
        return {"mean": moments.mean.tolist(), "deviation": moments.deviation.tolist()}

    kept = cached("mean", key, ("mean", "deviation"), measured)
    return np.array(kept["mean"], np.float32), np.array(kept["deviation"], np.float32)


def cached(kind: str, key: str, names: Sequence[str], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns the JSON values of these names, from the cache if it has `key`, else measured and added to it."""
    try:
        file = cache_folder() / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    except RuntimeError:  # because a user may have no home folder, as in a container
        return measure()
    try:
        kept = json.loads(file.read_text())
        if all(isinstance(kept[name], list) for name in names):
            return kept
    except (OSError, ValueError, KeyError, TypeError):
        pass
    made = measure()
    with contextlib.suppress(NetdefError):  # because the cache is optional
        write_atomically(file, lambda temporary: temporary.write_text(json.dumps({"of": key} | made)))
    return made


def cache_folder() -> Path:
    """Returns the folder of cached values.  RuntimeError if none is given and the user has no home folder."""
    own = os.environ.get("NETDEF_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "netdef"


def fingerprint(path: Path) -> str:
    """Returns a string that changes when a file or the files of a folder change."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files]
    return repr([str(path.resolve()), [(name, s.st_size, s.st_mtime_ns) for name, s in stats]])
