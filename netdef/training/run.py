"""`netdef.train`, from its arguments to the result; the loop itself is in `loop`."""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax

from ..data.mesh import Devices
from ..files import locator
from ..inference.preprocessing import keep as keep_preprocessing
from ..interop import snapshot, solver_state
from ..language.diagnostics import CompileError, Report
from ..language.errors import NetdefError
from ..language.shown import Shown, above
from ..language.trust import Trust
from ..model import Model
from ..passes.checks.losses import no_loss
from .compilation_cache import keep_compiled
from .diagnose import make_watch, strange_inputs
from .evaluation import refuse_inputs
from .events import Display, Event, Notice, OnEvent, Tested
from .hosts import HEARTBEAT, Hosts, Peers, is_first, join, together
from .loop import run_to_end
from .meeting import Relay
from .metrics import NOT_MEASURED, Recorder
from .mlflow import Mlflow
from .params import put_arrays
from .placement import placement_of
from .prepare import MOST_STEPS, RunSetup, Start, make_setup, make_work, started
from .profiling import STEPS, Profile, marked
from .resume import resume_caffe, resume_snapshot, start_from
from .run_folder import METRICS, new_folder, remove_empty, resumed
from .run_lock import locked
from .run_record import RunRecord
from .saved_run import write_net
from .saving import Saving
from .single_run import SingleRun
from .solver_nets import Nets, nets_of, scaled
from .tensorboard import TensorBoard
from .tracker import Tracker
from .trial_runs import Learning, Repeated, dry, kept_nothing, without_tests
from .wandb import Wandb

TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "mlflow": Mlflow, "wandb": Wandb}


@dataclass(frozen=True)
class Result(Shown):
    """The result of `train`: the trained net (phase TRAIN), the records of `metrics.jsonl`, and how the run ended."""

    model: Model = field(repr=False)
    history: list[dict[str, Any]] = field(repr=False)
    folder: Path
    iteration: int
    snapshot: Path | None
    why: str  # "max_iter", "interrupted", or the reason for stopping early
    loss: float = math.nan  # of the last iteration, averaged over `average_loss` iterations

    @property
    def scores(self) -> dict[str, Any]:
        """The outputs of the last test of the first test net; empty if there was none."""
        tests = [row for row in self.history if row["phase"] == "test" and not row.get("net")]
        return {name: value for name, value in tests[-1].items() if name not in NOT_MEASURED} if tests else {}

    def plot(self, **options: Any) -> Any:
        """Returns a figure of loss, accuracies and learning rate, as `netdef plot` draws it; `options` are those of
        `netdef.observe.curves`, such as `metrics` and `by`.  NetdefError if nothing was recorded, and if matplotlib is
        not installed."""
        observe = above("observe")
        if not self.history:
            raise NetdefError("nothing was recorded; set `display` or `test_interval` of the solver.")
        return observe.curves([observe.History(self.folder.name, self.folder, tuple(self.history))], **options)


@dataclass(frozen=True)
class Options:
    """Options of a run in addition to the solver's fields; see `train`."""

    weights: Any = None
    resume: bool | str | Path | None = None
    max_iter: int | None = None
    output: str | Path | None = None
    on_event: OnEvent | None = None
    watch: bool = False
    overfit: int = 0
    trackers: tuple[str, ...] = ()  # names in `TRACKERS`
    profile: str | Path | None = None
    devices: Devices = None
    heartbeat: float = HEARTBEAT
    relay: Relay | None = None  # to process 0, from the others
    signals: Mapping[int, str] = field(default_factory=dict)
    enough: Callable[[float], str] | None = None  # called with each loss; a non-empty result, the reason, ends the run
    hopeless: Callable[[Display | Tested], str] | None = None  # the same, called with each display and each test


