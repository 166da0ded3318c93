"""`train`: everything is made ready here; the loop itself is in `loop`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.feed import Feed
from ..graph import Net
from ..interop.solver_state import is_solver_state, restore
from ..language.diagnostics import NetdefError
from ..layer import Array
from ..model import Model
from ..solver import Precision, Solver, Stage
from . import snapshot
from .cache import keep_compiled
from .control import watches
from .events import Event, OnEvent, Started
from .folder import METRICS, NET, new_folder, resumed
from .loop import Run, run_to_end
from .metrics import Recorder
from .nets import Nets, nets_of
from .nodes import frozen, in_half
from .params import Layout, arrays_of, layout, put_arrays
from .plan import Plan
from .step import State, batch_shapes, initial, loops_well, make_run, make_single, make_step
from .testing import Tester, refuse_inputs

LONG_STEP = {"cpu": 2e8, "gpu": 2e10, "tpu": 2e10}  # multiply-adds of a step that needs no company in its dispatch
MOST_STEPS = 64  # of one dispatch
MOST_BYTES = 64 << 20  # of the batches of one dispatch


@dataclass(frozen=True)
class Result:
    """What `train` gives: the trained net (phase TRAIN), the records of `metrics.jsonl`, and how the run ended."""

    model: Model
    history: list[dict[str, Any]]
    folder: Path
    iteration: int
    snapshot: Path | None
    why: str  # "max_iter", "interrupted", ...


def train(
    path: str | Path,
    weights: Any = None,
    resume: bool | str | Path | None = None,
    max_iter: int | None = None,
    output: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    on_event: OnEvent | None = None,
) -> Result:
    """Train a net as its solver says.

    `path`: a `.net` file with a solver, a solver prototxt, or such text.  `weights`: a weight file, several, or
    {layer: [arrays]} to start from.  `resume`: True for the newest snapshot of the run in `output` (or where a run
    without `output` would be), or the path of a snapshot or of a run.  `max_iter` stops earlier or later than the
    solver's own, whose schedule stays.  `set` overrides constants and solver fields: {"width": 32, "solver.base_lr":
    0.1}.  `on_event` is called with each event (see `netdef.train.events`). Errors: CompileError for faults of the net;
    NetdefError for files, weights, snapshots, and a loss that is not finite.
    """
    keep_compiled()
    nets = nets_of(path, set)
    end = nets.solver.max_iter if max_iter is None else max_iter
    if end <= 0:
        raise NetdefError(f"{nets.name}: the solver does not say how long to train; give `max_iter`.")
    refuse_inputs(nets.train, "trained")
    caffe = Path(str(resume)) if is_solver_state(resume) else None
    folder, start, notes = _place(nets, output, None if caffe else resume)
    read = snapshot.load(start) if start else None
    seed = read.state["seed"] if read else nets.solver.seed
    run = _prepare(nets, end, seed, folder, on_event or (lambda event: None))
    untouched: tuple[str, ...] = ()
    if read is not None:
        _restore(run, read)
    elif caffe is not None:
        restore(run, caffe)
    else:
        untouched = _start_from(run, weights if weights is not None else _named_weights(nets))
    try:
        run.recorder = Recorder(folder / METRICS, run.iteration)
        (folder / NET).write_text(nets.train.text)
        run.emit(_started(run, nets, start or caffe, untouched, notes))
        why, saved = run_to_end(run)
    finally:
        run.close()
    for owner, array in run.weights().items():
        put_arrays(run.model, (owner,), (array,))
    return Result(run.model, run.recorder.history, folder, run.iteration, saved, why)


def _place(nets: Nets, output: Any, resume: Any) -> tuple[Path, Path | None, list[str]]:
    if not resume:
        return new_folder(nets, output), None, []
    folder, start, notes = resumed(nets, output, resume)
    folder.mkdir(parents=True, exist_ok=True)
    return folder, start, notes


def _named_weights(nets: Nets) -> list[Path] | None:
    """The weight files that the solver names, relative to its file or the working directory."""
    names = [name.strip() for text in nets.solver.weights for name in text.split(",") if name.strip()]
    folder = nets.file.parent if nets.file else Path()
    return [folder / name if (folder / name).exists() else Path(name) for name in names] or None


def _prepare(nets: Nets, end: int, seed: int, folder: Path, on_event: Callable[[Event], Any]) -> Run:
    solver = nets.solver
    half = "bfloat16" if solver.precision is Precision.BF16 else ""
    prepared = lambda net: in_half(net, half) if half else net
    net, tests = prepared(frozen(nets.train, solver.freeze)), tuple(map(prepared, nets.tests))
    model = Model(net, seed)
    parts = layout(net)
    key = jax.random.fold_in(jax.random.key(seed), 0)
    feed = Feed(net, seed=seed)
    state, fixed = _first_state(solver, model, parts), arrays_of(model, parts.fixed)
    step = make_step(net, solver, parts, key)
    k = _steps_per_dispatch(net, solver)
    k = k if k == 1 or loops_well(step, state, fixed, batch_shapes(net, solver.iter_size)) else 1
    batches = solver.test_iter or (0,) * len(tests)
    testers = [Tester(test, n, seed, net) for test, n in zip(tests, batches, strict=False)]
    return Run(
        solver=solver,
        net=net,
        model=model,
        layout=parts,
        fixed=fixed,
        state=state,
        feed=feed,
        testers=testers,
        plan=Plan(solver, end, bool(testers), tuple(s.until for s in solver.stages if s.until)),
        stages=_stages(net, solver, parts, key, make_run if k > 1 else make_single),
        watched=watches(solver, tests),
        k=k,
        seed=seed,
        key=key,
        folder=folder,
        on_event=on_event,
    )


def _stages(net: Net, solver: Solver, parts: Layout, key: Array, make: Any) -> list[tuple[int | None, str, Any]]:
    """The dispatch of each stage; one for the whole run where the solver has no stages."""
    made = []
    for stage in solver.stages or (Stage(),):
        here = frozen(net, stage.freeze)
        trained = {t.owner for t in layout(here).trained}
        active = tuple(t.owner in trained for t in parts.trained)
        still = len({t.owner.layer for t in parts.trained} - {owner.layer for owner in trained})
        words = f"stage {len(made) + 1}: {still} layers frozen" if solver.stages else ""
        made.append((stage.until, words, make(make_step(here, solver, parts, key, active))))
    return made


def _first_state(solver: Solver, model: Model, parts: Layout) -> State:
    """Copies, because the step takes its state's memory and the model keeps its own."""
    copy = lambda arrays: tuple(jnp.array(a, copy=True) for a in arrays)
    trained = copy(arrays_of(model, tuple(t.owner for t in parts.trained)))
    return initial(solver, trained, copy(arrays_of(model, parts.kept)))


