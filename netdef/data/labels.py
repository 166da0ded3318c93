"""Checks labels against the net: a loss over k classes accepts only the integers 0 to k - 1 as labels.

On a device, a label out of range would only show as a wrong loss; checking the labels of each batch here costs little.
"""

from __future__ import annotations

from typing import Any

from ..language.errors import NetdefError
from ..lazy import np
from ..passes.label_limits import Limit, limits

__all__ = ["Limit", "check", "limits"]


def check(layer: str, labels: Any, limit: Limit, name_of: Any) -> None:
    """Raises NetdefError for the first label that is out of range or not an integer; `name_of(row)` returns the name of
    a record."""
    wrong = (labels < 0) | (labels >= limit.classes) | (labels != np.floor(labels))
    if limit.ignored is not None:
        wrong &= labels != limit.ignored
    if wrong.any():
        row = int(np.argwhere(wrong)[0][0])
        value = labels[wrong].flat[0]
        if not float(value).is_integer():
            raise NetdefError(
                f"layer `{layer}`: {name_of(row)} has the label {value:g}, but layer `{limit.loss}` expects classes, "
                f"which are integers, 0 to {limit.classes - 1}; correct the label, or use a loss of values, such as "
                "EuclideanLoss."
            )
        raise NetdefError(
            f"layer `{layer}`: {name_of(row)} has the label {value:g}, but layer `{limit.loss}` has {limit.classes} "
            f"classes, 0 to {limit.classes - 1}; correct the label or the number of outputs."
        )
