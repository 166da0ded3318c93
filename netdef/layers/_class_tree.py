"""The tree of classes of YOLO9000: the probability of a class is that given its parent.

Source: intel/caffe src/caffe/util/tree.cpp, after Redmon and Farhadi 2017 (YOLO9000).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ..language.errors import NetdefError
from ..lazy import Array, jax, jnp, np


class ClassTree(NamedTuple):
    """The tree as arrays of integers: the group of each class, which are its siblings, and each class with its
    ancestors (classes, levels), the class first, then -1 after the root."""

    group: Any
    chain: Any

    @property
    def groups(self) -> int:
        return int(self.group[-1]) + 1

    def softmax(self, x: Array, axis: int) -> Array:
        """Returns the softmax of each group."""
        x = jnp.moveaxis(x, axis, 0)
        largest = jax.ops.segment_max(x, self.group, self.groups)[self.group]
        x = jnp.exp(x - largest)
        return jnp.moveaxis(x / jax.ops.segment_sum(x, self.group, self.groups)[self.group], 0, axis)

    def chain_of(self, label: Array) -> Array:
        """Returns the ancestors (n, levels) of classes; -1 for a class that is out of range."""
        right = (label >= 0) & (label < len(self.chain))
        return jnp.where(right[:, None], jnp.asarray(self.chain)[jnp.where(right, label, 0)], -1)


def read_tree(path: Path) -> ClassTree:
    """Returns the tree in a file with a line `name parent` for each class; the parent is the index of a line before it,
    or -1, and classes of the same parent follow one another."""
    parents: list[int] = []
    for number, words in _rows(path, "softmax_tree"):
        if len(words) != 2 or not -1 <= (parent := _integer(words[1])) < len(parents):
            raise NetdefError(
                f"{path}:{number}: {' '.join(words)[:80]!r} is not the name of a class and the index of its parent, "
                f"which is -1 or that of a class before it, at most {len(parents) - 1}"
            )
        parents.append(parent)
    if not parents:
        raise NetdefError(f"{path}: `softmax_tree` has no classes")
    chains: list[list[int]] = []
    for label, parent in enumerate(parents):
        chains.append([label, *(chains[parent] if parent >= 0 else ())])
    levels = max(map(len, chains))
    changes = [before != after for before, after in zip(parents, parents[1:], strict=False)]
    return ClassTree(
        np.concatenate([[0], np.cumsum(changes, dtype=np.int32)]).astype(np.int32),
        np.array([chain + [-1] * (levels - len(chain)) for chain in chains], np.int32),
    )


def read_map(path: Path) -> Any:
    """Returns the class of each label from a file with one index per line."""
    made = []
    for number, words in _rows(path, "class_map"):
        if (label := _integer(words[0])) < 0 or len(words) > 1:
            raise NetdefError(f"{path}:{number}: {' '.join(words)[:80]!r} is not the index of a class")
        made.append(label)
    if not made:
        raise NetdefError(f"{path}: `class_map` has no lines")
    return np.array(made, np.int32)


def _rows(path: Path, field: str) -> list[tuple[int, list[str]]]:
    """Returns the words of each line that is not empty, with its number."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise NetdefError(f"{path}: `{field}` cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return [(number, words) for number, line in enumerate(lines, 1) if (words := line.split())]


def _integer(word: str) -> int:
    """Returns the integer that a word is; -2 if it is none."""
    digits = word.removeprefix("-")
    return int(word) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else -2