def train(
    path: str | Path,
    weights: Any = None,
    resume: bool | str | Path | None = None,
    max_iter: int | None = None,
    output: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    on_event: OnEvent | None = None,
    *,
    progress: bool | None = None,
    watch: bool = False,
    overfit: int = 0,
    dry_run: bool = False,
    tensorboard: bool = False,
    mlflow: bool = False,
    wandb: bool = False,
    profile: str | Path | None = None,
    devices: Devices = None,
    hosts: str | None = None,
    host: str | None = None,
    heartbeat: float = HEARTBEAT,
    import_path: Sequence[str | Path] = (),
    signals: Mapping[int, str] | None = None,
) -> Result:
    """Trains a net with its solver.

    `path`: a `.net` file with a solver, a solver prototxt, or the source text of one.  `weights`: a weight file, a
    list of them, or {layer: [arrays]} to start from.  `resume`: True for the newest snapshot of the run in `output`
    (by default, of the newest run of this net), or the path of a snapshot, a run, or a `.solverstate` of Caffe.
    `max_iter` replaces the solver's for the end of the run, but not for its learning-rate policy.  `set` overrides
    constants and solver fields: {"width": 32, "solver.base_lr": 0.1}.  `on_event` is called with each event (see
    `netdef.training.events`).  `progress`: whether to show the progress, as `netdef train` prints it, or in a notebook
    as one display that changes in place; by default, if there is no `on_event`.

    `watch` adds statistics of the layers to each display: norms, dead and saturated units, the size of updates.
    `overfit` N trains on the first N batches only, until the net overfits them, and reports whether it did.  `dry_run`
    runs two iterations, each with a display, a test and a snapshot, in a temporary folder. `tensorboard`, `mlflow` and
    `wandb` also write the run for these tools, to a folder with this name in that of the run, without a network
    connection.  `profile`, a folder, traces some iterations after the first ones, with the time of each layer (see
    `netdef.training.profiling`).  `import_path` lists additional folders for imports.
    The modules of Python layers are run.  `signals` gives signals another effect than to end the run:
    {signal.SIGHUP: "snapshot"}, or "none".

    `devices`: "all", or a number of devices, which divide each batch of the file, with the result of one device; or
    the indices of devices, as in Caffe's `-gpu 0,1`, or slice(None) for all of them: the batch of the file is that of
    each device.  `mesh` of the solver changes this.  By default, the first device that JAX finds.  `hosts`,
    ADDRESS:PORT of process 0, and `host`, I/N, connect N processes with all of their devices; neither is needed under
    SLURM, Open MPI or in a TPU pod.  Process 0 writes the run and reports events; processes end when another one is
    silent for `heartbeat` seconds.

    Errors: CompileError for errors in the net; NetdefError for files, weights, snapshots, devices, and a non-finite
    loss.
    """
    if resume and weights is not None:
        raise NetdefError("`resume` continues with the weights of its snapshot; give `weights` or `resume`, not both.")
    nets = nets_of(path, set, Trust(python=True, folders=tuple(import_path)))
    relay = join(Hosts.parse(hosts, host), heartbeat)
    with shown(on_event, progress) as on_event:
        chosen = zip(TRACKERS, (tensorboard, mlflow, wandb), strict=True)
        trackers = tuple(name for name, wanted in chosen if wanted)
        what = (weights, resume, max_iter, output, on_event, watch, overfit, trackers, profile)
        options = Options(*what, devices, heartbeat, relay, signals=signals or {})
        return _run_or_try(nets, options, dry_run)


@contextmanager
def shown(on_event: OnEvent | None, progress: bool | None) -> Iterator[OnEvent | None]:
    """The listener of the user, and one that prints the progress, if it is to be printed."""
    if progress is False or (progress is None and on_event is not None):
        yield on_event
        return
    from .live import in_notebook, live
    from .progress import progress as printed

    with live() if in_notebook() else printed(sys.stdout) as show:

        def both(event: Event) -> None:
            show(event)
            if on_event is not None:
                on_event(event)

        yield both


def _run_or_try(nets: Nets, options: Options, dry_run: bool) -> Result:
    """A run, a dry run of two iterations, or one that overfits a few batches."""
    overfit = options.overfit
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="netdef-", ignore_cleanup_errors=True) as folder:
            options = replace(options, on_event=kept_nothing(options.on_event))
            result = run_nets(dry(nets), replace(options, resume=None, max_iter=2, output=folder, overfit=0))
            return replace(result, snapshot=None)
    if overfit:
        return run_nets(without_tests(nets), replace(options, resume=None))
    return run_nets(nets, options)


