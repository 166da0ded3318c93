"""jax, numpy and optax, imported when first used; and packages that not every installation has.

A layer's class holds its schema beside its arithmetic, and `netdef check` needs only the schema; importing jax would
cost it most of a second.  `lazy_loader` finds no submodules (`jax.numpy`) without importing their parent, hence these
lines.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .language.errors import NetdefError

Array = Any  # a jax array, for annotations

# Of an optional module: the package that has it, and the extra of netdef that installs it.
OPTIONAL = {
    "PIL": ("pillow", "images"),
    "cv2": ("opencv-python-headless", "opencv"),
    "flatbuffers": ("flatbuffers", "stablehlo"),
    "google": ("protobuf", "caffe"),
    "jax2onnx": ("jax2onnx", "onnx"),
    "lmdb": ("lmdb", "caffe"),
    "matplotlib": ("matplotlib", "plot"),
    "plyvel": ("plyvel", "caffe"),
    "pygls": ("pygls", "lsp"),
    "safetensors": ("safetensors", "safetensors"),
    "tensorboardX": ("tensorboardX", "tensorboard"),
}


def need(module: str, what: str) -> Any:
    """Import an optional module, which `what` needs.  NetdefError that names the extra to install if it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package, extra = OPTIONAL[module.partition(".")[0]]
        raise NetdefError(
            f"{what} needs the package {package}, which is not installed; `pip install 'netdef[{extra}]'`."
        ) from None


class _Lazy:
    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value

    def __repr__(self) -> str:
        return f"<{self._name}, imported when first used>"


if TYPE_CHECKING:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from jax import lax
else:
    jax, jnp, lax, np = _Lazy("jax"), _Lazy("jax.numpy"), _Lazy("jax.lax"), _Lazy("numpy")
    optax = _Lazy("optax")

__all__ = ["OPTIONAL", "Array", "jax", "jnp", "lax", "need", "np", "optax"]
