"""The policy "cosine"."""

from __future__ import annotations

from collections.abc import Mapping

from ..lazy import Array, jnp
from .base import Policy, Setting


class Cosine(Policy, name="cosine"):
    """min_lr + (base_lr - min_lr) (1 + cos(pi t / max_iter)) / 2: half a period of a cosine, down to min_lr.

    Source: Loshchilov and Hutter 2017, without restarts.  Differs: Caffe has no such policy.
    """

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        part = jnp.minimum(jnp.asarray(iteration, jnp.float32) / at.max_iter, 1.0)
        return at.min_lr + (at.base_lr - at.min_lr) * 0.5 * (1 + jnp.cos(jnp.pi * part))
