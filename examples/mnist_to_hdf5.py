"""Make the HDF5 files of lenet.net from the four files of MNIST, compressed or not.

usage: python mnist_to_hdf5.py FOLDER [OUTPUT]

FOLDER holds train-images-idx3-ubyte, train-labels-idx1-ubyte and the two t10k files, each with or without .gz.  OUTPUT
(default: FOLDER) gets mnist_train.h5, mnist_test.h5 and the lists mnist_train.txt and mnist_test.txt, which HDF5Data
reads.  Gray values are divided by 256 as in Caffe's example; float16 represents them exactly.
"""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

import h5py
import numpy as np


def read_idx(folder: Path, name: str) -> np.ndarray:
    """One IDX file: a big-endian header with the sizes, then bytes."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            axes = raw[3]
            shape = struct.unpack(f">{axes}I", raw[4 : 4 + 4 * axes])
            return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)
    sys.exit(f"neither {name} nor {name}.gz is in {folder}")


def main(folder: Path, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    for ours, theirs in (("train", "train"), ("test", "t10k")):
        images = read_idx(folder, f"{theirs}-images-idx3-ubyte")  # (n, 28, 28)
        labels = read_idx(folder, f"{theirs}-labels-idx1-ubyte")  # (n,)
        with h5py.File(output / f"mnist_{ours}.h5", "w") as file:
            data = (images[:, None] / 256).astype(np.float16)  # (n, 1, 28, 28)
            file.create_dataset("data", data=data, compression="gzip", shuffle=True)
            file.create_dataset("label", data=labels, compression="gzip")
        (output / f"mnist_{ours}.txt").write_text(f"mnist_{ours}.h5\n")
        print(f"{output / f'mnist_{ours}.h5'}: {len(images)} digits")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit((__doc__ or "").split("\n\n")[1])
    main(Path(sys.argv[1]), Path(sys.argv[-1]))
