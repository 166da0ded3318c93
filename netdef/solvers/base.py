"""The contract of a solver type: the fields of every solver, and an update rule of its own.

    class SGD(Momentum, type="SGD"):
        def init(self, w): ...                   # the history of one array
        def update(self, g, w, history, at): ... # what is taken off the array, and its new history

`decode` turns a message or a solver file into a `Solver`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from ..layers.base import Phase
from ..lazy import Array, jax, jnp
from ..policies.base import POLICIES, Monitor, Policy, Setting
from ..registry import Registry
from ..schema import Block, param

SOLVERS: Registry[Solver] = Registry("solver", "netdef.solvers", group="netdef.solvers")


class SnapshotFormat(enum.Enum):
    """Caffe's file formats of a snapshot."""

    HDF5 = 0
    BINARYPROTO = 1


class SolverMode(enum.Enum):
    """Where Caffe computes."""

    CPU = 0
    GPU = 1


class NetState(Block):
    """`state { }`, `train_state { }`, `test_state { }`: what the include and exclude rules are held against."""

    phase: Phase | None = param("Phase of the net.", default=None)
    level: int = param("Level of the net.", default=0)
    stage: tuple[str, ...] = param("Stages that are set.", default=())


class Precision(enum.Enum):
    """In what the heavy layers compute; weights, statistics and losses stay in float32."""

    FLOAT = 0
    BF16 = 1


class Stage(Block):
    """`stages { until: 1000 freeze: "conv.*" }`: a stretch of the run in which some layers are frozen."""

    until: int | None = param(
        "The iteration at which the next stage begins; not given: the rest.", default=None, above=0
    )
    freeze: tuple[str, ...] = param("Names of frozen layers, as regular expressions for the whole name.", default=())


class Reuse(Block):
    """`reuse { source: "vgg.caffemodel" from: "conv(.*)" to: "vgg/conv\\1" }`: weights of another net, under other
    names."""

    source: str = param("Weight file, snapshot or run.")
    layers: str = param("Layers of the file that are taken: a regular expression for the whole name.", default=".*")
    to: str = param("What they are called here; \\1 is the first group of `layers`. Not given: the same.", default="")
    exclude: tuple[str, ...] = param("Layers of the file that are not taken.", default=())


class Numbers(NamedTuple):
    """The numbers of one update of one array; traced float32 scalars, `iteration` an int32."""

    rate: Array  # learning rate x lr_mult
    momentum: Array
    decay: Array  # weight decay x decay_mult, for solvers that take it off the weights themselves
    iteration: Array  # 0 at the first update


