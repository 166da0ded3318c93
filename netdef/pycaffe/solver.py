"""`caffe.SGDSolver` and the others: solvers that a script runs step by step, with access to the nets in between.

An iteration computes the same values as in `netdef.train`. The parameters are the blobs of `solver.net`, to which a
script may write. After a step, their `diff` is the update that was subtracted, as in Caffe.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..forward import jit
from ..graph import Owner
from ..interop.solver_state import histories_of, learnable, per_array, read_state, write_state
from ..language.errors import NetdefError
from ..language.trust import Trust
from ..layers.base import LAYERS
from ..passes.freeze import frozen
from ..solvers.base import Objective, Precision, SnapshotFormat
from ..training.monitors import policy_after
from ..training.params import partition_of
from ..training.solver_nets import nets_of
from ..training.step import State, initial, updated
from .blobs import wait
from .devices import random_seed, refuse_several
from .hosted import as_raised
from .net import Net

# fields that only netdef.train supports
OURS = ("stages", "reuse", "ema", "early_stopping", "snapshot_best", "recompute", "bn_recalibrate")


class Solver:
    """A solver, with the attributes `net`, `test_nets`, `iter`, and `param`, the solver's fields.

    `solver_file` is a solver file, or a `.net` file with a solver. Raises NetdefError if its type is not that of the
    class, or if it has fields that only `netdef.train` supports."""

    type: str | None = None  # the solver type of the class; None accepts any

    def __init__(self, solver_file: str | Path):
        refuse_several()
        with as_raised():
            nets = nets_of(solver_file, trust=Trust(python=True))
        self.param = nets.solver
        self._file = nets.file
        self._check(solver_file)
        seed = random_seed() if self.param.random_seed < 0 else self.param.random_seed
        self.net = Net.of(frozen(nets.train, self.param.freeze), seed)
        self.test_nets = [Net.of(net, seed, self.net) for net in nets.tests]
        self.iter = 0
        self._partition = partition_of(self.net._net)
        self._state = initial(self.param, self._arrays("_data"), (), partition=self._partition)
        self._key = jax.random.fold_in(jax.random.key(seed), 0)
        self._update = jit(self._updated)
        self._callbacks: list[tuple[Callable[[], Any], Callable[[], Any]]] = []

    def _check(self, file: Any) -> None:
        if self.type is not None and self.param.type != self.type:
            raise NetdefError(f"{file}: the type of this solver is {self.param.type}, not {self.type}; use get_solver")
        for name in OURS:
            if getattr(self.param, name):
                raise NetdefError(f"{file}: `{name}` is not supported by pycaffe solvers; use netdef.train")
        if "function" in self.param.needs or self.param.averages:
            raise NetdefError(f"{file}: pycaffe solvers cannot be of type {self.param.type}; use netdef.train")
        if self.param.precision is not Precision.FLOAT:
            raise NetdefError(f"{file}: pycaffe solvers use float32; remove `precision`, or use netdef.train")

    @property
    def lr(self) -> float:
        """The learning rate of the next iteration."""
        return float(self.param.rate(self._state.iteration, self._state.policy))

    def add_callback(self, on_start: Callable[[], Any], on_gradients_ready: Callable[[], Any]) -> None:
        """Adds functions that are called in each iteration: before the passes, and before the update."""
        self._callbacks.append((on_start, on_gradients_ready))

    def share_weights(self, net: Net) -> None:
        """Makes another net use the parameters of the solver's net."""
        net.share_with(self.net)

    # Iterations

    def step(self, n: int) -> None:
        """Runs `n` iterations, with the tests, displays (on stderr) and snapshots that the solver specifies."""
        for _ in range(int(n)):
            if self._due(self.param.test_interval) and (self.iter or self.param.test_initialization):
                self._test()
            for on_start, _ in self._callbacks:
                on_start()
            loss = self._gradients()
            self._show(loss)
            for _, on_gradients_ready in self._callbacks:
                on_gradients_ready()
            self.apply_update(loss)
            if self._due(self.param.snapshot):
                self.snapshot()

    def solve(self, resume_file: str | Path | None = None) -> None:
        """Runs up to the solver's `max_iter`, from the start or from a state."""
        if resume_file is not None:
            self.restore(resume_file)
        self.step(max(self.param.max_iter - self.iter, 0))
        if self.param.snapshot_after_train and not (self.iter and self._due(self.param.snapshot)):
            self.snapshot()
        if self._due(self.param.test_interval):
            self._test()

    def _due(self, interval: int) -> bool:
        return bool(interval) and self.iter % interval == 0

    def _gradients(self) -> float:
        """Runs both passes over the batches of one iteration and returns the mean loss. Raises NetdefError if it is not
        finite."""
        here, total = jax.random.fold_in(self._key, self.iter), 0.0
        self.net.clear_param_diffs()
        for i in range(self.param.iter_size):
            self.net._forward_backward(jax.random.fold_in(here, i))
            total += self._loss()
        loss = total / self.param.iter_size
        if not np.isfinite(loss):
            raise NetdefError(f"the loss is {loss} at iteration {self.iter}; try a smaller base_lr")
        return loss

    def _loss(self) -> float:
        weighted = ((self.net.blobs[name], w) for name, w in self.net.blob_loss_weights.items() if w)
        return float(sum(w * np.sum(np.asarray(blob._data.value()), dtype=np.float64) for blob, w in weighted))

    def apply_update(self, loss: float = float("nan")) -> None:
        """Applies the solver's update rule to the gradients in the parameters' `diff`, and increments `iter`."""
        state = self._state._replace(trained=self._arrays("_data"))
        made = wait(self._update(state, self._arrays("_diff"), jnp.float32(loss)))
        self._state, deltas = made
        for spec, weight, delta in zip(self._partition.trained, self._state.trained, deltas, strict=True):
            blob = self.net._weights[spec.owner]
            blob._data.put(weight)
            blob._diff.put(delta)
        self.iter += 1

    def _updated(self, state: State, grads: tuple[Any, ...], loss: Any) -> tuple[State, tuple[Any, ...]]:
        """Returns the state after the update, and what was subtracted from each array; traced by JAX."""
        losses = state.losses.at[state.iteration % self.param.average_loss].set(loss)
        policy = self.param.policy.observe(state.policy, state.iteration, jnp.nanmean(losses))
        rate = self.param.rate(state.iteration, policy)
        moves = (True,) * len(self._partition.trained)
        objective = Objective(loss) if self.param.needs else None
        trained, history, shared = updated(self.param, self._partition, state, grads, rate, moves, None, objective)
        deltas = tuple(before - after for before, after in zip(state.trained, trained, strict=True))
        return state._replace(
            trained=trained,
            history=history,
            shared=shared,
            policy=policy,
            losses=losses,
            iteration=state.iteration + 1,
        ), deltas

    def _arrays(self, which: str) -> tuple[Any, ...]:
        return tuple(getattr(self.net._weights[spec.owner], which).value() for spec in self._partition.trained)

    # Output

    def _show(self, loss: float) -> None:
        if not self._due(self.param.display):
            return
        _say(f"Iteration {self.iter}, loss = {loss:g}")
        self._outputs("Train", {name: self.net.blobs[name].data for name in self.net.outputs})

    def _outputs(self, which: str, outputs: dict[str, Any]) -> None:
        number = 0
        for name, value in outputs.items():
            for one in np.ravel(value)[:16]:
                _say(f"    {which} net output #{number}: {name} = {one:g}")
                number += 1

    def _test(self) -> None:
        """Tests each test net and prints the means of its outputs."""
        seen = []
        for i, net in enumerate(self.test_nets):
            batches = self.param.test_iter[i] if i < len(self.param.test_iter) else 1
            if not batches:
                continue
            sums: dict[str, Any] = {}
            for _ in range(batches):
                for name, value in net.forward().items():
                    sums[name] = sums.get(name, 0) + value.astype(np.float64)
            means = {name: value / batches for name, value in sums.items()}
            _say(f"Iteration {self.iter}, Testing net (#{i})")
            self._outputs("Test", means)
            seen.append({name: float(value) for name, value in means.items() if value.size == 1})
        policy = policy_after(self.param.policy, self._state.policy, self.iter, seen)
        self._state = self._state._replace(policy=policy)

    # States

    def snapshot(self) -> Path:
        """Writes `PREFIX_iter_N.caffemodel` and `.solverstate` as Caffe does (with `.h5` for `snapshot_format: HDF5`).
        Returns the path of the state."""
        prefix = self.param.snapshot_prefix or str((self._file or Path("solver")).with_suffix(""))
        ending = ".h5" if self.param.given("snapshot_format") and self._is_hdf5() else ""
        weights = Path(f"{prefix}_iter_{self.iter}.caffemodel{ending}")
        state = Path(f"{prefix}_iter_{self.iter}.solverstate{ending}")
        self.net.save(weights)
        write_state(state, self.iter, self._history(), str(weights), self.param.policy.steps_taken(self.iter))
        return state

    def _is_hdf5(self) -> bool:
        return self.param.snapshot_format is SnapshotFormat.HDF5

    def _history(self) -> list[np.ndarray]:
        """Returns the history in Caffe's order: one array for each parameter, and then the second ones, if any."""
        kept = {spec.owner: leaves for spec, leaves in zip(self._partition.trained, self._state.history, strict=True)}
        arrays: list[tuple[Owner, tuple[int, ...]]] = learnable(self.net._net)
        return [
            np.asarray(jax.tree.leaves(kept[owner])[k]) if owner in kept else np.zeros(shape, np.float32)
            for k in range(per_array(self.param.type))
            for owner, shape in arrays
        ]

    def restore(self, state_file: str | Path) -> None:
        """Resumes from a `.solverstate` and its weights. Raises NetdefError if it is of another net or solver.

        Unlike in Caffe, the data continues at the same position rather than from the beginning."""
        state = read_state(state_file)
        histories = histories_of(state, self.net._net, self.param)
        self.net.copy_from(state.weights())
        self._state = self._state._replace(
            history=tuple(tuple(map(jnp.asarray, histories[spec.owner])) for spec in self._partition.trained),
            iteration=jnp.int32(state.iteration),
        )
        self.iter = state.iteration
        self.net._skip(state.iteration * self.param.iter_size)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


class SGDSolver(Solver):
    type = "SGD"


class NesterovSolver(Solver):
    type = "Nesterov"


class AdaGradSolver(Solver):
    type = "AdaGrad"


class RMSPropSolver(Solver):
    type = "RMSProp"


class AdaDeltaSolver(Solver):
    type = "AdaDelta"


class AdamSolver(Solver):
    type = "Adam"


def get_solver(solver_file: str | Path) -> Solver:
    """Returns the solver of a file, of any type."""
    kind = nets_of(solver_file).solver.type
    return next((cls for cls in Solver.__subclasses__() if cls.type == kind), Solver)(solver_file)


def layer_type_list() -> list[str]:
    """Returns all layer types."""
    return LAYERS.names()
