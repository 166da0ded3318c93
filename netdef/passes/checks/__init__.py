"""Warnings about a whole net whose shapes are known: what is allowed but probably not intended.

One function per rule, in the module of its subject; each accepts the net and a report. Rules that matter only in
training do not apply to a net without a loss, because such a net is used for inference.
"""

from __future__ import annotations

from ...graph import Net
from ...language.diagnostics import Report
from . import blobs, data, detection, losses, norms, training


def check(net: Net, report: Report) -> None:
    """Checks a typed net against every rule."""
    for rule in RULES:
        rule(net, report)


RULES = (*blobs.RULES, *norms.RULES, *losses.RULES, *training.RULES, *detection.RULES, *data.RULES)
