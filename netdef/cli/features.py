"""Write blobs of a trained net for all records of its test data, as HDF5 or .npz.

Each blob becomes an array with one row for each record, in the order of the records. The labels that the data layer
outputs can also be written.

  netdef features model.net --blobs fc7,label --output features.h5
  netdef features --run try1 --blobs fc7 --output features.npz
  netdef features model.net --blobs fc7 --output features.h5 --devices all
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..files import library_writes, write_atomically
from . import UsageError
from ._trained import add_trained, predictor_of

HELP = "write blobs of a trained net for all records of its data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_trained(parser)
    parser.add_argument("--blobs", required=True, metavar="NAME,...", help="blobs to write, separated by commas")
    parser.add_argument("--output", "-o", required=True, metavar="FILE", help="write this file: .h5 or .npz")


def run(args: argparse.Namespace) -> int:
    target = Path(args.output)
    if target.suffix not in (".h5", ".hdf5", ".npz"):
        raise UsageError(f"--output expects a .h5 or .npz file, not {target}")
    names = [name for name in args.blobs.split(",") if name]
    predictor = predictor_of(args)
    write = _write_npz if target.suffix == ".npz" else _write_hdf5
    shapes: dict[str, tuple[int, ...]] = {}
    write_atomically(target, lambda aside: shapes.update(write(aside, predictor.features(names))))
    listed = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
    print(f"{target}: {listed}")
    return 0


def _write_npz(path: Path, batches: Iterator[dict[str, Any]]) -> dict[str, tuple[int, ...]]:
    import numpy as np

    parts: dict[str, list[Any]] = {}
    for batch in batches:
        for name, rows in batch.items():
            parts.setdefault(name, []).append(rows)
    arrays: dict[str, Any] = {name: np.concatenate(rows) for name, rows in parts.items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return {name: array.shape for name, array in arrays.items()}


def _write_hdf5(path: Path, batches: Iterator[dict[str, Any]]) -> dict[str, tuple[int, ...]]:
    import h5py

    file: Any
    with library_writes(), h5py.File(path, "w") as file:
        for batch in batches:
            for name, rows in batch.items():
                if name not in file:
                    file.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]), chunks=True)
                    continue
                before = file[name].shape[0]
                file[name].resize(before + len(rows), 0)
                file[name][before:] = rows
        return {name: file[name].shape for name in file}
