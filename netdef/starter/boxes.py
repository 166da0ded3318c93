"""A starter net for images with boxes: a small SSD, whose predictions have the sizes of the boxes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..data import box_files, boxes
from ..files import shown
from ..language.errors import NetdefError
from ..lazy import np
from . import nets
from .images import Measured, Show, broken_words, measured
from .words import comment, listed, net_name, number, plural, source_of

SIZES = (64, 96, 128, 192, 256, 300)  # pixels of a side to which images are resized
LEAST = 12  # pixels that the side of a small box should have
WIDTHS = (16, 32, 64, 96, 128, 160, 192)  # channels of the blocks, each of half the size of the one before
FIRST = 3  # the block of the first head, a quarter of the size of the images
LONG = 2.5  # ratio of the sides of a box, from which predictions of 3:1 are added


class Seen(NamedTuple):
    """What is known of the data."""

    path: Path
    root: Path | None  # the folder of the images, if they are elsewhere
    images: int
    boxes: int
    most: int  # boxes of one image
    counts: dict[str, int]  # boxes of each class
    pixels: Measured
    sides: tuple[float, float, float]  # roots of the areas of boxes, as fractions of the image: 5 %, 50 % and 95 %
    long: float  # ratio of the sides, 90 %

    @property
    def kept(self) -> int:
        return round(0.8 * self.images)

    @property
    def size(self) -> int:
        """The side of the images that the net sees: so large that small boxes are visible, but no larger than they "
        "are."""
        largest = max(self.pixels.size)
        return next((size for size in SIZES if self.sides[0] * size >= LEAST or size >= largest), SIZES[-1])


class Head(NamedTuple):
    """Predictions from a block: the smallest and the largest side of the boxes that it finds, in pixels."""

    block: int
    smallest: int
    largest: int

    @property
    def name(self) -> str:
        return f"conv{self.block}"


def starter(path: Path, net: Path, show: Show) -> tuple[str, list[str], list[str]]:
    """Returns the net, lines about the data, and notes on what is not as it should be."""
    seen = _measured(path, show)
    return _text(seen, net), _found(seen), _notes(seen)


def _measured(path: Path, show: Show) -> Seen:
    """Reads the labels and some images.  NetdefError if something is missing."""
    root = _root(path)
    described, names = box_files.read(path, root)
    counts = Counter(box.name for one in described for box in one.boxes)
    if not counts:
        raise NetdefError(f"{shown(path)} describes {plural(len(described), 'image')}, but no boxes")
    if len(described) < 2:
        raise NetdefError(f"{shown(path)} describes one image; at least one for training and one for tests are needed")
    missing = [one.image for one in described if not one.image.is_file()]
    if len(missing) == len(described):
        raise NetdefError(
            f"{shown(path)}: none of the {len(described):,} images exists, such as {shown(missing[0])}; put them "
            "beside the labels"
        )
    pixels = measured([one.image for one in described], show)
    there = [one for one in described if one.image in pixels.sizes]
    wrong = [(one.image, what) for one in there if (what := _fault(one, *pixels.sizes[one.image]))]
    pixels = pixels._replace(broken=[*pixels.broken, *wrong])
    sides, ratios = _sides(there, pixels)
    low, middle, high = (float(x) for x in np.quantile(sides, (0.05, 0.5, 0.95)))
    return Seen(
        path=path,
        root=root,
        images=len(described),
        boxes=sum(counts.values()),
        most=max(len(one.boxes) for one in described),
        counts={name: counts[name] for name in names},
        pixels=pixels,
        sides=(low, middle, high),
        long=float(np.quantile(ratios, 0.9)),
    )


def _root(path: Path) -> Path | None:
    """The folder of the images of a .json file, if they are not beside it: one with the name in that of the file, as
    `train2017` of `instances_train2017.json`, or `images`."""
    file = box_files.label_file(path)
    if file.suffix != ".json":
        return None
    first = next(iter(box_files.read(file).images), None)
    if first is None or first.image.is_file():
        return None
    name = first.image.relative_to(file.parent)
    words = (file.stem.partition("_")[2], "images", file.stem)
    places = [base / word for base in (file.parent, file.parent.parent) for word in words if word]
    return next((place for place in places if (place / name).is_file()), None)


