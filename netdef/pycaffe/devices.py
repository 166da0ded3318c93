"""pycaffe's functions that select the device, the seed of nets and solvers, and one of several solvers."""

from __future__ import annotations

import warnings
from typing import Any, NoReturn

import jax

from ..language.errors import NetdefError

SEVERAL = (
    "Caffe's solvers on several GPUs exchange gradients by NCCL, which netdef does not have; "
    "`netdef train solver.prototxt --gpu 0,1` trains on them, with the same meaning"
)

_solvers = {"count": 1, "rank": 0, "multiprocess": 0}  # of solvers created from now on, as in Caffe
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
    """Sets the seed of nets that are created later, and of solvers without `random_seed` (0 by default). Unlike in
    pycaffe, existing nets keep theirs, and two nets or solvers of the same seed draw the same numbers."""
    _seed[0] = int(seed)


def random_seed() -> int:
    """Returns the seed for a new net, or for a solver without `random_seed`."""
    return _seed[0]


def solver_count() -> int:
    """Returns the number of solvers that train together."""
    return _solvers["count"]


def set_solver_count(count: int) -> None:
    """Sets the number of solvers that train together; one that is created while it is not 1 raises a NetdefError."""
    _solvers["count"] = int(count)


def solver_rank() -> int:
    """Returns the index of the solver of this process."""
    return _solvers["rank"]


def set_solver_rank(rank: int) -> None:
    """Sets the index of the solver of this process."""
    _solvers["rank"] = int(rank)


def set_multiprocess(several: bool) -> None:
    """Sets whether each solver has a process of its own, which makes no difference for a single one."""
    _solvers["multiprocess"] = int(several)


def refuse_several() -> None:
    """Raises NetdefError for one of several solvers."""
    if solver_count() != 1 or solver_rank() != 0:
        raise NetdefError(f"this is solver {solver_rank()} of {solver_count()}, counted from 0; {SEVERAL}")


def has_nccl() -> bool:
    """Returns False: there is no NCCL, as in a Caffe that was built without it."""
    return False


class NCCL:
    """Raises NetdefError: the gradients of several solvers are averaged by `netdef train` instead."""

    def __init__(self, solver: Any = None, uid: Any = None) -> None:
        raise NetdefError(SEVERAL)

    @staticmethod
    def new_uid() -> NoReturn:
        raise NetdefError(SEVERAL)
