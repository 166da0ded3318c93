"""Writes data sets as LMDB (as Caffe reads it), HDF5, tar or NumPy arrays.  An interrupted conversion can be continued.
Images with boxes are written as LMDB, as the SSD fork reads it.

    with open_sink(Path("faces.lmdb")) as sink:
        convert(records, range(records.size), sink)

Records are written to `faces.lmdb.partial` beside the target, which is renamed when it is complete.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tarfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..files import put_in_place, write_atomically
from ..interop.caffe_proto import messages
from ..language.errors import NetdefError
from ..lazy import need, np
from . import images
from .boxes import Boxes
from .damage import reason
from .key_value import LMDB_FILE
from .layers._image_layer import Corrupt, Record, Records
from .lmdb_file import LmdbFile
from .tar_file import BLOCK, TarFile

PAGE = 4096  # bytes of a page of LMDB
SPARE = 1 << 17  # bytes that a write may add to the structure of a file
FULL = (errno.ENOSPC, errno.EDQUOT)
BBOX = 0  # the type of an AnnotatedDatum
COMMIT = 500  # records per write; an interrupted conversion loses at most this many
Numbered = tuple[int, Record, bytes | None]  # index in the source, record, and the image file to store as it is


class Sink(ABC):
    """A data set being written.  `done` is the number of source records that an earlier conversion has processed."""

    done = 0
    boxes = False  # whether it can write boxes
    kept = True  # whether what an interrupted conversion has written can be continued

    def __init__(self, target: Path):
        self.target = target
        self.partial = target.with_name(target.name + ".partial")

    @abstractmethod
    def put(self, records: Sequence[Numbered]) -> None:
        """Writes numbered records; the bytes of an image file are stored as they are."""

    @abstractmethod
    def close(self) -> None:
        """Closes the files; the records written so far are kept."""

    def finish(self) -> None:
        """Closes the complete data set and renames it to the target."""
        self.close()
        put_in_place(self.partial, self.target)

    def discard(self) -> None:
        """Removes what an earlier conversion has written."""
        if self.partial.is_dir():
            shutil.rmtree(self.partial)
        else:
            self.partial.unlink(missing_ok=True)

    def start(self, resume: bool, open_partial: Callable[[], int]) -> None:
        """Opens the partial data set, which returns `done`; one that is damaged is removed and started again."""
        if not resume:
            self.discard()
        there = self.partial.exists()
        try:
            self.done = open_partial()
        except Exception:
            if not there:
                raise
            self.discard()
            self.done = open_partial()

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LmdbSink(Sink):
    """A database with the keys 00000000, 00000001, ...: AnnotatedDatums if the records have boxes, else Datums."""

    boxes = True

    def __init__(self, target: Path, resume: bool):
        super().__init__(target)
        self._lmdb = need("lmdb", "writing LMDB databases")
        self.start(resume, self._open)

    def _open(self) -> int:
        last: deque[tuple[bytes, bytes]] = deque(maxlen=1)
        if (self.partial / LMDB_FILE).exists():
            last.extend(LmdbFile(self.partial / LMDB_FILE).pairs())  # all, because lmdb crashes on damaged pages
        # Without a lock file, which is mapped into memory, so that a full disk would kill the process (SIGBUS).
        self._env = self._lmdb.open(str(self.partial), map_size=1 << 26, lock=False)
        return int(last[0][0]) + 1 if last else 0

    def put(self, records: Sequence[Numbered]) -> None:
        packed = [(f"{number:08d}".encode(), _datum(record, file)) for number, record, file in records]
        _need_space(self.partial, sum(_stored_size(len(value)) for _, value in packed) + SPARE)
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    for key, value in packed:
                        txn.put(key, value)
                return
            except self._lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()["map_size"])

    def close(self) -> None:
        self._env.close()

    def finish(self) -> None:
        self._env.sync(True)
        super().finish()
        (self.target / "lock.mdb").unlink(missing_ok=True)


def _stored_size(size: int) -> int:
    """Returns the bytes that a value takes at most: several are on a page, or one on pages of its own."""
    return min(2 * size + 128, size + 2 * PAGE)


def _datum(record: Record, file: bytes | None) -> bytes:
    """Returns a record of a database."""
    label = record.labels[0] if record.labels else 0
    if isinstance(label, Boxes):
        return _annotated(record, label, file)
    label = int(label)
    if file is not None:
        return messages().Datum(data=file, label=label, encoded=True).SerializeToString()
    c, h, w = record.image.shape
    datum = messages().Datum(channels=c, height=h, width=w, label=label)
    if record.image.dtype == np.uint8:
        datum.data = record.image.tobytes()
    else:
        datum.float_data.extend(np.asarray(record.image, np.float32).ravel().tolist())
    return datum.SerializeToString()


def _annotated(record: Record, boxes: Boxes, file: bytes | None) -> bytes:
    """Returns an AnnotatedDatum, with the boxes in groups of one label."""
    c, h, w = record.image.shape
    kept = {"data": record.image.tobytes()} if file is None else {"data": file, "encoded": True}
    datum = messages().Datum(channels=c, height=h, width=w, label=-1, **kept)
    made = messages().AnnotatedDatum(datum=datum, type=BBOX)
    group = None
    for label, instance, xmin, ymin, xmax, ymax, difficult in boxes.rows.tolist():
        if group is None or group.group_label != label:
            group = made.annotation_group.add(group_label=int(label))
        box = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax, "difficult": bool(difficult)}
        group.annotation.add(instance_id=int(instance), bbox=messages().NormalizedBBox(**box))
    return made.SerializeToString()


class Hdf5Sink(Sink):
    """An HDF5 file with the datasets `data` and `label`, and beside it the list file for the `source` of HDF5Data."""

    def __init__(self, target: Path, resume: bool):
        super().__init__(target)
        if len(os.fsencode(target.name).splitlines()) != 1:
            raise NetdefError(
                f"{target}: the name of an HDF5 file with a line break cannot be listed for HDF5Data; "
                "choose another name"
            )
        self._file: Any = None
        self.start(resume, self._open)

    def _open(self) -> int:
        import h5py

        if self._file is not None:
            self.close()
        self._file = h5py.File(self.partial, "a")
        rows = int(self._file.attrs.get("netdef_rows", 0))
        if any(len(self._file[name]) < rows for name in self._file) or (rows and "data" not in self._file):
            raise OSError("fewer rows than were counted")  # because the process was killed while it wrote
        return int(self._file.attrs.get("netdef_done", 0))

    def put(self, records: Sequence[Numbered]) -> None:
        images = _stack(records)
        _need_space(self.partial, 2 * images.nbytes + SPARE)  # HDF5 cannot close a file that it could not write
        labels = [np.array(column, np.float32) for column in zip(*(r.labels for _, r, _ in records), strict=True)]
        start = int(self._file.attrs.get("netdef_rows", 0))
        for name, rows in {"data": images, **{f"label{i or ''}": column for i, column in enumerate(labels)}}.items():
            if name not in self._file:
                row = rows.shape[1:]
                self._file.create_dataset(name, (0, *row), rows.dtype, maxshape=(None, *row), chunks=(64, *row))
            self._file[name].resize(start + len(rows), 0)
            self._file[name][start:] = rows
        self._file.flush()
        self._file.attrs["netdef_rows"] = start + len(records)
        self._file.attrs["netdef_done"] = records[-1][0] + 1
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def finish(self) -> None:
        # The list is written first, so that a conversion that is interrupted between the two can be continued.
        listed = self.target.with_name(self.target.name + ".txt")
        whole = os.fsencode(self.target.resolve())
        name = whole if len(whole.splitlines()) == 1 else os.fsencode(self.target.name)  # a line cannot contain a break
        write_atomically(listed, lambda temporary: temporary.write_bytes(name + b"\n"))
        super().finish()


class NpzSink(Sink):
    """One .npz file with the arrays `data` and `label`; it is kept in memory until it is complete."""

    kept = False

    def __init__(self, target: Path, resume: bool):
        super().__init__(target)
        self.discard()
        self._records: list[Numbered] = []

    def put(self, records: Sequence[Numbered]) -> None:
        self._records += records

    def close(self) -> None:
        self._records = []

    def finish(self) -> None:
        arrays = {"data": _stack(self._records)}
        columns = list(zip(*(r.labels for _, r, _ in self._records), strict=True))
        arrays |= {f"label{i or ''}": np.array(column) for i, column in enumerate(columns)}
        try:
            with self.partial.open("wb") as file:
                np.savez(file, **arrays)
            super().finish()
        finally:
            self.discard()


def _stack(records: Sequence[Numbered]) -> Any:
    first = records[0][1]
    for _, record, _ in records:
        if record.image.shape != first.image.shape:
            shapes = ["x".join(map(str, r.image.shape)) for r in (record, first)]
            raise NetdefError(f"{record.name} is {shapes[0]}, but {first.name} is {shapes[1]}; use --resize HxW.")
    return np.stack([record.image for _, record, _ in records])


class TarSink(Sink):
    """A tar file as webdataset reads it, with the members 00000000.png and 00000000.cls, 00000001.png, ...  With
    `shard_size`, a folder of tar files 000000.tar, 000001.tar, ... that have so many records each."""

    def __init__(self, target: Path, resume: bool, shard_size: int = 0):
        super().__init__(target)
        self._shard_size = shard_size
        self._file: Any = None
        self._count = 0  # records of the current file
        self.start(resume, self._open)

    def _open(self) -> int:
        self.close()
        if not self._shard_size:
            self.partial.touch()
            return self._continue(self.partial) or 0
        self.partial.mkdir(exist_ok=True)
        for path in sorted(self.partial.glob("*.tar"), reverse=True):
            if (done := self._continue(path)) is not None:
                return done
            self.close()
            path.unlink()
        self._next(0)
        return 0

    def _continue(self, path: Path) -> int | None:
        """Opens a file after its last complete record; returns the number of the next, or None if there is none.

        A record is complete if it has as many members as the first, which is not known to be complete itself."""
        self._file = path.open("r+b")
        ends: dict[str, list[int]] = {}  # record -> the ends of its members
        tar = TarFile(path)
        with contextlib.suppress(NetdefError):  # because it ends where the conversion was interrupted
            for name, offset, size in tar.members():
                end = offset + -(-size // BLOCK) * BLOCK
                ends.setdefault(os.fsdecode(name).partition(".")[0], []).append(end)
        tar.close()
        complete = list(ends.items())
        if len(complete) < 2 or len(complete[-1][1]) < len(complete[0][1]):
            complete = complete[:-1]
        self._count = len(complete)
        self._file.truncate(complete[-1][1][-1] if complete else 0)  # also adds what is missing after a member
        self._file.seek(0, os.SEEK_END)
        return int(complete[-1][0]) + 1 if complete else None

    def _next(self, number: int) -> None:
        self._file, self._count = (self.partial / f"{number:06d}.tar").open("xb"), 0

    def put(self, records: Sequence[Numbered]) -> None:
        for number, record, file in records:
            if self._shard_size and self._count == self._shard_size:
                self._end()
                self._next(int(Path(self._file.name).stem) + 1)
            for kind, data in _members(record, file).items():
                info = tarfile.TarInfo(f"{number:08d}.{kind}")
                info.size = len(data)
                self._file.write(info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK))
            self._count += 1
        self._file.flush()

    def _end(self) -> None:
        self._file.write(bytes(2 * BLOCK))
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def finish(self) -> None:
        self._end()
        super().finish()


def _members(record: Record, file: bytes | None) -> dict[str, bytes]:
    """Returns the members of a record in a tar file by extension: the image, and its labels as text or JSON."""
    if file is not None:
        members = {images.file_type(file): file}
    elif record.image.dtype == np.uint8 and len(record.image) in (1, 3):
        members = {"png": images.to_png(record.image.transpose(1, 2, 0))}
    else:
        c, h, w = record.image.shape
        raise NetdefError(
            f"{record.name} is {c}x{h}x{w} {record.image.dtype}, but images in a tar file have 1 or 3 channels of "
            "uint8; write LMDB, HDF5 or .npz."
        )
    labels = [np.asarray(label).tolist() for label in record.labels]
    if len(labels) == 1 and not isinstance(labels[0], list) and labels[0] == int(labels[0]):
        return members | {"cls": b"%d" % int(labels[0])}
    fields = {f"label{i or ''}": label for i, label in enumerate(labels)}
    return members | {"json": json.dumps(fields).encode()} if labels else members


SINKS: dict[str, Callable[..., Sink]] = {"lmdb": LmdbSink, "hdf5": Hdf5Sink, "npz": NpzSink, "tar": TarSink}


def kind_of(target: Path) -> str:
    """Returns "lmdb", "hdf5", "npz" or "tar", by the suffix of the target."""
    return {".h5": "hdf5", ".hdf5": "hdf5", ".npz": "npz", ".tar": "tar"}.get(target.suffix, "lmdb")


def open_sink(target: Path, kind: str | None = None, resume: bool = True, **options: Any) -> Sink:
    """Returns a sink that writes `target`; with `resume` it continues an interrupted conversion.

    `options` are those of the kind: `shard_size` of "tar".  Raises NetdefError if nothing can be written there."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return SINKS[kind or kind_of(target)](target, resume, **options)
    except NetdefError:
        raise
    except Exception as error:  # of the file system, h5py or lmdb
        remedy = "free some space and try again" if _is_full(error) else "write it elsewhere"
        raise NetdefError(f"{target}: cannot be written ({_why(error)}); {remedy}.") from error


