"""The partition of the arrays of a net into trained, fixed and kept ones, with their multipliers.

An array is identified by its owner (a layer and the index among its blobs); a training state has them as tuples in the
order of `Partition`, which is the order of the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jax.core import Tracer

from ..graph import Net, Owner
from ..layers.base import ParamSpec, Weight
from ..lazy import Array
from ..model import Model
from ..shape import Shape


@dataclass(frozen=True)
class Trained:
    """One trained array, with its multipliers of learning rate and weight decay."""

    owner: Owner
    lr_mult: float
    decay_mult: float
    shape: Shape | None = None  # in the net, without rows that pad it on several devices


@dataclass(frozen=True)
class Partition:
    """The arrays of a net, grouped by how they change."""

    trained: tuple[Trained, ...]
    fixed: tuple[Owner, ...]  # parameters with lr_mult 0: constants of the step
    kept: tuple[Owner, ...]  # running statistics and carried state, which the layers update

    @property
    def owners(self) -> tuple[Owner, ...]:
        """All owners, in the order of the arguments of `weights`."""
        return (*(t.owner for t in self.trained), *self.fixed, *self.kept)

    def weights(
        self, trained: tuple[Array, ...], fixed: tuple[Array, ...], kept: tuple[Array, ...]
    ) -> dict[Owner, Array]:
        """Returns all arrays by owner, as `forward` expects them."""
        return dict(zip(self.owners, (*trained, *fixed, *kept), strict=True))


def partition_of(net: Net) -> Partition:
    """The partition of a net, by the `param` blocks of its layers."""
    given = _given(net)
    trained, fixed, kept = [], [], []
    for owner, weight in net.owned:
        lr_mult, decay_mult = _multipliers(weight, given.get(owner, []))
        if weight.kind != "param":
            kept.append(owner)
        elif lr_mult == 0:
            fixed.append(owner)
        else:
            trained.append(Trained(owner, lr_mult, decay_mult, weight.shape))
    return Partition(tuple(trained), tuple(fixed), tuple(kept))


def _given(net: Net) -> dict[Owner, list[ParamSpec]]:
    """The `param` blocks of each array: those of the owner first, then those of layers that share it."""
    found: dict[Owner, list[ParamSpec]] = {}
    for node in net.layers:
        for spec, owner in zip(node.layer.param, node.owners, strict=False):
            found.setdefault(owner, []).append(spec)
    return found


def _multipliers(weight: Weight, specs: list[ParamSpec]) -> tuple[float, float]:
    """(lr_mult, decay_mult) of an array: as in Caffe, each from the first layer sharing the array that sets it."""
    lr = next((s.lr_mult for s in specs if s.given("lr_mult") or s.span is None), weight.lr_mult)
    decay = next((s.decay_mult for s in specs if s.given("decay_mult") or s.span is None), weight.decay_mult)
    return lr, decay


def arrays_of(model: Model, owners: tuple[Owner, ...]) -> tuple[Array, ...]:
    """The arrays of some owners."""
    return tuple(map(model.array, owners))


def copies(arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Copies of arrays on the same devices, made without a program for each shape."""
    copy = partial(jax.device_put, may_alias=False)
    whole = lambda array: isinstance(array, Tracer) or getattr(array, "is_fully_addressable", True)
    return tuple(copy(array) if whole(array) else by_parts(array, copy, array.sharding) for array in arrays)


def by_parts(array: jax.Array, put: Callable[[Any], Any], sharding: Any) -> jax.Array:
    """An array of what `put` returns for each part of another one that is on a device of this process."""
    parts = [put(part.data) for part in array.addressable_shards]
    return jax.make_array_from_single_device_arrays(array.shape, sharding, parts)


def put_arrays(model: Model, owners: tuple[Owner, ...], arrays: tuple[Array, ...]) -> None:
    """Sets the arrays of some owners."""
    for owner, array in zip(owners, arrays, strict=True):
        model.variable(owner)[...] = array
