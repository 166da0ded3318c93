"""One iteration of training as a pure function, and several iterations in one dispatch.

In Caffe's order: the gradients of `iter_size` batches are summed, clipped by the L2 norm of the sum and divided by
`iter_size`, weight decay is added, and the solver's rule computes the update.  An iteration with a non-finite loss
changes only `bad`.  If only elements of gradients are not finite, they count as 0, because all gradients would have to
be kept until the last one is known to undo the update.  The iterations after a bad one change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental.layout import Layout, with_layout_constraint

from ..forward import forward, jit
from ..graph import Net
from ..interop.snapshot import array_name
from ..layers._platform import on_cpu, on_cpu_and_gpu
from ..lazy import Array
from ..solvers.base import Moving, Numbers, Objective, Solver
from .objective import objective_of, padded, regularized
from .params import Partition, Trained, copies

SHOWN = 4096  # outputs with more elements are not read back
GOOD, BAD_LOSS, BAD_GRADIENT = 0, 1, 2  # values of `State.bad`; BAD_GRADIENT + i: the gradient of trained array i


class State(NamedTuple):
    """Everything that changes from iteration to iteration: a pytree that the step accepts, donated, and returns.

    `losses` contains the losses of the last `average_loss` iterations, iteration i at index i modulo average_loss;
    nan before.
    """

    trained: tuple[Array, ...]
    kept: tuple[Array, ...]
    history: tuple[Any, ...]
    policy: Mapping[str, Array]
    ema: tuple[Array, ...]  # what is tested in place of `trained`, such as moving averages; may be empty
    losses: Array  # (average_loss)
    iteration: Array  # int32: number of updates
    bad: Array  # int32: GOOD, or why iteration `iteration` failed; after BAD_GRADIENT the arrays may have moved on
    shared: Any = ()  # what the histories have in common, of a solver that updates all arrays together


class Metrics(NamedTuple):
    """The metrics of the last iteration of a dispatch."""

    loss: Array  # mean over the last average_loss iterations
    lr: Array
    outputs: dict[str, Array]  # of the last batch of the iteration
    bad: Array
    iteration: Array  # number of updates


Items = Any  # a pytree of arrays with a leading axis of iter_size: batches, or what `unpack` converts to batches
Unpack = Callable[[Any, Items], Mapping[str, Array]]  # (all records, item) -> {blob: array}
Step = Callable[..., tuple[State, Metrics]]
Settled = Callable[[Array, Any, Any], tuple[Array, Any]]


class RunConstants(NamedTuple):
    """The values that may differ between runs that train together in one compiled step; traced."""

    key: Array
    base_lr: Array
    weight_decay: Array


def initial(
    solver: Solver,
    trained: tuple[Array, ...],
    kept: tuple[Array, ...],
    put: Callable[[State], State] = jax.device_put,
    *,
    partition: Partition,
) -> State:
    """The state before the first iteration, made without a program for each shape; `put` copies a state to devices."""
    specs = zip(partition.trained, trained, strict=True)
    histories, shared = solver.init_all({array_name(t.owner): _seen(solver, t, w) for t, w in specs})
    rest = {
        "history": tuple(histories.values()),
        "shared": shared,
        "policy": solver.policy.initial(),
        "losses": np.full((solver.average_loss,), np.nan, np.float32),
        "iteration": np.int32(0),
        "bad": np.int32(GOOD),
    }
    ema = copies(trained) if solver.averages else ()
    return put(State(trained=(), kept=(), ema=(), **rest))._replace(trained=trained, kept=kept, ema=ema)


def shown_outputs(net: Net) -> tuple[str, ...]:
    """The outputs that are small enough to be displayed, and whose number of rows is known."""
    sizes = {name: _count(net.blobs[name].shape) for name in net.outputs if name not in net.padded}
    return tuple(name for name, size in sizes.items() if size <= SHOWN)


def _count(shape: Any) -> int:
    size = 1
    for dim in shape or ():
        size *= dim
    return size


def as_computed(delta: Array, new: Any, old: Any) -> tuple[Array, Any]:
    return delta, new


def make_step(
    net: Net,
    solver: Solver,
    partition: Partition,
    key: Array,
    active: Sequence[bool] = (),
    unpack: Unpack | None = None,
    axis: str = "",
) -> Step:
    """Returns the step of a net: (state, fixed arrays, items, records, constants) -> (state, metrics).  Not jitted.

    `active` selects the trained arrays that this step updates, because a stage may freeze some; by default all.
    `unpack` converts an item to a batch if the data are on the device, in `records`; without it an item is a batch.
    `constants`, if given, replace the key and the solver's base_lr and weight_decay.
    `axis`, if given, names the devices that run the step on a batch of their own (see `placement.apart`): gradients are
    averaged over them before they are clipped, as are losses and outputs; statistics are those of the first device.
    """
    names = shown_outputs(net)
    moves = tuple(active) or (True,) * len(partition.trained)

    def forwarded(moving: Any, trained: Any, kept: Any, fixed: Any, inputs: Any, key: Array) -> tuple[Array, Any]:
        trained = _merged(moves, moving, trained)
        outcome = forward(net, partition.weights(trained, fixed, kept), inputs, key)
        kept = tuple(outcome.updates.get(owner, w) for owner, w in zip(partition.kept, kept, strict=True))
        return outcome.loss, (kept, {name: outcome.blobs[name] for name in names})

    gradient = jax.value_and_grad(forwarded, has_aux=True)

    def step(
        state: State, fixed: tuple[Array, ...], items: Items, records: Any = None, constants: RunConstants | None = None
    ) -> tuple[State, Metrics]:
        batch = partial(unpack, records) if unpack else (lambda item: item)
        here = jax.random.fold_in(key if constants is None else constants.key, state.iteration)
        moving = tuple(w for w, moved in zip(state.trained, moves, strict=True) if moved)
        here = jax.random.fold_in(here, jax.lax.axis_index(axis)) if axis else here
        evaluated = lambda moving: _on_all(
            axis, _accumulate(gradient, solver.iter_size, moving, state, fixed, items, batch, here)
        )
        loss, grads, kept, outputs = evaluated(moving)
        objective = objective_of(solver, loss, evaluated, names_of(partition, moves))
        going = (state.bad == GOOD) & jnp.isfinite(loss)
        bad = jnp.where(going, _verdict(grads, moves), jnp.where(state.bad == GOOD, BAD_LOSS, state.bad))
        losses = state.losses.at[state.iteration % solver.average_loss].set(loss)
        smoothed = jnp.nanmean(losses)
        policy = solver.policy.observe(state.policy, state.iteration, smoothed)
        rate = solver.rate(state.iteration, policy, None if constants is None else constants.base_lr)
        good = bad == GOOD

        def moved(arrays: Any, grads: Any, settled: Settled = as_computed) -> Any:
            before = state._replace(trained=arrays[0], history=arrays[1], ema=arrays[2], shared=arrays[3])
            trained, history, shared = updated(
                solver, partition, before, grads, rate, moves, constants, objective, settled
            )
            return trained, history, _averaged(solver, before, trained, history), shared

        arrays = (state.trained, state.history, state.ema, state.shared)
        trained, history, ema, shared = _guarded(moved, arrays, grads, going, good)
        changed = on_cpu(lambda going, good: good, lambda going, good: going, going, good)
        kept, policy, losses = _chosen(changed, (kept, policy, losses), (state.kept, state.policy, state.losses))
        iteration = jnp.where(good, state.iteration + 1, state.iteration)
        after = State(trained, kept, history, policy, ema, losses, iteration, bad, shared)
        return after, Metrics(jnp.where(good, smoothed, loss), rate, outputs, bad, iteration)

    return step


def _guarded(moved: Callable[..., Any], arrays: Any, grads: Any, going: Array, good: Array) -> Any:
    """moved(arrays, grads), or the same arrays if the loss (`going`) or a gradient (`good`) is not finite.

    XLA for accelerators includes an update in the product that computes the gradient.  A choice that waits for all
    gradients would keep it from that, and keep all gradients until the last one is known.  So there only a bad loss
    keeps the arrays; elements of a gradient that are not finite count as 0.  A CPU waits: its products have no such
    update, and XLA for CPUs overwrites a donated array in place only if it cannot be needed any more; else it copies it
    first."""

    def wait(arrays: Any, grads: Any) -> Any:
        trained, history, *rest = moved(arrays, grads, partial(_written_once, good))
        return _chosen(good, trained, arrays[0]), history, *_chosen(good, tuple(rest), arrays[2:])

    def go(arrays: Any, grads: Any) -> Any:
        finite = tuple(jnp.where(jnp.isfinite(g), g, jnp.zeros_like(g)) for g in _in_order(grads))
        return _chosen(going, moved(arrays, finite), arrays)

    return on_cpu(wait, go, arrays, grads)


def _in_order(grads: Sequence[Array]) -> Sequence[Array]:
    """The gradients, on a GPU those of filters in the order of the filters in memory.

    Its convolutions compute them with the channels last.  In that order, XLA would transpose filters and histories
    before the update, and both results after it."""
    ordered = lambda g: with_layout_constraint(g, Layout(major_to_minor=tuple(range(g.ndim))))
    all_ordered = lambda *grads: tuple(ordered(g) if g.ndim > 2 else g for g in grads)
    return on_cpu_and_gpu(all_ordered, lambda *grads: grads, *grads)


def _written_once(good: Array, delta: Array, new: Any, old: Any) -> tuple[Array, Any]:
    """Returns (delta, history after the choice).

    If delta is a new history (SGD), it is read from there after the choice; a bad step discards it anyway.  The barrier
    keeps XLA from computing it again for the weights, for which it would copy the old history first: half the time."""
    chosen = _chosen(good, new, old)
    places = [i for i, array in enumerate(jax.tree.leaves(new)) if array is delta]
    if not places:
        return delta, chosen
    chosen = jax.lax.optimization_barrier(chosen)
    return jax.tree.leaves(chosen)[places[0]], chosen


def _chosen(good: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda new, old: jnp.where(good, new, old), new, old)


def _verdict(grads: Sequence[Array], moves: Sequence[bool]) -> Array:
    """BAD_GRADIENT plus the index of the last array with a gradient that is not finite, where the backward pass meets
    the first one; GOOD if there is none."""
    bad = jnp.int32(GOOD)
    for i, g in zip((i for i, moved in enumerate(moves) if moved), grads, strict=True):
        bad = jnp.where(jnp.isfinite(_total(g)), bad, BAD_GRADIENT + i)
    return bad


def _total(g: Array) -> Array:
    """The sum of a gradient; on a CPU of matrices by a product with ones, which takes a quarter of the time."""
    by_product = lambda g: jnp.sum(jnp.ones((1, len(g)), g.dtype) @ g.reshape(len(g), -1))
    return on_cpu(by_product, jnp.sum, g) if g.ndim > 1 else jnp.sum(g)


def _on_all(axis: str, found: tuple[Array, Any, Any, Any]) -> tuple[Array, Any, Any, Any]:
    """What `_accumulate` returns, averaged over the devices of `axis`, if there is one."""
    if not axis:
        return found
    loss, grads, kept, outputs = found
    loss, grads, outputs = jax.lax.pmean((loss, grads, outputs), axis)
    return loss, grads, _of_the_first(kept, axis), outputs


def _of_the_first(arrays: Any, axis: str) -> Any:
    """The arrays of the first device, on all."""
    first = jax.lax.axis_index(axis) == 0
    return jax.lax.psum(jax.tree.map(lambda a: jnp.where(first, a, jnp.zeros_like(a)), arrays), axis)


def _merged(moves: Sequence[bool], moving: Sequence[Array], whole: Sequence[Array]) -> tuple[Array, ...]:
    """All arrays: `whole`, with the active ones replaced by those of `moving`."""
    items = iter(moving)
    return tuple(next(items) if moved else array for moved, array in zip(moves, whole, strict=True))


def _averaged(solver: Solver, state: State, trained: Sequence[Array], history: Sequence[Any]) -> tuple[Array, ...]:
    """What is tested: the weights that the solver says, or their moving averages; the decay is smaller in early
    iterations, to forget the initial weights."""
    if not solver.averages:
        return ()
    trained = tuple(map(solver.tested, trained, history))
    if solver.ema is None:
        return trained
    t = state.iteration.astype(jnp.float32)
    stays = jnp.minimum(solver.ema, (1 + t) / (10 + t))
    return tuple(stays * e + (1 - stays) * w for e, w in zip(state.ema, trained, strict=True))


def _accumulate(
    gradient: Any, n: int, moving: Any, state: State, fixed: Any, items: Items, batch: Callable[[Any], Any], key: Array
) -> tuple[Array, Any, Any, Any]:
    """(mean loss, sum of gradients, updated `kept`, outputs of the last batch) over `n` batches."""
    if n == 1:
        only = batch(jax.tree.map(lambda a: a[0], items))
        (loss, (kept, outputs)), grads = gradient(
            moving, state.trained, state.kept, fixed, only, jax.random.fold_in(key, 0)
        )
        return loss, grads, kept, outputs

    def one(carry: Any, item: Any) -> tuple[Any, None]:
        total, sums, kept, _ = carry
        i, packed = item
        (loss, (kept, outputs)), grads = gradient(
            moving, state.trained, kept, fixed, batch(packed), jax.random.fold_in(key, i)
        )
        return (total + loss, jax.tree.map(jnp.add, sums, grads), kept, outputs), None

    first = batch(jax.tree.map(lambda a: a[0], items))
    shapes = jax.eval_shape(gradient, moving, state.trained, state.kept, fixed, first, key)[0][1][1]
    zeros = jax.tree.map(jnp.zeros_like, moving)
    empty = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    start = (jnp.float32(0), zeros, state.kept, empty)
    (total, sums, kept, outputs), _ = jax.lax.scan(one, start, (jnp.arange(n), items))
    return total / n, sums, kept, outputs


def names_of(partition: Partition, moves: Sequence[bool]) -> list[str]:
    """The names of the arrays that a step updates."""
    return [array_name(spec.owner) for spec, moved in zip(partition.trained, moves, strict=True) if moved]


def updated(
    solver: Solver,
    partition: Partition,
    state: State,
    grads: Any,
    rate: Array,
    moves: Sequence[bool],
    constants: RunConstants | None,
    objective: Objective | None = None,
    settled: Settled = as_computed,
) -> tuple[Any, Any, Any]:
    """Returns parameters, histories and what these share after the solver's update; `objective` is that of all arrays.

    `settled` changes (delta, new history, old history) of an array to the delta and the history that are used."""
    momentum = solver.momentum_at(state.iteration, rate, None if constants is None else constants.base_lr)
    decay = solver.decay_at(state.iteration, None if constants is None else constants.weight_decay)
    decays = bool(constants is not None or solver.weight_decay or solver.max_weight_decay)
    places = [i for i, moved in enumerate(moves) if moved]
    held = dict(zip(names_of(partition, moves), (state.trained[i] for i in places), strict=True))
    given = clipped(solver, grads, list(held.values()))
    moving: dict[str, Moving] = {}
    added: dict[str, Array] = {}  # the weight decay that is added to gradients
    for i, (name, w), g in zip(places, held.items(), given, strict=True):
        spec = partition.trained[i]
        g = g / solver.iter_size if solver.iter_size > 1 else g
        own_decay = decay * spec.decay_mult
        local = local_rate(solver, spec.lr_mult, rate, momentum, g, w)
        if not solver.decoupled and spec.decay_mult and decays:
            g = g + own_decay * (jnp.sign(w) if solver.regularization_type == "L1" else w)
            added[name] = own_decay
        at = Numbers(local, momentum, own_decay, state.iteration, spec.decay_mult, spec.lr_mult, rate)
        moving[name] = Moving(_seen(solver, spec, g), _seen(solver, spec, w), state.history[i], at)
    minimized = regularized(solver, objective, moving, added, held)
    updates, shared = solver.update_all(moving, state.shared, minimized)
    trained, histories = list(state.trained), list(state.history)
    for i, (name, w) in zip(places, held.items(), strict=True):
        delta, new = updates[name]
        delta, histories[i] = settled(padded(delta, w), new, histories[i])
        trained[i] = w - delta
    return tuple(trained), tuple(histories), shared


def _seen(solver: Solver, spec: Trained, array: Array) -> Array:
    """What the solver sees of an array: all of it, or without the rows that pad it on several devices."""
    return array if not solver.whole or spec.shape in (None, array.shape) else array[: spec.shape[0]]


def clipped(solver: Solver, grads: Any, weights: Any) -> Any:
    """Clips summed gradients as the solver specifies: to a global L2 norm of clip_gradients (Caffe's), each element to
    clip_value, and each unit to clip_adaptive times the norm of its weights (Brock et al. 2021, by optax)."""
    if solver.clip_gradients >= 0:
        norm = jnp.sqrt(sum((jnp.sum(g * g) for g in grads), jnp.float32(0)))
        scale = jnp.where(norm > solver.clip_gradients, solver.clip_gradients / norm, 1.0)
        grads = tuple(g * scale for g in grads)
    if solver.clip_value is not None:
        grads = tuple(jnp.clip(g, -solver.clip_value, solver.clip_value) for g in grads)
    if solver.clip_adaptive is not None:
        rule = optax.adaptive_grad_clip(solver.clip_adaptive)
        # the units are the last axis for optax, and the first one in Caffe's arrays
        turn = lambda a: a.reshape(a.shape[0], -1).T if a.ndim > 1 else a
        cut: Any = rule.update([turn(g) for g in grads], optax.EmptyState(), [turn(w) for w in weights])[0]
        grads = tuple(c.T.reshape(g.shape) for c, g in zip(cut, grads, strict=True))
    return grads


def local_rate(solver: Solver, lr_mult: float, rate: Array, momentum: Array, g: Array, w: Array) -> Array:
    """The learning rate of one array: multiplied by its lr_mult, or layer-wise adaptive.

    Source: NVIDIA/caffe (larc) and intel/caffe (local_lr_auto), sgd_solver.cpp, GetLocalRate; norms are computed before
    weight decay is added, as in NVIDIA's GPU code."""
    if not (solver.larc or solver.local_lr_auto):
        return rate * lr_mult
    w_norm, g_norm = jnp.sqrt(jnp.sum(w * w)), jnp.sqrt(jnp.sum(g * g))
    if solver.larc:
        trust = (1 - momentum) * solver.larc_eta * w_norm / g_norm
    else:
        trust = solver.local_gw_ratio * w_norm / (g_norm + solver.weight_decay * w_norm)
    trust = jnp.where((w_norm > 0) & (g_norm > 0), trust, 1.0)
    return jnp.minimum(rate, trust) if solver.larc and solver.larc_policy == "clip" else rate * trust


def make_run(step: Step, net: Net | None = None, placed: Any = None) -> Callable[..., tuple[State, Metrics]]:
    """Several steps in one dispatch, jitted with donated state: (state, fixed, items, n, records) runs the first n of k
    steps; `items` has the leading axes (k, iter_size).  One compiled loop is used for every n, so that results do not
    depend on the division of a run into pieces. `net` is that of the step, `placed` the shardings of the results."""
    once = jax.jit(step, inline=True)  # traced only once

    def run(
        state: State, fixed: tuple[Array, ...], items: Items, n: Array, records: Any = None
    ) -> tuple[State, Metrics]:
        take = lambda i: jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, i, keepdims=False), items)
        shapes = jax.eval_shape(once, state, fixed, take(0), records)[1]
        empty = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        return jax.lax.fori_loop(0, n, lambda i, carry: once(carry[0], fixed, take(i), records), (state, empty))

    return jit(run, net, donate_argnums=0, out_shardings=placed)


