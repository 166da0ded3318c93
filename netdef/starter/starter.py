"""Chooses what writes the starter net, by what the data is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ..data import box_files
from ..data.damage import obstacle, reading
from ..data.key_value import LEVELDB_FILE, LMDB_FILE
from ..files import shown
from ..language.errors import NetdefError
from . import arrays, boxes, images, tables
from .words import canonical, net_name

KINDS = (
    "a folder with a subfolder of images for each class, a folder or a .json file with boxes (VOC, COCO), arrays "
    "(.npz, .npy, .h5), or a table (.csv, .parquet)"
)


class Request(NamedTuple):
    """The data, and the file to which the net will be written.  If the user says so: `classify` or `regress`, and the
    name of the column or array that shall be computed."""

    data: Path
    net: Path
    task: str = ""
    label: str = ""


class Starter(NamedTuple):
    """A net, and what was found out about the data."""

    text: str
    name: str  # of the net
    found: list[str]  # lines about the data
    notes: list[str]  # what is not as it should be


def starter(request: Request, show: images.Show = lambda done, total: None) -> Starter:
    """Returns a starter net for some data; `show` is told how many images have been read.  NetdefError if the data
    cannot be read, or if nothing can be learned from it."""
    path = request.data
    if why := obstacle(path):
        raise NetdefError(f"{shown(path)} cannot be read ({why})")
    if os.path.isdir(path):  # `Path.is_dir` raises what no caller expects, for a folder that cannot be entered
        text, found, notes = _of_folder(request, show)
    elif not os.path.isfile(path):  # a pipe would be read forever
        raise NetdefError(f"{shown(path)} is neither a folder nor a file with data; expected {KINDS}")
    elif path.suffix.lower() in arrays.SUFFIXES:
        text, found, notes = arrays.starter(path, request.net, request.task, request.label)
    elif box_files.is_labels(path):
        _refuse_choices(request)
        text, found, notes = boxes.starter(path, request.net, show)
    elif path.suffix.lower() in tables.SUFFIXES:
        text, found, notes = tables.starter(path, request.net, request.task, request.label)
    else:
        raise NetdefError(f"{shown(path)} is not data that is known; expected {KINDS}")
    return Starter(canonical(text), net_name(path), found, notes)


def _of_folder(request: Request, show: images.Show) -> tuple[str, list[str], list[str]]:
    path = request.data
    with reading(path, "folder"):
        names = {file.name for file in path.iterdir()}
    if names & {LMDB_FILE, LEVELDB_FILE}:
        raise NetdefError(
            f"{shown(path)} is a database, whose records do not say what they are; `netdef explain Data` shows the "
            "layer that reads it, and `netdef data stats` measures it"
        )
    if not names:
        raise NetdefError(f"the folder {shown(path)} is empty; expected {KINDS}")
    if box_files.is_labels(path):
        _refuse_choices(request)
        return boxes.starter(path, request.net, show)
    if any(Path(name).suffix.lower() in arrays.SUFFIXES for name in names) and not images.subfolders_of(path):
        return arrays.starter(path, request.net, request.task, request.label)
    _refuse_choices(request)
    return images.starter(path, request.net, show)


def _refuse_choices(request: Request) -> None:
    """Raises NetdefError for a label or a task that images in folders, and images with boxes, cannot have."""
    if request.label or request.task == "regress":
        raise NetdefError(
            f"the labels of {shown(request.data)} are classes of images; --label and --task regress are for arrays "
            "and tables"
        )
