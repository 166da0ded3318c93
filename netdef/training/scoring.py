"""Scores of a trained net on its test data: `netdef.test(path)`.

They are those of the tests during training (`evaluation`), to the bit for the same weights on the same devices.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..compiler import load_phases
from ..data.mesh import Devices
from ..graph import Net
from ..language.trust import Trust
from ..layers.base import Phase
from ..model import Model
from ..model import compile as compile_model
from ..passes.precision import as_computed
from ..solvers.base import Solver
from .evaluation import Evaluator
from .placement import placement_of, with_classes
from .run_folder import resumed
from .solver_nets import nets_of


@dataclass(frozen=True)
class Evaluation:
    """The result of a test: the means of the objective and of the outputs over the test data."""

    loss: float
    outputs: dict[str, Any]  # NumPy arrays
    batches: int
    images: int  # records
    seconds: float
    notes: tuple[str, ...] = ()  # warnings about the data


def test(
    path: str | Path,
    weights: Any = None,
    batches: int | None = None,
    devices: Devices = None,
    set: Mapping[str, Any] | None = None,
    *,
    stages: Sequence[str] = (),
    level: int = 0,
    import_path: Sequence[str | Path] = (),
) -> Evaluation:
    """Tests a net on the data of its phase TEST, and returns the means of its outputs.

    `weights`: files, a snapshot, the folder of a run, {layer: [arrays]}, or a model, such as that of a `train`; by
    default, the newest snapshot of the last run of this net.  `batches`: the number of batches; by default, `test_iter`
    of the solver, or as many as read each record once.  `devices`: \"all\", a number of devices or their indices, which
    divide each batch, with the result of one device; by default, the first one.  `set` overrides constants.  The
    modules of Python layers are run.  Raises CompileError; NetdefError for files that cannot be read."""
    trust = Trust(python=True, folders=tuple(import_path))
    loaded = load_phases(path, [Phase.TEST], stages, level, set, trust)
    loaded.stop_on_errors()
    if weights is None:
        weights = resumed(nets_of(path, set, trust), None, True)[1]
    return score(loaded.nets[0], weights, batches, devices)


def score(net: Net, weights: Any, batches: int | None = None, devices: Devices = None) -> Evaluation:
    """Returns the result of `test` for a loaded net of phase TEST."""
    net, solver = as_computed(net), net.solver or Solver()
    placement = with_classes(replace(placement_of(devices, solver), each=False, apart=False), net)
    model = weights if isinstance(weights, Model) else compile_model(net, seed=solver.seed, weights=weights)
    arrays = model.arrays()
    placed = placement.put_owned(tuple(arrays), tuple(arrays.values()))
    evaluator = Evaluator(net, batches or next(iter(solver.test_iter), 0), solver.seed, model.net, placement)
    try:
        begin = time.perf_counter()
        found = evaluator.test(dict(zip(arrays, placed, strict=True)), 0)
        seconds = time.perf_counter() - begin
    finally:
        evaluator.close()
    return Evaluation(found.loss, found.outputs, evaluator.batches, found.images, seconds, evaluator.notes)
