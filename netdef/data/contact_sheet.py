"""A contact sheet: images side by side in one PNG."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..files import library_writes, write_atomically
from ..lazy import need, np

MARGIN = 2  # pixels between images


def contact_sheet(images: Any, path: Path, columns: int = 0) -> None:
    """Writes images (n, c, h, w) of any value range as one PNG; each is scaled from its minimum to its maximum.
    NetdefError if it cannot be written.

    Three channels are B, G, R; with any other number of channels the first is shown."""
    pillow = need("PIL.Image", "writing a contact sheet")
    n, c, h, w = images.shape
    columns = columns or math.ceil(math.sqrt(n * h / w)) or 1
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (h + MARGIN) - MARGIN, columns * (w + MARGIN) - MARGIN, 3), 255, np.uint8)
    for i, image in enumerate(images):
        low, high = float(image.min()), float(image.max())
        shown = (image - low) * (255 / (high - low) if high > low else 0)
        shown = shown[::-1] if c == 3 else shown[:1].repeat(3, 0)
        top, left = i // columns * (h + MARGIN), i % columns * (w + MARGIN)
        sheet[top : top + h, left : left + w] = shown.transpose(1, 2, 0).round().astype(np.uint8)
    kind = pillow.registered_extensions().get(path.suffix.lower(), "PNG")
    with library_writes():
        write_atomically(path, lambda aside: pillow.fromarray(sheet).save(aside, kind))
