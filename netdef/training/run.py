"""`netdef.train`, from the arguments to the result; the loop itself is in `loop`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import locator
from ..inference.preprocessing import keep as keep_preprocessing
from ..interop import snapshot, solver_state
from ..language.errors import NetdefError
from ..lazy import Array
from ..model import Model
from .compilation_cache import keep_compiled
from .diagnose import make_watch, strange_inputs
from .evaluation import refuse_inputs
from .events import Event, Notice, OnEvent, Started
from .loop import Run, run_to_end
from .metrics import Recorder
from .params import put_arrays
from .prepare import cache_features, prepare, restore, start_from
from .run_folder import METRICS, NET, new_folder, resumed
from .run_record import Diary, device
from .solver_nets import Nets, nets_of
from .tensorboard import TensorBoard, writer_class
from .trial_runs import Learning, Repeated, by_heart, dry


@dataclass(frozen=True)
class Result:
    """What `train` gives: the trained net (phase TRAIN), the records of `metrics.jsonl`, and how the run ended."""

    model: Model
    history: list[dict[str, Any]]
    folder: Path
    iteration: int
    snapshot: Path | None
    why: str  # "max_iter", "interrupted", or what ended it early


def train(
    path: str | Path,
    weights: Any = None,
    resume: bool | str | Path | None = None,
    max_iter: int | None = None,
    output: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    on_event: OnEvent | None = None,
    *,
    watch: bool = False,
    overfit: int = 0,
    dry_run: bool = False,
    tensorboard: bool = False,
) -> Result:
    """Train a net as its solver says.

    `path`: a `.net` file with a solver, a solver prototxt, or such text.  `weights`: a weight file, several, or
    {layer: [arrays]} to start from.  `resume`: True for the newest snapshot of the run in `output` (or where a run
    without `output` would be), or the path of a snapshot, of a run, or of a `.solverstate` of Caffe's.  `max_iter`
    stops earlier or later than the solver's own, whose schedule stays.  `set` overrides constants and solver fields:
    {"width": 32, "solver.base_lr": 0.1}.  `on_event` is called with each event (see `netdef.training.events`).

    `watch` adds to each display what the layers do: norms, dead and saturated units, the size of updates.  `overfit` N
    trains on the first N batches alone until they are known by heart, and says whether that was so.  `dry_run` makes
    two iterations with a display, a test and a snapshot each, in a folder that is removed. `tensorboard` writes events
    for TensorBoard too, into the folder `tensorboard` of the run.  Errors: CompileError for faults of the net;
    NetdefError for files, weights, snapshots, and a loss that is not finite.
    """
    if resume and weights is not None:
        raise NetdefError("`resume` goes on with the weights of its snapshot: give `weights` or `resume`, not both.")
    nets = nets_of(path, set)
    options: dict[str, Any] = {"watch": watch, "tensorboard": tensorboard}
    if dry_run:
        nets, max_iter = dry(nets), 2
        with _scratch() as folder:
            return run_nets(nets, weights, None, max_iter, folder, on_event, **options)
    if overfit:
        return run_nets(by_heart(nets), weights, None, max_iter, output, on_event, **options, overfit=overfit)
    return run_nets(nets, weights, resume, max_iter, output, on_event, **options)


def run_nets(
    nets: Nets,
    weights: Any = None,
    resume: bool | str | Path | None = None,
    max_iter: int | None = None,
    output: str | Path | None = None,
    on_event: OnEvent | None = None,
    *,
    watch: bool = False,
    overfit: int = 0,
    enough: Callable[[float], str] | None = None,
    tensorboard: bool = False,
) -> Result:
    """`train` for nets that were loaded.  `enough` is shown every loss, and ends the run by saying why."""
    keep_compiled()
    if tensorboard:
        writer_class()  # if it is missing, that is said before anything is made
    end = nets.solver.max_iter if max_iter is None else max_iter
    if end <= 0:
        raise NetdefError(f"{nets.name}: the solver does not say how long to train; give `max_iter`.")
    refuse_inputs(nets.train, "trained")
    caffe = Path(str(resume)) if solver_state.is_solver_state(resume) else None
    folder, start, notes = _place(nets, output, None if caffe else resume)
    read = snapshot.load(start) if start else None
    seed = read.state["seed"] if read else nets.solver.seed
    board = TensorBoard(folder, nets.train.text) if tensorboard else None
    told = [listener for listener in (Diary(nets, folder), board, on_event) if listener is not None]
    run = prepare(nets, end, seed, folder, _telling(told), most=1 if watch else None)
    try:
        untouched: tuple[str, ...] = ()
        if read is not None:
            restore(run, read)
        elif caffe is not None:
            solver_state.restore(run, caffe)
        else:
            untouched = start_from(run, weights if weights is not None else _named_weights(nets))
        cached = cache_features(run)
        learning = _learn_by_heart(run, overfit) if overfit else None
        run.enough = learning.see if learning else enough
        if watch or nets.solver.debug_info:
            run.look_at = make_watch(run.working, run.layout, run.solver, run.key)
        run.recorder = Recorder(folder / METRICS, run.iteration)
        (folder / NET).write_text(nets.train.text)
        keep_preprocessing((*nets.tests, nets.train), folder)
        run.emit(_started(run, nets, start or caffe, untouched, notes))
        if cached:
            run.emit(Notice(run.iteration, cached))
        why, saved = run_to_end(run)
        if learning:
            run.emit(Notice(run.iteration, learning.verdict(run.iteration)))
    finally:
        run.close()
        if board:
            board.close()
    for owner, array in run.weights().items():
        put_arrays(run.model, (owner,), (array,))
    return Result(run.model, run.recorder.history, folder, run.iteration, saved, why)


def _telling(listeners: Sequence[OnEvent]) -> OnEvent:
    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def _learn_by_heart(run: Run, batches: int) -> Learning:
    run.source = Repeated(run.source, batches * run.solver.iter_size)
    return Learning(batches)


class _scratch:
    """A folder that is there for a while."""

    def __enter__(self) -> Path:
        self.path = Path(tempfile.mkdtemp(prefix="netdef-"))
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _place(nets: Nets, output: Any, resume: Any) -> tuple[Path, Path | None, list[str]]:
    if not resume:
        folder, notes = new_folder(nets, output)
        return folder, None, notes
    folder, start, notes = resumed(nets, output, resume)
    folder.mkdir(parents=True, exist_ok=True)
    return folder, start, notes


def _named_weights(nets: Nets) -> list[Path] | None:
    """The weight files that the solver names, relative to its file or the working directory."""
    names = [name.strip() for text in nets.solver.weights for name in text.split(",") if name.strip()]
    locate = locator(nets.file.parent if nets.file else None)
    return [locate(name) for name in names] or None


def _started(run: Run, nets: Nets, start: Path | None, untouched: tuple[str, ...], notes: list[str]) -> Started:
    sizes: Sequence[Array] = (*run.state.trained, *run.fixed)
    return Started(
        name=nets.name,
        folder=run.folder,
        iteration=run.iteration,
        max_iter=run.plan.end,
        seed=run.seed,
        batch=run.images,
        parameters=sum(int(a.size) for a in sizes),
        device=device(),
        resumed_from=start,
        untouched=untouched,
        warnings=(
            *notes,
            *strange_inputs(run.net, run.feed),
            *(str(d) for d in nets.train.diagnostics if d.severity == "warning"),
        ),
    )
