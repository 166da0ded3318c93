"""Attention: MultiHeadAttention, self-attention or cross-attention between two sequences."""

from __future__ import annotations

import math
from typing import Any

from ..fillers import Constant, Filler
from ..fillers.xavier import Xavier
from ..lazy import Array, jax, jnp
from ..schema import param
from ..shape import Dim, Shape, ShapeError, count, show
from .base import Context, Example, Layer, Weight


class MultiHeadAttention(Layer, type="MultiHeadAttention", block="attention_param"):
    """softmax(Q K^T / sqrt(d)) V in each head; the heads are concatenated and multiplied by W_o.

    Q, K and V are linear functions W x + b of the query, key and value.
    Bottoms: query (n, t, c); optional key (n, s, k), default: query; optional value (n, s, v), default: key; optional
    mask (n, s), 0 at positions that must not be attended to.  Tops: y (n, t, num_output).
    Weights: W_q (heads d, c), b_q, W_k, b_k, W_v, b_v, W_o (num_output, heads d), b_o; no b without `bias_term`.
    A position that may attend to no position gets the mean over all of them.
    Source: netdef's own, after Vaswani et al. 2017.  Differs: Caffe has no such layer.
    """

    family = "product"
    n_bottoms = (1, 4)

    num_heads: int = param("Number of heads.", at_least=1)
    head_dim: int | None = param("d, the size of a head; default: c / num_heads.", default=None, at_least=1)
    num_output: int | None = param("Size of the outputs; default: c, the size of the query.", default=None, at_least=1)
    causal: bool = param("Whether position i attends only to positions up to i.", default=False)
    dropout_ratio: float = param("Probability that an attention weight is dropped.", default=0.0, at_least=0, below=1)
    bias_term: bool = param("Whether to add biases.", default=True)
    weight_filler: Filler = param("Filler of the matrices.", default=Xavier())
    bias_filler: Filler = param("Filler of the biases.", default=Constant())

    examples = (
        Example(
            'layer { name: "self" type: "MultiHeadAttention" bottom: "x" top: "self"\n'
            "        attention_param { num_heads: 2 causal: true } }",
            {"x": (2, 5, 4)},
        ),
        Example(
            'layer { name: "look" type: "MultiHeadAttention" bottom: "x" bottom: "other" top: "look"\n'
            "        attention_param { num_heads: 2 } }",
            {"x": (2, 3, 4), "other": (2, 5, 6)},
        ),
    )

    def infer(self, *bottoms: Shape) -> Shape:
        names = ("query", "key", "value")
        for i, shape in enumerate(bottoms[:3]):
            if len(shape) != 3:
                raise ShapeError(
                    f"the {names[i]} {show(shape)} has {len(shape)} axes; it must have 3: (n, t, c).", bottom=i
                )
        query, key, value = self._three(bottoms)
        for i, shape in enumerate(bottoms[1:3], 1):
            if shape[0] != query[0]:
                raise ShapeError(
                    f"the {names[i]} is {show(shape)} and the query is {show(query)}; their first axes, the batch, "
                    "must be equal.",
                    bottom=i,
                )
        if value[1] != key[1]:
            raise ShapeError(
                f"the key is {show(key)} and the value is {show(value)}; their lengths, axis 1, must be equal.",
                bottom=2,
            )
        if len(bottoms) > 3 and bottoms[3] != key[:2]:
            raise ShapeError(
                f"the mask is {show(bottoms[3])}; for the key {show(key)} it must be {show(key[:2])}.", bottom=3
            )
        if self.head_dim is None and query[2] % self.num_heads:
            raise ShapeError(
                f"`num_heads` is {self.num_heads}, which does not divide the {query[2]} channels of {show(query)}; "
                "choose a divisor, or give `head_dim`.",
                field="num_heads",
            )
        return (query[0], query[1], self.num_output or query[2])

    @staticmethod
    def _three(bottoms: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        """Returns query, key and value."""
        key = bottoms[min(1, len(bottoms) - 1)]
        return bottoms[0], key, bottoms[2] if len(bottoms) > 2 else key

    def _inner(self, query: Shape) -> Dim:
        """Returns heads x d."""
        return self.num_heads * (self.head_dim or query[2] // self.num_heads)

    def weights(self, *bottoms: Shape) -> list[Weight]:
        query = bottoms[0]
        inner, outputs = self._inner(query), self.num_output or query[2]
        shapes = [*((inner, x[2]) for x in self._three(bottoms)), (outputs, inner)]
        made = []
        for shape in shapes:
            made.append(Weight(shape, self.weight_filler))
            if self.bias_term:
                made.append(Weight((shape[0],), self.bias_filler))
        return made

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> Array:
        step = 2 if self.bias_term else 1
        project = lambda x, i: (x @ w[i * step].T + (w[i * step + 1] if self.bias_term else 0)).astype(x.dtype)
        heads = lambda x: x.reshape(*x.shape[:2], self.num_heads, -1)  # (n, t, heads, d)
        q, k, v = (heads(project(x, i)) for i, x in enumerate(self._three(bottoms)))
        scores = jnp.einsum("nthd,nshd->nhts", q, k) / math.sqrt(q.shape[-1])
        lowest = jnp.finfo(scores.dtype).min  # not -inf, because softmax of a row of -inf is NaN
        if self.causal:
            scores = jnp.where(jnp.tril(jnp.ones(scores.shape[2:], bool)), scores, lowest)
        if len(bottoms) > 3:
            scores = jnp.where(bottoms[3][:, None, None, :] != 0, scores, lowest)
        shares = jax.nn.softmax(scores)
        if ctx.train and self.dropout_ratio:
            kept = jax.random.bernoulli(ctx.rng(), 1 - self.dropout_ratio, shares.shape)
            shares = jnp.where(kept, shares / (1 - self.dropout_ratio), 0)
        seen = jnp.einsum("nhts,nshd->nthd", shares, v)
        return project(seen.reshape(*seen.shape[:2], -1), 3)

    def multiply_adds(self, bottoms: list[Shape], tops: list[Shape]) -> Any:
        query, key, value = self._three(tuple(bottoms))
        inner = self._inner(query)
        projections = count(query) * inner + count(key) * inner + count(value) * inner + count(tops[0]) * inner
        return projections + 2 * query[0] * query[1] * key[1] * inner
