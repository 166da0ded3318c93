"""Data: records of an LMDB or LevelDB database."""

from __future__ import annotations

import enum
from abc import abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

from ...files import Locate
from ...interop.caffe_proto import messages
from ...language.errors import NetdefError
from ...layers.base import Phase
from ...lazy import np
from ...schema import param
from .. import images
from ..base import Fit
from ..key_value import LEVELDB_FILE, LMDB_FILE, Database, open_database
from ..statistics import CHUNK
from ._image_layer import Corrupt, ImageLayer, Record, Records


class Backend(enum.Enum):
    """Kind of database."""

    LEVELDB = 0
    LMDB = 1


class Data(ImageLayer, type="Data", block="data_param"):
    """Images and labels of a database, in the order of its keys, repeated without end.

    Bottoms: none.  Tops: data (batch_size, c, h, w), and optionally label (batch_size).
    A record is a Datum: raw bytes, float_data, or an encoded image; `transform_param` says how it is transformed.
    Source: BVLC/caffe src/caffe/layers/data_layer.cpp.
    Differs: random numbers come from the net's seed; `batch_size` is the total of all processes; the kind of database
    is detected, whatever `backend` says.
    """

    as_in_caffe = True

    source: str = param("Folder of the database.", default="")
    batch_size: int = param("Number of records in a batch.", default=0, at_least=1)
    backend: Backend = param("Kind of the database.", default=Backend.LEVELDB)
    rand_skip: int = param("Skip a random number of records, less than this, at the start.", default=0, at_least=0)
    shuffle: bool = param("Shuffle the records in each epoch (NVIDIA).", default=False)
    prefetch: int = param("Number of batches that Caffe prefetches.", default=4, at_least=0, inert=True)
    scale: float = param("Belongs in transform_param.", default=1.0, inert=True)
    mean_file: str = param("Belongs in transform_param.", default="", inert=True)
    crop_size: int = param("Belongs in transform_param.", default=0, at_least=0, inert=True)
    mirror: bool = param("Belongs in transform_param.", default=False, inert=True)
    force_encoded_color: bool = param("Decode images to three channels.", default=False)
    cache: bool = param("Keep records in memory (NVIDIA); the operating system caches them.", default=False, inert=True)
    precache: bool = param("Read all records first (NVIDIA).", default=False, inert=True)
    threads: int = param("Number of threads in the NVIDIA fork.", default=0, at_least=0, inert=True)
    parser_threads: int = param("Number of threads in the NVIDIA fork.", default=0, at_least=0, inert=True)

    @classmethod
    def reads(cls, path: Path) -> Fit:
        database = any((path / name).exists() for name in (LMDB_FILE, LEVELDB_FILE))
        return Fit.NAME if database or path.suffix in (".mdb", ".lmdb") else Fit.NO

    def shuffled(self, phase: Phase) -> bool:
        return self.shuffle

    @property
    def color(self) -> bool | None:
        return True if self.force_encoded_color else self.transform_param.color

    def records(self, locate: Locate, first_only: bool = False) -> Records:
        path = self.source_path(locate, self.source, "the database")
        with self.naming():
            database = open_database(path)
            if database.is_empty:
                raise NetdefError(f"the database {path} is empty.")
        return _Datums(self, database)


class Key(NamedTuple):
    """The name of a record, formatted only when a message needs it."""

    key: bytes
    database: Database

    def __str__(self) -> str:
        return f"record {self.key!r} of {self.database.path}"


class DatumRecords(Records):
    """The records of a database: messages that contain an image as a Datum."""

    kind: str  # the message
    called: str  # the message in words, with the programs that write it
    has_floats = True  # whether images may be floating-point numbers

    def __init__(self, layer: ImageLayer, database: Database):
        self.layer, self.database = layer, database
        self._parse = getattr(messages(), self.kind).FromString

    @abstractmethod
    def datum(self, message: Any) -> Any:
        """Returns the Datum in a message."""

    @property
    def size(self) -> int:  # type: ignore[override]
        with self.layer.naming():
            return self.database.size

    def read(self, numbers: Any) -> list[tuple[bytes, bytes]]:
        with self.layer.naming():
            return self.database.read(numbers)

    def parsed(self, raw: tuple[bytes, bytes]) -> Any:
        """Returns the message of a record.  Raises Corrupt if it is none."""
        try:
            return self._parse(raw[1])
        except Exception:  # protobuf's DecodeError, without importing protobuf here
            raise self.corrupt(raw, f"is not {self.called}") from None

    def image(self, raw: tuple[bytes, bytes], datum: Any) -> Any:
        """Returns the image (c, h, w).  Raises Corrupt if it is damaged, or does not match its shape."""
        if datum.encoded:
            try:
                return images.decode(datum.data, self.layer.color).transpose(2, 0, 1)
            except images.Undecodable as error:
                raise self.corrupt(raw, f"contains an image that cannot be decoded ({error})") from None
        floats = self.has_floats and not datum.data
        values = np.asarray(datum.float_data, np.float32) if floats else np.frombuffer(datum.data, np.uint8)
        shape = (datum.channels, datum.height, datum.width)
        if values.size == 0 or values.size != shape[0] * shape[1] * shape[2]:
            said = "x".join(map(str, shape))
            raise self.corrupt(raw, f"has {values.size} values, which does not match its shape {said}")
        return values.reshape(shape)

    def encoded(self, raw: tuple[bytes, bytes]) -> bytes | None:
        datum = self.datum(self.parsed(raw))
        return datum.data if datum.encoded else None

    def corrupt(self, raw: tuple[bytes, bytes], what: str) -> Corrupt:
        """Returns the error of a record."""
        record = Key(raw[0], self.database)
        return Corrupt(str(self.layer.fault(f"{record} {what}; convert the data again, or set `skip_corrupt`.")))

    def sources(self) -> list[Path]:
        with self.layer.naming():
            return self.database.files()

    def close(self) -> None:
        self.database.close()


class _Datums(DatumRecords):
    kind, called = "Datum", "a Datum, the record that Caffe and `netdef data convert` write"

    def datum(self, message: Any) -> Any:
        return message

    def decode(self, raw: tuple[bytes, bytes]) -> Record:
        datum = self.parsed(raw)
        return Record(self.image(raw, datum), (datum.label,), Key(raw[0], self.database))

    def classes(self) -> Any:
        numbers = range(self.size)
        found = np.empty(self.size, np.int64)
        for start in numbers[::CHUNK]:
            part = numbers[start : start + CHUNK]
            found[part.start : part.stop] = [self.parsed(pair).label for pair in self.read(part)]
        return found
