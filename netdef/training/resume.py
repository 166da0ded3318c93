"""The start of a run: from initial or given weights, from a snapshot, or from a `.solverstate` of Caffe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.stamps import differences
from ..files import locator
from ..graph import Owner
from ..interop import load_weights, read_weights, snapshot
from ..interop.snapshot import array_name
from ..interop.solver_state import histories_of, read_state
from ..language.errors import NetdefError
from ..language.spelling import suggestion
from ..model import Model
from ..shape import Shape, show
from ..solvers.base import Reuse
from .monitors import Watched, watches
from .named_state import owners_of, state_names
from .params import arrays_of, put_arrays
from .prepare import RunSetup, Start, first_state
from .step import State, initial

# The fields of a State in snapshots of format 1, which store its leaves by number.
NUMBERED = ("trained", "kept", "history", "policy", "ema", "losses", "iteration", "bad")


def start_from(setup: RunSetup, weights: Any) -> Start:
    """The start of a new run: arrays of the fillers, replaced by `weights`, then by those of the `reuse` blocks."""
    monitors, model = watches(setup.solver, setup.tests), setup.model
    filled = _fill(model, weights) if weights is not None else set()
    for block in setup.solver.reuse:
        filled |= reuse(model, block)
    given = weights is not None or setup.solver.reuse
    return Start(
        first_state(setup.solver, model, setup.partition, setup.placement),
        arrays_of(model, setup.partition.fixed),
        monitors=monitors,
        untouched=tuple(name for name in setup.net.params if name not in filled) if given else (),
    )


def _fill(model: Model, weights: Any) -> set[str]:
    """Sets parameters from {layer: [arrays]} or from weight files; returns the names of the layers that were set."""
    if isinstance(weights, Mapping):
        model.set_weights(weights)
        return set(weights)
    return set(load_weights(model, weights).copied)


def reuse(model: Model, block: Reuse) -> set[str]:
    """Sets parameters from the weights of another net, as a `reuse` block specifies; returns the names of the layers
    that were set.

    NetdefError if nothing matches, a name is not in the net, or shapes differ (the message shows both)."""
    path = locator(model.net.folder)(block.source)
    stored = read_weights(path)
    renamed = renamed_layers(list(stored), block)
    if not renamed:
        raise NetdefError(
            f'`reuse`: no layer in {path} matches "{block.layers}"; it contains {", ".join(list(stored)[:12])}.'
        )
    absent = [new for new in renamed.values() if new not in model.net.params]
    if absent and block.to:
        meant = suggestion(absent[0], model.net.params)
        raise NetdefError(f"`reuse`: the net has no layer `{absent[0]}` with parameters.{meant}")
    found = {new: stored[old] for old, new in renamed.items() if new in model.net.params}
    if not found:
        raise NetdefError(
            f"`reuse`: the net has none of the layers {', '.join(list(renamed)[:12])} of {path}; set `to` to rename "
            "them."
        )
    model.set_weights(found)
    return set(found)


def renamed_layers(names: Sequence[str], block: Reuse) -> dict[str, str]:
    """{name in the file: name in the net} of the layers that a `reuse` block selects."""
    try:
        taken, left = re.compile(block.layers), [re.compile(pattern) for pattern in block.exclude]
        matches = {name: taken.fullmatch(name) for name in names if not any(e.fullmatch(name) for e in left)}
        return {name: m.expand(block.to) if block.to else name for name, m in matches.items() if m}
    except (re.error, IndexError) as error:
        raise NetdefError(f'`reuse`: {error} in the regular expression "{block.layers}" or "{block.to}".') from error


def resume_snapshot(setup: RunSetup, read: snapshot.Snapshot) -> Start:
    """The arrays and positions of a snapshot, of which `read` has no arrays yet; the data continue at its positions.

    A field of the state that the snapshot does not have keeps its initial value, with a note.  NetdefError if
    parameters are missing or have other shapes, or the type of the solver differs."""
    _check_same_run(setup, read)
    names, needed = _needed(setup)
    owners = {array_name(owner): owner for owner in setup.partition.owners}
    read = snapshot.with_arrays(read, None if snapshot.is_numbered(read) else _divided(setup, read, needed, owners))
    arrays = _by_name(read, names)
    alone = set() if setup.placement.divides_histories else set(names["history"])
    owner_of = lambda name: None if name in alone else _owner(owners, name)
    shapes = {name: _shape(setup, owner_of(name), like.shape) for name, like in needed.items()}
    found = {name: _fitting(read, arrays, name, a.dtype, shapes[name], owners.get(name)) for name, a in needed.items()}
    found = {name: array for name, array in found.items() if array is not None}
    put_arrays(setup.model, setup.partition.fixed, tuple(found[array_name(o)] for o in setup.partition.fixed))
    return Start(
        _restored(setup, names, found),
        _fixed(setup),
        iteration=read.state["iteration"],
        position=_go_on(setup, read),
        monitors=_monitors(setup, read),
        notes=(
            *(f"the snapshot {read.path} has no {what}; using the initial value" for what in _absent(names, found)),
            *_changed_data(setup, read),
        ),
    )


def _needed(setup: RunSetup) -> tuple[dict[str, list[str]], dict[str, jax.ShapeDtypeStruct]]:
    """The names of the state by field (see `state_names`), and the arrays of the run by name, without values."""
    fresh = first_state(setup.solver, setup.model, setup.partition, setup.placement)
    names = state_names(fresh, setup.partition, setup.solver)
    needed = {array_name(o): a for o, a in zip(setup.partition.fixed, _fixed(setup), strict=True)}
    needed |= zip([name for many in names.values() for name in many], jax.tree.leaves(fresh), strict=True)
    like = lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)
    return names, {name: like(array) for name, array in needed.items()}


def _fixed(setup: RunSetup) -> tuple[Any, ...]:
    return arrays_of(setup.model, setup.partition.fixed)


def _check_same_run(setup: RunSetup, read: snapshot.Snapshot) -> None:
    if read.state["solver"] != setup.solver.type:
        raise NetdefError(
            f"the snapshot {read.path} is of the solver {read.state['solver']}, but the solver of this run is "
            f"{setup.solver.type}; resume with the same solver, or start from the weights of the snapshot."
        )
    there, here = read.state["owners"], owners_of(setup.partition)
    for group in ("trained", "fixed", "kept"):
        if there[group] != here[group]:
            only = sorted({tuple(o) for o in there[group]} ^ {tuple(o) for o in here[group]})
            what = (
                f"parameter {only[0][1]} of layer `{only[0][0]}` is {group} in only one of them"
                if only
                else "its layers are in another order"
            )
            raise NetdefError(f"the snapshot {read.path} belongs to another net: {what}.")


def _by_name(read: snapshot.Snapshot, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The arrays of a snapshot by name; for format 1, which numbers them, the names are those of `names` in order."""
    if not snapshot.is_numbered(read):
        return read.arrays
    order = [name for field in NUMBERED for name in names[field]]
    if len(order) != snapshot.count_numbered(read):
        raise NetdefError(
            f"the snapshot {read.path} does not match: its training state has {snapshot.count_numbered(read)} arrays, "
            f"but this run needs {len(order)}; resume with the solver fields of its run."
        )
    return snapshot.by_name(read, order)


