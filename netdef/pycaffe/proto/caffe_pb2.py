"""`caffe.proto.caffe_pb2`: Caffe's messages, for files in text and binary format.

    net = caffe_pb2.NetParameter()
    text_format.Merge(Path("train_val.prototxt").read_text(), net)
    net.layer[0].type, caffe_pb2.PoolingParameter.MAX, caffe_pb2.TRAIN

The classes have the names and numbers of the fields in Caffe and its forks, and the fields that only netdef has. They
are built with the protobuf package when the first one is used.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ...language.spelling import suggestion
from ...lazy import need
from ..errors import NoField


@cache
def _members() -> dict[str, Any]:
    """Returns the messages, enums and enum values of the file by name."""
    need("google.protobuf", "caffe_pb2")
    from google.protobuf import descriptor_pool, message_factory
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

    from .schema import caffe_file

    pool = descriptor_pool.DescriptorPool()
    pool.Add(caffe_file())
    file = pool.FindFileByName("caffe.proto")
    messages = {n: message_factory.GetMessageClass(d) for n, d in file.message_types_by_name.items()}
    enums = {n: EnumTypeWrapper(d) for n, d in file.enum_types_by_name.items()}
    values = {n: number for enum in enums.values() for n, number in enum.items()}
    return {"DESCRIPTOR": file, **messages, **enums, **values}


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    members = _members()
    if name not in members:
        raise NoField(f"caffe_pb2 has no `{name}`.{suggestion(name, members)}")
    return members[name]


def __dir__() -> list[str]:
    return sorted(_members())
