"""ArrayData: NumPy and HDF5 files.  An addition of netdef's."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from ...files import Locate
from ...layers.base import Phase
from ...lazy import np
from ...schema import param
from ...shape import Shape
from ..base import Batch, Fit, Process, Reader
from ..damage import reading
from ..hdf5_file import KIND as HDF5
from ..hdf5_file import dataset
from ..npy_file import header, rows_of
from ._image_layer import ImageLayer, ImageReader, Record, Records

KIND = "NumPy file"
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")


class ArrayData(ImageLayer, type="ArrayData", block="array_data_param"):
    """Rows of arrays: an .npz, .npy or .h5 file, a folder of .npy files, or one of .npz files with the same arrays.

    Bottoms: none.  Tops: any number, (batch_size, rest of the array's shape...).
    Each top is read from the array of the same name, or from the array that `array` lists for it.  `transform_param`
    applies to the first top; uint8 arrays (n, h, w) are images of one channel.
    Source: netdef's own.  Differs: Caffe has no such layer.
    """

    n_tops = (1, None)

    source: str = param("File or folder.", default="")
    batch_size: int = param("Number of rows in a batch.", default=32, at_least=1)
    shuffle: bool = param("Shuffle the rows in each epoch, in phase TRAIN.", default=True)
    array: tuple[str, ...] = param(
        "Names of the arrays, in the order of the tops; default: the names of the tops.", default=()
    )
    channels_last: bool = param("Whether the first array is (n, h, w, c).", default=False)

    @classmethod
    def reads(cls, path: Path) -> Fit:
        files = [path] if path.is_file() else path.iterdir()
        return Fit.NAME if any(file.suffix in (".npz", ".npy") for file in files) else Fit.NO

    @classmethod
    def tops_of(cls, path: Path) -> tuple[str, ...]:
        """Returns `data` and `label`; for other .npz files, the first arrays of images and of one label per row."""
        if path.suffix == ".npy":
            return ("data",)
        tops = super().tops_of(path)
        if path.suffix != ".npz":
            return tops
        with reading(path, KIND), path.open("rb") as file, np.load(file, allow_pickle=False) as pack:
            if all(top in pack for top in tops):
                return tops
            images = next((name for name in pack if pack[name].ndim >= 2), pack.files[0])
            rows = len(pack[images])
            label = next((n for n in pack if n != images and pack[n].shape == (rows,)), None)
        return (images,) if label is None else (images, label)

    def shuffled(self, phase: Phase) -> bool:
        return self.shuffle and phase is Phase.TRAIN

    def records(self, locate: Locate, first_only: bool = False) -> _Rows:
        path = self.source_path(locate, self.source, "the array file")
        files = self._files(path)
        packs = [self._arrays(file, path, first_only) for file in (files[:1] if first_only else files)]
        return _Rows(self, path, packs, files)

    def _files(self, path: Path) -> list[Any]:
        """Returns the containers of the arrays: .npz files, or {name: .npy file}."""
        if path.is_file():
            return [{self._names[0]: path} if path.suffix == ".npy" else path]
        packs = sorted(path.glob("*.npz"))
        single = {file.stem: file for file in sorted(path.glob("*.npy"))}
        if not packs and not single:
            raise self.fault(f"the folder {path} contains neither .npz nor .npy files.")
        return packs or [single]

    @property
    def _names(self) -> tuple[str, ...]:
        tops = self.top[:-1] if self.sample_param.class_weights else self.top
        return self.array or tops

    def _arrays(self, file: Any, path: Path, headers_only: bool) -> list[Any]:
        """Returns the arrays of the tops.  Raises NetdefError if one is missing or their lengths differ."""
        if not isinstance(file, dict) and file.suffix.lower() in HDF5_SUFFIXES:
            return self._checked(self._datasets(file, headers_only), path)
        with self.reading(path if isinstance(file, dict) else file, KIND):
            if isinstance(file, dict):
                found = [self._opened(file[name]) for name in self._present(file, path)]
            elif headers_only:
                pack = _headers(file)
                found = [pack[name] for name in self._present(pack, file)]
            else:
                with file.open("rb") as opened, np.load(opened, allow_pickle=False) as pack:
                    found = [_member(pack, name) for name in self._present(pack, file)]
        return self._checked(found, path)

    def _datasets(self, file: Path, headers_only: bool) -> list[Any]:
        """Returns the datasets of an HDF5 file, in memory as the arrays of an .npz file are."""
        import h5py

        with self.reading(file, HDF5), h5py.File(file, "r") as pack:
            found = [dataset(pack, file, name, self.fault) for name in self._present(pack, file)]
            zeros = lambda one: np.broadcast_to(np.zeros((), one.dtype), one.shape)
            return [zeros(one) if headers_only else one[()] for one in found]

    def _checked(self, found: list[Any], path: Path) -> list[Any]:
        """Returns arrays of numbers with the same number of rows.  Raises NetdefError if they are not."""
        for name, array in zip(self._names, found, strict=True):
            if array.dtype.kind not in "fiub":
                raise self.fault(f"{path}: array `{name}` has elements of type {array.dtype}; numbers are required.")
        lengths = {len(a) if a.ndim else 0 for a in found}
        if len(lengths) != 1 or lengths == {0}:
            listed = ", ".join(f"`{n}` {a.shape}" for n, a in zip(self._names, found, strict=True))
            raise self.fault(f"{path}: all arrays must have the same number of rows, at least 1, not {listed}.")
        return found

    def _opened(self, path: Path) -> Any:
        with self.reading(path, KIND):
            return rows_of(path)

    def _present(self, pack: Any, path: Path) -> tuple[str, ...]:
        for name in self._names:
            if name not in pack:
                raise self.fault(f"{path} has no array `{name}`; it has {', '.join(pack)}.  Select one with `array`.")
        return self._names

    def shapes(self, locate: Locate) -> list[Shape]:
        records = self.records(locate, first_only=True)
        made = super().shapes(locate)
        if not records.are_images:
            made[0] = (made[0][0], *records.row_shape)
        return made

    def declared_shapes(self) -> list[Shape] | None:
        return None

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        return _ArrayReader(self, locate, phase, seed, process)


def _member(pack: Any, name: str) -> Any:
    """Returns an array of an open .npz file.  NumPy does not read to the end, where the checksum is compared."""
    names = pack.zip.namelist()
    with pack.zip.open(f"{name}.npy" if f"{name}.npy" in names else name) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):
            raise ValueError(f"there are more bytes after the array `{name}`")
    return array


def _headers(path: Path) -> dict[str, Any]:
    """Returns the arrays of an .npz file by name, with zeros as values, which take no memory."""
    found = {}
    with zipfile.ZipFile(path) as pack:
        for name in pack.namelist():
            with pack.open(name) as file:
                shape, _, dtype = header(file)
            found[name.removesuffix(".npy")] = np.broadcast_to(np.zeros((), dtype), shape)
    return found


class _Rows(Records):
    def __init__(self, layer: ArrayData, path: Path, packs: list[list[Any]], files: list[Any]):
        self.layer, self.path, self.packs, self.files = layer, path, packs, files
        self.starts = np.cumsum([0, *(len(arrays[0]) for arrays in packs)])  # first record of each file
        self.size = int(self.starts[-1])
        first = packs[0][0]
        self.gray = first.ndim == 3 and first.dtype == np.uint8
        self.are_images = first.ndim == 4 or self.gray
        self.row_shape: Shape = first.shape[1:]

    def read(self, numbers: Any) -> list[tuple[int, list[Any]]]:
        found = []
        for number in numbers:
            pack = int(np.searchsorted(self.starts, number, side="right")) - 1
            row = int(number - self.starts[pack])
            found.append((int(number), [array[row] for array in self.packs[pack]]))
        return found

    def decode(self, raw: tuple[int, list[Any]]) -> Record:
        number, (image, *labels) = raw
        if self.gray:
            image = image[None]
        elif self.are_images:
            image = image.transpose(2, 0, 1) if self.layer.channels_last else image
        else:
            image = np.asarray(image, np.float32).reshape(1, 1, -1)
        return Record(image, tuple(labels), f"row {number} of {self.path}")

    def sources(self) -> list[Path]:
        return [path for file in self.files for path in (file.values() if isinstance(file, dict) else [file])]

    def classes(self) -> Any:
        if len(self.packs[0]) < 2 or self.packs[0][1].ndim != 1:
            return None
        labels = np.concatenate([np.asarray(arrays[1]) for arrays in self.packs])
        return labels if np.all(labels == labels.astype(np.int64)) else None


class _ArrayReader(ImageReader):
    @property
    def delivers_rows(self) -> bool:  # type: ignore[override]
        return not self.records.are_images  # type: ignore[attr-defined]

    def batch(self, position: int) -> Batch:
        made = super().batch(position)
        rows: _Rows = self.records  # type: ignore[assignment]
        if not rows.are_images:
            top = self.layer.top[0]
            made[top] = made[top].reshape(-1, *rows.row_shape)
        return made
