"""The names of a training state's arrays, by which a snapshot keeps them.

    conv1.0               array 0 of layer `conv1`: a parameter, or a running statistic
    conv1.0/momentum      an array of the solver's history of it, by the solver's `slots`
    conv1.0/ema           the moving average of it
    policy/step           what the learning-rate policy remembers
    losses, iteration     every other field of the state, by its name

Each array has one name, so a field that is added to `State` changes none of the others.
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
    """{field of the state: names of its leaves}, both in the order of `jax.tree.leaves(state)`."""
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
    """A name for each leaf of a field: the field's, followed by the place in its pytree."""
    leaves = jax.tree_util.tree_leaves_with_path(value)
    return ["/".join([field, *(jax.tree_util.keystr((key,), simple=True) for key in path)]) for path, _ in leaves]


def named_arrays(state: State, partition: Partition, solver: Solver) -> dict[str, Any]:
    """Every array of a state by its name."""
    names = [name for many in state_names(state, partition, solver).values() for name in many]
    assert len(set(names)) == len(names), "two arrays of one name"
    return dict(zip(names, jax.tree.leaves(state), strict=True))


def owners_of(partition: Partition) -> dict[str, list[list[Any]]]:
    """[layer, index] of each array, by what happens to it."""
    plain = lambda owners: [[owner.layer, owner.index] for owner in owners]
    return {
        "trained": plain(spec.owner for spec in partition.trained),
        "fixed": plain(partition.fixed),
        "kept": plain(partition.kept),
    }


def described(net: Net, partition: Partition, solver: Solver, state: State) -> dict[str, Any]:
    """What a snapshot says of its arrays: whose they are, and what a weight file of the net would hold."""
    slots = dict.fromkeys(slot for history in state.history for slot in solver.slot_names(history))
    kept = lambda node: [(w, o) for w, o in zip(node.weights or (), node.owners, strict=True) if w.kind != "carry"]
    return {
        "solver": solver.type,
        "slots": list(slots),
        "owners": owners_of(partition),
        "layers": {n.name: [[[o.layer, o.index], list(w.shape)] for w, o in kept(n)] for n in net.layers if kept(n)},
    }
