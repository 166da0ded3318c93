"""Files that describe the boxes of images: XML of PASCAL VOC, JSON of COCO, and tables.

for image in read(Path("VOC2007"), ""): ...         # a folder of XML files, or the only .json or .csv file in it
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from ..language.errors import NetdefError
from .damage import reading

TABLES = (".csv", ".tsv")
COLUMNS = {  # of a table: the names that are read for each value
    "image": ("image", "filename", "file", "path"),
    "label": ("label", "class", "name"),
    "xmin": ("xmin",),
    "ymin": ("ymin",),
    "xmax": ("xmax",),
    "ymax": ("ymax",),
    "difficult": ("difficult",),
}
BEGINNING = 1 << 16  # bytes of a file by which it is recognized
SIDES = ("xmin", "ymin", "xmax", "ymax")
IMAGE_FOLDERS = ("JPEGImages", "images")  # beside the folder of the XML files


class Box(NamedTuple):
    """One box: its class, and xmin, ymin, xmax, ymax in pixels."""

    name: str
    sides: Sequence[float]
    difficult: bool


class Described(NamedTuple):
    """An image, its boxes, its size (height, width) or None, and the place where this is said."""

    image: Path
    boxes: Sequence[Box]
    size: tuple[int, int] | None
    place: str


class Labels(NamedTuple):
    """The images that a file or folder describes, and the names of the classes, whose labels are 1, 2, ..."""

    images: list[Described]
    names: list[str]


Locate = Callable[[str], Path]  # from the name of an image to its path


def label_file(path: Path) -> Path:
    """Returns the file of labels at a path: itself, the only .json, .csv or .tsv file in a folder, or a folder with XML
    files.  Raises NetdefError if there is none, or several."""
    if path.is_file():
        return path
    files = sorted(file for file in path.iterdir() if file.suffix in (".json", *TABLES) and file.name[0] != ".")
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise NetdefError(f"the folder {path} has {len(files)} files of labels: {names}; name one of them.")
    if files:
        return files[0]
    for folder in (path, path / "Annotations"):
        if folder.is_dir() and any(file.suffix == ".xml" for file in folder.iterdir()):
            return folder
    raise NetdefError(
        f"the folder {path} has no labels: expected XML files of VOC, in it or in its folder Annotations, or one .json "
        "file of COCO, or one .csv file."
    )


def read(path: Path, root: Path | None = None) -> Labels:
    """Returns what a file or folder of labels describes; `root` is the folder of the images, if they are elsewhere.

    Raises NetdefError for a file that is damaged or incomplete."""
    path = label_file(path)
    if path.is_dir():
        found = [_of_xml(file, root) for file in sorted(path.iterdir()) if file.suffix == ".xml"]
        return Labels(found, _sorted({box.name for image in found for box in image.boxes}))
    if path.suffix == ".json":
        return _of_coco(path, root or path.parent)
    if path.suffix in TABLES:
        return _of_table(path, root or path.parent)
    if path.suffix == ".xml":
        one = _of_xml(path, root)
        return Labels([one], _sorted({box.name for box in one.boxes}))
    raise NetdefError(f"{path} is no file of labels: expected .json of COCO, .csv, .tsv, or a folder of .xml files.")


def _sorted(names: set[str]) -> list[str]:
    """Returns names in order; names that are integers by value, before others."""
    return sorted(names, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name))


def _of_xml(file: Path, root: Path | None) -> Described:
    """Reads one file of PASCAL VOC or ILSVRC."""
    with reading(file, "XML file of VOC"):
        tree = ElementTree.parse(file).getroot()
    if tree.tag != "annotation":
        raise NetdefError(f"{file} is no XML file of VOC: it begins with <{tree.tag}>, not <annotation>.")
    boxes = []
    for number, one in enumerate(tree.findall("object"), 1):
        name = (one.findtext("name") or "").strip()
        texts = [one.findtext(f"bndbox/{side}") for side in SIDES]
        if not name or None in texts:
            missing = "name" if not name else f"bndbox/{SIDES[texts.index(None)]}"
            raise NetdefError(f"{file}: object {number} has no <{missing}>.")
        place = f"of object {number}"
        sides = [_number(t or "", f"{file}: <{side}> {place}") for side, t in zip(SIDES, texts, strict=True)]
        boxes.append(Box(name, sides, (one.findtext("difficult") or "0").strip() == "1"))
    size = [tree.findtext(f"size/{side}") or "0" for side in ("height", "width")]
    height, width = (int(_number(text, f"{file}: <size>")) for text in size)
    return Described(_image_of(file, tree, root), boxes, (height, width) if height and width else None, f"{file}: ")


def _image_of(file: Path, tree: Any, root: Path | None) -> Path:
    """Returns the path of the image of an XML file: the first that exists of those where it may be."""
    name = Path((tree.findtext("filename") or "").strip()).name or file.stem
    names = (
        [name] if Path(name).suffix else [f"{name}{suffix}" for suffix in (".jpg", ".png", ".JPEG", ".jpeg", ".bmp")]
    )
    folders = [root] if root else [file.parent, *(file.parent.parent / folder for folder in IMAGE_FOLDERS)]
    paths = [folder / name for folder in folders for name in names]
    return next((path for path in paths if path.is_file()), paths[0])


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise NetdefError(f"{what} is `{text.strip()[:40]}`; it must be a number.")
    return number


def _of_coco(file: Path, root: Path) -> Labels:
    """Reads one file of COCO, whose categories become the labels 1, 2, ... in the order of their ids."""
    with reading(file, "JSON file of COCO"):
        content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not all(isinstance(content.get(n), list) for n in ("images", "annotations")):
        raise NetdefError(
            f"{file} is no JSON file of COCO: it must have lists `images`, `annotations` and `categories`."
        )
    with reading(file, "JSON file of COCO"):
        categories = {one["id"]: str(one["name"]) for one in content.get("categories", ())}
        found: dict[Any, tuple[Mapping[str, Any], list[Box]]] = {one["id"]: (one, []) for one in content["images"]}
    for number, one in enumerate(content["annotations"]):
        place = f"{file}: annotation {one.get('id', number) if isinstance(one, dict) else number}"
        with reading(file, f"JSON file of COCO (annotation {number})"):
            image, category, (x, y, width, height) = one["image_id"], one["category_id"], map(float, one["bbox"])
        if image not in found:
            raise NetdefError(f"{place} is of image {image!r}, which is not in `images`.")
        if category not in categories:
            raise NetdefError(f"{place} has the category {category!r}, which is not in `categories`.")
        found[image][1].append(Box(categories[category], (x, y, x + width, y + height), bool(one.get("iscrowd"))))
    images = []
    with reading(file, "JSON file of COCO"):
        for key, (one, boxes) in found.items():
            size = (int(one["height"]), int(one["width"])) if one.get("height") and one.get("width") else None
            images.append(Described(root / str(one["file_name"]), boxes, size, f"{file}: image {key}: "))
    return Labels(images, [categories[key] for key in sorted(categories)])


def _of_table(file: Path, root: Path) -> Labels:
    """Reads a table with a line for each box; an image without boxes has one line with empty sides."""
    found: dict[str, tuple[str, list[Box]]] = {}
    for number, line in _lines(file):
        place = f"{file}:{number}: "
        if not line["image"]:
            raise NetdefError(f"{place}no image is named.")
        boxes = found.setdefault(line["image"], (place, []))[1]
        given = [name for name in ("label", *SIDES) if line[name]]
        if given and len(given) < 1 + len(SIDES):
            missing = next(name for name in ("label", *SIDES) if not line[name])
            raise NetdefError(
                f"{place}no value in column `{missing}`; leave all of them empty for an image without boxes."
            )
        if given:
            sides = [_number(line[side], f"{place}`{side}`") for side in SIDES]
            boxes.append(Box(line["label"], sides, line["difficult"].lower() in ("1", "true")))
    images = [Described(root / name, boxes, None, place) for name, (place, boxes) in found.items()]
    return Labels(images, _sorted({box.name for image in images for box in image.boxes}))


def _lines(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the number and the values of each line of a table."""
    with reading(file, "table of boxes"), file.open(newline="", encoding="utf-8-sig") as opened:
        rows = csv.reader(opened, delimiter="\t" if file.suffix == ".tsv" else ",", skipinitialspace=True)
        header = [name.strip().lower() for name in next(rows, [])]
        places = {key: next((header.index(n) for n in names if n in header), None) for key, names in COLUMNS.items()}
        if missing := [key for key, place in places.items() if place is None and key != "difficult"]:
            there = ", ".join(header) or "none"
            raise NetdefError(
                f"{file} has no column `{missing[0]}`; it has {there}.  Write `image,label,xmin,ymin,xmax,ymax` on its "
                "first line, and optionally `difficult`."
            )
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise NetdefError(f"{file}:{rows.line_num}: {len(row)} columns, but the header has {len(header)}.")
            yield rows.line_num, {k: "" if i is None else row[i].strip() for k, i in places.items()}


def is_labels(path: Path) -> bool:
    """Whether a file, or a file in a folder, begins like labels of boxes."""
    if not path.is_dir():
        return _begins(path)
    folders = [folder for folder in (path, path / "Annotations") if folder.is_dir()]
    files = [file for folder in folders for file in folder.iterdir()]
    return any(_begins(next((f for f in files if f.suffix == suffix), path)) for suffix in (".json", ".xml", *TABLES))


def _begins(file: Path) -> bool:
    if not file.is_file():
        return False
    if file.suffix in TABLES:
        try:
            return next(_lines(file), None) is not None
        except NetdefError:
            return False
    mark = {".json": b'"images"', ".xml": b"<annotation"}.get(file.suffix)
    if mark is None:
        return False
    with file.open("rb") as opened:
        return mark in opened.read(BEGINNING)