def loops_well(net: Net) -> bool:
    """Whether the step of a net is as fast inside a compiled loop as alone.  On CPU, XLA runs convolutions inside a
    loop without its multithreaded kernels, at least seven times slower."""
    if jax.default_backend() != "cpu":
        return True
    array = lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    weights = {owner: array(weight.shape) for owner, weight in net.owned}
    inputs = {name: array(net.blobs[name].shape or ()) for name in net.inputs}
    # The forward pass is enough: its gradient has convolutions only where it has some itself.
    traced = jax.make_jaxpr(lambda *given: forward(net, *given).blobs)(weights, inputs, jax.random.key(0))
    return "conv_general_dilated" not in str(traced)


def make_single(step: Step, net: Net | None = None, placed: Any = None) -> Callable[..., tuple[State, Metrics]]:
    """Like `make_run` with k = 1, but without a loop around the step; for long steps."""
    return jit(single(step), net, donate_argnums=0, out_shardings=placed)


def single(step: Step) -> Callable[..., tuple[State, Metrics]]:
    """What `make_single` compiles."""

    def run(
        state: State, fixed: tuple[Array, ...], items: Items, n: Array, records: Any = None
    ) -> tuple[State, Metrics]:
        return step(state, fixed, jax.tree.map(lambda a: a[0], items), records)

    return run