class Solver(Block):
    """Fields of every solver, Caffe's and those of its forks; subclasses add those of their update rule.

    An iteration: the gradients of `iter_size` batches are summed, clipped, divided by `iter_size`, weight decay is
    added, and the update rule of the type turns them into a step.  Source: BVLC/caffe src/caffe/solver.cpp,
    solvers/sgd_solver.cpp. Differs: without `random_seed` the seed is 0, so that every run can be repeated; without
    `lr_policy` it is "fixed".
    """

    type: ClassVar[str] = ""
    selector = "type"
    decoupled: ClassVar[bool] = False  # takes weight decay off the weights itself
    slots: ClassVar[tuple[str, ...]] = ()  # names of the arrays of a history, in Caffe's order; () where it is a pytree
    policy: Policy

    # Which nets
    net: str | None = param("File of the net, for training and testing.", default=None)
    train_net: str | None = param("File of the net for training.", default=None)
    test_net: tuple[str, ...] = param("Files of nets for testing only.", default=())
    train_state: NetState | None = param("Level and stages of the net in training.", default=None)
    test_state: tuple[NetState, ...] = param("Level and stages of each test net.", default=())
    weights: tuple[str, ...] = param(
        "Weight files to start from; several in one text are parted by commas.", default=()
    )

    # How long, and what is seen on the way
    max_iter: int = param("Iterations of the run.", default=0, at_least=0)
    iter_size: int = param("Batches whose gradients make one update.", default=1, at_least=1)
    random_seed: int = param("Seed of every random number; negative is 0.", default=-1)
    display: int = param("Iterations between two displays; 0 shows nothing.", default=0, at_least=0)
    average_loss: int = param("The loss shown is the mean over this many iterations.", default=1, at_least=1)
    debug_info: bool = param("Show the mean size of every blob, gradient and parameter at each display.", default=False)
    test_iter: tuple[int, ...] = param("Batches of a test, for each test net.", default=(), at_least=1)
    test_interval: int = param("Iterations between two tests; 0 tests nothing.", default=0, at_least=0)
    test_offset: int = param("Tests are at this iteration plus multiples of the interval.", default=0, at_least=0)
    test_initialization: bool = param("Whether there is a test before the first iteration.", default=True)
    test_compute_loss: bool = param("Whether a test shows the whole loss too.", default=False)
    test_after_train: bool = param(
        "Whether there is a test at the end, wherever it falls; a sweep's runs have one.", default=False
    )
    snapshot: int = param("Iterations between two snapshots; 0 takes none on the way.", default=0, at_least=0)
    snapshot_prefix: str = param("Where the run's folder is, if none is named on starting.", default="")
    snapshot_after_train: bool = param("Whether there is a snapshot at the end.", default=True)

    snapshot_keep: int = param("How many of the last snapshots are kept; 0 keeps all.", default=0, at_least=0)
    snapshot_best: Monitor | None = param("Keep a snapshot `best` of the best test as well.", default=None)
    early_stopping: Monitor | None = param(
        "End the run when tests do not become better, or are good enough.", default=None
    )

    # Which layers are trained, from what, and in what precision
    freeze: tuple[str, ...] = param("Names of frozen layers, as regular expressions for the whole name.", default=())
    cache_frozen: bool = param("Compute the outputs of frozen layers next to the data once a record.", default=True)
    stages: tuple[Stage, ...] = param("Stretches of the run in which some layers are frozen.", default=())
    reuse: tuple[Reuse, ...] = param("Weights of other nets to start from.", default=())
    ema: float | None = param(
        "Tests and the result use averages of the weights, of which this much stays in each iteration.",
        default=None,
        at_least=0,
        at_most=1,
    )
    precision: Precision = param("BF16: convolutions and products in bfloat16.", default=Precision.FLOAT)

    # The learning rate; `lr_policy` names the class of `policy`
    base_lr: float | None = param("Learning rate at the start.", default=None, at_least=0)
    min_lr: float = param("Floor of the learning rate (NVIDIA).", default=0.0, at_least=0)
    rampup_interval: int = param(
        "Iterations of a quadratic rise from `rampup_lr` to `base_lr` (NVIDIA).", default=0, at_least=0
    )
    rampup_lr: float = param("First learning rate of that rise.", default=0.0, at_least=0)
    warmup_iter: int = param(
        "Iterations of a linear rise from `warmup_start_lr` to `base_lr` (Intel).", default=0, at_least=0
    )
    warmup_start_lr: float = param("First learning rate of that rise.", default=0.0, at_least=0)

    # Gradients
    clip_gradients: float = param(
        "Scale gradients down to this L2 norm, taken over all of them; negative: never.", default=-1.0
    )
    clip_value: float | None = param(
        "Cut every element of a gradient to at most this, either way.", default=None, above=0
    )
    clip_adaptive: float | None = param(
        "Scale the gradient of each unit to at most this times the norm of its weights.", default=None, above=0
    )
    weight_decay: float = param(
        "Pulls weights to zero: added to the gradient, times the weight's `decay_mult`.", default=0.0
    )
    regularization_type: str = param(
        'What is added: "L2" the weight, "L1" its sign.', default="L2", choices=("L2", "L1")
    )
    weight_decay_policy: str = param(
        'How decay goes: "fixed", or "poly" to `max_weight_decay` (NVIDIA).',
        default="fixed",
        choices=("fixed", "poly"),
    )
    max_weight_decay: float = param("Weight decay at the end, with the poly policy.", default=0.0)
    weight_decay_power: float = param("Power of the poly policy.", default=1.0)
    larc: bool = param("Layer-wise adaptive rate, |w| over |gradient| (NVIDIA).", default=False)
    larc_policy: str = param(
        '"scale" multiplies the rate by it, "clip" takes the smaller of both.',
        default="scale",
        choices=("scale", "clip"),
    )
    larc_eta: float = param("Trust coefficient of LARC.", default=0.001)
    local_lr_auto: bool = param("Layer-wise adaptive rate of Intel's fork, LARS.", default=False)
    local_gw_ratio: float = param("Trust coefficient of LARS.", default=0.001)

    # Read for compatibility
    solver_mode: SolverMode = param("CPU or GPU; jax decides.", default=SolverMode.GPU, inert=True)
    device_id: int = param("Number of the GPU.", default=0, inert=True)
    snapshot_format: SnapshotFormat = param(
        "Format of Caffe's own files.", default=SnapshotFormat.BINARYPROTO, inert=True
    )
    snapshot_diff: bool = param("Whether gradients are saved.", default=False, inert=True)
    layer_wise_reduce: bool = param("Overlap of reduction with computing.", default=True, inert=True)
    eval_type: str = param("Kind of evaluation, of the detection forks.", default="classification", inert=True)
    ap_version: str = param("Kind of average precision, of the detection forks.", default="Integral", inert=True)
    show_per_class_result: bool = param("Of the detection forks.", default=False, inert=True)
    solver_data_type: str = param("Type of history, of NVIDIA's fork.", default="FLOAT", inert=True)
    store_blobs_in_old_format: bool = param("Of NVIDIA's fork.", default=False, inert=True)
    engine: str = param("Of Intel's fork.", default="", inert=True)

    def __init_subclass__(cls, type: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if type is not None:
            cls.type = type
            SOLVERS.add(type, cls)

    def __init__(self, policy: Policy | None = None, **values: Any):
        super().__init__(**values)
        fixed = POLICIES.get("fixed")
        assert fixed is not None
        object.__setattr__(self, "policy", fixed() if policy is None else policy)

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.policy == other.policy  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]

    def init(self, w: Array) -> Any:
        """The history of one array before the first update: a tuple of arrays in the order of `slots`, or any
        pytree."""
        raise NotImplementedError

    def slot_names(self, history: Any) -> tuple[str, ...]:
        """Names of the arrays of a history: `slots`, or where the class declares none, their places in the pytree."""
        if self.slots:
            return self.slots
        leaves = jax.tree_util.tree_leaves_with_path(history)
        return tuple(jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves)

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        """(what is taken off `w`, the new history) for the gradient `g`, decay included; traced."""
        raise NotImplementedError

    def setting(self, base_lr: Any = None) -> Setting:
        """What the policy works with; `base_lr` may be a traced scalar."""
        return Setting(self.base_lr or 0.0 if base_lr is None else base_lr, max(self.max_iter, 1), self.min_lr)

    def rate(self, iteration: Array, state: Mapping[str, Array], base_lr: Any = None) -> Array:
        """The learning rate of an iteration, rises and floor included; a float32 scalar.

        Source: NVIDIA/caffe and intel/caffe, sgd_solver.cpp, GetLearningRate."""
        at = self.setting(base_lr)
        rate = jnp.asarray(self.policy.rate(iteration, at, state), jnp.float32)
        if self.warmup_iter:
            rate = jnp.where(iteration < self.warmup_iter, self._warm_rate(iteration, at), rate)
        if self.rampup_interval:
            part = jnp.asarray(iteration, jnp.float32) / self.rampup_interval
            ramp = self.rampup_lr + (at.base_lr - self.rampup_lr) * part * part
            rate = jnp.where(iteration < self.rampup_interval, ramp, rate)
        return jnp.maximum(rate, self.min_lr) if self.min_lr else rate

    def _warm_rate(self, iteration: Array, at: Setting) -> Array:
        t = jnp.maximum(jnp.asarray(iteration, jnp.float32), 0.0)
        return (t * at.base_lr + (self.warmup_iter - t) * self.warmup_start_lr) / self.warmup_iter

    def momentum_at(self, iteration: Array, rate: Array, base_lr: Any = None) -> Array:
        """Momentum of an iteration; 0 for solvers without."""
        return jnp.float32(0)

    def decay_at(self, iteration: Array, weight_decay: Any = None) -> Array:
        """Weight decay of an iteration, before `decay_mult`; `weight_decay` may be a traced scalar.

        Source: NVIDIA/caffe, GetWeightDecay."""
        first = self.weight_decay if weight_decay is None else weight_decay
        if self.weight_decay_policy != "poly":
            return jnp.asarray(first, jnp.float32)
        part = jnp.asarray(iteration, jnp.float32) / max(self.max_iter, 1)
        return first + (self.max_weight_decay - first) * part**self.weight_decay_power

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return max(self.random_seed, 0)


