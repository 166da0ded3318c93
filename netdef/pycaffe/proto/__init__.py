"""`caffe.proto`: the package with Caffe's messages, `caffe_pb2`."""

from __future__ import annotations

from . import caffe_pb2

__all__ = ["caffe_pb2"]
