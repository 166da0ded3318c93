"""Which arrays of a net are trained, how fast, and which are only kept.

Arrays are named by their owner (layer and place among its blobs); a training state holds them as tuples in the order of
`Partition`, which is the order of the layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Net, Owner
from ..layers.base import ParamSpec, Weight
from ..lazy import Array
from ..model import Model


@dataclass(frozen=True)
class Trained:
    """One array that the solver moves, with its multipliers of learning rate and weight decay."""

    owner: Owner
    lr_mult: float
    decay_mult: float


@dataclass(frozen=True)
class Partition:
    """The arrays of a net by what happens to them."""

    trained: tuple[Trained, ...]
    fixed: tuple[Owner, ...]  # parameters whose lr_mult is 0: constants of the step
    kept: tuple[Owner, ...]  # running statistics and carried state: the layers change them

    @property
    def owners(self) -> tuple[Owner, ...]:
        """All of them, in the order in which `weights` takes their arrays."""
        return (*(t.owner for t in self.trained), *self.fixed, *self.kept)

    def weights(
        self, trained: tuple[Array, ...], fixed: tuple[Array, ...], kept: tuple[Array, ...]
    ) -> dict[Owner, Array]:
        """All arrays by owner, as `forward` takes them."""
        return dict(zip(self.owners, (*trained, *fixed, *kept), strict=True))


def partition_of(net: Net) -> Partition:
    """The partition of a net, by the `param` messages of its layers."""
    given = _given(net)
    trained, fixed, kept = [], [], []
    for owner, weight in net.owned:
        lr_mult, decay_mult = _multipliers(weight, given.get(owner, []))
        if weight.kind != "param":
            kept.append(owner)
        elif lr_mult == 0:
            fixed.append(owner)
        else:
            trained.append(Trained(owner, lr_mult, decay_mult))
    return Partition(tuple(trained), tuple(fixed), tuple(kept))


def _given(net: Net) -> dict[Owner, list[ParamSpec]]:
    """The `param` messages of each array; those of layers that share it follow the owner's."""
    found: dict[Owner, list[ParamSpec]] = {}
    for node in net.layers:
        for spec, owner in zip(node.layer.param, node.owners, strict=False):
            found.setdefault(owner, []).append(spec)
    return found


def _multipliers(weight: Weight, specs: list[ParamSpec]) -> tuple[float, float]:
    """Caffe's: the first layer that gives a multiplier decides for all that share the array."""
    lr = next((s.lr_mult for s in specs if s.given("lr_mult") or s.span is None), weight.lr_mult)
    decay = next((s.decay_mult for s in specs if s.given("decay_mult") or s.span is None), weight.decay_mult)
    return lr, decay


def arrays_of(model: Model, owners: tuple[Owner, ...]) -> tuple[Array, ...]:
    """The arrays of some owners."""
    return tuple(map(model.array, owners))


def put_arrays(model: Model, owners: tuple[Owner, ...], arrays: tuple[Array, ...]) -> None:
    """Set the arrays of some owners."""
    for owner, array in zip(owners, arrays, strict=True):
        model.variable(owner)[...] = array
