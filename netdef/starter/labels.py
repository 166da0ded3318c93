"""What labels are: classes, or values to be computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..files import shown
from ..language.errors import NetdefError
from ..lazy import np
from .nets import Targets
from .words import number, plural

LABELS = ("label", "labels", "y", "target", "targets", "class", "classes")
FEW = 1000  # different integers, up to which labels may be classes


def targets_of(path: Path, name: str, labels: Any, task: str = "") -> Targets:
    """Whether labels are classes or values; `task` is `classify` or `regress` if the user says so.  NetdefError if
    nothing can be learned from them."""
    place = f"{shown(path)}: the labels `{shown(name)}`"
    if not np.isfinite(labels).all():
        raise NetdefError(
            f"{place} contain values that are not finite numbers; remove these records, or fill in the values"
        )
    if labels.ndim > 2 or not labels.size:
        raise NetdefError(
            f"{place} have the shape {labels.shape}; expected one label, or one row of numbers, for each record"
        )
    values = labels.reshape(len(labels), -1)
    kinds = np.unique(values)
    if len(kinds) == 1:
        raise NetdefError(
            f"{place} are all {number(float(kinds[0]))}; there is nothing to learn from one class or value"
        )
    if values.shape[1] > 1 and not task and _is_one_hot(values):
        raise NetdefError(
            f"{place} are rows with a 1 at the class; a class is one number: save their `argmax(1)` instead, or give "
            "--task regress"
        )
    whole = bool((kinds == np.floor(kinds)).all())
    if task == "regress" or (task != "classify" and not _may_be_classes(values, kinds, whole)):
        return Targets(
            values=values.shape[1], mean=float(values.mean()), deviation=float(values.std()), words=_spoken(values)
        )
    if values.shape[1] > 1:
        raise NetdefError(f"{place} have {values.shape[1]} numbers for each record, but a class is one number")
    if not whole:
        raise NetdefError(
            f"{place} are not integers, such as {number(float(kinds[kinds != np.floor(kinds)][0]))}; classes are 0, "
            "1, 2, ..."
        )
    if kinds[0] < 0:
        raise NetdefError(
            f"{place} begin at {int(kinds[0])}, but classes are 0, 1, 2, ...; number them anew, or give --task regress"
        )
    count = int(kinds[-1]) + 1
    words = f"{len(kinds):,} different integers, {int(kinds[0])} to {count - 1}: {count:,} classes"
    return Targets(classes=count, words=words)


def _may_be_classes(values: Any, kinds: Any, whole: bool) -> bool:
    """Few integers from about 0, each of which occurs several times on average."""
    dense = len(kinds) <= FEW and kinds[-1] - kinds[0] < 2 * len(kinds) and kinds[-1] < 2 * FEW
    return whole and values.shape[1] == 1 and dense and len(values) >= 2 * len(kinds)


def _is_one_hot(values: Any) -> bool:
    return bool(np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all())


def _spoken(values: Any) -> str:
    low, high = number(float(values.min())), number(float(values.max()))
    each = "" if values.shape[1] == 1 else f"{plural(values.shape[1], 'number')} for each record, "
    return f"{each}{low} to {high}, mean {number(float(values.mean()))}: values to be computed (regression)"


def counts_of(labels: Any) -> dict[int, int]:
    """How often each class occurs."""
    kinds, counts = np.unique(labels, return_counts=True)
    return {int(kind): int(count) for kind, count in zip(kinds, counts, strict=True)}
