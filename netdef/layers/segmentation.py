"""SegAccuracy: how well each pixel of an image is told."""

from __future__ import annotations

from ..fillers import Constant
from ..lazy import Array, jax, jnp
from ..schema import param
from ..shape import Shape, ShapeError, count, show
from .base import Context, Example, Layer, Weight


class SegAccuracy(Layer, type="SegAccuracy", block="seg_accuracy_param"):
    """Three measures of the class of highest score at each pixel: the share that is right, the mean over classes of the
    share of their pixels that is right, and the mean over classes of intersection over union.

    Bottoms: x (n, classes, h, w); label (n, 1, h, w).  Tops: the three (1, 1, 1, 3).
    A class that nobody names and that is nowhere counts as 1 in the last, and not at all in the second.
    Source: DeepLab's src/caffe/layers/seg_accuracy_layer.cpp and util/confusion_matrix.cpp; Chen et al. 2015.
    Differs: of equal scores the first counts, as in Accuracy; a label that is no class makes NaN, where Caffe ends.
    """

    is_metric = True
    n_bottoms = 2

    ignore_label: tuple[int, ...] = param("Pixels with one of these labels take no part.", default=())
    reset: bool = param("Whether each batch is measured alone; else all since the start together.", default=True)

    examples = (
        Example(
            'layer { name: "accuracy" type: "SegAccuracy" bottom: "x" bottom: "label" top: "accuracy"\n'
            "        seg_accuracy_param { ignore_label: 255 } }",
            {"x": (2, 3, 4, 4), "label": (2, 1, 4, 4)},
            integers={"label": 3},
            differentiable=False,
        ),
    )

    def infer(self, x: Shape, label: Shape) -> Shape:
        if len(x) != 4 or x[:1] + x[2:] != label[:1] + label[-2:] or count(label) != x[0] * x[2] * x[3]:
            raise ShapeError(
                f"the scores are {show(x)} and the labels {show(label)}; n x classes x h x w and n x 1 x h x w are "
                "wanted, of equal n, h and w.",
                bottom=1,
            )
        return (1, 1, 1, 3)

    def weights(self, x: Shape, label: Shape) -> list[Weight]:
        return [] if self.reset else [Weight((x[1], x[1]), Constant(), kind="carry")]

    def apply(self, w: tuple[Array, ...], x: Array, label: Array, *, ctx: Context) -> Array:
        classes = x.shape[1]
        label, told = label.astype(jnp.int32).reshape(-1), jnp.argmax(jax.lax.stop_gradient(x), 1).reshape(-1)
        seen = jnp.ones(label.shape, bool)
        for ignored in self.ignore_label:
            seen &= label != ignored
        wrong = jnp.any(seen & ((label < 0) | (label >= classes)))
        # confusion[i, j]: pixels of class i that are told to be j
        confusion = (
            jnp.zeros((classes, classes)).at[jnp.clip(label, 0, classes - 1), told].add(seen.astype(jnp.float32))
        )
        if not self.reset:
            confusion = confusion + w[0]
            ctx.update(0, confusion)
        right, actual, chosen = jnp.diagonal(confusion), jnp.sum(confusion, 1), jnp.sum(confusion, 0)
        share = lambda part, whole, nothing: jnp.where(whole > 0, part / jnp.maximum(whole, 1), nothing)
        accuracy = share(jnp.sum(right), jnp.sum(actual), 0.0)
        recall = share(jnp.sum(share(right, actual, 0.0)), jnp.sum(actual > 0), 0.0)
        overlap = jnp.mean(share(right, actual + chosen - right, 1.0))
        measures = jnp.stack([accuracy, recall, overlap]).reshape(1, 1, 1, 3)
        return jnp.where(wrong, jnp.nan, measures)
