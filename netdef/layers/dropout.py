"""Dropout: values are put to zero at random while a net is trained."""

from __future__ import annotations

from ..lazy import Array, jax, jnp
from ..schema import param
from ..shape import Shape, count
from ._engine import Engine, engine
from .activation import SELU_ALPHA, SELU_SCALE
from .base import Context, Example, Layer


def mask(key: Array, kept: float, shape: Shape) -> Array:
    """True with probability `kept`, to 1 / 65536.

    8 random bits for a value where they are exact (a ratio of 0.5), else 16: the generator is what dropout costs, and
    `jax.random.bernoulli` draws 32."""
    bits, whole = (8, jnp.uint8) if (kept * 256).is_integer() else (16, jnp.uint16)
    size = count(shape)
    words = jax.random.bits(key, (-(-size * bits // 32),), jnp.uint32)
    values = jax.lax.bitcast_convert_type(words, whole).reshape(-1)[:size].reshape(shape)
    limit = round(kept * 2**bits)
    return values < limit if limit < 2**bits else jnp.ones(shape, bool)


class Dropout(Layer, type="Dropout", block="dropout_param"):
    """y = x m / (1 - dropout_ratio) in phase TRAIN, m being 0 with probability `dropout_ratio` and else 1; y = x in
    TEST.

    With `scale_train: false` TRAIN gives x m and TEST x (1 - dropout_ratio).
    Bottoms: x (any shape).  Tops: y, as x.
    Source: BVLC/caffe src/caffe/layers/dropout_layer.cpp; `scale_train` is py-faster-rcnn's, `sample_weights_test`
    Bayesian SegNet's (Kendall et al. 2015), `sqrt_scale` happynear's, `random_seed` NVIDIA's.
    Differs: random numbers are JAX's, so no run of Caffe is repeated bit for bit; a ratio of 1 gives 0 (Caffe: NaN).
    """

    family = "activation"
    keeps_sign = True

    dropout_ratio: float = param("Probability that a value becomes 0.", default=0.5, at_least=0, at_most=1)
    scale_train: bool = param("Whether kept values grow in TRAIN, and not all values shrink in TEST.", default=True)
    sample_weights_test: bool = param("Whether values are dropped in phase TEST as well.", default=False)
    sqrt_scale: bool = param("Whether kept values grow by the square root of 1 / (1 - ratio) only.", default=False)
    random_seed: int = param("Seed of this layer in NVIDIA's fork.", default=-1, inert=True)
    engine: Engine = engine()

    examples = (
        Example(
            'layer { name: "drop" type: "Dropout" bottom: "x" top: "x" dropout_param { dropout_ratio: 0.4 } }',
            {"x": (2, 3, 4, 4)},
            differentiable=False,
        ),
    )

    def details(self) -> list[str]:
        return [f"{self.dropout_ratio:g}"]

    def infer(self, x: Shape) -> Shape:
        return x

    def deployed(self) -> Layer | None:
        return None if self.scale_train and not self.sample_weights_test else self

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        kept = 1.0 - self.dropout_ratio
        if not (ctx.train or self.sample_weights_test):
            return x if self.scale_train else x * kept
        if self.dropout_ratio in (0, 1):
            return x if kept else jnp.zeros_like(x)
        grown = 1.0 if not self.scale_train else kept**-0.5 if self.sqrt_scale else 1.0 / kept
        return jnp.where(mask(ctx.rng(), kept, x.shape), x * grown, 0.0)


class AlphaDropout(Layer, type="AlphaDropout", block="dropout_param"):
    """Dropout for SELU: in phase TRAIN values become its lower limit with probability `dropout_ratio`, and the whole is
    then put on a line that keeps mean 0 and variance 1; y = x in TEST.

    Bottoms: x (any shape).  Tops: y, as x.
    Source: Klambauer et al. 2017.  Differs: Caffe has no such layer.
    """

    family = "activation"

    dropout_ratio: float = param("Probability that a value is dropped.", default=0.5, at_least=0, below=1)

    examples = (
        Example(
            'layer { name: "drop" type: "AlphaDropout" bottom: "x" top: "x" dropout_param { dropout_ratio: 0.1 } }',
            {"x": (2, 3, 4, 4)},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape) -> Shape:
        return x

    def deployed(self) -> Layer | None:
        return None

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        kept, limit = 1.0 - self.dropout_ratio, -SELU_ALPHA * SELU_SCALE
        if not ctx.train or kept == 1:
            return x
        factor = (kept + limit**2 * kept * (1 - kept)) ** -0.5  # of the variance that is left
        dropped = jnp.where(mask(ctx.rng(), kept, x.shape), x, limit)
        return factor * (dropped - limit * (1 - kept))


class SeLuDropout(AlphaDropout, type="SeLuDropout", block="selu_dropout_param"):
    """AlphaDropout by the name that soeaver's fork gives it.

    Bottoms: x (any shape).  Tops: y, as x.
    Source: Klambauer et al. 2017; the nets of soeaver/caffe-model.  Differs: BVLC Caffe has no such layer.
    """

    examples = (
        Example(
            'layer { name: "drop" type: "SeLuDropout" bottom: "x" top: "x" selu_dropout_param { dropout_ratio: 0.1 } }',
            {"x": (2, 3, 4, 4)},
            differentiable=False,
        ),
    )
