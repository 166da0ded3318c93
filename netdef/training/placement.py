"""The devices of a run, and where its arrays are: the only user of `jax.sharding` in training.

Several devices form a mesh with one axis, `data`.  The rows of a batch are divided along it, and so are weights with a
row for each of many classes (`Weight.parts`), their histories and moving averages; all else is on every device.  Rows
of zeros pad them if the devices do not divide their number; no layer sees these (`forward`).  There are two ways to
compute on the mesh (`mesh { statistics }` of the solver):

    GLOBAL   the step of one device, which JAX divides: the result is that of one device
    DEVICE   each device runs the step on its own rows, as in Caffe, and the gradients are averaged (`apart`)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..data.base import Process
from ..data.feed import Feed
from ..data.mesh import AXIS, Devices, chosen, mesh_of
from ..graph import Net, Owner
from ..language.errors import NetdefError
from ..layers.base import Weight
from ..model import divided, padded
from ..shape import Shape
from ..solvers.base import MeshBatch, MeshStatistics, Solver
from .numbered import Numbered, joined
from .params import Partition
from .step import State, Step

ROWS = 2  # axis of the rows in the items of a dispatch, after the steps and the batches of a step


@dataclass(frozen=True)
class Placement:
    """The mesh of a run, None for a single device that JAX selects, and the meaning of a batch on it."""

    mesh: Mesh | None = None
    each: bool = False  # whether the batch of the file is that of each device
    apart: bool = False  # whether each device computes the statistics of its own rows
    rows: frozenset[int] = frozenset()  # numbers of rows of the batches of the file, which are divided (see `batched`)
    classes: Mapping[Owner, int] = field(default_factory=dict)  # arrays whose rows the devices divide, and how many
    whole: tuple[str, ...] = ()  # layers with large weights that the devices cannot divide
    divides_histories: bool = True  # whether the histories of arrays that the devices divide are divided, too
    numbered: Mapping[str, Numbered] = field(default_factory=dict)  # labels whose rows name their image, by top

    @property
    def count(self) -> int:
        """The number of devices."""
        return 1 if self.mesh is None else self.mesh.size

    @property
    def batches(self) -> int:
        """The number of batches of the file in one batch of the run."""
        return self.count if self.each else 1

    @cached_property
    def process(self) -> tuple[int, int]:
        """The index of this process, and the number of processes that the devices belong to."""
        several = self.mesh is not None and len({d.process_index for d in self.mesh.devices.flat}) > 1
        return (jax.process_index(), jax.process_count()) if several else (0, 1)

    @property
    def divides_numbered(self) -> bool:
        """Whether each device gets a label with the rows of its own images; else all devices get one label."""
        return self.apart or self.process[1] > 1

    @property
    def share(self) -> Process:
        """The rows of a batch of the file that this process reads."""
        return (*self.process, True) if self.each else self.process

    @property
    def everywhere(self) -> NamedSharding | None:
        """The sharding of an array that is on every device."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())

    def along(self, axis: int) -> NamedSharding | None:
        """The sharding of an array that is divided along one of its axes."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec(*[None] * axis, AXIS))

    def put(self, arrays: Any) -> Any:
        """Puts arrays on every device."""
        return self._put(arrays, jax.tree.map(lambda _: self.everywhere, arrays))

    def _put(self, arrays: Any, places: Any) -> Any:
        """Puts arrays on devices; those of several processes have the same values in each."""
        if self.mesh is None:
            return arrays
        if self.process[1] == 1:
            return jax.device_put(arrays, places)
        return jax.tree.map(_put_common, arrays, places)

    def padded(self, owners: Sequence[Owner], arrays: Sequence[Any]) -> tuple[Any, ...]:
        """Arrays of the net, or their histories, with rows of zeros where the devices need these to divide them."""

        def full(owner: Owner, array: Any) -> Any:
            shape = self.held(owner, array.shape) if array.ndim else array.shape
            return array if shape == array.shape else padded(np.asarray(array), shape[0])

        given = zip(owners, arrays, strict=bool(arrays))
        return tuple(jax.tree.map(partial(full, owner), mine) for owner, mine in given)

    @property
    def shardings(self) -> dict[Owner, Any]:
        """The shardings of the arrays that the devices divide."""
        return dict.fromkeys(self.classes, self.along(0))

    def of(self, owner: Owner, array: Any) -> NamedSharding | None:
        """The sharding of an array of the net, or of one that belongs to it, such as its momentum."""
        return self.along(0) if owner in self.classes and array.ndim else self.everywhere

    def held(self, owner: Owner, shape: Shape) -> Shape:
        """The shape in which the devices have an array of the net: with rows that pad it."""
        return (self.classes[owner], *shape[1:]) if owner in self.classes else shape

    def of_state(self, state: State, partition: Partition) -> Any:
        """The shardings of a state, in a tree of its structure; arrays of the net may be missing from it."""
        if self.mesh is None:
            return None
        trained = [spec.owner for spec in partition.trained]
        places = jax.tree.map(lambda _: self.everywhere, state)
        return places._replace(
            trained=self.of_owned(trained, state.trained),
            kept=self.of_owned(partition.kept, state.kept),
            history=self.of_owned(trained, state.history) if self.divides_histories else places.history,
            ema=self.of_owned(trained, state.ema),
        )

    def of_owned(self, owners: Sequence[Owner], arrays: Sequence[Any]) -> tuple[Any, ...]:
        """The shardings of arrays of the net, or of their histories."""
        given = zip(owners, arrays, strict=bool(arrays))
        return tuple(jax.tree.map(lambda a, o=o: self.of(o, a), mine) for o, mine in given)

    def put_state(self, state: State, partition: Partition) -> State:
        """Puts a state on the devices."""
        if self.mesh is None:
            return jax.device_put(state)
        trained = [spec.owner for spec in partition.trained]
        owned = {"trained": trained, "kept": partition.kept, "ema": trained}
        owned |= {"history": trained} if self.divides_histories else {}
        state = state._replace(**{name: self.padded(owners, getattr(state, name)) for name, owners in owned.items()})
        return self._put(state, self.of_state(state, partition))

    def put_owned(self, owners: Sequence[Owner], arrays: Sequence[Any]) -> tuple[Any, ...]:
        """Puts arrays of the net on the devices."""
        arrays = self.padded(owners, arrays)
        return self._put(arrays, self.of_owned(owners, arrays))

    def put_rows(self, arrays: Any, axis: int) -> Any:
        """Divides arrays along the axis of the rows of a batch; those that are no batches are put on every device.  A
        process has the rows of its own devices."""
        if self.mesh is None:
            return jax.device_put(arrays)
        processes = self.process[1]
        divided = self._are_divided(arrays, axis, processes)
        places = jax.tree.map(lambda is_divided: self.along(axis) if is_divided else self.everywhere, divided)
        if processes == 1:
            return jax.device_put(arrays, places)
        whole = lambda a: (*a.shape[:axis], a.shape[axis] * processes, *a.shape[axis + 1 :])
        put = lambda a, place, own: self._put_local(a, place, whole(a) if own else a.shape)
        return jax.tree.map(put, arrays, places, divided)

    def of_rows(self, shape: Shape, axis: int) -> NamedSharding | None:
        """The sharding of an array that may be a batch with its rows along an axis."""
        return self.along(axis) if len(shape) > axis and self._divides(shape[axis]) else self.everywhere

    def _are_divided(self, arrays: Any, axis: int, processes: int = 1) -> Any:
        """Whether arrays, of which each process has a part, are batches with their rows along an axis."""
        found = jax.tree.map(lambda a: a.ndim > axis and self._divides(a.shape[axis] * processes), arrays)
        return found | dict.fromkeys(self.numbered, self.divides_numbered) if self.numbered else found

    def gathered(self, arrays: Any) -> Any:
        """Whole arrays in each process, of arrays that the devices of several processes share."""
        return arrays if self.process[1] == 1 else multihost_utils.process_allgather(arrays, tiled=True)

    def largest(self, value: int) -> Any:
        """The largest value of all processes, computed with the next steps; None for a single process."""
        if self.process[1] == 1:
            return None
        mine = np.full(len(jax.local_devices()), value, np.int32)
        return _largest(self.everywhere)(self._put_local(mine, self.along(0), (self.count,)))

    @staticmethod
    def _put_local(array: Any, sharding: Any, shape: tuple[int, ...]) -> Any:
        return jax.make_array_from_process_local_data(sharding, array, shape)

    def _divides(self, size: int) -> bool:
        return size > 0 and size % self.count == 0 and (self.each or size in self.rows)

    def step(self, step: Step) -> Step:
        """The step that all devices run as one: the same, or that of each device on its own rows."""
        if self.mesh is None or not (self.apart or self.numbered):
            return step
        whole, rows = PartitionSpec(), PartitionSpec(None, AXIS)

        def together(state: Any, fixed: Any, items: Any, records: Any = None) -> Any:
            labels = {top: joined(items[top]) for top in self.numbered}
            return step(state, fixed, items | labels, records)

        def alone(state: Any, fixed: Any, items: Any, records: Any = None) -> Any:
            places = jax.tree.map(lambda is_divided: rows if is_divided else whole, self._are_divided(items, 1))
            places = (whole, whole, places, whole)
            run = jax.shard_map(step, mesh=self.mesh, in_specs=places, out_specs=whole, check_vma=False)
            return run(state, fixed, items, records)

        return alone if self.apart else together


ONE = Placement()


def _put_common(array: Any, place: NamedSharding) -> Any:
    """An array of all processes, from one that each of them has; without communication."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return jax.device_put(array, place)
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, place, lambda index: whole[index])


