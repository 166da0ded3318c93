"""Batch normalisation from one implementation's file into another's layer.

The forks of Caffe store the same statistics in different orders, counts and shapes (see `layers.batch_norm.Storage`).
What a file holds is recognised by the number and the shapes of its blobs; it is turned into true values and from these
into what the net's layer stores.  A scale and shift that the one keeps in a Scale layer and the other does not are
moved.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np

from ..graph import Net, Node
from ..language.errors import NetdefError
from ..layers.batch_norm import SCALED, STATISTICS, BatchNormalisation, Rule, Storage
from ..layers.bn import BN, BN_STORAGE, BNDialect
from ..layers.scale import Scale
from ..shape import Shape, same_shape, show
from .entries import Entry, Stored, in_memory

UNUSED = "unused"
Blobs = dict[str, np.ndarray]  # by name, each flat


def adapted(net: Net, entries: Iterable[Entry], spoken: BNDialect | None = None) -> tuple[list[Entry], list[str]]:
    """(the entries as the net's layers store them, lines on what was changed).  `spoken`: the fork that wrote a file in
    which BN has four blobs.  NetdefError where it cannot be known."""
    found = {entry.name: entry for entry in entries}
    notes: list[str] = []
    for node in net.layers:
        entry = found.get(node.name)
        if entry is None or not isinstance(node.layer, BatchNormalisation) or not entry.arrays:
            continue
        blobs = [stored for stored in entry.arrays if stored is not None]
        if len(blobs) != len(entry.arrays) or _as_it_is(node, blobs, spoken):
            continue
        found |= _converted(net, node, blobs, found, spoken, notes)
    return list(found.values()), notes


def _as_it_is(node: Node, blobs: list[Stored], spoken: BNDialect | None) -> bool:
    """Whether the file's blobs are what the layer stores."""
    wanted = [weight.shape for weight in node.weights or ()]
    if len(blobs) != len(wanted) or not all(same_shape(b.shape, w) for b, w in zip(blobs, wanted, strict=True)):
        return False
    storage = _storage(node)
    if "factor" in storage.blobs:
        factor = blobs[storage.blobs.index("factor")].read().reshape(-1)[0]
        if storage.rule is not Rule.SUM:
            return bool(factor == 1)
        return bool(factor != 0 or not blobs[0].read().any())  # NVIDIA/caffe 436: some files have 0 beside true values
    return spoken is None or not isinstance(node.layer, BN) or BN_STORAGE[spoken] == storage


def _storage(node: Node) -> Storage:
    assert isinstance(node.layer, BatchNormalisation)
    return node.layer.storage()


def recognised(shapes: list[Shape]) -> tuple[str, ...] | None:
    """What the blobs of these shapes are, in their order; None if no implementation stores such."""
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
    """The entries of the layer and, where scale and shift go there, of the Scale behind it."""
    names = recognised([b.shape for b in blobs])
    storage = _storage(node)
    if names is None or ("mean" in storage.blobs) != ("mean" in names):
        return {}  # the shapes are compared later, and told
    eps = node.layer.epsilon()  # type: ignore[attr-defined]
    true = _true_values(node, dict(zip(names, (b.read().reshape(-1) for b in blobs), strict=True)), spoken, eps)
    channels = len(true["scale" if "scale" in true else "mean"])
    made: dict[str, Entry] = {}
    if "scale" in true and "scale" not in storage.blobs:
        made |= _handed_on(net, node, true, found)
    elif "scale" not in true and "scale" in storage.blobs:
        true |= _taken_over(net, found[node.name], channels, found)
    if storage.inverse:
        true["var"] = 1 / np.sqrt(true["var"] + eps)
    true["factor"] = np.ones(1, np.float32)
    arrays = [true[name].astype(np.float32).reshape(storage.shape(name, channels)) for name in storage.blobs]
    made[node.name] = Entry(node.name, tuple(map(in_memory, arrays)), node.type)
    given = ", ".join(show(b.shape) for b in blobs)
    notes.append(f"layer `{node.name}`: batch normalisation stored as {given} became {' '.join(storage.blobs)}")
    return made


def _true_values(node: Node, blobs: Blobs, spoken: BNDialect | None, eps: float) -> Blobs:
    """mean, var, scale and shift, as many as there are, without any fork's factor or inverse."""
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
    """Whether the fourth blob of a BN is 1 / sqrt(var + eps), as happynear's is."""
    if spoken is None and isinstance(node.layer, BN) and "mean" in node.layer.storage().blobs:
        spoken = node.layer.spoken()
    if spoken is None:
        forks = ", ".join(d.name for d in BNDialect if BN_STORAGE[d].blobs[-1] == "var")
        raise NetdefError(
            f"layer `{node.name}`: the file's BN has four blobs, of which the last is a variance in some forks "
            f"and its inverse "
            f"root in others; say which wrote it with --bn-dialect: {forks}"
        )
    return BN_STORAGE[spoken].inverse


def _handed_on(net: Net, node: Node, true: Blobs, found: dict[str, Entry]) -> dict[str, Entry]:
    """Scale and shift, which the layer does not store, for the Scale that follows it."""
    scale, shift = true.pop("scale"), true.pop("shift")
    taker = next((n for n in net.layers if isinstance(n.layer, Scale) and n.bottoms[:1] == node.tops[:1]), None)
    if taker is not None and taker.name not in found and len(taker.bottoms) == 1:
        assert isinstance(taker.layer, Scale)
        if taker.layer.bias_term:
            return {taker.name: Entry(taker.name, (in_memory(scale), in_memory(shift)), "Scale")}
        if not shift.any():
            return {taker.name: Entry(taker.name, (in_memory(scale),), "Scale")}
    if (scale == 1).all() and not shift.any():
        return {}
    raise NetdefError(
        f"layer `{node.name}`: the file has a scale and a shift for it, and the net has no place for them; write "
        "`batch_norm_param { scale_bias: true }`, or a Scale with `bias_term: true` behind it"
    )


def _taken_over(net: Net, entry: Entry, channels: int, found: dict[str, Entry]) -> Blobs:
    """Scale and shift from the file's Scale behind the batch normalisation; 1 and 0 if it has none."""
    own = {node.name for node in net.layers}
    for other in found.values():
        arrays = [stored.read().reshape(-1) for stored in other.arrays if stored is not None]
        follows = other.type == "Scale" and other.name not in own and set(other.bottoms[:1]) & set(entry.tops)
        if follows and arrays and all(len(a) == channels for a in arrays):
            return {"scale": arrays[0], "shift": arrays[1] if len(arrays) > 1 else np.zeros(channels, np.float32)}
    return {"scale": np.ones(channels, np.float32), "shift": np.zeros(channels, np.float32)}
