"""Fixtures: several simulated devices."""

from simulated import eight

__all__ = ["eight"]
