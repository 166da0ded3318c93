"""netdef compiles Caffe-style network definition files to JIT-compiled JAX/Flax models and trains them.

net = netdef.load("model.net")            # shapes and diagnostics; jax is not imported
model = netdef.compile("model.net")       # a flax.nnx.Module
result = netdef.train("model.net")        # as the file's solver says
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .compiler import load
from .language.diagnostics import CompileError, Diagnostic, NetdefError

if TYPE_CHECKING:
    from . import data
    from .deploy import deploy
    from .layer import Context, Example, Layer, Weight
    from .model import Model, compile
    from .predict import predict
    from .schema import param
    from .train import train

__version__ = "0.1.0"

# Imported when first used: name -> module.
_LATER = {
    "compile": ".model",
    "Model": ".model",
    "train": ".train",
    "deploy": ".deploy",
    "predict": ".predict",
    "Layer": ".layer",
    "Weight": ".layer",
    "Example": ".layer",
    "Context": ".layer",
    "param": ".schema",
}


def __getattr__(name: str) -> Any:
    if name == "data":
        return importlib.import_module(".data", __name__)
    if name not in _LATER:
        raise AttributeError(f"module 'netdef' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name], __name__), name)


__all__ = [
    "CompileError",
    "Context",
    "Diagnostic",
    "Example",
    "Layer",
    "Model",
    "NetdefError",
    "Weight",
    "compile",
    "data",
    "deploy",
    "load",
    "param",
    "predict",
    "train",
]