def _steps_per_dispatch(net: Net, solver: Solver) -> int:
    """As many as fill a dispatch; one where a step is long: by the net alone, so that results do not vary."""
    work = (
        3
        * solver.iter_size
        * sum(
            node.layer.multiply_adds([net.shapes[v] for v in node.bottoms], [net.shapes[v] for v in node.tops])  # type: ignore[misc]
            for node in net.layers
        )
    )
    size = 4 * solver.iter_size * sum(int(np.prod(net.blobs[name].shape or ())) for name in net.inputs)
    long = LONG_STEP.get(jax.default_backend(), 2e10)
    return int(max(1, min(MOST_STEPS, long // max(work, 1), MOST_BYTES // max(size, 1))))


def _start_from(run: Run, weights: Any) -> tuple[str, ...]:
    """Fill the model from weights; gives the layers with parameters that were not filled."""
    if weights is None:
        return ()
    if isinstance(weights, Mapping):
        run.model.set_weights(weights)
        untouched = tuple(name for name in run.net.params if name not in weights)
    else:
        untouched = run.model.load_weights(weights).untouched
    run.fixed = arrays_of(run.model, run.layout.fixed)
    run.state = _first_state(run.solver, run.model, run.layout)
    return untouched


def _restore(run: Run, read: snapshot.Snapshot) -> None:
    """Put a snapshot's arrays, numbers and positions in their places.  NetdefError if it does not fit."""
    if read.state["solver"] != run.solver.type:
        raise NetdefError(
            f"the snapshot {read.path} was made by the solver {read.state['solver']}, and this one is "
            f"{run.solver.type}; resume with the same, or start from its weights."
        )
    wanted = run.described()
    for group in ("trained", "fixed", "kept"):
        if read.state["owners"][group] != wanted["owners"][group]:
            raise NetdefError(f"the snapshot {read.path} is of another net: {_difference(read.state, wanted, group)}.")
    leaves, tree = jax.tree.flatten(run.state)
    arrays = [read.arrays.get(f"state.{i}") for i in range(len(leaves))]
    for i, (array, leaf) in enumerate(zip(arrays, leaves, strict=True)):
        if array is None or np.shape(array) != leaf.shape:
            there = "missing" if array is None else f"of shape {np.shape(array)}"
            raise NetdefError(
                f"the snapshot {read.path} does not fit: its array {i} is {there}, and {leaf.shape} is needed here."
            )
    run.state = jax.tree.unflatten(tree, [jnp.array(a, dtype=x.dtype) for a, x in zip(arrays, leaves, strict=True)])
    run.fixed = tuple(jnp.array(read.arrays[f"fixed.{i}"]) for i in range(len(run.fixed)))
    put_arrays(run.model, run.layout.fixed, run.fixed)
    run.feed.restore(read.state["position"])
    run.position = read.state["position"]
    for name, watched in run.watched.items():
        if name in read.state.get("watched", {}):
            watched.restore(read.state["watched"][name])
    for tester, position in zip(run.testers, read.state["test_positions"], strict=False):
        tester.feed.restore(position)
    run.iteration = read.state["iteration"]


def _difference(there: Mapping[str, Any], here: Mapping[str, Any], group: str) -> str:
    before, now = ({tuple(o) for o in s["owners"][group]} for s in (there, here))
    only = sorted(before ^ now)
    layer, index = only[0] if only else ("?", 0)
    return (
        f"parameter {index} of layer `{layer}` is {group} in only one of them"
        if only
        else "its layers stand in another order"
    )


def _started(run: Run, nets: Nets, start: Path | None, untouched: tuple[str, ...], notes: list[str]) -> Started:
    sizes: Sequence[Array] = (*run.state.trained, *run.fixed)
    device = jax.devices()[0]
    return Started(
        name=nets.name,
        folder=run.folder,
        iteration=run.iteration,
        max_iter=run.plan.end,
        seed=run.seed,
        batch=run.images,
        parameters=sum(int(a.size) for a in sizes),
        device=f"{device.platform} {device.device_kind}" if device.platform != "cpu" else "cpu",
        resumed_from=start,
        untouched=untouched,
        warnings=(*notes, *(str(d) for d in nets.train.diagnostics if d.severity == "warning")),
    )
