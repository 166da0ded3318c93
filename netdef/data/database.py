"""Data: records of an LMDB or LevelDB database."""

from __future__ import annotations

import enum
from typing import Any

from ..caffe_proto import messages
from ..layer import Locate, Phase
from ..lazy import np
from ..schema import param
from ..shape import UNKNOWN, Shape
from . import databases, images
from .base import Batch, DataLayer, Process, Reader
from .records import Order
from .transform import Transform, Transformer


class Backend(enum.Enum):
    """Which kind of database."""

    LEVELDB = 0
    LMDB = 1


class Data(DataLayer, type="Data", block="data_param"):
    """Images and labels of a database, in the order of its keys and from the start again after the last.

    Bottoms: none.  Tops: data (batch_size, c, h, w), and if there is a second one label (batch_size).
    A record is a Datum: raw bytes, float_data, or an encoded image; see `transform_param` for what is made of it.
    Source: BVLC/caffe src/caffe/layers/data_layer.cpp.
    Differs: random numbers come from the net's seed; `batch_size` is that of all processes together; a database of the
    other kind than `backend` says is opened all the same.
    """

    n_tops = (1, 2)

    source: str = param("Folder of the database.", default="")
    batch_size: int = param("Records of a batch.", default=0, at_least=0)
    backend: Backend = param("Kind of the database.", default=Backend.LEVELDB)
    rand_skip: int = param("Skip a random number of records below this at the start.", default=0, at_least=0)
    shuffle: bool = param("Draw the order of records anew for each epoch (NVIDIA: with `cache`).", default=False)
    prefetch: int = param("Batches that are made ahead.", default=4, at_least=0)
    scale: float = param("Belongs into transform_param.", default=1.0, inert=True)
    mean_file: str = param("Belongs into transform_param.", default="", inert=True)
    crop_size: int = param("Belongs into transform_param.", default=0, at_least=0, inert=True)
    mirror: bool = param("Belongs into transform_param.", default=False, inert=True)
    force_encoded_color: bool = param("Decode images to three channels.", default=False)
    cache: bool = param("Keep records in memory (NVIDIA); the system's page cache does.", default=False, inert=True)
    precache: bool = param("Read all records first (NVIDIA).", default=False, inert=True)
    threads: int = param("Threads of the NVIDIA fork.", default=0, at_least=0, inert=True)
    parser_threads: int = param("Threads of the NVIDIA fork.", default=0, at_least=0, inert=True)
    transform_param: Transform = param("What is made of each record.", default=Transform(), beside=True)

    def open_database(self, locate: Locate) -> databases.Database:
        """The database.  NetdefError if it is missing, truncated or empty."""
        path = self.source_path(locate, self.source, "the database")
        database = databases.open_database(path)
        if database.size == 0:
            raise self.fault(f"the database {path} is empty.")
        return database

    @property
    def color(self) -> bool | None:
        return True if self.force_encoded_color else self.transform_param.color

    def shapes(self, locate: Locate) -> list[Shape]:
        database = self.open_database(locate)
        key, value = database.first()
        image, _ = read_datum(self, database, key, value, self.color)
        database.close()
        batch = self.batch_size or UNKNOWN
        return [(batch, *self.transform_param.shape(*image.shape)), (batch,)][: len(self.top)]

    def declared_shapes(self) -> list[Shape]:
        batch = self.batch_size or UNKNOWN
        return [(batch, *self.transform_param.declared(self.color)), (batch,)][: len(self.top)]

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        return _DataReader(self, locate, phase, seed, process)


class _DataReader(Reader):
    def __init__(self, layer: Data, locate: Locate, phase: Phase, seed: int, process: Process):
        super().__init__(layer, layer.batch_size, seed, process)
        self.layer: Data = layer
        self.transformer = Transformer(layer, layer.transform_param, locate, phase)
        self.database = layer.open_database(locate)
        self.size = self.database.size
        shuffled = (lambda epoch: self.random("shuffle", epoch).permutation(self.size)) if layer.shuffle else None
        self.order = Order(self.size, shuffled)
        if layer.rand_skip:
            self.position = int(self.random("skip").integers(layer.rand_skip))

    def batch(self, position: int) -> Batch:
        draws = self.transformer.draw(self.random("transform", position), self.batch_size)[self.rows]
        pairs = self.database.read(self.order.at(position, self.batch_size)[self.rows])
        records = [read_datum(self.layer, self.database, key, value, self.layer.color) for key, value in pairs]
        names = [f"record {key!r} of {self.database.path}" for key, _ in pairs]
        data = self.transformer.batch([image for image, _ in records], draws, names)
        label = np.array([label for _, label in records], np.float32)
        return dict(zip(self.layer.top, (data, label), strict=False))

    def close(self) -> None:
        self.database.close()


def read_datum(
    layer: DataLayer, database: databases.Database, key: bytes, value: Any, color: bool | None
) -> tuple[Any, int]:
    """(image (c, h, w) uint8 or float32, label) of one record.  NetdefError naming the file and key if it is broken."""
    from google.protobuf.message import DecodeError

    where = f"record {key!r} of {database.path}"
    try:
        datum = messages().Datum.FromString(value)
    except DecodeError:
        raise layer.fault(
            f"{where} is not a Datum; was the database written by Caffe or `netdef data convert`?"
        ) from None
    if datum.encoded:
        try:
            return images.decode(datum.data, color).transpose(2, 0, 1), datum.label
        except images.Undecodable as error:
            raise layer.fault(f"{where} holds an image that does not decode ({error}).") from None
    shape = (datum.channels, datum.height, datum.width)
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.asarray(datum.float_data, np.float32)
    if values.size == 0 or values.size != shape[0] * shape[1] * shape[2]:
        raise layer.fault(
            f"{where} holds {values.size} values, and its shape {'x'.join(map(str, shape))} needs another number."
        )
    return values.reshape(shape), datum.label
