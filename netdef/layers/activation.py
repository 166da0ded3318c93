"""Layers that bend each value on its own: ReLU and its relatives, Sigmoid, TanH, Swish, GELU.

Tops have the shape of bottoms, and every layer may work in place.  Plain arithmetic (Power, Exp) is in `arithmetic`.
"""

from __future__ import annotations

from ..fillers import Constant, Filler
from ..lazy import Array, jax, jnp
from ..schema import param
from ..shape import Shape, ShapeError, show
from ._engine import Engine, engine
from .arithmetic import Elementwise, example
from .base import Context, Weight

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


class ReLU(Elementwise, type="ReLU", block="relu_param"):
    """y = x where x > 0, negative_slope * x elsewhere; with a slope it is the leaky ReLU.

    The derivative at 0 is `negative_slope`.  Bottoms: x (any shape).  Tops: y, as x.
    Source: BVLC/caffe src/caffe/layers/relu_layer.cpp; `fuse` is Intel's.  Differs: nothing.
    """

    rectifies = True
    reads_back = "sign"
    keeps_sign = True

    negative_slope: float = param("Slope for x <= 0.", default=0.0)
    engine: Engine = engine()
    fuse: bool = param("Whether Intel's library may join it to the layer before.", default=False, inert=True)

    examples = example("ReLU", "relu_param { negative_slope: 0.1 }")

    def squashes(self) -> bool:
        return self.negative_slope == 0

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        if self.negative_slope == 0:
            return jax.nn.relu(x)
        return jnp.where(x > 0, x, self.negative_slope * x)

    def slope_from(self, top: Array) -> Array:
        return jnp.where(top > 0, 1.0, self.negative_slope)


class ReLU6(Elementwise, type="ReLU6"):
    """y = min(max(x, 0), 6); the derivative is 0 at both ends.

    Bottoms: x (any shape).  Tops: y, as x.
    Source: Krizhevsky 2010, as in the MobileNet forks.  Differs: BVLC Caffe has no such layer.
    """

    rectifies = True

    examples = example("ReLU6")

    def squashes(self) -> bool:
        return True

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jax.nn.relu6(x)


class PReLU(Elementwise, type="PReLU", block="prelu_param"):
    """y = x where x > 0, a * x elsewhere, with a learned slope a for each channel.

    Bottoms: x (n, c, ...).  Tops: y, as x.  Weights: a (c), or a single number () with `channel_shared`.
    Source: He et al. 2015; BVLC/caffe src/caffe/layers/prelu_layer.cpp.  Differs: nothing.
    """

    rectifies = True  # where a slope comes to 0

    filler: Filler = param("Filler of the slopes.", default=Constant(value=0.25))
    channel_shared: bool = param("Whether all channels share one slope.", default=False)

    examples = example("PReLU", "prelu_param { filler { value: 0.1 } }")

    def infer(self, x: Shape) -> Shape:
        if len(x) < 2:
            raise ShapeError(
                f"a PReLU needs a channel axis: 2 axes or more, and the input {show(x)} has {len(x)}.", bottom=0
            )
        return x

    def weights(self, x: Shape) -> list[Weight]:
        return [Weight(() if self.channel_shared else (x[1],), self.filler)]

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        slope = w[0].reshape(-1, *(1,) * (x.ndim - 2))  # (c or 1, 1, 1)
        return jnp.where(x > 0, x, slope * x)


class ELU(Elementwise, type="ELU", block="elu_param"):
    """y = x where x > 0, alpha (exp(x) - 1) elsewhere.

    Bottoms: x (any shape).  Tops: y, as x.
    Source: Clevert et al. 2016; BVLC/caffe src/caffe/layers/elu_layer.cpp.  Differs: nothing.
    """

    alpha: float = param("Minus the limit for x towards minus infinity.", default=1.0)

    examples = example("ELU", "elu_param { alpha: 0.5 }")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        below = jnp.where(x > 0, 0.0, x)  # keeps exp from overflowing where its result is not taken
        return jnp.where(x > 0, x, self.alpha * jnp.expm1(below))


class SELU(Elementwise, type="SELU", aliases=("SeLu",)):
    """y = 1.0507 x where x > 0, 1.0507 * 1.6733 (exp(x) - 1) elsewhere: keeps a mean of 0 and a variance of 1.

    Bottoms: x (any shape).  Tops: y, as x.
    Source: Klambauer et al. 2017; soeaver's fork calls it SeLu.  Differs: BVLC Caffe has no such layer.
    """

    examples = example("SELU")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        below = jnp.where(x > 0, 0.0, x)
        return SELU_SCALE * jnp.where(x > 0, x, SELU_ALPHA * jnp.expm1(below))


class Sigmoid(Elementwise, type="Sigmoid", block="sigmoid_param"):
    """y = 1 / (1 + exp(-x)).

    Bottoms: x (any shape).  Tops: y, as x.
    Source: BVLC/caffe src/caffe/layers/sigmoid_layer.cpp.  Differs: nothing.
    """

    limits = (0.0, 1.0)
    reads_back = "value"

    engine: Engine = engine()

    examples = example("Sigmoid")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jax.nn.sigmoid(x)

    def slope_from(self, top: Array) -> Array:
        return top * (1 - top)


class TanH(Elementwise, type="TanH", block="tanh_param"):
    """y = tanh(x).

    Bottoms: x (any shape).  Tops: y, as x.
    Source: BVLC/caffe src/caffe/layers/tanh_layer.cpp.  Differs: nothing.
    """

    limits = (-1.0, 1.0)
    reads_back = "value"

    engine: Engine = engine()

    examples = example("TanH")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jnp.tanh(x)

    def slope_from(self, top: Array) -> Array:
        return 1 - top * top


class BNLL(Elementwise, type="BNLL"):
    """y = log(1 + exp(x)), a smooth ReLU, also known as softplus.

    Bottoms: x (any shape).  Tops: y, as x.
    Source: BVLC/caffe src/caffe/layers/bnll_layer.cpp.  Differs: nothing.
    """

    examples = example("BNLL")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jax.nn.softplus(x)


class Swish(Elementwise, type="Swish", block="swish_param"):
    """y = x / (1 + exp(-beta x)).

    Bottoms: x (any shape).  Tops: y, as x.
    Source: Ramachandran et al. 2017; BVLC/caffe src/caffe/layers/swish_layer.cpp.  Differs: nothing.
    """

    beta: float = param("Steepness of the gate.", default=1.0)

    examples = example("Swish", "swish_param { beta: 0.5 }")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return x * jax.nn.sigmoid(self.beta * x)


class SiLU(Elementwise, type="SiLU"):
    """y = x / (1 + exp(-x)): Swish with beta 1, by its other name.

    Bottoms: x (any shape).  Tops: y, as x.  Source: Elfwing et al. 2017.  Differs: Caffe calls it Swish.
    """

    examples = example("SiLU")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jax.nn.silu(x)


class GELU(Elementwise, type="GELU", block="gelu_param"):
    """y = x P(X <= x) of a standard normal X; with `approximate`, by a formula with tanh.

    Bottoms: x (any shape).  Tops: y, as x.  Source: Hendrycks and Gimpel 2016.  Differs: Caffe has no such layer.
    """

    approximate: bool = param("Whether the formula with tanh is used.", default=False)

    examples = example("GELU")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jax.nn.gelu(x, approximate=self.approximate)
