"""Opens data sets by path alone, for the tools: each image layer and each format reports which paths it reads.

records = open_source(Path("faces"))    # a folder of classes, an image list, a database, .tar, .npz, .h5, MNIST, CIFAR
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..files import shown
from ..language.errors import NetdefError
from ..layers.base import LAYERS
from .base import Fit
from .formats.base import FORMATS, DataSet
from .layers._image_layer import ImageLayer, Records
from .layers.tar import TarData, is_pattern


def open_source(path: Path, **fields: Any) -> Records:
    """Opens the records of a data set.  `fields` belong to the layer that reads it: `is_color`, `root_folder`, ...

    Raises NetdefError if its format is unknown."""
    path = Path(path)
    if not os.path.exists(path):
        if is_pattern(str(path)):
            return TarData.open_path(path, **fields)
        raise NetdefError(f"{shown(path)} does not exist.")
    best = max(_readers(), key=lambda reader: reader.reads(path))
    if best.reads(path) is Fit.NO:
        raise NetdefError(f"{path} is not a data set of a known format.")
    return best.open_path(path, **fields)


def _readers() -> Iterator[type[DataSet] | type[ImageLayer]]:
    """Yields everything that may read a path, including layers of plugins."""
    yield from (cls for _, cls in FORMATS)
    yield from (cls for _, cls in LAYERS if issubclass(cls, ImageLayer))