@cache
def _largest(everywhere: NamedSharding) -> Any:
    return jax.jit(jnp.max, out_shardings=everywhere)


def placement_of(devices: Devices, solver: Solver) -> Placement:
    """The placement of a run.  NetdefError if JAX does not find the devices."""
    if devices is None and jax.process_count() == 1:
        return ONE
    devices = "all" if devices is None else devices
    caffe = not isinstance(devices, (int, str))
    found = chosen(devices)
    rules = solver.mesh
    each = rules.batch is MeshBatch.EACH if rules.batch else caffe
    if len(found) < jax.device_count() and jax.process_count() > 1:
        raise NetdefError(
            f"several processes use all of their devices, {jax.device_count()}, but the run is for {len(found)}: use "
            "`--devices all` or `--gpu all`."
        )
    return Placement(
        mesh_of(found),
        each=each,
        divides_histories=not solver.whole,
        apart=len(found) > 1 and (rules.statistics is MeshStatistics.DEVICE if rules.statistics else caffe),
    )


def with_classes(placement: Placement, net: Net) -> Placement:
    """The placement of the arrays of a net.  NetdefError if the devices cannot divide those that a layer tells to."""
    if placement.count == 1:
        return placement
    classes, whole = {}, []
    for node in net.layers:
        own = [(o, w) for i, (o, w) in enumerate(zip(node.owners, node.weights or (), strict=True)) if o.index == i]
        weights = {owner: weight for owner, weight in own if weight.parts and owner.layer == node.name}
        why = next(filter(None, (_indivisible(placement, weight) for weight in weights.values())), "")
        if why and getattr(node.layer, "shard", None):
            raise NetdefError(f"layer `{node.name}`: {why}")
        if not why:
            classes |= {owner: divided(weight, placement.count)[0] for owner, weight in weights.items()}
        elif not placement.apart:
            whole.append(f"`{node.name}`")
    return replace(placement, classes=classes, whole=tuple(whole))


