"""What is allowed and probably not meant: warnings about a whole net, after its shapes are known.

One function per rule, in the file of its subject; each takes the net and reports.  Of a net without a loss nothing is
said that matters in training alone: it is there to be used.
"""

from __future__ import annotations

from ...graph import Net
from ...language.diagnostics import Report
from . import blobs, losses, norms, training


def check(net: Net, report: Report) -> None:
    """Hold a typed net against every rule."""
    for rule in RULES:
        rule(net, report)


RULES = (*blobs.RULES, *norms.RULES, *losses.RULES, *training.RULES)
