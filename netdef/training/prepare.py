"""Everything that a run needs, made ready: nets, arrays, compiled steps, data, and a former run to go on from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..data.device import Resident, on_device
from ..data.feed import Feed
from ..files import locator
from ..graph import Net
from ..interop import snapshot
from ..language.errors import NetdefError
from ..language.spelling import suggestion
from ..model import Model
from ..passes.freeze import frozen
from ..passes.precision import in_half
from ..solvers.base import Precision, Reuse, Solver, Stage
from .evaluation import Tester
from .events import Event
from .features import cache, prefix_of
from .loop import Run
from .monitors import watches
from .params import Layout, arrays_of, layout, put_arrays
from .plan import Plan
from .solver_nets import Nets
from .step import State, batch_shapes, initial, loops_well, make_run, make_single, make_step

LONG_STEP = {"cpu": 2e8, "gpu": 2e10, "tpu": 2e10}  # multiply-adds of a step that needs no company in its dispatch
MOST_STEPS = 64  # of one dispatch
MOST_BYTES = 64 << 20  # of the batches of one dispatch
MOST_RECORDS = {"cpu": 256 << 20, "gpu": 4 << 30}  # bytes of all records of a data set that is kept on the device


def prepare(
    nets: Nets, end: int, seed: int, folder: Path, on_event: Callable[[Event], Any], most: int | None = None
) -> Run:
    """A run at its beginning, with at most `most` steps in a dispatch."""
    solver = nets.solver
    half = "bfloat16" if solver.precision is Precision.BF16 else ""
    prepared = lambda net: in_half(net, half) if half else net
    net, tests = prepared(frozen(nets.train, solver.freeze)), tuple(map(prepared, nets.tests))
    model = Model(net, seed)
    parts = layout(net)
    key = jax.random.fold_in(jax.random.key(seed), 0)
    feed = Feed(net, seed=seed)
    state, fixed = first_state(solver, model, parts), arrays_of(model, parts.fixed)
    batches = solver.test_iter or (0,) * len(tests)
    testers = [Tester(test, n, seed, net) for test, n in zip(tests, batches, strict=False)]
    run = Run(
        solver=solver,
        net=net,
        working=net,
        model=model,
        layout=parts,
        fixed=fixed,
        state=state,
        feed=feed,
        source=feed,
        testers=testers,
        plan=Plan(solver, end, bool(testers), tuple(s.until for s in solver.stages if s.until)),
        watched=watches(solver, tests),
        seed=seed,
        key=key,
        folder=folder,
        on_event=on_event,
        most=most or MOST_STEPS,
    )
    resident = _resident(feed, solver)
    if resident is not None:
        run.source, run.unpack, run.table = resident, resident.make, resident.table
    _make_stages(run)
    return run


def cache_features(run: Run) -> str:
    """Have a run train from the outputs of its frozen layers, where that is possible and worth it; says so, or nothing.

    The weights must be those of the run by now."""
    solver, split = run.solver, prefix_of(run.net) if run.solver.cache_frozen else None
    if split is None or not _many_rounds(run.feed, solver):
        return ""
    budget = MOST_RECORDS.get(jax.default_backend(), MOST_RECORDS["gpu"])
    made = cache(run.net, split, run.feed, run.weights(), budget)
    if made is None:
        return ""
    run.working, source = made
    run.source, run.unpack, run.table = source, source.make, source.table
    _make_stages(run)
    size = sum(rows.nbytes for rows in source.table.values())
    first, last = split.prefix[0].name, split.prefix[-1].name
    return f"`{first}` to `{last}` are frozen: computed once for {run.feed.size} records ({size / 1e6:.1f} MB)"


def _many_rounds(feed: Feed, solver: Solver) -> bool:
    """Whether the run goes through the data more than once; by the file alone, so that a resumed run does the same."""
    drawn = solver.max_iter * solver.iter_size * (feed.batch_size or 0)
    return bool(feed.size) and drawn >= 2 * (feed.size or 0)


def _resident(feed: Feed, solver: Solver) -> Resident | None:
    """The records on the device, where they fit and the run goes through them more than once."""
    if not _many_rounds(feed, solver):
        return None
    return on_device(feed, MOST_RECORDS.get(jax.default_backend(), MOST_RECORDS["gpu"]))


def _make_stages(run: Run) -> None:
    """Set the dispatch of each stage (one for the whole run where there are none), and how many steps one makes."""
    net, solver, parts = run.working, run.solver, run.layout
    run.k = min(run.most, _steps_per_dispatch(net, solver))
    if run.k > 1:
        step = make_step(net, solver, parts, run.key)
        run.k = run.k if loops_well(step, run.state, run.fixed, batch_shapes(net, solver.iter_size)) else 1
    run.stages = []
    for stage in solver.stages or (Stage(),):
        here = frozen(net, stage.freeze)
        trained = {t.owner for t in layout(here).trained}
        active = tuple(t.owner in trained for t in parts.trained)
        still = len({t.owner.layer for t in parts.trained} - {owner.layer for owner in trained})
        words = f"stage {len(run.stages) + 1}: {still} layers frozen" if solver.stages else ""
        step = make_step(here, solver, parts, run.key, active, run.unpack)
        run.stages.append((stage.until, words, (make_run if run.k > 1 else make_single)(step)))


def first_state(solver: Solver, model: Model, parts: Layout) -> State:
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


def start_from(run: Run, weights: Any) -> tuple[str, ...]:
    """Fill the model from weights; gives the layers with parameters that were not filled."""
    if weights is None and not run.solver.reuse:
        return ()
    filled = _fill(run.model, weights) if weights is not None else set()
    for block in run.solver.reuse:
        filled |= reuse(run.model, block)
    run.fixed = arrays_of(run.model, run.layout.fixed)
    run.state = first_state(run.solver, run.model, run.layout)
    return tuple(name for name in run.net.params if name not in filled)


def _fill(model: Model, weights: Any) -> set[str]:
    """Set parameters from {layer: [arrays]} or from weight files; gives the layers that were filled."""
    if isinstance(weights, Mapping):
        model.set_weights(weights)
        return set(weights)
    from ..interop import load_weights

    return set(load_weights(model, weights).copied)


def reuse(model: Model, block: Reuse) -> set[str]:
    """Take weights of another net as a `reuse` block says; gives the layers that were filled.

    NetdefError where nothing matches, a name is not in the net, or shapes differ (both are shown)."""
    from ..interop import read_weights

    path = locator(model.net.folder)(block.source)
    stored = read_weights(path)
    renamed = renamed_layers(list(stored), block)
    if not renamed:
        raise NetdefError(
            f'`reuse`: no layer of {path} is called "{block.layers}"; it has {", ".join(list(stored)[:12])}.'
        )
    absent = [new for new in renamed.values() if new not in model.net.params]
    if absent and block.to:
        meant = suggestion(absent[0], model.net.params)
        raise NetdefError(f"`reuse`: the net has no layer `{absent[0]}` with parameters.{meant}")
    found = {new: stored[old] for old, new in renamed.items() if new in model.net.params}
    if not found:
        raise NetdefError(
            f"`reuse`: of the layers {', '.join(list(renamed)[:12])} of {path} none is in the net; say `to`."
        )
    model.set_weights(found)
    return set(found)


def renamed_layers(names: Sequence[str], block: Reuse) -> dict[str, str]:
    """{name in the file: name in the net} of the layers that a `reuse` block takes."""
    try:
        taken, left = re.compile(block.layers), [re.compile(pattern) for pattern in block.exclude]
        matches = {name: taken.fullmatch(name) for name in names if not any(e.fullmatch(name) for e in left)}
        return {name: m.expand(block.to) if block.to else name for name, m in matches.items() if m}
    except (re.error, IndexError) as error:
        raise NetdefError(f'`reuse`: {error} in the expression "{block.layers}" or "{block.to}".') from error


def restore(run: Run, read: snapshot.Snapshot) -> None:
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
