"""Scores of a trained net on its test data: `netdef.test("model.net")`, or of a run: `netdef.test("runs/Digits")`.

They are those of the tests during training (`evaluation`), to the bit for the same weights on the same devices.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..compiler import load_phases
from ..data.mesh import Devices
from ..graph import Net
from ..interop import snapshot
from ..language.errors import NetdefError, printable
from ..language.shown import Shown
from ..language.source import Source, exists
from ..language.trust import Trust
from ..layers.base import Phase
from ..model import Model
from ..model import compile as compile_model
from ..passes.precision import as_computed
from ..solvers.base import Solver
from .evaluation import Evaluator
from .placement import placement_of, with_classes
from .saved_run import SavedRun, holds_run, last_run, saved_run
from .solver_nets import Nets, nets_of


@dataclass(frozen=True, repr=False)
class Evaluation(Shown):
    """The result of a test: the means of the objective and of the outputs over the test data."""

    loss: float
    outputs: dict[str, Any]  # NumPy arrays
    batches: int
    images: int  # records
    seconds: float
    notes: tuple[str, ...] = ()  # warnings about the data
    weights: str = ""  # the snapshot or the files; empty for arrays and models

    @property
    def scores(self) -> dict[str, Any]:
        """The outputs as numbers and lists of numbers, rounded to six digits; None for values that are not finite."""
        return {name: plain(value) for name, value in self.outputs.items()}

    def __repr__(self) -> str:
        """One line, without the elements of outputs that have many."""
        said = lambda value: f"[{len(value)} values]" if isinstance(value, list) else f"{value}"
        named = {"loss": plain(self.loss), **self.scores}
        words = ", ".join(f"{name} {said(value)}" for name, value in named.items())
        return printable(f"<Evaluation of {self.images} records: {words}; weights {self.weights or 'given'}>")

    def as_dict(self) -> dict[str, Any]:
        """Returns JSON values, those of `netdef test --json`."""
        return {
            "outputs": self.scores,
            "loss": plain(self.loss),
            "batches": self.batches,
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "weights": self.weights,
        }


def plain(value: Any) -> Any:
    """Converts to a number or a list of numbers, with None for non-finite ones, which JSON does not have."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(v) for v in value]
    return round(value, 6) if math.isfinite(value) else None


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
    """Tests a net on the data of its phase TEST, and returns the means of its outputs, as `netdef test` prints them.

    `path`: a net, or the folder or a snapshot of a run, which needs nothing else.  `weights`: files, a snapshot, the
    folder of a run, {layer: [arrays]}, or a model, such as that of a `train`; by default, the newest snapshot of the
    last run of this net.  The settings of a run apply, except those that `set` overrides.  `batches`: the number of
    batches; by default, `test_iter` of the solver, or as many as read each record once.  `devices`: "all", a number of
    devices or their indices, which divide each batch, with the result of one device; by default, the first one.  The
    modules of Python layers are run.  Raises CompileError; NetdefError for files that cannot be read."""
    trust = Trust(python=True, folders=tuple(import_path))
    chosen = _subject(path, weights, dict(set or {}), trust)
    loaded = load_phases(chosen.net, [Phase.TEST], stages, level, chosen.settings, trust)
    loaded.stop_on_errors()
    found = score(loaded.nets[0], chosen.weights, batches, devices)
    return replace(found, notes=(*chosen.notes, *found.notes))


class Subject(NamedTuple):
    """What is tested: a net, its settings, and its weights; notes on damaged snapshots."""

    net: str | Path | Source
    settings: Mapping[str, Any]
    weights: Any
    notes: tuple[str, ...] = ()


def _subject(path: str | Path, weights: Any, own: dict[str, Any], trust: Trust) -> Subject:
    """The net that is meant, and the run that has its settings and its weights."""
    if _is_folder(path):
        run = saved_run(path)
        net, needed = run.net()
        if weights is not None:
            return Subject(net, {**needed, **own}, weights)
        found, notes = _snapshot(run, Path(path))
        return Subject(net, {**needed, **own}, found, notes)
    source = Source.of(path)
    if weights is None:
        run = _last_run(source, own, trust)
        found, notes = _snapshot(run, run.folder)
    elif _is_folder(weights) and (holds_run(Path(weights)) or snapshot.is_one(Path(weights))):
        run = saved_run(weights)
        found, notes = _snapshot(run, Path(weights))
    else:
        return Subject(source, own, weights)
    needed = run.settings_for(source.path) if source.path else {}
    return Subject(source, {**needed, **own}, found, notes)


def _is_folder(place: Any) -> bool:
    """Whether a place is a folder: a run, a snapshot, weights of a format that is one, or by mistake another one."""
    return isinstance(place, (str, Path)) and exists(str(place)) and Path(place).is_dir()


def _snapshot(run: SavedRun, place: Path) -> tuple[Path, tuple[str, ...]]:
    """The snapshot at a place, or the newest one of the run, and notes on damaged ones.  NetdefError without one."""
    if snapshot.is_one(place):
        wrong = snapshot.damage(place)
        if wrong:
            raise NetdefError(
                f"the snapshot {place} is damaged: {wrong}; name the folder of the run to use another one."
            )
        return place, ()
    found, notes = run.snapshot()
    if found is None:
        raise NetdefError(f"there is no complete snapshot in {run.folder}; give weights.")
    return found, tuple(notes)


def _last_run(source: Source, own: Mapping[str, Any], trust: Trust) -> SavedRun:
    """The last run of a net, also if it can only be read with the settings of that run.  NetdefError without a run."""
    nets: Nets | None = None
    try:
        nets = nets_of(source, own, trust)
    except NetdefError:
        pass  # a net without a solver, or one that needs settings
    run = last_run(source.path, nets) if source.path else None
    if run is None:
        raise NetdefError(f"there is no run of {source.name} with a snapshot; give weights, or the folder of a run.")
    return run


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
    named = _named(weights)
    return Evaluation(found.loss, found.outputs, evaluator.batches, found.images, seconds, evaluator.notes, named)


def _named(weights: Any) -> str:
    """The files of weights; empty for arrays."""
    if isinstance(weights, (str, Path)):
        return str(weights)
    return "" if isinstance(weights, (Model, Mapping)) else ", ".join(map(str, weights))
