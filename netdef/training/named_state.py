"""The names of the arrays of a training state in a snapshot.

    conv1.0               array 0 of layer `conv1`: a parameter, or a running statistic
    conv1.0/momentum      an array of the solver's history for it, named by the solver's `slots`
    conv1.0/ema           its moving average
    shared/estim_lr       what the histories of all arrays share
    policy/step           the state of the learning-rate policy
    losses, iteration     the other fields of the state, by name

Because each array has its own name, a new field of `State` does not change the names of the others.
"""

from __future__ import annotations

from typing import Any

import jax

from ..graph import Net
from ..interop.snapshot import array_name
from ..solvers.base import Solver
from .params import Partition
from .step import State


def state_names(state: State, partition: Partition, solver: Solver) -> dict[str, list[str]]:
    """Returns {field of the state: names of its leaves}, both in the order of `jax.tree.leaves(state)`."""
    trained = [array_name(spec.owner) for spec in partition.trained]
    histories = zip(trained, state.history, strict=True)
    named = {
        "trained": trained,
        "kept": [array_name(owner) for owner in partition.kept],
        "history": [f"{name}/{slot}" for name, history in histories for slot in solver.slot_names(history)],
        "ema": [f"{name}/ema" for name in trained[: len(state.ema)]],
    }
    return {field: named.get(field) or _places(field, value) for field, value in state._asdict().items()}


def _places(field: str, value: Any) -> list[str]:
    """A name for each leaf of a field: the name of the field, followed by the path in its pytree."""
    leaves = jax.tree_util.tree_leaves_with_path(value)
    return ["/".join([field, *(jax.tree_util.keystr((key,), simple=True) for key in path)]) for path, _ in leaves]


def named_arrays(state: State, partition: Partition, solver: Solver) -> dict[str, Any]:
    """Returns {name: array} for all arrays of a state."""
    names = [name for many in state_names(state, partition, solver).values() for name in many]
    assert len(set(names)) == len(names), "two arrays have the same name"
    return dict(zip(names, jax.tree.leaves(state), strict=True))


def owners_of(partition: Partition) -> dict[str, list[list[Any]]]:
    """Returns [layer, index] of each array, grouped as in `Partition`."""
    plain = lambda owners: [[owner.layer, owner.index] for owner in owners]
    return {
        "trained": plain(spec.owner for spec in partition.trained),
        "fixed": plain(partition.fixed),
        "kept": plain(partition.kept),
    }


def described(net: Net, partition: Partition, solver: Solver, state: State) -> dict[str, Any]:
    """The description of the arrays of a snapshot: their layers, and the contents of a weight file of the net."""
    slots = dict.fromkeys(slot for history in state.history for slot in solver.slot_names(history))
    kept = lambda node: [(w, o) for w, o in zip(node.weights or (), node.owners, strict=True) if w.kind != "carry"]
    return {
        "solver": solver.type,
        "slots": list(slots),
        "owners": owners_of(partition),
        "layers": {n.name: [[[o.layer, o.index], list(w.shape)] for w, o in kept(n)] for n in net.layers if kept(n)},
    }
