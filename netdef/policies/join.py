"""The policy "join": a sequence of policies."""

from __future__ import annotations

from collections.abc import Mapping

from ..lazy import Array, jnp
from ..schema import param
from .base import Policy, Setting


class Join(Policy, name="join"):
    """A sequence of policies, each up to its `until`, the last one to the end of the run.

        lr_policy: "join" piece { lr_policy: "exp" gamma: 0.9999 until: 30000 }
                          piece { lr_policy: "multistep" gamma: 0.1 stepvalue: 10000 }

    Each piece counts iterations from its own start, and its length is the max_iter of its formula.  Its initial
    learning rate is its base_lr, or by default the last one of the preceding piece.  Differs: Caffe has no such policy.
    """

    piece: tuple[Policy, ...] = param("A policy with its fields, and `until`.", default=())

    def rate(self, iteration: Array, at: Setting, state: Mapping[str, Array]) -> Array:
        rate = jnp.float32(at.base_lr)
        base, begin = at.base_lr, 0
        for i, piece in enumerate(self.piece):
            last = i == len(self.piece) - 1
            end = at.max_iter if piece.until is None else piece.until
            usual = base if piece.usual_base_lr is None else piece.usual_base_lr
            here = Setting(piece.base_lr if piece.base_lr is not None else usual, max(end - begin, 1), at.min_lr)
            local = jnp.asarray(iteration) - begin
            inside = local >= 0
            rate = (
                jnp.where(inside, piece.rate(jnp.maximum(local, 0), here, {}), rate)
                if i
                else piece.rate(local, here, {})
            )
            if last or end <= begin:
                continue
            base, begin = piece.rate(jnp.int32(end - begin), here, {}), end
        return rate
