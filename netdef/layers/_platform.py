"""The choice between two forms of the same computation, made where a program is compiled.

XLA for accelerators recognizes its own operations and fuses them with their neighbors; most forms written for CPUs cost
an accelerator traffic and memory. So they are compiled for CPUs only. A few of its operations are fast on TPUs only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..lazy import Array, jnp, lax


def on_cpu(special: Callable[..., Any], plain: Callable[..., Any], *arrays: Any) -> Any:
    """Returns special(*arrays) in a program for a CPU, and plain(*arrays) in one for any other platform."""
    return lax.platform_dependent(*arrays, cpu=special, default=plain)


def on_cpu_and_gpu(special: Callable[..., Any], plain: Callable[..., Any], *arrays: Any) -> Any:
    """Returns special(*arrays) in a program for a CPU or GPU, and plain(*arrays) in one for any other platform."""
    return lax.platform_dependent(*arrays, cpu=special, cuda=special, rocm=special, default=plain)


def in_float32(form: Callable[..., Array]) -> Callable[..., Array]:
    """The same form, which computes half precision in float32 and rounds the result.  CPUs have no arithmetic in half
    precision, so that is faster, and sums keep their digits."""

    def wide(*arrays: Array) -> Array:
        full = [a.astype(jnp.promote_types(a.dtype, jnp.float32)) for a in arrays]
        return form(*full).astype(jnp.result_type(*arrays))

    return wide
