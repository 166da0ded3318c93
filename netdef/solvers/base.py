"""The contract of a solver type: the fields that all solvers share, and an update rule.

    class SGD(Momentum, type="SGD"):
        def init(self, w): ...                   # the history of one array
        def update(self, g, w, history, at): ... # what is subtracted from the array, and its new history

`decode` turns a block or a solver file into a `Solver`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from ..language.diagnostics import Report
from ..language.source import Span
from ..layers.base import DataType, Phase
from ..lazy import Array, jax, jnp, np
from ..policies.base import POLICIES, Monitor, Policy, Setting
from ..registry import Registry
from ..schema import Block, param

SOLVERS: Registry[Solver] = Registry(
    "solver", "netdef.solvers", group="netdef.solvers", makers={"optax.": "netdef.solvers.optax_optimizers"}
)


class SnapshotFormat(enum.Enum):
    """Caffe's file formats for snapshots."""

    HDF5 = 0
    BINARYPROTO = 1


class SolverMode(enum.Enum):
    """The device that Caffe computes on."""

    CPU = 0
    GPU = 1


class NetState(Block):
    """`state { }`, `train_state { }`, `test_state { }`: the state that include and exclude rules refer to."""

    phase: Phase | None = param("Phase of the net.", default=None)
    level: int = param("Level of the net.", default=0)
    stage: tuple[str, ...] = param("Stages of the net.", default=())


class Precision(enum.Enum):
    """Precision of products and of the blobs between layers; weights, gradients of weights, statistics and losses stay
    in float32."""

    FLOAT = 0
    BF16 = 1


class MeshBatch(enum.Enum):
    """The batch of several devices."""

    SHARED = 0
    EACH = 1


class MeshStatistics(enum.Enum):
    """What a device computes the statistics of a batch from."""

    GLOBAL = 0
    DEVICE = 1


class MeshRules(Block):
    """`mesh { batch: EACH statistics: DEVICE }`: what a batch means to a run on several devices.

    Caffe's meaning, which `--gpu 0,1` selects, is EACH and DEVICE; that of `--devices` is SHARED and GLOBAL, with which
    the result is that of one device. Source: BVLC/caffe src/caffe/parallel.cpp; `divide_batch_size` of NVIDIA's fork is
    SHARED and DEVICE."""

    batch: MeshBatch | None = param(
        "SHARED: the devices divide the batch of the file. EACH: it is the batch of each device.", default=None
    )
    statistics: MeshStatistics | None = param(
        "GLOBAL: statistics of BatchNorm and normalizations of losses are those of all devices together. DEVICE: each "
        "device computes them from its own part of the batch; the statistics of the first one are saved.",
        default=None,
    )


class Stage(Block):
    """`stages { until: 1000 freeze: "conv.*" }`: a part of the run during which some layers are frozen."""

    until: int | None = param(
        "First iteration of the next stage; not set: until the end of the run.", default=None, above=0
    )
    freeze: tuple[str, ...] = param("Names of frozen layers: regular expressions for the whole name.", default=())


class Reuse(Block):
    """`reuse { source: "vgg.caffemodel" layers: "conv(.*)" to: "vgg/conv\\1" }`: weights of another net, for layers
    with other names."""

    source: str = param("Weight file, snapshot or run.")
    layers: str = param("Layers of the file to use: a regular expression for the whole name.", default=".*")
    to: str = param("Their names in this net; \\1 is the first group of `layers`. Not set: the same names.", default="")
    exclude: tuple[str, ...] = param(
        "Layers of the file not to use: regular expressions for the whole name.", default=()
    )


class Numbers(NamedTuple):
    """The scalars of one update of one array: traced float32, `iteration` int32."""

    rate: Array  # learning rate * lr_mult
    momentum: Array
    decay: Array  # weight decay * decay_mult, for solvers with decoupled weight decay
    iteration: Array  # 0 at the first update
    decay_mult: float = 1.0
    lr_mult: float = 1.0
    base: Any = None  # learning rate, without lr_mult


class Moving(NamedTuple):
    """An array that an iteration changes, with its gradient, its history, and the scalars of its update."""

    g: Array
    w: Array
    history: Any
    at: Numbers


