"""Throughput of the data layers in images per second, compared with PyTorch's DataLoader on the same files and cores.

usage: python tests/benchmarks/input_pipeline.py [--seconds 4] [--images 1000] [--json]

Five data sets: (a) LMDB of raw 50x50 gray images, (b) LMDB of 256x256 JPEGs with random 224x224 crops, (c) a folder of
JPEGs, (d) the same files in tar shards, (e) records that stay on the device.  Also how decoding scales with threads, tar
against the folder with 1, 2 and 4 processes (in turns, the best of several), and memory over ten epochs.  Without torch,
there is no comparison.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import jax
import lmdb
import numpy as np
from PIL import Image

import netdef
from netdef.data.base import generator
from netdef.data.convert import convert, open_sink
from netdef.data.device import on_device
from netdef.data.feed import Feed
from netdef.data.sources import open_source
from netdef.interop.caffe_proto import messages

try:
    import torch
    import torch.utils.data as torch_data
except ImportError:
    torch = None

BATCH = 64
CORES = len(os.sched_getaffinity(0))


def random_image(rng: np.random.Generator, side: int, channels: int) -> np.ndarray:
    """Returns an image (h, w, c) with structure, which compresses like a photograph."""
    coarse = rng.integers(0, 256, (side // 8, side // 8, channels), np.uint8)
    planes = [Image.fromarray(coarse[:, :, c]).resize((side, side), Image.Resampling.BICUBIC) for c in range(channels)]
    noisy = np.stack([np.asarray(p) for p in planes], 2).astype(np.int16) + rng.integers(-8, 9, (side, side, channels))
    return noisy.clip(0, 255).astype(np.uint8)


def jpeg(image: np.ndarray) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "JPEG", quality=90)
    return packed.getvalue()


def write_data(folder: Path, images: int) -> None:
    rng = np.random.default_rng(0)
    Datum = messages().Datum
    with lmdb.open(str(folder / "gray"), map_size=1 << 30) as env, env.begin(write=True) as txn:
        for i in range(10 * images):
            pixels = rng.integers(0, 256, (50, 50), np.uint8).tobytes()
            datum = Datum(channels=1, height=50, width=50, label=i % 10, data=pixels)
            txn.put(b"%08d" % i, datum.SerializeToString())
    with lmdb.open(str(folder / "jpeg"), map_size=1 << 31) as env, env.begin(write=True) as txn:
        for i in range(images):
            datum = Datum(label=i % 10, data=jpeg(random_image(rng, 256, 3)), encoded=True)
            txn.put(b"%08d" % i, datum.SerializeToString())
    for i in range(images // 2):
        place = folder / "folder" / f"class{i % 10}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i:05d}.jpg").write_bytes(jpeg(random_image(rng, 128, 3)))
    records = open_source(folder / "folder")
    with open_sink(folder / "tar", "tar", shard_size=max(1, images // 16)) as sink:
        convert(records, generator(0, "shards").permutation(records.size), sink, encoded=True)


NETS = {
    "lmdb_gray": """layer { name: "d" type: "Data" top: "data" top: "label" transform_param { scale: 0.0078125 mean_value: 127.5 }
                    data_param { source: "gray" batch_size: 64 backend: LMDB } }""",
    "lmdb_jpeg": """layer { name: "d" type: "Data" top: "data" top: "label"
                    transform_param { crop_size: 224 mirror: true mean_value: 104 mean_value: 117 mean_value: 123 }
                    data_param { source: "jpeg" batch_size: 64 backend: LMDB } }""",
    "folder": """layer { name: "d" type: "ImageFolder" top: "data" top: "label" transform_param { mean_value: 128 }
                 image_folder_param { source: "folder" batch_size: 64 } }""",
    "tar": """layer { name: "d" type: "TarData" top: "data" top: "label" transform_param { mean_value: 128 }
              tar_data_param { source: "tar" batch_size: 64 } }""",
    "device": """layer { name: "d" type: "Data" top: "data" top: "label"
                 transform_param { crop_size: 48 mirror: true scale: 0.0078125 mean_value: 127.5 }
                 data_param { source: "gray" batch_size: 64 backend: LMDB shuffle: true } }""",
}


def rate(take, seconds: float) -> float:
    """Returns the images per second of `take()`, which returns one batch; the first calls are not counted."""
    for _ in range(2 * CORES + 2):
        take()
    begin, batches = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        take()
        batches += 1
    return batches * BATCH / (time.perf_counter() - begin)


def own(kind: str, folder: Path, seconds: float, workers: int | None = None, processes: int = 0) -> float:
    net = netdef.load(NETS[kind], phase="TRAIN")
    with Feed(net, root=folder, workers=workers, processes=processes) as feed:
        if kind != "device":
            return rate(lambda: next(feed), seconds)
        resident = on_device(feed, 1 << 30)
        make = jax.jit(resident.make)
        return rate(lambda: jax.block_until_ready(make(resident.table, next(resident))), seconds)


if torch is not None:

    class Lmdb(torch_data.Dataset):
        """Datums of an LMDB as tensors, as typically written for PyTorch."""

        def __init__(self, path: Path, size: int, crop: int):
            self.path, self.size, self.crop, self.env = path, size, crop, None

        def __len__(self) -> int:
            return self.size

        def __getitem__(self, i: int):
            if self.env is None:
                self.env = lmdb.open(str(self.path), readonly=True, lock=False)
            with self.env.begin() as txn:
                datum = messages().Datum.FromString(txn.get(b"%08d" % i))
            if not datum.encoded:
                pixels = np.frombuffer(datum.data, np.uint8).reshape(1, 50, 50)
                return (torch.from_numpy(pixels.copy()).float() - 127.5) * 0.0078125, datum.label
            pixels = np.asarray(Image.open(io.BytesIO(datum.data)).convert("RGB"))
            x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
            top, left = torch.randint(0, 256 - self.crop + 1, (2,)).tolist()
            x = x[:, top : top + self.crop, left : left + self.crop]
            x = x.flip(2) if torch.rand(()) < 0.5 else x
            return x.float() - torch.tensor([123.0, 117.0, 104.0])[:, None, None], datum.label

    class Folder(torch_data.Dataset):
        """Image files as tensors."""

        def __init__(self, folder: Path):
            self.files = sorted(folder.glob("*/*.jpg"))

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, i: int):
            pixels = np.asarray(Image.open(self.files[i]).convert("RGB"))
            return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() - 128, int(self.files[i].parent.name[5:])

    class InMemory(torch_data.Dataset):
        """Images in memory, cropped and mirrored one at a time."""

        def __init__(self, path: Path, size: int):
            rows = Lmdb(path, size, 0)
            self.x = torch.stack([(rows[i][0] / 0.0078125 + 127.5).to(torch.uint8) for i in range(size)])

        def __len__(self) -> int:
            return len(self.x)

        def __getitem__(self, i: int):
            top, left = torch.randint(0, 3, (2,)).tolist()
            x = self.x[i, :, top : top + 48, left : left + 48]
            return ((x.flip(2) if torch.rand(()) < 0.5 else x).float() - 127.5) * 0.0078125, i % 10


def theirs(kind: str, folder: Path, images: int, seconds: float) -> float:
    """PyTorch's DataLoader with a process for each core; for data in memory, the faster of that and no processes."""
    shuffle = kind in ("folder", "device")
    data = {
        "lmdb_gray": lambda: Lmdb(folder / "gray", 10 * images, 0),
        "lmdb_jpeg": lambda: Lmdb(folder / "jpeg", images, 224),
        "folder": lambda: Folder(folder / "folder"),
        "device": lambda: InMemory(folder / "gray", 10 * images),
    }[kind]()

    def measure(workers: int) -> float:
        loader = torch_data.DataLoader(
            data, BATCH, shuffle=shuffle, num_workers=workers, drop_last=True, persistent_workers=workers > 0
        )

        def forever():
            while True:
                yield from loader

        batches = forever()
        return rate(lambda: next(batches), seconds)

    return max(measure(CORES), measure(0)) if kind == "device" else measure(CORES)


