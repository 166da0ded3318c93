"""`batch_sampler { }`: random parts of an image that fulfill a constraint on its boxes; and `yolo_data_jitter`.

Source: weiliu89/caffe branch ssd, src/caffe/util/sampler.cpp; for the jitter, eric612/MobileNet-YOLO, the same file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..lazy import np
from ..schema import Block, param
from ..shape import ShapeError
from .boxes import coverage, overlap

CHANCES = (0.2, 0.2, 0.6)  # of no jitter, of half of it, and of all of it


class Sampler(Block):
    """`sampler { }`: sizes of random parts."""

    min_scale: float = param("Smallest side, as a fraction of the image.", default=1.0, above=0)
    max_scale: float = param("Largest side, as a fraction of the image.", default=1.0, at_most=1)
    min_aspect_ratio: float = param("Smallest ratio of width to height.", default=1.0, above=0)
    max_aspect_ratio: float = param("Largest ratio of width to height.", default=1.0)

    def check(self) -> None:
        """Raises ShapeError if a lower limit is above an upper one."""
        for name in ("scale", "aspect_ratio"):
            least, most = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if least > most:
                raise ShapeError(
                    f"`min_{name}` of `sampler` is {least:g}, but `max_{name}` is {most:g}; exchange them.",
                    field="annotated_data_param",
                )

    def draw(self, rng: Any, count: int) -> Any:
        """Returns random windows (count, 4)."""
        scale = rng.uniform(self.min_scale, self.max_scale, count)
        ratio = rng.uniform(self.min_aspect_ratio, self.max_aspect_ratio, count)
        ratio = np.clip(ratio, scale**2, 1 / scale**2)
        width, height = scale * np.sqrt(ratio), scale / np.sqrt(ratio)
        left, top = rng.random(count) * (1 - width), rng.random(count) * (1 - height)
        return np.stack([left, top, left + width, top + height], 1).astype(np.float32)


class SampleConstraint(Block):
    """`sample_constraint { }`: which random parts are used.  As in the fork, with limits of several kinds, those of the
    first kind alone decide."""

    min_jaccard_overlap: float | None = param("Smallest intersection over union with a box.", default=None)
    max_jaccard_overlap: float | None = param("Largest intersection over union.", default=None)
    min_sample_coverage: float | None = param("Smallest fraction of the part that a box covers.", default=None)
    max_sample_coverage: float | None = param("Largest fraction of the part that a box covers.", default=None)
    min_object_coverage: float | None = param("Smallest fraction of a box inside the part.", default=None)
    max_object_coverage: float | None = param("Largest fraction of a box inside the part.", default=None)

    def met(self, windows: Any, boxes: Any) -> Any:
        """Returns which windows (n, 4) are used: those for which one of the boxes (k, 4) is within the limits."""
        one, other = windows[:, None], boxes[None]
        measures = {
            "jaccard_overlap": lambda: overlap(one, other),
            "sample_coverage": lambda: coverage(one, other),
            "object_coverage": lambda: coverage(other, one),
        }
        for name, measure in measures.items():
            least, most = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if least is None and most is None:
                continue
            values = measure()
            within = np.ones(values.shape, bool) if least is None else values >= np.float32(least)
            return (within if most is None else within & (values <= np.float32(most))).any(1)
        return np.ones(len(windows), bool)


class BatchSampler(Block):
    """`batch_sampler { }`: random parts of an image."""

    use_original_image: bool = param("Whether to use this sampler.", default=True)
    sampler: Sampler = param("Sizes of the parts.", default=Sampler())
    sample_constraint: SampleConstraint = param("Which parts are used.", default=SampleConstraint())
    max_sample: int | None = param("Largest number of parts; default: all trials.", default=None, at_least=0)
    max_trials: int = param("Number of random parts that are tried.", default=100, at_least=0)

    def check(self) -> None:
        """Raises ShapeError for limits that contradict each other."""
        self.sampler.check()

    def draw(self, boxes: Any, rng: Any) -> Any:
        """Returns the windows (n, 4) that fulfill the constraint."""
        if not self.use_original_image:
            return np.zeros((0, 4), np.float32)
        windows = self.sampler.draw(rng, self.max_trials)
        return windows[self.sample_constraint.met(windows, boxes)][: self.max_sample]


@dataclass(frozen=True)
class Jitter:
    """`yolo_data_jitter`: a random part whose sides are shorter by up to this fraction, or by half of it, or not."""

    most: float
    keeps_aspect: bool

    def check(self) -> None:
        """Raises ShapeError for a fraction out of range."""
        if not 0 <= self.most < 1:
            raise ShapeError(
                f"`yolo_data_jitter` is {self.most:g}; it must be at least 0 and less than 1.",
                field="annotated_data_param",
            )

    def draw(self, boxes: Any, rng: Any) -> Any:
        """Returns one window (1, 4)."""
        most = rng.choice((0.0, self.most / 2, self.most), p=CHANCES)
        width, height = rng.uniform(1 - most, 1, 2)
        height = width if self.keeps_aspect else height
        left, top = rng.random() * (1 - width), rng.random() * (1 - height)
        return np.array([[left, top, left + width, top + height]], np.float32)


def drawn(samplers: Sequence[BatchSampler | Jitter], boxes: Any, rng: Any) -> Any:
    """Returns the window of a random part, one of those of all samplers; None if there is none."""
    found = [sampler.draw(boxes, rng) for sampler in samplers]
    windows = np.concatenate(found) if found else ()
    return windows[int(rng.integers(len(windows)))] if len(windows) else None