def run_nets(nets: Nets, options: Options) -> Result:
    """`train` for loaded nets."""
    keep_compiled()
    end = _iterations(nets, options)
    _refuse(nets, options)
    placement = placement_of(options.devices, nets.solver)
    nets = scaled(nets, placement.batches, placement.count if placement.apart else 1)
    nets = replace(nets, train=replace(nets.train, text=nets.text))  # the text that snapshots keep
    with ExitStack() as opened:
        peers = opened.enter_context(together(options.heartbeat, options.relay))
        place = _place(nets, options, opened) if peers is None else _common_place(nets, options, opened, peers)
        if place.snapshot:
            read = snapshot.opened(place.snapshot)
            place = place._replace(read=read, seed=read.state["seed"])
        listeners = _listeners(nets, place, options, opened)
        setup = opened.enter_context(closing(make_setup(nets, place.seed, place.folder, listeners, placement)))
        start = _start(nets, setup, place, options)
        placement = setup.placement
        start = replace(
            start,
            state=placement.put_state(start.state, setup.partition),
            fixed=placement.put_owned(setup.partition.fixed, start.fixed),
        )
        work, notice = make_work(setup, start, end, max_steps=_steps(options))
        profile = _profile(setup, start, end, options, opened)
        learning = Learning(options.overfit) if options.overfit else None
        if learning:
            work = replace(work, source=Repeated(work.source, options.overfit * work.iter_size))
        work = marked(work) if profile else work
        run = SingleRun(
            setup=setup,
            work=work,
            state=start.state,
            iteration=start.iteration,
            first=start.iteration,
            position=start.position,
            saving=opened.enter_context(Saving()),
            monitors=start.monitors,
            recorder=Recorder(place.folder / METRICS, start.iteration, writes=is_first()),
            peers=peers,
            effects=options.signals,
            enough=learning.see if learning else options.enough,
            hopeless=options.hopeless,
            profile=profile,
            verdict=learning.verdict if learning else None,
        )
        if options.watch or nets.solver.debug_info:
            watching = lambda net: make_watch(net, setup.partition, setup.solver, setup.key)
            items = lambda _, piece: piece.items
            run.watch = setup.sizes.choose(watching, items) if setup.sizes else watching(work.net)
        if is_first():
            write_net(nets, place.folder)
            keep_preprocessing((*nets.tests, nets.train), place.folder)
        warnings = [*place.notes, *start.notes, *_room(setup, start), *_warnings(nets, setup)]
        run.emit(started(setup, start, work, place.snapshot or place.caffe, warnings))
        if notice:
            run.emit(Notice(run.iteration, notice))
        run_to_end(run)
    weights = run.tested_weights()
    if placement.mesh and not setup.placement.classes:  # divided arrays stay where they are
        weights = jax.device_put(jax.device_get(weights), jax.local_devices()[0])
    put_arrays(setup.model, tuple(weights), tuple(weights.values()))
    return Result(setup.model, run.recorder.history, place.folder, run.iteration, run.saved, run.why, run.loss)


def _iterations(nets: Nets, options: Options) -> int:
    """The number of iterations of the run.  NetdefError if it is not positive."""
    end = nets.solver.max_iter if options.max_iter is None else options.max_iter
    if end <= 0:
        raise NetdefError(f"{nets.name}: `max_iter` is {end}; it must be at least 1.")
    return end


def _refuse(nets: Nets, options: Options) -> None:
    """Raises a NetdefError for missing packages or data, or a net without a loss, before any file is written."""
    for name in options.trackers:
        TRACKERS[name].require()
    refuse_inputs(nets.train, "trained")
    report = Report()
    no_loss(nets.train, report)
    if report.diagnostics:
        raise CompileError(tuple(replace(d, kind=replace(d.kind, severity="error")) for d in report.diagnostics))


class Place(NamedTuple):
    """The folder of a run, and what it resumes from: a snapshot, a `.solverstate` of Caffe, or nothing."""

    folder: Path
    seed: int
    snapshot: Path | None = None
    caffe: Path | None = None
    read: snapshot.Snapshot | None = None
    notes: tuple[str, ...] = ()


