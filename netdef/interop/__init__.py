"""Weights and models in and out: Caffe's files, and today's formats.

netdef.interop.load_weights(model, "vgg.caffemodel")       netdef.interop.save_weights(model, "vgg.safetensors")
netdef.interop.read_weights("vgg.caffemodel")              {layer: [arrays]}, without a net
"""

from __future__ import annotations

from .weights import Loaded, load_weights, read_weights, save_weights

__all__ = ["Loaded", "load_weights", "read_weights", "save_weights"]
