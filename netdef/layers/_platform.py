"""The choice between two forms of the same computation, made where a program is compiled.

XLA for accelerators recognizes its own operations and fuses them with their neighbors; the forms written for CPUs cost
an accelerator traffic and memory. So they are compiled for CPUs only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..lazy import lax


def on_cpu(special: Callable[..., Any], plain: Callable[..., Any], *arrays: Any) -> Any:
    """Returns special(*arrays) in a program for a CPU, and plain(*arrays) in one for any other platform."""
    return lax.platform_dependent(*arrays, cpu=special, default=plain)