def _indivisible(placement: Placement, weight: Weight) -> str:
    """Why the devices do not divide the rows of a weight, and what to do; empty if they do."""
    count, parts = placement.count, weight.parts
    if placement.apart:
        return (
            "devices that compute apart each need the weights of all classes, but `shard` is true; use "
            "`mesh { statistics: GLOBAL }`, or remove `shard`."
        )
    if parts > 1 and parts % count:
        return (
            f"{count} devices cannot divide {parts} groups of classes evenly; set `groups` to "
            f"{-(-parts // count) * count}, or use another number of devices."
        )
    return ""


def batched(placement: Placement, feed: Feed) -> Placement:
    """The placement of the batches of a feed.  NetdefError if the devices cannot divide one evenly."""
    for name, reader in feed.readers.items():
        size, count = reader.batch_size, placement.count
        if (placement.apart or placement.batches > 1) and not reader.divisible:
            raise NetdefError(
                f"layer `{name}`: its texts have the time first, so {count} devices cannot have batches of their own; "
                f"divide one batch among them, with `--devices {count}` and no `mesh {{ }}`, or use a Permute layer."
            )
        if not placement.each and size % count:
            below, above = size // count * count, -(-size // count) * count
            nearest = f"{below} or {above}" if below else f"{above}"
            raise NetdefError(
                f"layer `{name}`: {count} devices cannot divide a batch of {size} evenly; set its batch size to "
                f"{nearest}, or use another number of devices."
            )
    return replace(placement, rows=_rows(feed), numbered=_numbered(placement, feed))