def convert(
    records: Records,
    order: Sequence[int],
    sink: Sink,
    *,
    encoded: bool = False,
    skip_corrupt: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> list[str]:
    """Writes the records in this order, and returns the errors of those that were skipped.

    Raises Corrupt for a broken record unless `skip_corrupt`; NetdefError with target and record if writing fails.
    """
    broken: list[str] = []
    chosen = list(order)
    for start in range(sink.done, len(chosen), COMMIT):
        batch = []
        for i, raw in enumerate(records.read(chosen[start : start + COMMIT]), start):
            try:
                record = records.decode(raw)
            except Corrupt as error:
                if not skip_corrupt:
                    raise
                broken.append(str(error))
                continue
            if not sink.boxes and any(isinstance(label, Boxes) for label in record.labels):
                raise NetdefError(
                    f"{sink.target}: boxes can only be written as LMDB; name it .lmdb, or use `--to lmdb`."
                )
            batch.append((i, record, records.encoded(raw) if encoded else None))
        if batch:
            _guarded(sink, batch[0][0], lambda batch=batch: sink.put(batch))
        progress(min(start + COMMIT, len(chosen)))
    _guarded(sink, len(chosen), sink.finish)
    return broken


def _guarded(sink: Sink, record: int, write: Callable[[], None]) -> None:
    try:
        write()
    except NetdefError:
        raise
    except Exception as error:  # of the file system, h5py or lmdb
        kept = f"The records before it are kept in {sink.partial}" if sink.kept else "Nothing is kept"
        again = "free some space and run the same command again" if _is_full(error) else "run the same command again"
        raise NetdefError(f"{sink.target}: writing record {record} failed: {_why(error)}.  {kept}; {again}.") from error


def _need_space(path: Path, size: int) -> None:
    """Raises OSError if the disk has less than `size` bytes left, before a library leaves a half-written file."""
    if shutil.disk_usage(path).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_full(error: Exception) -> bool:
    """Whether a write failed because the disk is full; h5py and lmdb have this only in the message."""
    text = str(error)
    full = any(os.strerror(number) in text for number in FULL)
    return full or (isinstance(error, OSError) and error.errno in FULL)


def _why(error: Exception) -> str:
    return "the disk is full" if _is_full(error) else reason(error)
