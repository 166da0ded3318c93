"""Images with boxes for tests, in every form that netdef reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from data_sets import write_images, write_lmdb

from netdef.interop.caffe_proto import messages

NAMES = ("car", "dog")  # labels 1 and 2


class Item(NamedTuple):
    """A box: label, xmin, ymin, xmax, ymax in pixels, and whether it is difficult."""

    label: int
    sides: tuple[float, float, float, float]
    difficult: bool = False


# Images of 20 x 40 pixels (height x width); the third has no boxes.
ITEMS = (
    (Item(1, (4, 5, 12, 15)), Item(2, (10, 0, 40, 20), True), Item(1, (20, 10, 30, 18))),
    (Item(2, (0, 0, 20, 10)),),
    (),
    (Item(1, (8, 2, 16, 12)), Item(2, (30, 10, 38, 20))),
)
COUNTS = [len(items) for items in ITEMS]


def pictures() -> np.ndarray:
    """Images (4, 3, 20, 40) uint8: background 10 + index, boxes 100 times their label."""
    made = np.empty((len(ITEMS), 3, 20, 40), np.uint8)
    for i, items in enumerate(ITEMS):
        made[i] = 10 + i
        for item in items:
            left, top, right, bottom = map(int, item.sides)
            made[i, :, top:bottom, left:right] = 100 * item.label
    return made


def rows_of(image: int, index: int) -> list[list[float]]:
    """The rows of the label of an image that is the `index`-th of a batch, in the order of an AnnotatedDatum."""
    made = []
    labels = list(dict.fromkeys(item.label for item in ITEMS[image]))
    for label in labels:
        for instance, item in enumerate(item for item in ITEMS[image] if item.label == label):
            x0, y0, x1, y1 = item.sides
            made.append([index, label, instance, x0 / 40, y0 / 20, x1 / 40, y1 / 20, float(item.difficult)])
    return made


def write_voc(folder: Path) -> None:
    """Writes XML files into `Annotations` and images into `JPEGImages`."""
    (folder / "Annotations").mkdir(parents=True)
    for name, items in zip(write_images(folder / "JPEGImages", pictures()), ITEMS, strict=True):
        objects = "".join(
            f"<object><name>{NAMES[item.label - 1]}</name><difficult>{int(item.difficult)}</difficult><bndbox>"
            + "".join(f"<{s}>{v:g}</{s}>" for s, v in zip(("xmin", "ymin", "xmax", "ymax"), item.sides, strict=True))
            + "</bndbox></object>"
            for item in items
        )
        text = f"<annotation><filename>{name}</filename><size><width>40</width><height>20</height></size>{objects}"
        (folder / "Annotations" / name.replace("png", "xml")).write_text(f"{text}</annotation>")


def coco() -> dict:
    """The content of a JSON file, with categories that are neither sorted nor consecutive."""
    ids = {1: 3, 2: 18}
    images = [{"id": 7 + i, "file_name": f"{i:02d}.png", "height": 20, "width": 40} for i in range(len(ITEMS))]
    found = []
    for i, items in enumerate(ITEMS):
        for item in items:
            x0, y0, x1, y1 = item.sides
            kind = {"image_id": 7 + i, "category_id": ids[item.label], "iscrowd": int(item.difficult)}
            found.append({"id": len(found), "bbox": [x0, y0, x1 - x0, y1 - y0], **kind})
    categories = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]
    return {"images": images, "annotations": found, "categories": categories}


def write_coco(folder: Path) -> None:
    write_images(folder, pictures())
    (folder / "labels.json").write_text(json.dumps(coco()))


def table() -> str:
    lines = ["image,label,xmin,ymin,xmax,ymax,difficult"]
    for i, items in enumerate(ITEMS):
        for item in items:
            lines.append(f"{i:02d}.png,{NAMES[item.label - 1]},{','.join(map(str, item.sides))},{int(item.difficult)}")
        if not items:
            lines.append(f"{i:02d}.png,,,,,,")
    return "\n".join(lines) + "\n"


def write_table(folder: Path) -> None:
    write_images(folder, pictures())
    (folder / "boxes.csv").write_text(table())


def annotated(image: np.ndarray, rows: list[list[float]]) -> bytes:
    """Returns an AnnotatedDatum of an image (c, h, w) and rows of its label."""
    c, h, w = image.shape
    made = messages().AnnotatedDatum(type=0)
    made.datum.channels, made.datum.height, made.datum.width, made.datum.data = c, h, w, image.tobytes()
    for _, label, instance, xmin, ymin, xmax, ymax, difficult in rows:
        if not made.annotation_group or made.annotation_group[-1].group_label != label:
            made.annotation_group.add(group_label=int(label))
        one = made.annotation_group[-1].annotation.add(instance_id=int(instance))
        one.bbox.xmin, one.bbox.ymin, one.bbox.xmax, one.bbox.ymax = xmin, ymin, xmax, ymax
        one.bbox.difficult = bool(difficult)
    return made.SerializeToString()


def write_database(path: Path) -> None:
    write_lmdb(path, [annotated(image, rows_of(i, 0)) for i, image in enumerate(pictures())])
