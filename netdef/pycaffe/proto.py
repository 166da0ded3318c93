"""`caffe.proto.caffe_pb2`: Caffe's binary messages, as far as netdef knows them (blobs, records, weights, states).

Differs: nets and solvers in text are not messages here; `netdef.load` reads them.
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
            raise NetdefError(f"there is no message {name} here; there are {there}. netdef.load reads nets and solvers")
        return getattr(messages(), name)


caffe_pb2 = _Messages()
