"""Pictures with the boxes that a detector found: class and score in a tag at each box, true boxes dashed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data.images import to_png
from ..lazy import need
from .boxes import Box

# Easy to distinguish with any kind of color vision (M. Okabe and K. Ito, Color Universal Design, 2008), and light or
# strong enough for photographs.
COLORS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2")
LIGHT, DARK = "#FFFFFF", "#111111"
SMALLEST_SIDE = 480  # of the longer side: smaller pictures are enlarged by a whole factor, so that tags are legible
DASH = 4  # length of a dash, in widths of the line


def boxed(image: np.ndarray, boxes: Sequence[Box], truth: Sequence[Box] = ()) -> bytes:
    """Returns the PNG file of a picture (h, w, c) uint8, gray or B, G, R, with boxes in its pixels."""
    pillow, drawing, fonts = (need(f"PIL.{name}", "drawing boxes") for name in ("Image", "ImageDraw", "ImageFont"))
    factor = max(1, round(SMALLEST_SIDE / max(image.shape[:2])))
    colored = np.repeat(image, 3, 2) if image.shape[2] == 1 else image[:, :, :3]
    large = np.ascontiguousarray(colored[:, :, ::-1].repeat(factor, 0).repeat(factor, 1))
    picture = pillow.fromarray(large)
    longer = max(picture.size)
    line = max(2, round(longer / 300))
    pen = _Pen(drawing.Draw(picture), picture.size, line, fonts.load_default(size=max(13, round(longer / 34))))
    for box in reversed(boxes):  # the highest score on top
        pen.outline([factor * x for x in box.corners], color_of(box.label))
    for box in truth:
        pen.dashed([factor * x for x in box.corners])
    taken: list[tuple[float, float, float, float]] = []
    for box in boxes:
        text = f"{box.name} {box.score:.2f}"
        taken.append(pen.tag([factor * x for x in box.corners], text, color_of(box.label), taken))
    return to_png(np.asarray(picture)[:, :, ::-1])


def color_of(label: int) -> str:
    """Returns the color of a label; label 0 is the background, so colors begin with label 1."""
    return COLORS[(label - 1) % len(COLORS)]


def ink_on(color: str) -> str:
    """Returns black or white, whichever is easier to read on a color."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else LIGHT


class _Pen(NamedTuple):
    """Draws on a picture of `size` (width, height)."""

    draw: Any
    size: tuple[int, int]
    line: int
    font: Any

    def outline(self, corners: Sequence[float], color: str) -> None:
        """Draws a box inside the picture, with a dark line around it, which separates it from its surroundings."""
        x0, y0, x1, y1 = self._inside(corners)
        self.draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=DARK, width=self.line + 2)
        self.draw.rectangle((x0, y0, x1, y1), outline=color, width=self.line)

    def dashed(self, corners: Sequence[float]) -> None:
        """Draws white dashes with dark edges, between which other boxes can be seen."""
        x0, y0, x1, y1 = self._inside(corners)
        step, dashes = DASH * self.line, []
        for y in (y0, y1):
            dashes += [((x, y), (min(x + step, x1), y)) for x in range(int(x0), int(x1), 2 * step)]
        for x in (x0, x1):
            dashes += [((x, y), (x, min(y + step, y1))) for y in range(int(y0), int(y1), 2 * step)]
        for color, more in ((DARK, 2), (LIGHT, 0)):
            for dash in dashes:
                self.draw.line(dash, fill=color, width=self.line + more)

    def tag(
        self, corners: Sequence[float], text: str, color: str, taken: Sequence[tuple[float, float, float, float]]
    ) -> tuple[float, float, float, float]:
        """Writes a text at a box: above it, in its upper corner, or below it, where no other text is."""
        x0, y0, x1, y1 = self._inside(corners)
        left, top, right, bottom = self.draw.textbbox((0, 0), text, font=self.font)
        room = self.line + 1
        width, height = right - left + 2 * room, bottom - top + 2 * room
        x = max(0, min(x0, self.size[0] - width))
        rows = [y0 - height, y0 + self.line, y1, y1 - height - self.line]
        rows = [y for y in rows if 0 <= y <= self.size[1] - height] or [0]
        free = (y for y in rows if not any(_cross((x, y, x + width, y + height), other) for other in taken))
        y = next(free, rows[0])
        self.draw.rectangle((x, y, x + width, y + height), fill=color)
        self.draw.text((x + room - left, y + room - top), text, fill=ink_on(color), font=self.font)
        return x, y, x + width, y + height

    def _inside(self, corners: Sequence[float]) -> tuple[float, float, float, float]:
        """Returns corners that are in the picture, also of a box that extends beyond it or is inverted."""
        xs, ys = sorted((corners[0], corners[2])), sorted((corners[1], corners[3]))
        within = lambda value, size: min(max(round(value), 0), size - 1)
        x0, x1 = (within(x, self.size[0]) for x in xs)
        y0, y1 = (within(y, self.size[1]) for y in ys)
        return x0, y0, x1, y1


def _cross(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def stretched(row: np.ndarray) -> np.ndarray:
    """Returns an input row (c, h, w) of any range as a picture (h, w, c) uint8; with other than 1 or 3 channels, its
    first one.  Values from 0 to 255 stay, others are scaled from their minimum to their maximum."""
    row = row if len(row) in (1, 3) else row[:1]
    low, high = float(row.min()), float(row.max())
    if low < 0 or high > 255 or high <= 1:
        row = (row - low) * (255 / (high - low) if high > low else 0.0)
    return row.transpose(1, 2, 0).round().astype(np.uint8)
