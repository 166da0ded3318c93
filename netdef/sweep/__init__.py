"""Sweeps: runs of one net with different settings, and their results."""