def _numbered(placement: Placement, feed: Feed) -> dict[str, Numbered]:
    """The labels of a feed whose rows have the index of their image, and how this process divides them."""
    (index, processes), batches, made = placement.process, placement.batches, {}
    for name, reader in feed.readers.items():
        if not reader.numbered or not (placement.divides_numbered or batches > 1):
            continue
        images, shares, rows = reader.batch_size // processes, 1, batches * reader.label_rows
        if placement.divides_numbered:
            shares = placement.count // processes
            rows = reader.most_numbered(batches * images // shares)
        made[reader.numbered] = Numbered(name, images, shares, rows, index * batches * images)
    return made


def for_tests(placement: Placement, feed: Feed) -> Placement:
    """The placement of the batches of a test: the devices divide those that they can, and compute others as one."""
    rows = frozenset(size for size in _rows(feed) if size % placement.count == 0)
    return replace(placement, each=False, apart=False, rows=rows, numbered={})


def _rows(feed: Feed) -> frozenset[int]:
    return frozenset(reader.batch_size for reader in feed.readers.values())


def refuse_carried(net: Net, placement: Placement) -> None:
    """NetdefError for layers that carry a state for each row of a batch, if the devices do not share their states."""
    for node in net.layers:
        if placement.apart and node.layer.carries_rows and any(w.kind == "carry" for w in node.weights or ()):
            raise NetdefError(
                f"layer `{node.name}` carries a state from batch to batch for each row, which several devices cannot "
                "do apart; use `mesh { statistics: GLOBAL }`."
            )


def in_words(placement: Placement, images: int, iter_size: int) -> str:
    """What a batch means in this run, for its first lines; `images` are those of an iteration.  Empty for one
    device."""
    if placement.count == 1:
        return ""
    count, batch = placement.count, images // iter_size
    times = f", {iter_size} times" if iter_size > 1 else ""
    own = ", with statistics of their own" if placement.apart else ""
    layers = sorted({f"`{owner.layer}`" for owner in placement.classes})
    own += f"; they divide the classes of {', '.join(layers)}" if layers else ""
    own += f"; they cannot divide the classes of {', '.join(placement.whole)}" if placement.whole else ""
    if not placement.rows and not placement.apart:
        return f"no layer reads records: each of {count} devices computes the whole batch of {batch}{times}{own}"
    if placement.each:
        return f"batch {batch // count} on each of {count} devices{times}: {images} an iteration{own}"
    return f"batch {batch} divided among {count} devices{times}: {batch // count} on each{own}"
