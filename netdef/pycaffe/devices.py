"""Where jax computes, in pycaffe's words, and the seed of nets without a solver."""

from __future__ import annotations

import warnings

import jax

from ..language.errors import NetdefError

_seed = [0]  # of nets that are made from now on, as Caffe's random state is that of the process


def set_mode_cpu() -> None:
    """Compute on the CPU from now on."""
    jax.config.update("jax_default_device", jax.devices("cpu")[0])


def set_mode_gpu() -> None:
    """Compute on the first accelerator; where jax finds none a warning says so, and the CPU computes."""
    set_device(0, warn=True)


def set_device(number: int, warn: bool = False) -> None:
    """Compute on the accelerator of this number; NetdefError if there are some, and not so many.

    Differs: without any accelerator this has no effect."""
    found = [device for device in jax.devices() if device.platform != "cpu"]
    if not found:
        if warn:
            warnings.warn("jax finds no accelerator here, so the CPU computes (`netdef devices`)", stacklevel=3)
        return
    if not 0 <= number < len(found):
        raise NetdefError(f"there is no device {number}: jax finds {len(found)}, numbered from 0")
    jax.config.update("jax_default_device", found[number])


def set_random_seed(seed: int) -> None:
    """The seed of the nets that are made after this (0 at first).  Differs: nets that are there keep theirs."""
    _seed[0] = int(seed)


def random_seed() -> int:
    """The seed of a net that is made now."""
    return _seed[0]
