"""Labels whose rows have the index of their image in the batch, (1, 1, rows, values), divided among devices.

The images of a batch are divided evenly; their true boxes are not.  Therefore each device gets a label of a constant
number of rows, (1, 1, rows, values), with the rows of its own images and then rows of -1.  The index of an image is
that in the batch of all devices.  A layer that computes the rows of one device converts it with `own_image`; devices
that compute as one use all labels, `joined`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..language.errors import NetdefError

EMPTY = -1.0


class Numbered(NamedTuple):
    """How a process divides the labels that it reads."""

    layer: str
    images: int  # of a label that is read
    shares: int  # labels to make, each of the same number of images
    rows: int  # of a label that is made
    first: int  # index of the first image of this process in the batch of all devices

    def divided(self, labels: Sequence[Any], order: Any) -> Any:
        """Returns the label (shares, 1, rows, values) of several batches; `order` lists the images of all of them, one
        batch after the other, in the order in which the devices have them."""
        total = len(labels) * self.images
        place = np.empty(total, np.int64)
        place[order] = np.arange(total)
        found = [label[0, 0][label[0, 0, :, 0] >= 0] for label in labels]
        image = np.concatenate([rows[:, 0] + i * self.images for i, rows in enumerate(found)]).astype(np.int64)
        at, rows = place[image], np.concatenate(found)
        made = np.full((self.shares, 1, self.rows, rows.shape[1]), EMPTY, np.float32)
        for share, own in enumerate(made[:, 0]):
            mine = np.flatnonzero(at // (total // self.shares) == share)
            mine = mine[np.argsort(at[mine], kind="stable")]
            if len(mine) > self.rows:
                raise NetdefError(
                    f"layer `{self.layer}`: the {total // self.shares} images of a device have {len(mine)} boxes, but "
                    f"`label_rows` is {self.rows}; set it to {len(mine)} or more, or remove it for the largest number "
                    "that is possible."
                )
            own[: len(mine)] = rows[mine]
            own[: len(mine), 0] = at[mine] + self.first
        return made


def joined(labels: Any) -> Any:
    """Returns labels (batches, shares, 1, rows, values) as one label of each batch, (batches, 1, 1, rows, values)."""
    return labels.reshape(len(labels), 1, 1, -1, labels.shape[-1])
