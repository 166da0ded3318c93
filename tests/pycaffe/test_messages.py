"""Caffe's protobuf messages."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor

import netdef.pycaffe as caffe
from netdef.interop.caffe_proto import messages


def test_both_tables_of_messages_agree():
    """Weight files and databases are read with a table of their own, which is smaller than that of `caffe_pb2`."""
    full = caffe.proto.caffe_pb2
    for name, kind in vars(messages()).items():
        wanted = getattr(full, name).DESCRIPTOR.fields_by_name
        for field in kind.DESCRIPTOR.fields:
            same = wanted[field.name]
            assert (name, field.name, same.number) == (name, field.name, field.number)
            assert field.type == same.type or (field.type, same.type) == (
                FieldDescriptor.TYPE_INT32,
                FieldDescriptor.TYPE_ENUM,
            ), (name, field.name)
