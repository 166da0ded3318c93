"""Converts the batch normalization blobs of one fork of Caffe to those of another.

The forks store the same statistics in different orders, numbers and shapes (see `layers.batch_norm.Storage`). The
number and shapes of the blobs in a file identify the fork. The blobs are converted to mean, var, scale and shift, and
from these to the blobs of the net's layer. Scale and shift are moved to or from a Scale layer where only one of the two
forks keeps them there.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np

from ..graph import Net, Node
from ..language.errors import NetdefError
from ..layers.batch_norm import SCALED, STATISTICS, BatchNormalization, Rule, Storage
from ..layers.bn import BN, BN_STORAGE, BNDialect
from ..layers.scale import Scale
from ..shape import Shape, same_shape, show
from .entries import Entry, Stored, in_memory

UNUSED = "unused"
Blobs = dict[str, np.ndarray]  # flat arrays by name


def adapted(net: Net, entries: Iterable[Entry], spoken: BNDialect | None = None) -> tuple[list[Entry], list[str]]:
    """Returns the entries as the net's layers store them, and notes on the changes.

    `spoken` is the fork that wrote a file where BN has four blobs. Raises NetdefError if it is needed and is None."""
    found = {entry.name: entry for entry in entries}
    notes: list[str] = []
    for node in net.layers:
        entry = found.get(node.name)
        if entry is None or not isinstance(node.layer, BatchNormalization) or not entry.arrays:
            continue
        blobs = [stored for stored in entry.arrays if stored is not None]
        if len(blobs) != len(entry.arrays) or _as_it_is(node, blobs, spoken):
            continue
        found |= _converted(net, node, blobs, found, spoken, notes)
    return list(found.values()), notes


def _as_it_is(node: Node, blobs: list[Stored], spoken: BNDialect | None) -> bool:
    """Whether the file stores the same blobs as the layer."""
    wanted = [weight.shape for weight in node.weights or ()]
    if len(blobs) != len(wanted) or not all(same_shape(b.shape, w) for b, w in zip(blobs, wanted, strict=True)):
        return False
    storage = _storage(node)
    if "factor" in storage.blobs:
        factor = blobs[storage.blobs.index("factor")].read().reshape(-1)[0]
        if storage.rule is not Rule.SUM:
            return bool(factor == 1)
        return bool(factor != 0 or not blobs[0].read().any())  # NVIDIA/caffe 436: in some files 0 means a factor of 1
    return spoken is None or not isinstance(node.layer, BN) or BN_STORAGE[spoken] == storage


def _storage(node: Node) -> Storage:
    assert isinstance(node.layer, BatchNormalization)
    return node.layer.storage()


def recognized(shapes: list[Shape]) -> tuple[str, ...] | None:
    """Returns the names of the blobs with these shapes, in order; None if no fork stores such blobs."""
    counts = [prod(shape) for shape in shapes]
    match len(shapes):
        case 2:
            return SCALED
        case 3 if counts[2] == 1:
            return STATISTICS
        case 4:
            return (*SCALED, "mean", "var")
        case 5 if counts[2] == 1 and len(shapes[0]) == 4:  # NVIDIA 0.14 with cuDNN
            return (*SCALED, UNUSED, "mean", "var")
        case 5 if counts[2] == 1:  # NVIDIA since 0.16, intel
            return (*STATISTICS, *SCALED)
        case 5 if counts[4] == 1:  # NVIDIA 0.15
            return (*SCALED, "mean", "var", UNUSED)
    return None


def _converted(
    net: Net, node: Node, blobs: list[Stored], found: dict[str, Entry], spoken: BNDialect | None, notes: list[str]
) -> dict[str, Entry]:
    """Returns the new entry of the layer, and that of the following Scale if scale and shift move to it."""
    names = recognized([b.shape for b in blobs])
    storage = _storage(node)
    if names is None or ("mean" in storage.blobs) != ("mean" in names):
        return {}  # the comparison of shapes reports it later
    eps = node.layer.epsilon()  # type: ignore[attr-defined]
    true = _true_values(node, dict(zip(names, (b.read().reshape(-1) for b in blobs), strict=True)), spoken, eps)
    channels = len(true["scale" if "scale" in true else "mean"])
    made: dict[str, Entry] = {}
    if "scale" in true and "scale" not in storage.blobs:
        made |= _to_scale_layer(net, node, true, found)
    elif "scale" not in true and "scale" in storage.blobs:
        true |= _from_scale_layer(net, found[node.name], channels, found)
    if storage.inverse:
        true["var"] = 1 / np.sqrt(true["var"] + eps)
    true["factor"] = np.ones(1, np.float32)
    arrays = [true[name].astype(np.float32).reshape(storage.shape(name, channels)) for name in storage.blobs]
    made[node.name] = Entry(node.name, tuple(map(in_memory, arrays)), node.type)
    given = ", ".join(show(b.shape) for b in blobs)
    blobs_now = ", ".join(storage.blobs)
    notes.append(f"layer `{node.name}`: batch normalization stored as {given} was converted to {blobs_now}")
    return made


def _true_values(node: Node, blobs: Blobs, spoken: BNDialect | None, eps: float) -> Blobs:
    """Returns those of mean, var, scale and shift that the file has, without a factor or inverse."""
    four = len(blobs) == 4
    blobs.pop(UNUSED, None)
    factor = blobs.pop("factor", None)
    if factor is not None and factor[0] not in (0, 1):
        blobs["mean"], blobs["var"] = blobs["mean"] / factor[0], blobs["var"] / factor[0]
    if four and _stores_inverse(node, spoken):
        with np.errstate(divide="ignore"):
            blobs["var"] = 1 / np.square(blobs["var"]) - eps
    return blobs


def _stores_inverse(node: Node, spoken: BNDialect | None) -> bool:
    """Whether the fourth blob of a BN is 1 / sqrt(var + eps), as in happynear's fork."""
    if spoken is None and isinstance(node.layer, BN) and "mean" in node.layer.storage().blobs:
        spoken = node.layer.spoken()
    if spoken is None:
        forks = ", ".join(d.name for d in BNDialect if BN_STORAGE[d].blobs[-1] == "var")
        raise NetdefError(
            f"layer `{node.name}`: BN has four blobs in this file; the last is a variance in some forks and an inverse "
            f"standard deviation in others; name the fork that wrote the file with --bn-dialect: {forks}"
        )
    return BN_STORAGE[spoken].inverse


