"""The Caffe protobuf messages that netdef reads and writes: weights, solver states, mean files, database records.

`messages()` returns the classes by name. They are built from the field table below with the protobuf package, which is
imported on first use. protobuf keeps other fields as unknown fields and writes them back unchanged.
Source: the field numbers of BVLC/caffe src/caffe/proto/caffe.proto; `raw_data` of a blob is NVIDIA/caffe's half
precision; AnnotatedDatum is weiliu89/caffe's, branch ssd.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

from ..lazy import need

# message: {field: (number, type)}; a type is a scalar or the name of a message; [] repeated, {} repeated and packed
_FIELDS: dict[str, dict[str, tuple[int, Any]]] = {
    "BlobShape": {"dim": (1, {"int64"})},
    "BlobProto": {
        "num": (1, "int32"),
        "channels": (2, "int32"),
        "height": (3, "int32"),
        "width": (4, "int32"),
        "data": (5, {"float"}),
        "diff": (6, {"float"}),
        "shape": (7, "BlobShape"),
        "double_data": (8, {"double"}),
        "double_diff": (9, {"double"}),
        "raw_data_type": (10, "int32"),
        "raw_diff_type": (11, "int32"),
        "raw_data": (12, "bytes"),
        "raw_diff": (13, "bytes"),
    },
    "BlobProtoVector": {"blobs": (1, ["BlobProto"])},
    "Datum": {
        "channels": (1, "int32"),
        "height": (2, "int32"),
        "width": (3, "int32"),
        "data": (4, "bytes"),
        "label": (5, "int32"),
        "float_data": (6, ["float"]),
        "encoded": (7, "bool"),
    },
    "NormalizedBBox": {
        "xmin": (1, "float"),
        "ymin": (2, "float"),
        "xmax": (3, "float"),
        "ymax": (4, "float"),
        "label": (5, "int32"),
        "difficult": (6, "bool"),
        "score": (7, "float"),
        "size": (8, "float"),
    },
    "Annotation": {"instance_id": (1, "int32"), "bbox": (2, "NormalizedBBox")},
    "AnnotationGroup": {"group_label": (1, "int32"), "annotation": (2, ["Annotation"])},
    "AnnotatedDatum": {"datum": (1, "Datum"), "type": (2, "int32"), "annotation_group": (3, ["AnnotationGroup"])},
    "V0LayerParameter": {"name": (1, "string"), "type": (2, "string"), "blobs": (50, ["BlobProto"])},
    "V1LayerParameter": {
        "layer": (1, "V0LayerParameter"),
        "bottom": (2, ["string"]),
        "top": (3, ["string"]),
        "name": (4, "string"),
        "type": (5, "int32"),
        "blobs": (6, ["BlobProto"]),
    },
    "LayerParameter": {
        "name": (1, "string"),
        "type": (2, "string"),
        "bottom": (3, ["string"]),
        "top": (4, ["string"]),
        "blobs": (7, ["BlobProto"]),
        "phase": (10, "int32"),
    },
    "NetParameter": {
        "name": (1, "string"),
        "layers": (2, ["V1LayerParameter"]),
        "input": (3, ["string"]),
        "input_dim": (4, ["int32"]),
        "input_shape": (8, ["BlobShape"]),
        "layer": (100, ["LayerParameter"]),
    },
    "SolverState": {
        "iter": (1, "int32"),
        "learned_net": (2, "string"),
        "history": (3, ["BlobProto"]),
        "current_step": (4, "int32"),
    },
}


@cache
def messages() -> SimpleNamespace:
    """Returns the message classes by name: `messages().Datum()`. Raises NetdefError if protobuf is not installed."""
    need("google.protobuf", "reading or writing Caffe's binary files")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="netdef/caffe.proto", package="netdef.caffe", syntax="proto2")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add(message, field, number, kind, descriptor_pb2.FieldDescriptorProto)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    make = message_factory.GetMessageClass
    return SimpleNamespace(**{n: make(pool.FindMessageTypeByName(f"netdef.caffe.{n}")) for n in _FIELDS})


def _add(message: Any, name: str, number: int, kind: Any, field_type: Any) -> None:
    repeated = not isinstance(kind, str)
    of = next(iter(kind)) if repeated else kind
    field = message.field.add(name=name, number=number)
    field.label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
    if of in _FIELDS:
        field.type, field.type_name = field_type.TYPE_MESSAGE, f".netdef.caffe.{of}"
    else:
        field.type = getattr(field_type, f"TYPE_{of.upper()}")
    if isinstance(kind, set):
        field.options.packed = True