def in_turns(folder: Path, seconds: float, turns: int = 3) -> dict[int, dict[str, int]]:
    """Returns the images per second of the folder and of the tar files by number of processes, the best of all turns."""
    found: dict[int, dict[str, int]] = {}
    for count in (1, 2, 4):
        speeds = [{kind: own(kind, folder, seconds, count, count) for kind in ("folder", "tar")} for _ in range(turns)]
        found[count] = {kind: round(max(turn[kind] for turn in speeds)) for kind in ("folder", "tar")}
    return found


def memory_over_epochs(folder: Path, epochs: int = 10) -> list[float]:
    """Returns the MiB in use by the process after each epoch of (b)."""
    held = []
    with Feed(netdef.load(NETS["lmdb_jpeg"], phase="TRAIN"), root=folder) as feed:
        for _ in range(epochs):
            for _ in range(min(20, feed.size // BATCH)):
                next(feed)
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            held.append(round(pages * resource.getpagesize() / 2**20, 1))
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="time of each measurement (default 4)")
    parser.add_argument("--images", type=int, default=1000, help="size of the data sets (default 1000)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    found = {"cores": CORES, "torch": torch and torch.__version__}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_data(folder, args.images)
        if torch is not None:  # first, because its processes are forked, which must happen before jax starts threads
            found["torch images/s"] = {
                kind: round(theirs(kind, folder, args.images, args.seconds)) for kind in NETS if kind != "tar"
            }
        found["netdef images/s"] = {kind: round(own(kind, folder, args.seconds)) for kind in NETS}
        found["decoding threads"] = {n: round(own("lmdb_jpeg", folder, args.seconds, n)) for n in (1, CORES)}
        counts = (1, CORES)
        found["decoding processes"] = {n: round(own("lmdb_jpeg", folder, args.seconds, n, n)) for n in counts}
        found["tar and folder"] = in_turns(folder, args.seconds)
        found["MiB after each epoch"] = memory_over_epochs(folder)
    if args.json:
        print(json.dumps(found))
        return
    for kind, speed in found["netdef images/s"].items():
        other = found.get("torch images/s", {}).get(kind)
        print(f"{kind:<12}{speed:>9,} images/s" + (f"   torch {other:>9,}   x {speed / other:.2f}" if other else ""))
    for what in ("threads", "processes"):
        speeds = (f"{n}: {speed:,} images/s" for n, speed in found[f"decoding {what}"].items())
        print(f"decoding with {what}: " + ", ".join(speeds))
    for count, speeds in found["tar and folder"].items():
        both = ", ".join(f"{kind}: {speed:,} images/s" for kind, speed in speeds.items())
        print(f"{count} processes: {both}, tar / folder {speeds['tar'] / speeds['folder']:.2f}")
    print("MiB after each epoch: " + " ".join(map(str, found["MiB after each epoch"])))


if __name__ == "__main__":
    main()