def _to_scale_layer(net: Net, node: Node, true: Blobs, found: dict[str, Entry]) -> dict[str, Entry]:
    """Moves scale and shift, which the layer does not store, to the Scale layer that follows it."""
    scale, shift = true.pop("scale"), true.pop("shift")
    follower = next((n for n in net.layers if isinstance(n.layer, Scale) and n.bottoms[:1] == node.tops[:1]), None)
    if follower is not None and follower.name not in found and len(follower.bottoms) == 1:
        assert isinstance(follower.layer, Scale)
        if follower.layer.bias_term:
            return {follower.name: Entry(follower.name, (in_memory(scale), in_memory(shift)), "Scale")}
        if not shift.any():
            return {follower.name: Entry(follower.name, (in_memory(scale),), "Scale")}
    if (scale == 1).all() and not shift.any():
        return {}
    raise NetdefError(
        f"layer `{node.name}`: the file has a scale and a shift for this layer, but the net does not; add "
        "`batch_norm_param { scale_bias: true }`, or a Scale layer with `bias_term: true` after it"
    )


def _from_scale_layer(net: Net, entry: Entry, channels: int, found: dict[str, Entry]) -> Blobs:
    """Returns scale and shift of the Scale layer that follows this layer in the file; 1 and 0 without one."""
    own = {node.name for node in net.layers}
    for other in found.values():
        arrays = [stored.read().reshape(-1) for stored in other.arrays if stored is not None]
        follows = other.type == "Scale" and other.name not in own and set(other.bottoms[:1]) & set(entry.tops)
        if follows and arrays and all(len(a) == channels for a in arrays):
            return {"scale": arrays[0], "shift": arrays[1] if len(arrays) > 1 else np.zeros(channels, np.float32)}
    return {"scale": np.ones(channels, np.float32), "shift": np.zeros(channels, np.float32)}
