"""GlobalLSEMargin: a margin between classes that follows the scores."""

from __future__ import annotations

from ..fillers import Constant, Filler
from ..lazy import Array, jnp, lax
from ..schema import param
from ..shape import Shape, ShapeError, count, show
from ._loss import check_one_label, look_up
from .base import Context, Example, Layer, Weight

NEAR = 0.1  # margins that far from the mean belong to it
FIRST_ROUNDS, CLOSE = 20, 0.001  # of the first estimate, which ends when it changes less than that
SLOW = 0.9  # how much of the margin stays from batch to batch


class GlobalLSEMargin(Layer, type="GlobalLSEMargin", block="scale_param"):
    """y = s (x - m) at the true class, s x elsewhere, for cosines x; s is learned, and m follows the scores.

    An item's own margin is its score of the true class minus a soft maximum of the others, log(sum of exp(s x)) / s.
    The first batch sets m to the center of the densest part of these margins, and in phase TRAIN each batch moves m by
    a tenth of the way to the center of its own.  A negative m is not used.
    Bottoms: cosines (n, classes); label (n); optional s of each item (n), in place of the learned one.
    Tops: y, same shape as the cosines; optional (5): s, the mean score of the true class, the mean soft maximum, the
    mean largest score of the others, m.  Weights: s (1), 30 without `filler`; m (1), a statistic.
    Source: happynear/caffe-windows src/caffe/layers/global_lse_margin_layer.cu.
    Differs: phase TEST uses m and does not change it; the weight s is not overwritten by its limits, and beyond a limit
    its gradient is 0; margins without any neighbor near their mean end the search, which does not end in the fork.
    """

    family = "product"
    float32 = "bfloat16 has no cosine of an angle between 0 and 5 degrees"
    n_bottoms = (2, 3)
    n_tops = (1, 2)

    filler: Filler = param("Filler of s.", default=Constant(value=30.0))
    min_value: float = param("Lower limit of s.", default=0.0)
    max_value: float | None = param("Upper limit of s.", default=None)

    examples = (
        Example(
            'layer { name: "scores" type: "GlobalLSEMargin" bottom: "x" bottom: "label" top: "scores" top: "facts"\n'
            "        scale_param { filler { value: 8 } max_value: 64 } }",
            {"x": (4, 5), "label": (4,)},
            integers={"label": 5},
            differentiable=False,  # m is a constant in the gradient
        ),
    )

    def deployed(self) -> Layer | None:
        return None

    def infer(self, x: Shape, label: Shape, scale: Shape | None = None) -> list[Shape]:
        check_one_label(x, label)
        if scale is not None and count(scale) != x[0]:
            raise ShapeError(
                f"bottom 2, the scales, is {show(scale)}; give one for each of the {x[0]} items.", bottom=2
            )
        return self.tops(x, (5,))

    def weights(self, x: Shape, label: Shape, scale: Shape | None = None) -> list[Weight]:
        learned = 1.0 if scale is None else 0.0
        return [
            Weight((1,), self.filler, lr_mult=learned, decay_mult=0),
            Weight((1,), Constant(), kind="stat", lr_mult=0, decay_mult=0),
        ]

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *scales: Array, ctx: Context) -> list[Array]:
        flat = x.reshape(x.shape[0], -1)
        s = scales[0].reshape(-1, 1) if scales else jnp.clip(w[0], self.min_value, self.max_value).reshape(1, 1)
        hit = look_up(flat, label, 1, None).hit
        own, soft, hardest = lax.stop_gradient(_margins(flat, hit, s))
        before = lax.stop_gradient(w[1][0])
        now = self._moved(own - soft, before)
        if ctx.train:
            ctx.update(1, now.reshape(1))
        margin = now if ctx.train else before
        y = s * (flat - jnp.where(hit, jnp.maximum(margin, 0), 0))
        facts = jnp.stack([jnp.mean(s), jnp.mean(own), jnp.mean(soft), jnp.mean(hardest), margin])
        return self.tops(y.reshape(x.shape), lax.stop_gradient(facts))

    def _moved(self, margins: Array, before: Array) -> Array:
        """Returns m after a batch with these margins."""
        first = _center(margins, jnp.mean(margins), FIRST_ROUNDS)
        later = SLOW * before + (1 - SLOW) * _center(margins, before, 1)
        now = jnp.where(before == 0, first, later)
        return jnp.where(jnp.isnan(now), before, now)


def _margins(x: Array, hit: Array, s: Array) -> tuple[Array, Array, Array]:
    """Returns for each item the score of the true class, and the soft and the hard maximum of the others."""
    others = jnp.where(hit, -jnp.inf, x)
    hardest = jnp.maximum(jnp.max(others, 1), -1.0)  # of cosines
    soft = jnp.log(jnp.sum(jnp.exp(s * (others - hardest[:, None])), 1)) / s[:, 0] + hardest
    return jnp.sum(jnp.where(hit, x, 0), 1), soft, hardest


def _center(margins: Array, start: Array, rounds: int) -> Array:
    """Returns the mean of the margins near `start`, then of those near that mean, and so on."""

    def closer(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        center, done = state
        near = jnp.abs(margins - center) < NEAR
        alone = ~jnp.any(near)
        whole = jnp.mean(margins)
        near = jnp.where(alone, jnp.abs(margins - whole) < NEAR, near)
        mean = jnp.sum(jnp.where(near, margins, 0)) / jnp.maximum(jnp.sum(near), 1)
        mean = jnp.where(jnp.any(near), mean, whole)
        moved = jnp.where(done, center, mean)
        return moved, done | (jnp.abs(mean - jnp.where(alone, whole, center)) < CLOSE)

    return lax.fori_loop(0, rounds, closer, (start, jnp.bool_(False)))[0]
