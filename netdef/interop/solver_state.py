"""`.solverstate` and `.solverstate.h5`: Caffe's training goes on in netdef at the exact step, and netdef's in Caffe.

A state holds the iteration, the name of the weight file beside it, and the solver's history: one array for each array
of the net, in the order of the layers, and where a solver keeps two (AdaDelta, Adam), the second ones after all the
first.
Source: BVLC/caffe src/caffe/solvers/sgd_solver.cpp, SnapshotSolverState and RestoreSolverState; adadelta_ and
adam_solver.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import written_aside
from ..graph import Net, Owner
from ..language.errors import NetdefError
from ..shape import same_shape, show
from ..solvers.base import SOLVERS, Solver
from . import snapshot
from .entries import Entry, Stored, existing_file, in_memory
from .formats import caffemodel, hdf5
from .weights import write_weights

ENDINGS = (".solverstate", ".solverstate.h5")


@dataclass(frozen=True)
class SolverState:
    """A solver's state in a file: updates made, learning-rate steps taken, the weight file's name, the history."""

    path: Path
    iteration: int
    current_step: int
    learned_net: str
    history: tuple[Stored, ...]

    def weights(self) -> Path:
        """The weight file that belongs to it.  NetdefError if it is not there."""
        named = Path(self.learned_net) if self.learned_net else None
        stem = self.path.name.removesuffix(".h5").removesuffix(".solverstate")
        beside = [self.path.with_name(stem + ending) for ending in (".caffemodel", ".caffemodel.h5")]
        for candidate in [*([self.path.with_name(named.name), named] if named else []), *beside]:
            if candidate.is_file():
                return candidate
        raise NetdefError(
            f"{self.path}: its weights are not there; put {named.name if named else beside[0].name} beside it"
        )


def ending_of(path: str | Path) -> str:
    """The ending of a solver's state; empty if a path is not named like one."""
    return next((ending for ending in ENDINGS if str(path).endswith(ending)), "")


def is_solver_state(path: Any) -> bool:
    """Whether a path is named like a state of Caffe's."""
    return bool(ending_of(path))


def read_state(path: str | Path) -> SolverState:
    """The state in a file; the arrays are read when they are asked for.  NetdefError if it is not one."""
    path = existing_file(Path(path), "solver state")
    if hdf5.is_hdf5(path):
        head, history = hdf5.solver_state(path)
        return SolverState(path, head["iter"], head["current_step"], head["learned_net"], tuple(history))
    state, history = caffemodel.solver_state(path)
    return SolverState(path, state.iter, state.current_step, state.learned_net, tuple(history))


def write_state(
    path: str | Path, iteration: int, history: Sequence[np.ndarray], learned_net: str = "", current_step: int = 0
) -> None:
    """Write a state; the ending says in which of the two formats."""
    from .caffe_proto import messages

    path = Path(path)
    if not is_solver_state(path):
        raise NetdefError(f"{path}: the ending of a solver's state is one of {', '.join(ENDINGS)}")
    head = messages().SolverState(iter=iteration, learned_net=learned_net, current_step=current_step)
    write = hdf5.write_solver_state if path.suffix == ".h5" else caffemodel.write_solver_state
    written_aside(path, lambda aside: write(aside, head, history))


def histories_of(state: SolverState, net: Net, solver: Solver) -> dict[Owner, list[np.ndarray]]:
    """The history of each array.  NetdefError if count or shapes are not those of the net and the solver."""
    arrays = learnable(net)
    per = len(_slots(solver))
    if len(state.history) != per * len(arrays):
        raise NetdefError(
            f"{state.path}: it holds {len(state.history)} histories, and the solver {solver.type} keeps {per} "
            f"for each of the "
            f"net's {len(arrays)} arrays; resume with the solver and the net that it was made with"
        )
    found: dict[Owner, list[np.ndarray]] = {}
    for i, stored in enumerate(state.history):
        owner, shape = arrays[i % len(arrays)]
        if not same_shape(stored.shape, shape):
            raise NetdefError(
                f"{state.path}: history {i} is {show(stored.shape)}, and parameter {owner.index} of layer "
                f"`{owner.layer}` is "
                f"{show(shape)}; resume with the net that it was made with"
            )
        found.setdefault(owner, []).append(stored.read().reshape(shape))
    return found


def learnable(net: Net) -> list[tuple[Owner, tuple[int, ...]]]:
    """Caffe's learnable_params: every array once, in the order of the layers, running statistics included."""
    return [(owner, weight.shape) for owner, weight in net.owned if weight.kind != "carry"]


def per_array(solver_type: str) -> int:
    """How many histories a solver keeps for each array."""
    return len(_slots(_solver_class(solver_type)()))


def _solver_class(solver_type: str) -> type[Solver]:
    cls = SOLVERS.get(solver_type)
    if cls is None:
        raise NetdefError(f"there is no solver {solver_type}")
    return cls


def _slots(solver: Solver) -> tuple[str, ...]:
    """Names of the arrays of one history."""
    return solver.slots or solver.slot_names(solver.init(np.zeros(1, np.float32)))


def export_snapshot(snapshot_path: Path, to: Path, solver: Solver | None = None) -> Path:
    """Write one of our snapshots as Caffe's two files: `to`, and the weights beside it; gives the path of the weights.

    `solver` is needed where its policy counts steps (multistep): Caffe saves how many it has taken."""
    read = snapshot.load(snapshot_path)
    iteration = int(read.state["iteration"])
    stem = to.name.removesuffix(".h5").removesuffix(".solverstate")
    weights = to.with_name(f"{stem}.caffemodel" + (".h5" if to.suffix == ".h5" else ""))
    layers = snapshot.weights(snapshot_path)
    write_weights(weights, [Entry(name, tuple(map(in_memory, arrays))) for name, arrays in layers.items()])
    write_state(to, iteration, _history(read), weights.name, solver.policy.steps_taken(iteration) if solver else 0)
    return weights


def _history(read: snapshot.Snapshot) -> list[np.ndarray]:
    """A snapshot's histories in Caffe's order; arrays that the solver does not move have zeros."""
    arrays, slots = _named(read)
    shapes = {Owner(*owner): shape for entries in read.state["layers"].values() for owner, shape in entries}
    return [
        np.asarray(arrays.get(f"{snapshot.array_name(owner)}/{slot}", np.zeros(shape, np.float32)))
        for slot in slots
        for owner, shape in shapes.items()
    ]


def _named(read: snapshot.Snapshot) -> tuple[Mapping[str, Any], Sequence[str]]:
    """(arrays by name, slots of a history) of a snapshot; of format 1, whose slots only the solver's class knows."""
    if not snapshot.is_numbered(read):
        return read.arrays, read.state["slots"]
    slots = _slots(_solver_class(read.state["solver"])())
    group = lambda name: [snapshot.array_name(Owner(*owner)) for owner in read.state["owners"][name]]
    history = [f"{name}/{slot}" for name in group("trained") for slot in slots]
    return snapshot.by_name(read, [*group("trained"), *group("kept"), *history]), slots
