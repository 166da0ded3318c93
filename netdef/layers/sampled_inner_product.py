"""An inner product with a sample of many classes: SampledInnerProduct."""

from __future__ import annotations

from typing import Any

from ..fillers import Constant, Filler
from ..lazy import Array, jax, jnp, lax
from ..schema import param
from ..shape import UNKNOWN, Dim, Shape, count
from ._classes import ClassWeights, without_padding
from ._loss import check_one_label
from .base import LAYERS, Context, Example, Layer, Phase, Weight
from .inner_product import NORM_EPS

ABSENT = -1e4  # score of a column without a class: its probability is 0 in float32, and margins of it are finite


class SampledInnerProduct(ClassWeights, type="SampledInnerProduct", block="sampled_inner_product_param"):
    """y = x . w for the rows w of some classes: all classes of the batch, and others drawn at random for each batch.

    With millions of classes, scores of a tenth of them need a tenth of the time and of the memory, and a margin layer
    and SoftmaxWithLoss that follow, with the new labels, train almost as well. In phase TEST, y has all classes, and
    the labels stay as they are.
    Bottoms: x (n, k...); label (n).
    Tops: y (n, sampled classes); label (n), the index of the class among the sampled ones.
    Weights: W (num_output, product of k...). Only the sampled rows get a gradient.
    The classes form `groups` of equal size, from each of which max(sample_rate * size, min(n, size)) are drawn. The
    draw is the same on any number of devices, which can divide W if they divide the groups.
    Source: netdef's own; An et al. 2022 (Partial FC). Differs: Caffe has no such layer.
    """

    family = "product"
    float32 = "labels above 256 are not exact in bfloat16"
    n_bottoms = 2
    n_tops = 2

    num_output: int = param("Number of classes.", at_least=1)
    sample_rate: float = param("Fraction of the classes that are drawn in training.", default=0.1, above=0, at_most=1)
    groups: int = param("Number of groups of classes, at least that of devices.", default=8, at_least=1)
    normalize: bool = param("Whether each row of W is divided by its L2 norm.", default=False)
    weight_filler: Filler = param("Filler of W.", default=Constant())

    examples = (
        Example(
            'layer { name: "ip" type: "SampledInnerProduct" bottom: "x" bottom: "label" top: "y" top: "new"\n'
            "        sampled_inner_product_param { num_output: 50 sample_rate: 0.2 groups: 2 normalize: true\n"
            '                                      weight_filler { type: "msra" } } }',
            {"x": (3, 4), "label": (3,)},
            integers={"label": 50},
        ),
    )

    def in_phase(self, phase: Phase) -> Layer:
        return self if phase is Phase.TRAIN else self.replace(sample_rate=1.0)

    def deployed(self) -> Layer | None:
        product = LAYERS.get("InnerProduct")
        return product and product(num_output=self.num_output, bias_term=False, normalize=self.normalize)  # pyright: ignore[reportCallIssue]

    @property
    def size(self) -> int:
        """The number of classes of a group; the last group may have fewer."""
        return -(-self.num_output // self.groups)

    def drawn(self, batch: Dim) -> Any:
        """Returns the number of classes that are drawn from each group: enough for all classes of a batch."""
        if self.sample_rate == 1:
            return self.size
        return UNKNOWN if batch is UNKNOWN else max(int(self.sample_rate * self.size), min(batch, self.size))

    def _all(self, drawn: Dim) -> bool:
        """Returns whether all classes are drawn: y has them in order."""
        return drawn is not UNKNOWN and drawn == self.size

    def infer(self, x: Shape, label: Shape) -> list[Shape]:
        check_one_label(x, label)
        each = self.drawn(x[0])
        return [(x[0], self.num_output if self._all(each) else each * self.groups), label]

    def weights(self, x: Shape, label: Shape) -> list[Weight]:
        return [self.rows((self.num_output, count(x[1:])), self.weight_filler, self.groups)]

    def label_classes(self, scores: Shape) -> Dim:
        return self.num_output

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> list[Array]:
        x, own, each = x.reshape(len(x), -1), label.reshape(-1).astype(jnp.int32), self.drawn(len(x))
        if self._all(each):
            rows = without_padding(w[0], (self.num_output, x.shape[1]))
            return [x @ self._unit(rows).T, label]
        grouped = jnp.pad(w[0], ((0, self.groups * self.size - len(w[0])), (0, 0)))  # devices have padded it
        grouped = grouped.reshape(self.groups, self.size, -1)
        places = self._draw(ctx.rng(), own, each)  # (groups, each)
        rows = self._unit(jax.vmap(lambda rows, places: rows[places])(grouped, places))
        classes = (places + self.size * jnp.arange(self.groups, dtype=jnp.int32)[:, None]).reshape(-1)
        y = jnp.einsum("nk,gek->nge", x, rows).reshape(len(x), -1)
        y = jnp.where(classes < self.num_output, y, ABSENT)
        hit = classes == own[:, None]  # (n, sampled classes)
        index = jnp.sum(jnp.where(hit, jnp.arange(len(classes), dtype=jnp.int32), 0), 1)
        right = (own >= 0) & (own < self.num_output)
        new = jnp.where(right, index.astype(label.dtype), label.reshape(-1))
        return [y, new.reshape(label.shape)]

    def _draw(self, key: Array, own: Array, each: int) -> Array:
        """Returns the places in its group of the classes that are drawn from each group, (groups, each): first those
        of the batch, then others; those beyond `num_output` last.

        XLA divides a sort of rows among devices, but not `top_k`."""
        shape = (self.groups, self.size)
        place = own - self.size * jnp.arange(self.groups, dtype=jnp.int32)[:, None]  # (groups, n)
        place = jnp.where((place >= 0) & (place < self.size), place, self.size)  # others are dropped
        first = lambda order, place: order.at[place].set(2.0, mode="drop")
        order = jax.vmap(first)(jax.random.uniform(key, shape), place)
        exists = jnp.arange(self.groups * self.size).reshape(shape) < self.num_output
        return jnp.argsort(jnp.where(exists, -order, 1.0), 1)[:, :each]

    def _unit(self, rows: Array) -> Array:
        if not self.normalize:
            return rows
        return rows * lax.rsqrt(jnp.sum(rows * rows, -1, keepdims=True) + NORM_EPS)

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> Any:
        return count(tops[0]) * count(bottoms[0][1:])
