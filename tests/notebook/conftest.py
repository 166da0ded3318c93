"""Fixtures: a small net and its data."""

from tiny_net import compiled, tiny

__all__ = ["compiled", "tiny"]