def _fault(one: box_files.Described, height: int, width: int) -> str:
    """What is wrong with the boxes of an image, as its data layer says; an empty string if nothing is."""
    if one.size is not None and one.size != (height, width):
        return f"it is {height}x{width}, but its labels are for {one.size[0]}x{one.size[1]}"
    rows = np.zeros((len(one.boxes), boxes.COLUMNS), np.float32)
    for row, box in zip(rows, one.boxes, strict=True):
        row[boxes.SIDES] = box.sides
    return boxes.fault(rows, (), height, width)


def _sides(described: Sequence[box_files.Described], pixels: Measured) -> tuple[list[float], list[float]]:
    """The root of the area of each box as a fraction of its image, and the ratio of its sides."""
    sides, ratios = [], []
    for one in described:
        whole = pixels.sizes[one.image]
        for xmin, ymin, xmax, ymax in (box.sides for box in one.boxes):
            width, height = (xmax - xmin) / whole[1], (ymax - ymin) / whole[0]
            if width > 0 and height > 0:
                sides.append(math.sqrt(width * height))
                ratios.append(max(width / height, height / width))
    if not sides:
        raise NetdefError(f"none of the boxes has an area, such as those of {shown(described[0].image)}")
    return sides, ratios


def heads(size: int, low: float, high: float) -> list[Head]:
    """The blocks that predict boxes of sides from `low` to `high` pixels: a block finds boxes of a few times the
    distance of its positions."""
    blocks = [b for b in range(FIRST, len(WIDTHS) + 1) if size // 2 ** (b - 1) >= 2]
    stride = lambda block: 2 ** (block - 1)
    used = [b for b in blocks if stride(b) * 2 <= high and stride(b) * 3 >= low] or blocks[:1]
    if len(used) == 1:  # two, because boxes of unknown images may be somewhat smaller or larger
        more = blocks[blocks.index(used[0]) + 1 :][:1] or blocks[: blocks.index(used[0])][-1:]
        used = sorted([*used, *more])
    high = max(high, low * 1.5)
    edges = [low * (high / low) ** (i / len(used)) for i in range(len(used) + 1)]
    pixels = [max(4, round(edge)) for edge in edges]
    return [Head(b, pixels[i], max(pixels[i + 1], pixels[i] + 2)) for i, b in enumerate(used)]


def _found(seen: Seen) -> list[str]:
    low, middle, high = (f"{100 * side:.0f} %" for side in seen.sides)
    return [
        f"{seen.images:,} images with {plural(seen.boxes, 'box', 'boxes')}, at most {seen.most} in one, of "
        f"{plural(len(seen.counts), 'class', 'classes')}: {listed(list(seen.counts))}",
        f"{'gray' if seen.pixels.gray else 'color'}, {seen.pixels.words}; {seen.images - seen.kept:,} of them will "
        "be used for tests only",
        f"most boxes have {low} to {high} of the side of their image, half of them less than {middle}",
    ]


def _notes(seen: Seen) -> list[str]:
    notes = broken_words(seen.pixels)
    if unused := [name for name, count in seen.counts.items() if not count]:
        notes.append(f"classes without a box: {listed(unused)}")
    return notes


def _text(seen: Seen, net: Path) -> str:
    plan = nets.schedule(seen.kept, 32, times=2)
    counts = [f"{name} ({count:,})" for name, count in seen.counts.items()]
    found = heads(seen.size, seen.sides[0] * seen.size, seen.sides[2] * seen.size)
    solver = nets.solver(
        plan,
        normalized=True,
        adam=0.001,
        more='eval_type: "detection" ap_version: "MaxIntegral"  # tests report the mAP\n',
    )
    return (
        comment(
            f"Finds objects of {plural(len(counts), 'class', 'classes')} in images, as in {shown(seen.path)}: a "
            "small SSD."
        )
        + 'import "std/conv.net"\nimport "std/ssd.net"\n'
        + f'\nname: "{net_name(seen.path)}"\n\n'
        + comment(
            f"The background is class 0; then come the classes of the boxes, with their number: {listed(counts)}."
        )
        + f"let classes: {len(counts) + 1}\n\n{_data(seen, net, plan.batch)}\n"
        + _body(seen, found)
        + solver
    )


def _data(seen: Seen, net: Path, batch: int) -> str:
    pixels, size = seen.pixels, seen.size
    deviation = sum(pixels.deviation) / len(pixels.deviation)
    mean = [number(one) for one in pixels.mean]
    small = seen.sides[0] * size
    root = f" root_folder: {source_of(seen.root, net)}" if seen.root else ""
    color = " is_color: false" if pixels.gray else ""
    skip = " skip_corrupt: true" if pixels.broken else ""
    broken = f" Images that cannot be used ({len(pixels.broken):,}) are replaced by the next ones." if skip else ""
    return (
        comment(
            f"The images are {'gray' if pixels.gray else 'in color'}, {pixels.words}; 80 % of them are for training, "
            f"{seen.kept:,}, and tests use the other {seen.images - seen.kept:,}.{broken}"
        )
        + f"""layer {{
  name: "images" type: "BoxFolder" top: "data" top: "label"
  box_folder_param {{
    source: {source_of(seen.path, net)}{root} batch_size: {batch}{color}
"""
        + comment(
            "In training, one in two images is whole, and of the others, a random part is used that contains a whole "
            "box."
        )
        + """    batch_sampler { max_sample: 1 max_trials: 1 }
    batch_sampler {
      sampler { min_scale: 0.5 max_scale: 1 min_aspect_ratio: 0.75 max_aspect_ratio: 1.33 }
      sample_constraint { min_object_coverage: 1 }
      max_sample: 1 max_trials: 20
    }
  }
"""
        + f"sample_param {{ split: 0.8{skip} }}\ntransform_param {{\n"
        + comment(
            f"Pixels have mean {', '.join(mean)}, and standard deviation {number(deviation)}, which become 0 and 1."
        )
        + f"mean_value: [{', '.join(mean)}] scale: {number(1 / deviation)}\n"
        + comment(f"At {size}x{size} pixels, the sides of small boxes have about {small:.0f}.")
        + f"resize_param {{ height: {size} width: {size} }}\n"
        + comment("In training, half of the images are mirrored; a third become parts of a larger canvas, so smaller.")
        + """mirror: true
    expand_param { prob: 0.3 max_expand_ratio: 1.5 }
    emit_constraint { emit_type: CENTER }
  }
}
"""
    )


def _body(seen: Seen, found: list[Head]) -> str:
    size = seen.size
    lines = [comment("Convolutions with batch normalization and ReLU; each block has half the size of the one before.")]
    bottom = "data"
    for block in range(1, found[-1].block + 1):
        out, side = WIDTHS[block - 1], -(-size // 2 ** (block - 1))
        if block > 1:
            lines.append(f'max_pool {{ name: "pool{block - 1}" bottom: "{bottom}" kernel: 2 }}\n')
            bottom = f"pool{block - 1}"
        if block >= FIRST:
            lines.append(f'conv_bn_relu {{ name: "conv{block}a" bottom: "{bottom}" out: {out} }}\n')
            bottom = f"conv{block}a"
        lines.append(f'conv_bn_relu {{ name: "conv{block}" bottom: "{bottom}" out: {out} }}  # {side}x{side}\n')
        bottom = f"conv{block}"
    low, high = (round(fraction * size) for fraction in (seen.sides[0], seen.sides[2]))
    ratios = "[2, 3]" if seen.long >= LONG else "[2]"
    lines.append(
        "\n"
        + comment(
            f"Most boxes have sides of {low} to {high} pixels at this size. Each head predicts, at every position of "
            "its block, boxes of sides from min_size to max_size, and of the ratios 1, "
            f"{'2 and 3' if '3' in ratios else '2'}."
        )
    )
    for head in found:
        lines.append(
            f'ssd_head {{ name: "{head.name}" classes: ${{classes}} min_size: {head.smallest} max_size: {head.largest} '
            f"ratios: {ratios} }}\n"
        )
    names = ", ".join(f'"{head.name}"' for head in found)
    lines.append(comment("The loss in training, the boxes that are found, and their mean average precision in tests."))
    lines.append(f"ssd {{ heads: [{names}] classes: ${{classes}} }}\n")
    return "".join(lines)
