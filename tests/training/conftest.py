"""Fixtures: a small net and its data."""

from simulated import eight
from tiny_net import compiled, tiny

__all__ = ["compiled", "eight", "tiny"]
