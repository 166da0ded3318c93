"""Layers with a row of weights for each class, which the devices of a run may divide among them."""

from __future__ import annotations

from math import prod
from typing import Any

from ..lazy import Array, jax, lax
from ..schema import Block, param
from ..shape import Shape, count, known
from .base import Layer, Weight

# Bytes of the weights from which on they are divided without being told to.  Each device would hold them several times
# (weights, gradient, history), and sum a gradient of this size with the others in every step.  The largest layer of
# Caffe's published nets, fc6 of VGG with 392 MiB, is smaller: its result need not be divided, as those of classes.
LARGE = 1 << 30


class MultinodeLayer(Block):
    """`multinode { model_parts: 0 }` of a layer: the devices divide its rows (Intel).

    Source: MultinodeLayerParameter of intel/caffe.  Differs: all devices of a run divide the rows, whatever the numbers
    are, unless one of them is 1."""

    num_nodes: int = param("Number of nodes of the cluster; 1 divides nothing.", default=0, at_least=0)
    model_parts: int = param("Number of parts; 1 divides nothing, any other number all.", default=1, at_least=0)

    @property
    def divides(self) -> bool:
        """Whether there are several parts: 0 means all nodes, and there are no more parts than nodes."""
        return self.num_nodes != 1 and self.model_parts != 1


class ClassWeights(Layer):
    """A layer with a row of weights for each class."""

    shard: bool | None = param(
        "Whether the devices of a run divide the weights of the classes among them, in place of a copy on each; "
        "default: if they are larger than 1 GiB.",
        default=None,
    )
    multinode: MultinodeLayer | None = param(
        "Form of `shard` in Intel's fork; `shard` takes precedence.", default=None, beside=True
    )

    @property
    def divides(self) -> bool | None:
        """Whether the file says that devices divide the rows; None if it says neither."""
        named = self.shard is None and self.multinode is not None and self.multinode.divides
        return True if named else self.shard

    def rows(self, shape: Shape, filler: Any, parts: int = 1) -> Weight:
        """The weights (classes, ...); devices divide them in multiples of `parts`."""
        large = known(shape) and 4 * count(shape) > LARGE
        return Weight(shape, filler, parts=parts if (large if self.divides is None else self.divides) else 0)


def without_padding(array: Array, shape: Shape) -> Array:
    """An array in the shape that a layer declares, without the rows of zeros with which devices divide it evenly.

    The constraint leaves the other rows where they are: XLA gathers an array with a number of rows that the devices do
    not divide, unless it is told where they belong."""
    rows = prod(shape) // prod(array.shape[1:])
    if array.ndim and rows < array.shape[0]:
        mesh = jax.typeof(array).sharding.mesh
        place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(mesh.axis_names))
        array = array[:rows] if mesh.empty else lax.with_sharding_constraint(array[:rows], place)
    return array.reshape(shape)
