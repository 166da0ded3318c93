"""Lazy imports of jax, numpy and optax, which are imported when first used, and imports of optional packages.

The class of a layer contains its schema as well as its computation, and `netdef check` needs only the schema; importing
jax would take most of a second. The package `lazy_loader` is not used because it cannot load a submodule (`jax.numpy`)
without importing its parent.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .language.errors import NetdefError

Array = Any  # a jax array, for annotations

# Optional module -> the package that contains it. Messages name this package, not an extra of netdef, because
# `pip install 'netdef[...]'` would install another project of that name over this one.
OPTIONAL = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "faster_coco_eval": "faster-coco-eval",
    "flatbuffers": "flatbuffers",
    "google": "protobuf",
    "jax2onnx": "jax2onnx",
    "libtpu": "libtpu",
    "lmdb": "lmdb",
    "material": "mkdocs-material",
    "matplotlib": "matplotlib",
    "mlflow": "mlflow",
    "mkdocs": "mkdocs-material",
    "onnx": "onnx",
    "optuna": "optuna",
    "plyvel": "plyvel",
    "pyarrow": "pyarrow",
    "pygls": "pygls",
    "pygments": "mkdocs-material",
    "safetensors": "safetensors",
    "starlette": "starlette",
    "tensorboardX": "tensorboardX",
    "tokenizers": "tokenizers",
    "wandb": "wandb",
    "uvicorn": "uvicorn",
}


def need(module: str, what: str) -> Any:
    """Imports an optional module that `what` requires. If it is missing, raises NetdefError and names its package."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = OPTIONAL[module.partition(".")[0]]
        raise NetdefError(
            f"{what} requires the package {package}, which is not installed; run `pip install {package}`."
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