def _common_place(nets: Nets, options: Options, opened: ExitStack, peers: Peers) -> Place:
    """The place that process 0 has chosen."""

    def chosen() -> dict[str, Any]:
        place = _place(nets, options, opened)
        absolute = lambda path: str(path.absolute()) if path else None
        paths = {"folder": place.folder, "snapshot": place.snapshot, "caffe": place.caffe}
        return {name: absolute(path) for name, path in paths.items()} | {"notes": place.notes}

    found = peers.decide(chosen)
    path = lambda name: Path(found[name]) if found[name] else None
    caffe, notes = path("caffe"), tuple(found["notes"])
    return Place(Path(found["folder"]), nets.solver.seed, path("snapshot"), caffe, notes=notes)


def _listeners(nets: Nets, place: Place, options: Options, opened: ExitStack) -> list[OnEvent]:
    if not is_first():
        return []
    listeners: list[OnEvent] = [options.on_event] if options.on_event else []
    listeners.append(RunRecord(nets, place.folder))
    for name in options.trackers:
        listeners.append(opened.enter_context(TRACKERS[name](nets, place.folder, options.on_event)))
    return listeners


def _place(nets: Nets, options: Options, opened: ExitStack) -> Place:
    """The folder of the run, which is locked until `opened` is closed."""
    seed, resume = nets.solver.seed, options.resume
    if not resume or solver_state.is_solver_state(resume):
        is_new = options.output is None or not Path(options.output).exists()
        folder, notes = new_folder(nets, options.output)
        if is_new:
            opened.callback(remove_empty, folder)
        notes.append(opened.enter_context(locked(folder)))
        caffe = Path(str(resume)) if resume else None
        return Place(folder, seed, caffe=caffe, notes=tuple(filter(None, notes)))
    folder, path, notes = resumed(nets, options.output, resume)
    notes.append(opened.enter_context(locked(folder)))
    return Place(folder, seed, path, notes=tuple(filter(None, notes)))


def _start(nets: Nets, setup: RunSetup, place: Place, options: Options) -> Start:
    """The start of the run: a snapshot, a state of Caffe, given weights, those that the solver names, or none."""
    if place.read is not None:
        return resume_snapshot(setup, place.read)
    if place.caffe is not None:
        return resume_caffe(setup, place.caffe)
    return start_from(setup, options.weights if options.weights is not None else _named_weights(nets))


def _named_weights(nets: Nets) -> list[Path] | None:
    """The weight files that the solver names."""
    names = [name.strip() for text in nets.solver.weights for name in text.split(",") if name.strip()]
    locate = locator(nets.file.parent if nets.file else None)
    return [locate(name) for name in names] or None


def _steps(options: Options) -> int:
    """The most steps of a dispatch, after each of which the run can be looked at."""
    return 1 if options.watch else STEPS if options.profile is not None else MOST_STEPS


def _profile(setup: RunSetup, start: Start, end: int, options: Options, opened: ExitStack) -> Profile | None:
    """The profile of the run, if one is asked for; each process traces its own devices, but only the first writes."""
    if options.profile is None or not is_first():
        return None
    types = {node.name: node.type for node in setup.net.layers}
    return opened.enter_context(closing(Profile(options.profile, types, start.iteration, end)))


def _room(setup: RunSetup, start: Start) -> list[str]:
    """A warning if there is no room for two snapshots, because the old one is kept until the new one is complete."""
    if not (setup.solver.snapshot or setup.solver.snapshot_after_train):
        return []
    needed = 2 * sum(int(leaf.nbytes) for leaf in jax.tree.leaves((start.state, start.fixed)))
    free = shutil.disk_usage(setup.folder).free
    if free >= needed:
        return []
    return [
        f"{setup.folder}: {free / 1e6:,.1f} MB are free, but two snapshots need about {needed / 1e6:,.1f} MB; free "
        "some space or choose another output, or snapshots will fail"
    ]


def _warnings(nets: Nets, setup: RunSetup) -> list[str]:
    """Warnings about the inputs and the net."""
    faults = [str(d) for d in nets.train.diagnostics if d.severity == "warning"]
    tests = [note for evaluator in setup.evaluators for note in evaluator.notes]
    return [*strange_inputs(setup.net, setup.feed), *tests, *faults]
