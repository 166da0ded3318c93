"""The small net that runs are made of."""

from tiny_net import compiled, tiny

__all__ = ["compiled", "tiny"]
