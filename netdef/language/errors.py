"""The base class of the errors that a user can fix."""

from __future__ import annotations


class NetdefError(Exception):
    """An error that a user can fix: a message of one line with the file, layer or step, and what to do."""
