"""Import and export of weights and models, in Caffe's file formats and in current ones.

netdef.interop.load_weights(model, "vgg.caffemodel")       netdef.interop.save_weights(model, "vgg.safetensors")
netdef.interop.read_weights("vgg.caffemodel")              {layer: [arrays]}, without a net
netdef.interop.fold(net, weights)                          merges batch normalization into the preceding layers
netdef.interop.eject(model, "vgg.py")                      Flax source that does not import netdef
netdef.interop.export_onnx(model, "vgg.onnx")              netdef.interop.export_stablehlo(model, "vgg.stablehlo")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ejection import eject
    from .folding import Folded, fold
    from .onnx import export_onnx
    from .stablehlo import export_stablehlo
    from .weights import Loaded, load_weights, read_weights, save_weights

# Imported on first use: name -> module.
_LATER = {
    "Loaded": ".weights",
    "load_weights": ".weights",
    "read_weights": ".weights",
    "save_weights": ".weights",
    "Folded": ".folding",
    "fold": ".folding",
    "eject": ".ejection",
    "export_onnx": ".onnx",
    "export_stablehlo": ".stablehlo",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'netdef.interop' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name], __name__), name)


__all__ = [
    "Folded",
    "Loaded",
    "eject",
    "export_onnx",
    "export_stablehlo",
    "fold",
    "load_weights",
    "read_weights",
    "save_weights",
]
