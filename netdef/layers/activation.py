"""Activations: ReLU and its variants, Sigmoid, TanH, Swish, Mish, GELU.

They work element by element: tops have the shape of the bottoms, and every layer can work in place.  Plain arithmetic
(Power, Exp) is in `arithmetic`.
"""

from __future__ import annotations

import math

from ..fillers import Constant, Filler
from ..lazy import Array, jax, jnp
from ..schema import param
from ..shape import Shape, ShapeError, show
from ._channels import broadcast_channels, channel_axis
from ._engine import Engine, engine
from .arithmetic import Elementwise, example
from .base import Context, Weight

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


class ReLU(Elementwise, type="ReLU", block="relu_param"):
    """y = x where x > 0, negative_slope * x elsewhere: the ReLU or, with a slope, the leaky ReLU.

    The derivative at 0 is `negative_slope`.  With `relu6` or `maximum`, y is at most 6 or the maximum, where the
    derivative is 0; with `minimum`, y is at least that.
    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: BVLC/caffe src/caffe/layers/relu_layer.cpp; `fuse` is Intel's; `relu6`, `maximum` and `minimum`:
    synopsys-caffe.  Differs: synopsys-caffe outputs 0 for NaN, and its second bottom, the maximum, is not supported.
    """

    rectifies = True
    reads_back = "sign"
    keeps_sign = True

    negative_slope: float = param("Slope for x <= 0.", default=0.0)
    relu6: bool = param("Whether y is at most 6.", default=False)
    maximum: float = param("Upper limit of y; 0 or less: none.", default=0.0)
    minimum: float = param("Lower limit of y; 0: none.", default=0.0)
    engine: Engine = engine()
    fuse: bool = param("Whether Intel's library may fuse it with the preceding layer.", default=False, inert=True)

    examples = (
        *example("ReLU", "relu_param { negative_slope: 0.1 }"),
        *example("ReLU", "relu_param { relu6: true maximum: 0.5 }", differentiable=False),
    )

    @property
    def cap(self) -> float | None:
        """The upper limit of y; None if there is none."""
        limits = [*([6.0] if self.relu6 else []), *([self.maximum] if self.maximum > 0 else [])]
        return min(limits, default=None)

    def squashes(self) -> bool:
        return self.negative_slope == 0 or self.cap is not None or self.minimum != 0

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        y = jax.nn.relu(x) if self.negative_slope == 0 else jnp.where(x > 0, x, self.negative_slope * x)
        y = y if self.cap is None else jnp.where(y < self.cap, y, self.cap)
        return jnp.where(y > self.minimum, y, self.minimum) if self.minimum else y

    def slope_from(self, top: Array) -> Array:
        slope = jnp.where(top > 0, 1.0, self.negative_slope)
        slope = slope if self.cap is None else jnp.where(top < self.cap, slope, 0.0)
        return jnp.where(top > self.minimum, slope, 0.0) if self.minimum else slope


class ReLU6(Elementwise, type="ReLU6"):
    """y = min(max(x, 0), 6); the derivative at 0 and at 6 is 0.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: Krizhevsky 2010, as in the MobileNet forks.  Differs: BVLC Caffe has no such layer.
    """

    rectifies = True

    examples = example("ReLU6")

    def squashes(self) -> bool:
        return True

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jax.nn.relu6(x)


class PReLU(Elementwise, type="PReLU", block="prelu_param"):
    """y = x where x > 0, a * x elsewhere, with one learned slope a per channel.

    Bottoms: x (n, c, ...).  Tops: y, same shape as x.  Weights: a (c), or a scalar () with `channel_shared`.
    Source: He et al. 2015; BVLC/caffe src/caffe/layers/prelu_layer.cpp.  Differs: nothing.
    """

    rectifies = True  # if a slope becomes 0

    filler: Filler = param("Filler of the slopes.", default=Constant(value=0.25))
    channel_shared: bool = param("Whether all channels share one slope.", default=False)

    examples = example("PReLU", "prelu_param { filler { value: 0.1 } }")

    def infer(self, x: Shape) -> Shape:
        if len(x) < 2:
            raise ShapeError(f"the input {show(x)} has no channel axis; a PReLU requires 2 axes or more.", bottom=0)
        return x

    def weights(self, x: Shape) -> list[Weight]:
        return [Weight(() if self.channel_shared else (x[1],), self.filler)]

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        slope = w[0] if self.channel_shared else broadcast_channels(w[0], x, channel_axis(ctx.channels_last))
        return jnp.where(x > 0, x, slope * x)


class ELU(Elementwise, type="ELU", block="elu_param"):
    """y = x where x > 0, alpha (exp(x) - 1) elsewhere.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: Clevert et al. 2016; BVLC/caffe src/caffe/layers/elu_layer.cpp.  Differs: nothing.
    """

    alpha: float = param("The limit of y for very negative x is -alpha.", default=1.0)

    examples = example("ELU", "elu_param { alpha: 0.5 }")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        below = jnp.where(x > 0, 0.0, x)  # prevents exp from overflowing where its result is not used
        return jnp.where(x > 0, x, self.alpha * jnp.expm1(below))


