"""Dropout: sets values to zero at random in training."""

from __future__ import annotations

from ..lazy import Array, jax, jnp
from ..schema import param
from ..shape import Shape, count
from ._engine import Engine, engine
from .activation import SELU_ALPHA, SELU_SCALE
from .base import Context, Example, Layer


def mask(key: Array, kept: float, shape: Shape) -> Array:
    """Returns True with probability `kept`, to a precision of 1 / 65536.

    Draws 8 random bits per value if they represent `kept` exactly (0.5, for example), else 16, because the random
    generator dominates the cost of dropout; `jax.random.bernoulli` draws 32."""
    bits, whole = (8, jnp.uint8) if (kept * 256).is_integer() else (16, jnp.uint16)
    size = count(shape)
    words = jax.random.bits(key, (-(-size * bits // 32),), jnp.uint32)
    values = jax.lax.bitcast_convert_type(words, whole).reshape(-1)[:size].reshape(shape)
    limit = round(kept * 2**bits)
    return values < limit if limit < 2**bits else jnp.ones(shape, bool)


class Dropout(Layer, type="Dropout", block="dropout_param"):
    """y = x m / (1 - dropout_ratio) in phase TRAIN, where m is 0 with probability `dropout_ratio`, else 1.

    In phase TEST y = x.  With `scale_train: false`, y = x m in TRAIN and x (1 - dropout_ratio) in TEST.
    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: BVLC/caffe src/caffe/layers/dropout_layer.cpp; `scale_train`: py-faster-rcnn; `sample_weights_test`:
    Bayesian SegNet (Kendall et al. 2015); `sqrt_scale`: happynear/caffe-windows; `random_seed`: NVIDIA/caffe.
    Differs: random numbers are from JAX, so runs of Caffe cannot be reproduced bit for bit; y is 0 for a ratio of 1
    (Caffe: NaN).
    """

    family = "activation"
    keeps_sign = True

    dropout_ratio: float = param("Probability that a value is set to 0.", default=0.5, at_least=0, at_most=1)
    scale_train: bool = param("Whether to scale values up in phase TRAIN, instead of down in TEST.", default=True)
    sample_weights_test: bool = param("Whether to drop values also in phase TEST.", default=False)
    sqrt_scale: bool = param("Whether to scale by the square root of 1 / (1 - dropout_ratio).", default=False)
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
    """Dropout for SELU, which preserves mean 0 and variance 1.

    In phase TRAIN a value is replaced by the lower limit of SELU with probability `dropout_ratio`, followed by an
    affine transformation.  In phase TEST y = x.
    Bottoms: x (any shape).  Tops: y, same shape as x.
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
        factor = (kept + limit**2 * kept * (1 - kept)) ** -0.5  # restores the variance
        dropped = jnp.where(mask(ctx.rng(), kept, x.shape), x, limit)
        return factor * (dropped - limit * (1 - kept))


class SeLuDropout(AlphaDropout, type="SeLuDropout", block="selu_dropout_param"):
    """AlphaDropout under its name in soeaver's fork.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: Klambauer et al. 2017; the nets of soeaver/caffe-model.  Differs: BVLC Caffe has no such layer.
    """

    examples = (
        Example(
            'layer { name: "drop" type: "SeLuDropout" bottom: "x" top: "x" selu_dropout_param { dropout_ratio: 0.1 } }',
            {"x": (2, 3, 4, 4)},
            differentiable=False,
        ),
    )