class Objective(NamedTuple):
    """What an iteration minimizes, with the regularization that is added to the gradients."""

    value: Array
    of: Callable[[Mapping[str, Array]], Array] | None = None  # of the same batches, with other weights; differentiable


class Solver(Block):
    """Fields of all solvers, including those of Caffe's forks; subclasses add the fields of their update rule.

    An iteration: the gradients of `iter_size` batches are summed, clipped and divided by `iter_size`, weight decay is
    added, and the update rule of the type computes the step.  Source: BVLC/caffe src/caffe/solver.cpp,
    solvers/sgd_solver.cpp.  Differs: a negative `random_seed`, the default, means 0, so that runs are reproducible; the
    default of `lr_policy` is "fixed".
    """

    type: ClassVar[str] = ""
    selector = "type"
    decoupled: ClassVar[bool] = False  # whether `update` applies weight decay itself, not through the gradient
    slots: ClassVar[tuple[str, ...]] = ()  # names of the arrays of a history, in Caffe's order; () for a pytree
    has_caffe_state: ClassVar[bool] = True  # whether a `.solverstate` of Caffe can contain its histories
    needs: tuple[str, ...] = ()  # of the loss: its "value", and "function" to compute it again, with other weights
    policy: Policy

    # Nets
    net: str | None = param("File of the net, for training and testing.", default=None)
    train_net: str | None = param("File of the training net.", default=None)
    test_net: tuple[str, ...] = param("Files of the test nets.", default=())
    train_state: NetState | None = param("Level and stages of the training net.", default=None)
    test_state: tuple[NetState, ...] = param("Level and stages of each test net.", default=())
    weights: tuple[str, ...] = param(
        "Weight files to start from; a string may contain several, separated by commas.", default=()
    )

    # Iterations, displays, tests, snapshots
    max_iter: int = param("Number of iterations of the run.", default=0, at_least=0)
    iter_size: int = param("Number of batches per update; their gradients are averaged.", default=1, at_least=1)
    random_seed: int = param("Seed of all random numbers; a negative seed is 0.", default=-1)
    display: int = param("Iterations between two displays; 0 for no displays.", default=0, at_least=0)
    average_loss: int = param("Number of iterations over which the displayed loss is averaged.", default=1, at_least=1)
    debug_info: bool = param("Show the mean size of every blob, gradient and parameter at each display.", default=False)
    test_iter: tuple[int, ...] = param(
        "Number of batches of a test, for each test net; if not given, each record counts exactly once. 0: this net is "
        "not tested.",
        default=(),
        at_least=0,
    )
    test_interval: int = param("Iterations between two tests; 0 for no tests.", default=0, at_least=0)
    test_offset: int = param("Iteration of the first test; the interval counts from it.", default=0, at_least=0)
    test_initialization: bool = param("Test before the first iteration.", default=True)
    test_compute_loss: bool = param("Also report the total loss of a test.", default=False)
    bn_recalibrate: int = param(
        "Test and save the net with statistics of batch normalization that are estimated again from this number of "
        "training batches, because running statistics lag behind at high learning rates; 0: with the running ones.",
        default=0,
        at_least=0,
    )
    test_after_train: bool = param("Test after the last iteration; the runs of a sweep always do.", default=False)
    snapshot: int = param("Iterations between two snapshots; 0 for none during training.", default=0, at_least=0)
    snapshot_prefix: str = param("Folder of the run, unless one is given when it is started.", default="")
    snapshot_after_train: bool = param("Save a snapshot after the last iteration.", default=True)

    snapshot_keep: int = param("Number of most recent snapshots to keep; 0 keeps all.", default=0, at_least=0)
    snapshot_best: Monitor | None = param("Also keep a snapshot `best`, of the best test.", default=None)
    early_stopping: Monitor | None = param("Stop when the tests no longer improve, or reach a target.", default=None)

    # Frozen layers, initial weights, precision, memory
    freeze: tuple[str, ...] = param("Names of frozen layers: regular expressions for the whole name.", default=())
    cache_frozen: bool = param("Compute the outputs of the first frozen layers only once per record.", default=True)
    stages: tuple[Stage, ...] = param("Parts of the run during which some layers are frozen.", default=())
    reuse: tuple[Reuse, ...] = param("Weights of other nets to start from.", default=())
    ema: float | None = param(
        "Test and return exponential moving averages of the weights, with this decay per iteration.",
        default=None,
        at_least=0,
        at_most=1,
    )
    precision: Precision = param(
        "BF16: convolutions, matrix products and the blobs between layers in bfloat16.", default=Precision.FLOAT
    )
    recompute: tuple[str, ...] = param(
        "Compute values again in the backward pass instead of storing them, in segments of layers: AUTO, or names of "
        "layers or templates (regular expressions for the whole name).",
        default=(),
        word="AUTO",
    )
    mesh: MeshRules = param("The batch of a run on several devices.", default=MeshRules())

    # The learning rate; `lr_policy` selects the class of `policy`
    base_lr: float | None = param("Initial learning rate.", default=None, at_least=0)
    min_lr: float = param("Lower bound of the learning rate (NVIDIA).", default=0.0, at_least=0)
    rampup_interval: int = param(
        "Iterations of a quadratic warm-up from `rampup_lr` to `base_lr` (NVIDIA).", default=0, at_least=0
    )
    rampup_lr: float = param("First learning rate of the quadratic warm-up.", default=0.0, at_least=0)
    warmup_iter: int = param(
        "Iterations of a linear warm-up from `warmup_start_lr` to `base_lr` (Intel).", default=0, at_least=0
    )
    warmup_start_lr: float = param("First learning rate of the linear warm-up.", default=0.0, at_least=0)

    # Gradients
    clip_gradients: float = param(
        "Clip the gradients to this L2 norm, computed over all parameters; negative: do not clip.", default=-1.0
    )
    clip_value: float | None = param(
        "Clip each element of the gradients to this absolute value.", default=None, above=0
    )
    clip_adaptive: float | None = param(
        "Clip the gradient of each unit to this factor times the norm of its weights.", default=None, above=0
    )
    weight_decay: float = param(
        "Regularization: this times `decay_mult` times the weight is added to the gradient.", default=0.0
    )
    regularization_type: str = param(
        '"L2" adds `weight_decay` times the weight, "L1" times its sign.', default="L2", choices=("L2", "L1")
    )
    weight_decay_policy: str = param(
        '"fixed", or "poly": from `weight_decay` to `max_weight_decay` over the run (NVIDIA).',
        default="fixed",
        choices=("fixed", "poly"),
    )
    max_weight_decay: float = param("Weight decay at the end of the run, with the poly policy.", default=0.0)
    weight_decay_power: float = param("Exponent of the poly policy.", default=1.0)
    larc: bool = param("Layer-wise adaptive learning rate: |w| / |gradient| (NVIDIA).", default=False)
    larc_policy: str = param(
        '"scale" multiplies the learning rate by it, "clip" uses the smaller of both.',
        default="scale",
        choices=("scale", "clip"),
    )
    larc_eta: float = param("Trust coefficient of LARC.", default=0.001)
    local_lr_auto: bool = param("Layer-wise adaptive learning rate of Intel's fork, LARS.", default=False)
    local_gw_ratio: float = param("Trust coefficient of LARS.", default=0.001)

    # Tests of detections, as in weiliu89/caffe
    eval_type: str = param(
        'What the test nets evaluate: with "detection", every output must be the top of a DetectionEvaluate layer.',
        default="classification",
        choices=("classification", "detection"),
    )
    ap_version: str = param(
        'Average precision of detections: "11point" (VOC 2007), "MaxIntegral" (VOC 2012), "Integral", or "COCO" '
        "(netdef only): the mean over overlaps from 0.5 to 0.95, at 0.5, at 0.75, and by size.",
        default="Integral",
        choices=("11point", "MaxIntegral", "Integral", "COCO"),
    )
    show_per_class_result: bool = param("Also report the average precision of each class.", default=False)

    # Accepted for compatibility
    solver_mode: SolverMode = param("CPU or GPU; JAX selects the device.", default=SolverMode.GPU, inert=True)
    device_id: int = param("Index of the GPU.", default=0, inert=True)
    snapshot_format: SnapshotFormat = param(
        "Format of Caffe's snapshots.", default=SnapshotFormat.BINARYPROTO, inert=True
    )
    snapshot_diff: bool = param("Save gradients in snapshots.", default=False, inert=True)
    layer_wise_reduce: bool = param("Overlap reductions with computation.", default=True, inert=True)
    solver_data_type: DataType = param(
        "Type of weights and histories in NVIDIA's fork; they are float32 here.", default=DataType.FLOAT, inert=True
    )
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
        """Names of the arrays of a history: `slots`, or, if the class declares none, their paths in the pytree."""
        if self.slots:
            return self.slots
        leaves = jax.tree_util.tree_leaves_with_path(history)
        return tuple(jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves)

    def update(self, g: Array, w: Array, history: Any, at: Numbers) -> tuple[Array, Any]:
        """(what is subtracted from `w`, the new history) for the gradient `g`, including weight decay; traced."""
        raise NotImplementedError

    def init_all(self, weights: Mapping[str, Array]) -> tuple[dict[str, Any], Any]:
        """The histories of arrays by name, and what they share, which is nothing if each has an update of its own."""
        return {name: self.init(w) for name, w in weights.items()}, ()

    def update_all(
        self, moving: Mapping[str, Moving], shared: Any, objective: Objective | None
    ) -> tuple[dict[str, tuple[Array, Any]], Any]:
        """The updates of arrays by name, and what they share after them; traced.  `objective` is what `needs` asks
        for."""
        return {name: self.update(a.g, a.w, a.history, a.at) for name, a in moving.items()}, shared

    @property
    def averages(self) -> bool:
        """Whether the weights that are tested and returned are others than those that are trained."""
        return self.ema is not None

    def tested(self, w: Array, history: Any) -> Array:
        """What a test uses, or `ema` averages, in place of a trained array; traced."""
        return w

    @property
    def whole(self) -> bool:
        """Whether `update` must not see the rows of zeros that pad an array on several devices."""
        return False

    @classmethod
    def settled(cls, values: dict[str, Any], spans: Mapping[str, tuple[Span, ...]], report: Report) -> dict[str, Any]:
        """The decoded values of the fields, with what follows from several of them."""
        return values

    def setting(self, base_lr: Any = None) -> Setting:
        """The input of the policy; `base_lr` may be a traced scalar."""
        return Setting(self.base_lr or 0.0 if base_lr is None else base_lr, max(self.max_iter, 1), self.min_lr)

    def rate(self, iteration: Array, state: Mapping[str, Array], base_lr: Any = None) -> Array:
        """The learning rate of an iteration, including warm-up and lower bound; a float32 scalar.

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
        """The momentum of an iteration; 0 for solvers without momentum."""
        return jnp.float32(0)

    def decay_at(self, iteration: Array, weight_decay: Any = None) -> Array:
        """The weight decay of an iteration, before `decay_mult`; `weight_decay` may be a traced scalar.

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

    momentum: float = param("Momentum; the decay rate of the first moments.", default=0.0, at_least=0, at_most=1)
    momentum_policy: str = param(
        '"fixed", "poly": up to `max_momentum` over the run, or "opt": (1 - sqrt(lr)/2)^2 (NVIDIA).',
        default="fixed",
        choices=("fixed", "poly", "opt"),
    )
    max_momentum: float = param("Momentum at the end of the run (poly), or upper bound (opt).", default=0.99)
    momentum_power: float = param("Exponent of the poly policy.", default=1.0)

    def momentum_at(self, iteration: Array, rate: Array, base_lr: Any = None) -> Array:
        """Source: NVIDIA/caffe, GetMomentum; intel/caffe, ComputeUpdateValue for the correction during warm-up."""
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
            )  # after a learning rate of 0 the history is empty
            momentum = jnp.where(iteration < self.warmup_iter, momentum * growth, momentum)
        return jnp.asarray(momentum, jnp.float32)


def zeros_like(arrays: Any) -> Any:
    """Returns zeros for every array of a pytree, on the host, because `jax.numpy.zeros_like` would compile a program
    for each shape."""
    return jax.tree.map(lambda a: np.broadcast_to(np.zeros((), a.dtype), a.shape), arrays)
