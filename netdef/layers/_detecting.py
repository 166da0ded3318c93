"""From the predictions of the SSD detector to detections."""

from __future__ import annotations

from typing import NamedTuple

from ..lazy import Array, jnp, lax
from ._boxes import Boxes, boxes_of, decode, priors_of, suppress


class Detecting(NamedTuple):
    """The settings of DetectionOutput; `classes` are those of objects, and -1 is no limit."""

    num_classes: int
    classes: tuple[int, ...]
    code_type: str
    scaled: bool  # the predictions include the variances
    least: float | None  # a confidence must be higher
    nms_threshold: float
    eta: float
    top_k: int
    keep_top_k: int

    def per_class(self, boxes: int) -> int:
        """Returns the number of boxes of a class that are considered."""
        return boxes if self.top_k < 0 or self.top_k > boxes else self.top_k

    def per_image(self, boxes: int) -> int:
        """Returns the largest possible number of detections in an image."""
        found = len(self.classes) * self.per_class(boxes)
        return self.keep_top_k if 0 <= self.keep_top_k < found else found


def detections(loc: Array, conf: Array, priors: Array, how: Detecting) -> Array:
    """Returns (1, 1, rows, 7): the detections by image, label and confidence, then rows of -1; if there are none, a row
    (image, -1, ...) for each image."""
    n, boxes = loc.shape[0], priors.shape[2] // 4
    per_class, per_image = how.per_class(boxes), how.per_image(boxes)
    nothing = jnp.full((n * max(per_image, 1), 7), -1.0).at[:n, 0].set(jnp.arange(n))
    if not per_image:
        return nothing[None, None]
    scores = jnp.moveaxis(lax.stop_gradient(conf).reshape(n, boxes, how.num_classes), 2, 1)
    scores, order = _candidates(_objects(scores, how), per_class, how.least)
    found = _located(lax.stop_gradient(loc), priors, order, how)
    rows = (n * len(how.classes), per_class)
    flat = found.each(lambda side: side.reshape(rows))
    kept = suppress(flat, (scores > -jnp.inf).reshape(rows), how.nms_threshold, how.eta)
    scores = jnp.where(kept.reshape(scores.shape), scores, -jnp.inf).reshape(n, -1)
    return _listed(scores, found, _best(scores, per_image), nothing, how.classes)[None, None]


def _objects(values: Array, how: Detecting) -> Array:
    """Returns (n, classes, boxes) without the background."""
    if len(how.classes) == how.num_classes:
        return values
    at = next(c for c in range(how.num_classes) if c not in how.classes)
    return values[:, 1:] if at == 0 else jnp.concatenate([values[:, :at], values[:, at + 1 :]], 1)


def _candidates(scores: Array, number: int, least: float | None) -> tuple[Array, Array]:
    """Returns the highest scores (n, classes, number), and the indices of their boxes; -inf: not considered."""
    threshold = jnp.finfo(jnp.float32).min if least is None else least
    scores = jnp.where(scores == 0, 0.0, scores)  # top_k considers -0 to be less than 0
    return lax.top_k(jnp.where(scores > threshold, scores, -jnp.inf), number)


def _located(loc: Array, priors: Array, order: Array, how: Detecting) -> Boxes:
    """Returns the boxes (n, classes, number) of these indices."""
    n, boxes = loc.shape[0], priors.shape[2] // 4
    offsets = boxes_of(jnp.moveaxis(loc.reshape(n, boxes, -1, 4), 2, 1))  # (n, 1 or classes, boxes)
    shared = loc.size == n * boxes * 4
    offsets = offsets if shared else offsets.each(lambda side: _objects(side, how))
    decoded = decode(how.code_type, priors_of(priors, boxes), offsets, how.scaled)
    return decoded.each(lambda side: jnp.take_along_axis(side, order, 2))


def _best(scores: Array, number: int) -> Array:
    """Returns the indices (n, number) of the detections of each image, in order; too large where there are none."""
    highest, at = lax.top_k(scores, number) if number < scores.shape[1] else (scores, jnp.arange(scores.shape[1]))
    return jnp.sort(jnp.where(highest > -jnp.inf, at, scores.shape[1]), axis=1)


def _listed(scores: Array, found: Boxes, at: Array, nothing: Array, classes: tuple[int, ...]) -> Array:
    """Returns the rows of the top: the detections `at`, then rows of -1; or `nothing`, if there are none."""
    n, total = scores.shape
    there = at < total
    inside = jnp.minimum(at, total - 1)
    pick = lambda values: jnp.take_along_axis(values.reshape(n, total), inside, 1)
    label = jnp.asarray(classes, jnp.float32)[inside // (total // len(classes))]
    image = jnp.broadcast_to(jnp.arange(n, dtype=jnp.float32)[:, None], at.shape)
    rows = jnp.stack([image, label, pick(scores), *found.each(pick)], -1)
    rows = jnp.where(there[..., None], rows, -1.0).reshape(-1, 7)
    if n > 1:
        rows = rows[jnp.argsort(~there.reshape(-1), stable=True)]
    return jnp.where(jnp.any(there), rows, nothing)