def _divided(
    setup: RunSetup, read: snapshot.Snapshot, needed: Mapping[str, Any], owners: Mapping[str, Owner]
) -> dict[str, Any]:
    """The arrays that devices divide and that have as many rows in the snapshot, apart from those that pad them."""
    stored = snapshot.shapes(read)
    fits = lambda owner, like: owner in stored and stored[owner][:1] == _shape(setup, owner, like.shape)[:1]
    divided = {name: like for name, like in needed.items() if not like.sharding.is_fully_replicated}
    return {name: like for name, like in divided.items() if fits(_owner(owners, name), like)}


def _owner(owners: Mapping[str, Owner], name: str) -> Owner | None:
    """The parameter that an array of a snapshot is, or belongs to as its momentum does."""
    while name and name not in owners:
        name = name.rpartition("/")[0]
    return owners.get(name)


def _shape(setup: RunSetup, owner: Owner | None, held: Shape) -> Shape:
    """The shape of an array in a snapshot: as a run holds it, but without the rows that pad it on several devices."""
    divides = owner is not None and owner in setup.placement.classes and held
    return (dict(setup.net.owned)[owner].shape[0], *held[1:]) if owner and divides else held


def _fitting(
    read: snapshot.Snapshot, arrays: Mapping[str, Any], name: str, dtype: Any, shape: Shape, owner: Owner | None
) -> Any | None:
    """An array of the snapshot as a jax array; None if it is missing.  NetdefError for a missing parameter, and for
    another shape."""
    what = f"parameter {owner.index} of layer `{owner.layer}`" if owner else f"`{name}`"
    if name not in arrays:
        if owner is None:
            return None
        raise NetdefError(f"the snapshot {read.path} does not match: it has no {what}; resume with the net of its run.")
    found = arrays[name]
    if isinstance(found, jax.Array):
        return found
    if np.shape(found) != shape:
        raise NetdefError(
            f"the snapshot {read.path} does not match: {what} is {show(np.shape(found))} in the snapshot and "
            f"{show(shape)} in this run; resume with the net and solver of its run, or start from its weights."
        )
    return jax.device_put(np.array(found, dtype))


