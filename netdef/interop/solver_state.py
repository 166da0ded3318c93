"""`.solverstate` and `.solverstate.h5`: netdef resumes a run of Caffe at the exact iteration, and Caffe one of netdef.

A state contains the iteration, the name of its weight file, and the solver's history: one array for each array of the
net, in the order of the layers. Solvers that keep two (AdaDelta, Adam) store the second ones after all the first ones.
Source: BVLC/caffe src/caffe/solvers/sgd_solver.cpp, SnapshotSolverState and RestoreSolverState; adadelta_ and
adam_solver.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomically
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
    """The contents of a solver state: iteration, number of learning rate steps, name of the weight file, history."""

    path: Path
    iteration: int
    current_step: int
    learned_net: str
    history: tuple[Stored, ...]

    def weights(self) -> Path:
        """Returns the path of the weight file for this state. Raises NetdefError if it does not exist."""
        named = Path(self.learned_net) if self.learned_net else None
        stem = self.path.name.removesuffix(".h5").removesuffix(".solverstate")
        beside = [self.path.with_name(stem + ending) for ending in (".caffemodel", ".caffemodel.h5")]
        for candidate in [*([self.path.with_name(named.name), named] if named else []), *beside]:
            if candidate.is_file():
                return candidate
        name = named.name if named else beside[0].name
        raise NetdefError(f"{self.path}: the weights of this state are missing; put {name} into the same folder")


def ending_of(path: str | Path) -> str:
    """Returns the file extension of a solver state; empty for other paths."""
    return next((ending for ending in ENDINGS if str(path).endswith(ending)), "")


def is_solver_state(path: Any) -> bool:
    """Whether a path has the extension of a Caffe solver state."""
    return bool(ending_of(path))


def read_state(path: str | Path) -> SolverState:
    """Reads a state; its arrays are read on demand. Raises NetdefError if the file is not a solver state."""
    path = existing_file(Path(path), "solver state")
    if hdf5.is_hdf5(path):
        head, history = hdf5.solver_state(path)
        return SolverState(path, head["iter"], head["current_step"], head["learned_net"], tuple(history))
    state, history = caffemodel.solver_state(path)
    return SolverState(path, state.iter, state.current_step, state.learned_net, tuple(history))


def write_state(
    path: str | Path, iteration: int, history: Sequence[np.ndarray], learned_net: str = "", current_step: int = 0
) -> None:
    """Writes a state; the extension selects one of the two formats."""
    from .caffe_proto import messages

    path = Path(path)
    if not is_solver_state(path):
        raise NetdefError(f"{path}: the name of a solver state must end in {' or '.join(ENDINGS)}")
    head = messages().SolverState(iter=iteration, learned_net=learned_net, current_step=current_step)
    write = hdf5.write_solver_state if path.suffix == ".h5" else caffemodel.write_solver_state
    write_atomically(path, lambda aside: write(aside, head, history))


def histories_of(state: SolverState, net: Net, solver: Solver) -> dict[Owner, list[np.ndarray]]:
    """Returns the history of each array. Raises NetdefError if it does not match the net and the solver."""
    _check_form(type(solver))
    arrays = learnable(net)
    per = len(_slots(solver))
    if len(state.history) != per * len(arrays):
        raise NetdefError(
            f"{state.path}: the state has {len(state.history)} histories, but solver {solver.type} keeps {per} for "
            f"each of the net's {len(arrays)} arrays; resume with the solver and the net that wrote it"
        )
    found: dict[Owner, list[np.ndarray]] = {}
    for i, stored in enumerate(state.history):
        owner, shape = arrays[i % len(arrays)]
        if not same_shape(stored.shape, shape):
            raise NetdefError(
                f"{state.path}: history {i} is {show(stored.shape)}, but parameter {owner.index} of layer "
                f"`{owner.layer}` is {show(shape)}; resume with the net that wrote it"
            )
        found.setdefault(owner, []).append(stored.read().reshape(shape))
    return found


def learnable(net: Net) -> list[tuple[Owner, tuple[int, ...]]]:
    """Returns Caffe's learnable_params: every array once, in the order of the layers, including running statistics."""
    return [(owner, weight.shape) for owner, weight in net.owned if weight.kind != "carry"]


def per_array(solver_type: str) -> int:
    """Returns the number of histories that a solver keeps for each array."""
    cls = _solver_class(solver_type)
    _check_form(cls)
    return len(_slots(cls()))


def _check_form(cls: type[Solver]) -> None:
    """Raises NetdefError for a solver whose histories are not arrays with the shapes of the parameters."""
    if not cls.has_caffe_state:
        raise NetdefError(
            f"a solver state of Caffe cannot contain the state of {cls.type}, the arrays of which have other shapes "
            "than the parameters; resume from a snapshot of netdef, or start from the weights"
        )


def _solver_class(solver_type: str) -> type[Solver]:
    cls = SOLVERS.get(solver_type)
    if cls is None:
        raise NetdefError(f"there is no solver type {solver_type}")
    return cls


def _slots(solver: Solver) -> tuple[str, ...]:
    """Returns the names of the arrays of one history."""
    return solver.slots or solver.slot_names(solver.init(np.zeros(1, np.float32)))


def export_snapshot(snapshot_path: Path, to: Path, solver: Solver | None = None) -> Path:
    """Writes a netdef snapshot as two Caffe files, the state `to` and the weights next to it. Returns the path of the
    weights.

    `solver` is needed for a policy that counts steps (multistep), because Caffe saves their number."""
    read = snapshot.load(snapshot_path)
    if (cls := SOLVERS.get(read.state["solver"])) is not None:
        _check_form(cls)
    iteration = int(read.state["iteration"])
    stem = to.name.removesuffix(".h5").removesuffix(".solverstate")
    weights = to.with_name(f"{stem}.caffemodel" + (".h5" if to.suffix == ".h5" else ""))
    layers = snapshot.weights(snapshot_path)
    write_weights(weights, [Entry(name, tuple(map(in_memory, arrays))) for name, arrays in layers.items()])
    write_state(to, iteration, _history(read), weights.name, solver.policy.steps_taken(iteration) if solver else 0)
    return weights


def _history(read: snapshot.Snapshot) -> list[np.ndarray]:
    """Returns a snapshot's histories in Caffe's order, with zeros for arrays that are not trained."""
    arrays, slots = _named(read)
    shapes = {Owner(*owner): shape for entries in read.state["layers"].values() for owner, shape in entries}
    return [
        np.asarray(arrays.get(f"{snapshot.array_name(owner)}/{slot}", np.zeros(shape, np.float32)))
        for slot in slots
        for owner, shape in shapes.items()
    ]


def _named(read: snapshot.Snapshot) -> tuple[Mapping[str, Any], Sequence[str]]:
    """Returns (arrays by name, slots of a history) of a snapshot. In format 1, the solver's class defines the slots."""
    if not snapshot.is_numbered(read):
        return read.arrays, read.state["slots"]
    slots = _slots(_solver_class(read.state["solver"])())
    group = lambda name: [snapshot.array_name(Owner(*owner)) for owner in read.state["owners"][name]]
    history = [f"{name}/{slot}" for name in group("trained") for slot in slots]
    return snapshot.by_name(read, [*group("trained"), *group("kept"), *history]), slots
