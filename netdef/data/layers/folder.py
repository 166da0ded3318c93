"""ImageFolder: a folder with one subfolder of images per class.  An addition of netdef's."""

from __future__ import annotations

import os
from pathlib import Path

from ...files import Locate
from ...language.expansion.folders import subfolders
from ...layers.base import Phase
from ...lazy import np
from ...schema import param
from ..base import Fit
from ._image_layer import Records
from .image_list import FileRecords, ImageFiles

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm", ".pnm"}


class ImageFolder(ImageFiles, type="ImageFolder", block="image_folder_param"):
    """Images of a folder: its subfolders, sorted by name, are the classes 0, 1, 2, ...

    Bottoms: none.  Tops: data (batch_size, c, h, w), label (batch_size).
    Images may be in nested folders of a class.  In phase TRAIN they are shuffled in each epoch.  One folder can be used
    for both phases with `sample_param { split: 0.8 }`.
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    source: str = param("The folder.", default="")
    batch_size: int = param("Number of images in a batch.", default=32, at_least=1)
    shuffle: bool = param("Shuffle the images in each epoch, in phase TRAIN.", default=True)

    @classmethod
    def reads(cls, path: Path) -> Fit:
        return Fit.ANY if path.is_dir() else Fit.NO

    def shuffled(self, phase: Phase) -> bool:
        return self.shuffle and phase is Phase.TRAIN

    def class_names(self, locate: Locate) -> list[str]:
        folder = self.source_path(locate, self.source, "the folder of images")
        if not folder.is_dir():
            raise self.fault(f"{folder} is a file; `source` must be a folder with one subfolder per class.")
        with self.reading(folder, "folder"):
            names = subfolders(folder)
        if not names:
            raise self.fault(f"{folder} has no subfolders; put the images of each class into a subfolder of its name.")
        return names

    def records(self, locate: Locate, first_only: bool = False) -> Records:
        names = self.class_names(locate)
        folder = locate(self.source)
        paths: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(names):
            found = sorted(images_in(folder / name))
            if first_only and found:
                return FileRecords(self, 1, lambda _, path=found[0]: path, [np.array([label])])
            if not found:
                raise self.fault(f"the class folder {folder / name} contains no images; remove it or add some.")
            paths += found
            labels += [label] * len(found)
        return FileRecords(self, len(paths), paths.__getitem__, [np.array(labels, np.int64)])


def images_in(folder: Path) -> list[Path]:
    """Returns every image file in a folder and its subfolders."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in files if Path(name).suffix.lower() in SUFFIXES and name[0] != "."]
    return found