def _restored(setup: RunSetup, names: Mapping[str, Sequence[str]], found: Mapping[str, Any]) -> State:
    """The state with the arrays that were found; the rest has the initial values of a run with these parameters."""
    of = lambda field: tuple(found[name] for name in names[field])
    put = lambda state: setup.placement.put_state(state, setup.partition)
    state = initial(setup.solver, of("trained"), of("kept"), put, partition=setup.partition)
    leaves, tree = jax.tree.flatten(state)
    flat = [name for many in names.values() for name in many]
    return jax.tree.unflatten(tree, [found.get(name, leaf) for name, leaf in zip(flat, leaves, strict=True)])


def _absent(names: Mapping[str, Sequence[str]], found: Mapping[str, Any]) -> list[str]:
    """For each field with missing arrays: the name of the first one, and the number of others."""
    missing = [absent for many in names.values() if (absent := [name for name in many if name not in found])]
    return [f"`{first}`" + (f" (nor {len(rest)} similar arrays)" if rest else "") for first, *rest in missing]


def _go_on(setup: RunSetup, read: snapshot.Snapshot) -> dict[str, Any]:
    """Sets the data to the positions of a snapshot; returns the position of the training data."""
    setup.feed.restore(read.state["position"])
    for evaluator, position in zip(setup.evaluators, read.state["test_positions"], strict=False):
        evaluator.feed.restore(position)
    return read.state["position"]


def _changed_data(setup: RunSetup, read: snapshot.Snapshot) -> list[str]:
    """A note for each data layer whose files are not those that the run of the snapshot read."""
    notes = differences(read.state.get("sources", {}), setup.feed.sources)
    for evaluator, before in zip(setup.evaluators, read.state.get("test_sources", ()), strict=False):
        notes += differences(before, evaluator.feed.sources)
    return list(dict.fromkeys(notes))


def _monitors(setup: RunSetup, read: snapshot.Snapshot) -> dict[str, Watched]:
    monitors = watches(setup.solver, setup.tests)
    for name, watched in monitors.items():
        if name in read.state.get("watched", {}):
            watched.restore(read.state["watched"][name])
    return monitors


def resume_caffe(setup: RunSetup, path: Path) -> Start:
    """Continues a run of Caffe: its weights, history and iteration, with the data at the position of that iteration.

    Differs: Caffe restarts the data.  NetdefError if the state belongs to another net or solver."""
    state = read_state(path)
    loaded = setup.model.load_weights(state.weights())
    if loaded.untouched:
        raise NetdefError(
            f"{state.weights()} does not contain layer `{loaded.untouched[0]}` of the net; it belongs to another net"
        )
    histories = histories_of(state, setup.net, setup.solver)
    first = first_state(setup.solver, setup.model, setup.partition, setup.placement)
    put = lambda like, arrays: jax.tree.unflatten(jax.tree.structure(like), [jnp.asarray(a) for a in arrays])
    owners = [spec.owner for spec in setup.partition.trained]
    history = tuple(put(like, histories[owner]) for like, owner in zip(first.history, owners, strict=True))
    drawn = state.iteration * setup.solver.iter_size
    position = {name: {"position": drawn * reader.batch_size} for name, reader in setup.feed.readers.items()}
    setup.feed.restore(position)
    return Start(
        first._replace(history=history, iteration=jnp.int32(state.iteration)),
        _fixed(setup),
        iteration=state.iteration,
        position=position,
        monitors=watches(setup.solver, setup.tests),
    )
