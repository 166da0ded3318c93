"""Small data sets for tests, and the source of a layer that reads one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from netdef.interop.caffe_proto import messages


def layer(kind: str, block: str, tops: str = "data label", beside: str = "", name: str = "") -> str:
    """Returns the source of a layer; its default name is the first letter of its type."""
    words = " ".join(f'top: "{top}"' for top in tops.split())
    return f'layer {{ name: "{name or kind[0].lower()}" type: "{kind}" {words} {beside} {block} }}\n'


def numbered(n: int, c: int = 1, h: int = 4, w: int = 5) -> np.ndarray:
    """Returns images (n, c, h, w) uint8; the first value of each is its index."""
    made = np.random.RandomState(7).randint(0, 256, (n, c, h, w)).astype(np.uint8)
    made[:, 0, 0, 0] = np.arange(n)
    return made


def write_lmdb(path: Path, records: list[bytes]) -> None:
    import lmdb

    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as txn:
        for i, record in enumerate(records):
            txn.put(f"{i:08d}".encode(), record)


def datum(image: np.ndarray, label: int) -> bytes:
    c, h, w = image.shape
    made = messages().Datum(channels=c, height=h, width=w, label=label)
    if image.dtype == np.uint8:
        made.data = image.tobytes()
    else:
        made.float_data.extend(image.ravel().tolist())
    return made.SerializeToString()


def write_images(folder: Path, images: np.ndarray) -> list[str]:
    """Writes images (n, c, h, w) with channels B, G, R as 00.png, 01.png, ... and returns the names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for i, image in enumerate(images):
        pixels = image[0] if len(image) == 1 else image[::-1].transpose(1, 2, 0)
        names.append(f"{i:02d}.png")
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / names[-1])
    return names