class Momentum(Solver):
    """Solvers with momentum, and NVIDIA's policies for it."""

    momentum: float = param("How much of the last step goes on; the decay of first moments.", default=0.0, at_least=0)
    momentum_policy: str = param(
        '"fixed", "poly" to `max_momentum`, or "opt": (1 - sqrt(lr)/2)^2 (NVIDIA).',
        default="fixed",
        choices=("fixed", "poly", "opt"),
    )
    max_momentum: float = param("Momentum at the end (poly) or at most (opt).", default=0.99)
    momentum_power: float = param("Power of the poly policy.", default=1.0)

    def momentum_at(self, iteration: Array, rate: Array, base_lr: Any = None) -> Array:
        """Source: NVIDIA/caffe, GetMomentum; intel/caffe, ComputeUpdateValue for the correction while the rate warms
        up."""
        momentum = jnp.float32(self.momentum)
        if self.momentum_policy == "poly":
            part = jnp.asarray(iteration, jnp.float32) / max(self.max_iter, 1)
            momentum = self.momentum + (self.max_momentum - self.momentum) * part**self.momentum_power
        elif self.momentum_policy == "opt":
            momentum = (1 - 0.5 * jnp.sqrt(rate)) ** 2
            momentum = jnp.minimum(momentum, self.max_momentum) if self.given("max_momentum") else momentum
        if self.warmup_iter:
            before = self._warm_rate(iteration - 1, self.setting(base_lr))
            growth = jnp.where(
                before > 0, rate / jnp.where(before > 0, before, 1.0), 1.0
            )  # a start at 0 has no history
            momentum = jnp.where(iteration < self.warmup_iter, momentum * growth, momentum)
        return jnp.asarray(momentum, jnp.float32)
