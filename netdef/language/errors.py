"""The error that every part of netdef raises for what a user can put right."""

from __future__ import annotations


class NetdefError(Exception):
    """Anything that a user can put right: one line that names the file, layer or step, and what to do."""
