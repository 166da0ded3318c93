"""`caffe.proto.caffe_pb2`: the Caffe messages that netdef supports (blobs, records, weights, solver states).

Unlike in pycaffe, there are no messages for prototxt files; use `netdef.load` to read them.
"""

from __future__ import annotations

from typing import Any

from ..interop.caffe_proto import messages
from ..language.errors import NetdefError


class _Messages:
    """Message classes by name: `caffe_pb2.BlobProto()`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if not hasattr(messages(), name):
            there = ", ".join(sorted(vars(messages())))
            raise NetdefError(f"there is no message {name}, only {there}; read nets and solvers with netdef.load")
        return getattr(messages(), name)


caffe_pb2 = _Messages()
