"""jax, numpy and optax, imported when first used.

A layer's class holds its schema beside its arithmetic, and `netdef check` needs only the schema; importing jax would
cost it most of a second.  `lazy_loader` finds no submodules (`jax.numpy`) without importing their parent, hence these
lines.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

Array = Any  # a jax array, for annotations


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

__all__ = ["Array", "jax", "jnp", "lax", "np", "optax"]
