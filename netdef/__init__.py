"""netdef compiles Caffe-style network definition files to JIT-compiled JAX/Flax models and trains them.

net = netdef.load("model.net")            # shapes and diagnostics; jax is not imported
model = netdef.compile("model.net")       # a flax.nnx.Module
result = netdef.train("model.net")        # with the solver in the file
netdef.test("runs/Net")                   # the scores of a run
netdef.runs()                             # the runs in the folder runs
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__
from .compiler import load
from .language.diagnostics import CompileError, Diagnostic
from .language.errors import NetdefError

if TYPE_CHECKING:
    from . import data
    from .inference.deploy import deploy
    from .inference.predict import features, predict
    from .layers.base import Context, Example, Layer, Weight
    from .model import Model, compile
    from .observe.listing import runs
    from .schema import param
    from .training.run import train
    from .training.scoring import test

# Imported on first use, because these import JAX or NumPy: name -> module.
_LATER = {
    "compile": ".model",
    "Model": ".model",
    "train": ".training.run",
    "test": ".training.scoring",
    "deploy": ".inference.deploy",
    "features": ".inference.predict",
    "predict": ".inference.predict",
    "runs": ".observe.listing",
    "Layer": ".layers.base",
    "Weight": ".layers.base",
    "Example": ".layers.base",
    "Context": ".layers.base",
    "param": ".schema",
}


def __getattr__(name: str) -> Any:
    if name == "data":
        return importlib.import_module(".data", __name__)
    if name not in _LATER:
        raise AttributeError(f"module 'netdef' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name], __name__), name)


def __dir__() -> list[str]:
    """The names that are completed: the interface, most of which is imported on first use, and not its modules."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


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
    "features",
    "load",
    "param",
    "predict",
    "runs",
    "test",
    "train",
]