class SELU(Elementwise, type="SELU", aliases=("SeLu",)):
    """y = 1.0507 x where x > 0, 1.0507 * 1.6733 (exp(x) - 1) elsewhere: preserves mean 0 and variance 1.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: Klambauer et al. 2017; named SeLu in soeaver's fork.  Differs: BVLC Caffe has no such layer.
    """

    examples = example("SELU")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        below = jnp.where(x > 0, 0.0, x)
        return SELU_SCALE * jnp.where(x > 0, x, SELU_ALPHA * jnp.expm1(below))


class Sigmoid(Elementwise, type="Sigmoid", block="sigmoid_param"):
    """y = 1 / (1 + exp(-x)).

    Bottoms: x (any shape).  Tops: y, same shape as x.
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

    Bottoms: x (any shape).  Tops: y, same shape as x.
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
    """y = log(1 + exp(x)): a smooth ReLU, also known as softplus.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: BVLC/caffe src/caffe/layers/bnll_layer.cpp.  Differs: nothing.
    """

    examples = example("BNLL")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jax.nn.softplus(x)


class Swish(Elementwise, type="Swish", block="swish_param"):
    """y = x / (1 + exp(-beta x)).

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: Ramachandran et al. 2017; BVLC/caffe src/caffe/layers/swish_layer.cpp.  Differs: nothing.
    """

    beta: float = param("Steepness of the gate.", default=1.0)

    examples = example("Swish", "swish_param { beta: 0.5 }")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return x * jax.nn.sigmoid(self.beta * x)


class Mish(Elementwise, type="Mish"):
    """y = x tanh(log(1 + exp(x))).

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: Misra 2019, as in synopsys-caffe and the forks for YOLO v4.
    Differs: the gradient is the derivative at x, where those forks insert y.
    """

    examples = example("Mish")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return x * jnp.tanh(jax.nn.softplus(x))


class HardSigmoid(Elementwise, type="HardSigmoid", block="hard_sigmoid_param"):
    """y = min(max(alpha x + beta, 0), 1).

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: synopsys-caffe src/caffe/layers/hard_sigmoid_layer.cpp.  Differs: it has a gradient, 0 at the limits.
    """

    alpha: float = param("Slope between the limits.", default=0.2)
    beta: float = param("y at x = 0.", default=0.5)

    examples = example("HardSigmoid", "hard_sigmoid_param { alpha: 0.3 }")

    def squashes(self) -> bool:
        return True

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        line = self.alpha * x + self.beta
        return jnp.where(line >= 1, 1.0, jax.nn.relu(line))


class HardSwish(Elementwise, type="HardSwish", aliases=("HSwish",)):
    """y = x min(max(x + 3, 0), 6) / 6, as in MobileNet v3.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: Howard et al. 2019; synopsys-caffe src/caffe/layers/hard_swish_layer.cpp; HSwish in other forks.
    Differs: synopsys-caffe has no gradient.
    """

    examples = example("HardSwish")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return x * jax.nn.relu6(x + 3) / 6


class Insanity(Elementwise, type="Insanity", block="insanity_param"):
    """The randomized leaky ReLU: y = x where x > 0, x / a elsewhere, with a drawn for each value from [lb, ub).

    In phase TEST, a is (ub - lb) / (log |ub| - log |lb|).
    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: happynear/caffe-windows src/caffe/layers/insanity_layer.cpp after Xu et al. 2015.
    Differs: random numbers are from JAX; lb and ub must have the same sign, because the fork may divide by 0 else.
    """

    rectifies = True

    lb: float = param("Smallest divisor of negative values.", default=5.0)
    ub: float = param("Largest divisor of negative values.", default=10.0)

    examples = example("Insanity", "insanity_param { lb: 3 ub: 8 }", differentiable=False)

    def infer(self, x: Shape) -> Shape:
        if self.lb >= self.ub:
            raise ShapeError(f"`lb` is {self.lb:g} and `ub` is {self.ub:g}; `lb` must be less.", field="lb")
        if self.lb * self.ub <= 0:
            raise ShapeError(
                f"`lb` is {self.lb:g} and `ub` is {self.ub:g}; the range of divisors must not contain 0.", field="lb"
            )
        return x

    def channels_last(self, *bottoms: Shape) -> bool:
        return False  # because the order of the drawn numbers is that of the axes

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        if not ctx.train:
            mean = (self.ub - self.lb) / math.log(self.ub / self.lb)
            return jnp.where(x > 0, x, x / mean)
        return jnp.where(x > 0, x, x / jax.random.uniform(ctx.rng(), x.shape, x.dtype, self.lb, self.ub))


class SiLU(Elementwise, type="SiLU"):
    """y = x / (1 + exp(-x)): Swish with beta 1.

    Bottoms: x (any shape).  Tops: y, same shape as x.  Source: Elfwing et al. 2017.  Differs: in Caffe this is Swish.
    """

    examples = example("SiLU")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jax.nn.silu(x)


class GELU(Elementwise, type="GELU", block="gelu_param"):
    """y = x P(X <= x) for a standard normal X; `approximate` selects the approximation with tanh.

    Bottoms: x (any shape).  Tops: y, same shape as x.
    Source: Hendrycks and Gimpel 2016.  Differs: Caffe has no such layer.
    """

    approximate: bool = param("Whether to use the approximation with tanh.", default=False)

    examples = example("GELU")

    def apply(self, w: tuple[Array, ...], x: Array, *, ctx: Context) -> Array:
        return jax.nn.gelu(x, approximate=self.approximate)
