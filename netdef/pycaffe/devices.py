"""pycaffe's functions that select the device, and the seed of nets without a solver."""

from __future__ import annotations

import warnings

import jax

from ..language.errors import NetdefError

_seed = [0]  # for nets created from now on, because Caffe's random state is global too


def set_mode_cpu() -> None:
    """Selects the CPU."""
    jax.config.update("jax_default_device", jax.devices("cpu")[0])


def set_mode_gpu() -> None:
    """Selects the first accelerator. If JAX finds none, warns and uses the CPU."""
    set_device(0, warn=True)


def set_device(number: int, warn: bool = False) -> None:
    """Selects the accelerator with this index. Raises NetdefError if there are accelerators, but none with this index.

    Unlike in pycaffe, this has no effect without an accelerator."""
    found = [device for device in jax.devices() if device.platform != "cpu"]
    if not found:
        if warn:
            warnings.warn("JAX finds no accelerator, so the CPU is used; see `netdef devices`", stacklevel=3)
        return
    if not 0 <= number < len(found):
        raise NetdefError(f"there is no device {number}: JAX finds {len(found)}, numbered from 0")
    jax.config.update("jax_default_device", found[number])


def set_random_seed(seed: int) -> None:
    """Sets the seed of nets that are created later (0 by default). Unlike in pycaffe, existing nets keep theirs."""
    _seed[0] = int(seed)


def random_seed() -> int:
    """Returns the seed for a new net."""
    return _seed[0]


def has_nccl() -> bool:
    """Whether Caffe's training on several GPUs, with a process for each, is available: use `netdef train`."""
    return False
