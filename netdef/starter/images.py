"""A starter net for a folder of images by class, with or without folders of its own for training and for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..data.damage import reading, reason
from ..data.images import Undecodable, decode, size_of
from ..data.layers.folder import images_in
from ..data.statistics import Moments
from ..files import shown
from ..language.errors import NetdefError
from ..language.expansion.folders import subfolders
from ..lazy import np
from . import nets
from .words import comment, listed, net_name, number, plural, source_of

MOST = 1000  # images that are decoded
TRAINING = ("train", "training")
TESTING = ("val", "valid", "validation", "test", "testing")
BIG = 512  # pixels of a side, from which only some pixels are measured

Show = Callable[[int, int], None]  # (done, of how many)


class Measured(NamedTuple):
    """What some images have in common."""

    count: int  # images that were read
    heights: Any
    widths: Any
    gray: bool
    mean: tuple[float, ...]  # of each channel: of one, or of B, G, R
    deviation: tuple[float, ...]
    broken: list[tuple[Path, str]]  # those that cannot be used, and why
    sizes: Mapping[Path, tuple[int, int]]  # (height, width) of the others

    @property
    def size(self) -> tuple[int, int]:
        """The median (height, width)."""
        return int(np.median(self.heights)), int(np.median(self.widths))

    @property
    def one_size(self) -> bool:
        return len(set(zip(self.heights.tolist(), self.widths.tolist(), strict=True))) == 1

    @property
    def words(self) -> str:
        height, width = self.size
        if self.one_size:
            return f"{height}x{width} pixels (height x width)"
        low, high = (f"{f(self.heights)}x{f(self.widths)}" for f in (np.min, np.max))
        return f"{low} to {high} pixels (height x width), median {height}x{width}"


def measured(paths: list[Path], show: Show) -> Measured:
    """Reads images, evenly spaced ones of many.  NetdefError if none of them can be read."""
    chosen = [paths[i * len(paths) // MOST] for i in range(MOST)] if len(paths) > MOST else paths
    moments, broken, gray = Moments(), [], True
    sizes: dict[Path, tuple[int, int]] = {}
    for count, path in enumerate(chosen, 1):
        show(count, len(chosen))
        try:
            data = path.read_bytes()
            height, width, _ = size_of(data)
            image = decode(data, True, scaled_to=(BIG, BIG))
        except Undecodable as error:
            broken.append((path, str(error)))
            continue
        except OSError as error:
            broken.append((path, reason(error)))
            continue
        sizes[path] = height, width
        some = image[:: max(1, image.shape[0] // BIG), :: max(1, image.shape[1] // BIG)]
        gray = gray and bool((some == some[:, :, :1]).all())
        moments.add(some.transpose(2, 0, 1))
    if not sizes:
        path, why = broken[0]
        raise NetdefError(f"none of the {plural(len(chosen), 'image')} can be read; the first is {shown(path)} ({why})")
    heights, widths = np.array([*sizes.values()]).T
    channels = slice(0, 1 if gray else 3)
    mean, deviation = (tuple(float(x) for x in values[channels]) for values in (moments.mean, moments.deviation))
    return Measured(len(chosen), heights, widths, gray, mean, deviation, broken, sizes)


class Classes(NamedTuple):
    """The images of each class of a folder."""

    folder: Path
    images: dict[str, list[Path]]

    @property
    def count(self) -> int:
        return sum(map(len, self.images.values()))


def classes_in(folder: Path) -> Classes:
    """The classes of a folder.  NetdefError if it does not have two or more, or if one has no images."""
    names = subfolders_of(folder)
    if not names:
        loose = len(images_in(folder))
        there = f"{plural(loose, 'image')}, but no subfolders" if loose else "neither images nor subfolders"
        raise NetdefError(
            f"the folder {shown(folder)} has {there}; put the images of each class into a subfolder with its name"
        )
    found = Classes(folder, {name: sorted(images_in(folder / name)) for name in names})
    empty = [name for name, images in found.images.items() if not images]
    if not found.count:
        raise NetdefError(f"the folder {shown(folder)} has {plural(len(names), 'subfolder')}, but no images in them")
    if empty:
        raise NetdefError(
            f"{shown(folder)} has no images in the subfolder {shown(empty[0])}, which would be a class"
            + (f", and in {len(empty) - 1} more" if len(empty) > 1 else "")
            + "; remove it, or add images"
        )
    if len(names) == 1:
        raise NetdefError(
            f"{shown(folder)} has one subfolder of images, {shown(names[0])}, and so one class; a net that classifies "
            "needs two or more"
        )
    return found


def subfolders_of(folder: Path) -> list[str]:
    """The names of the subfolders.  NetdefError if the folder cannot be read."""
    with reading(folder, "folder"):
        return subfolders(folder)


def parts_of(folder: Path) -> tuple[Path, Path | None]:
    """The folders for training and for tests, if the subfolders have such names; else the folder itself."""
    names = subfolders_of(folder)
    by_name = {name.lower(): name for name in names}
    train = next((by_name[name] for name in TRAINING if name in by_name), None)
    test = next((by_name[name] for name in TESTING if name in by_name), None)
    if train is None or test is None or len(names) > 3 or not subfolders_of(folder / train):
        return folder, None
    return folder / train, folder / test


def starter(path: Path, net: Path, show: Show) -> tuple[str, list[str], list[str]]:
    """Returns the net, lines about the data, and notes on what is not as it should be."""
    folder, other = parts_of(path)
    train = classes_in(folder)
    test = classes_in(other) if other else None
    if test and list(test.images) != list(train.images):
        odd = sorted(set(test.images) ^ set(train.images))[0]
        raise NetdefError(
            f"{shown(test.folder)} and {shown(train.folder)} have different subfolders, such as {shown(odd)}, so "
            "that the numbers of their classes would differ; give both the same ones"
        )
    seen = measured([image for images in train.images.values() for image in images], show)
    split = None if test else nets.part_for_training([len(images) for images in train.images.values()])
    text = _text(path, net, train, test, seen, split)
    return text, _found(train, test, seen, split), _notes(path, train, seen, split)


def _kept(train: Classes, split: float | None) -> int:
    """The number of images that are used for training."""
    return sum(round(len(images) * (split or 1)) for images in train.images.values())


def _found(train: Classes, test: Classes | None, seen: Measured, split: float | None) -> list[str]:
    sizes = sorted((len(images), name) for name, images in train.images.items())
    each = f"{sizes[0][0]:,}" if sizes[0][0] == sizes[-1][0] else f"{sizes[0][0]:,} ({shown(sizes[0][1])}) to "
    each += "" if sizes[0][0] == sizes[-1][0] else f"{sizes[-1][0]:,} ({shown(sizes[-1][1])})"
    kept = _kept(train, split)
    where = f"the folder {shown(test.folder.name)}" if test else f"{train.count - kept:,} of them"
    count = f"{train.count:,} images" + (f" for training, {test.count:,} for tests" if test else "")
    some = f" (of {seen.count:,} images)" if seen.count < train.count else ""
    return [
        f"{count} in {plural(len(train.images), 'class', 'classes')}: {listed(list(train.images))}",
        f"{each} images in each class; {where} will be used for tests only",
        f"{'gray' if seen.gray else 'color'}, {seen.words}{some}",
    ]


def broken_words(seen: Measured) -> list[str]:
    """A note on images that cannot be read, if there are any."""
    if not seen.broken:
        return []
    named = "; ".join(f"{shown(file)} ({why})" for file, why in seen.broken[:3])
    more = f"; and {len(seen.broken) - 3:,} more" if len(seen.broken) > 3 else ""
    return [
        f"{len(seen.broken):,} of {plural(seen.count, 'image')} cannot be used, and the net skips them: {named}{more}"
    ]


def _notes(path: Path, train: Classes, seen: Measured, split: float | None) -> list[str]:
    notes = broken_words(seen)
    if seen.count < train.count:
        notes.append(f"only {seen.count:,} of {train.count:,} images were read; `netdef data check {path}` reads all")
    untested = [name for name, images in train.images.items() if split and round(split * len(images)) == len(images)]
    untrained = [name for name, images in train.images.items() if split and not round(split * len(images))]
    if untested:
        notes.append(f"too few images for tests: {listed(untested)}")
    if untrained:
        notes.append(f"too few images for training: {listed(untrained)}")
    return notes


def _text(path: Path, net: Path, train: Classes, test: Classes | None, seen: Measured, split: float | None) -> str:
    way = _fitted(seen)
    height, width = way.height, way.width
    kept = _kept(train, split)
    plan = nets.schedule(kept, 64 if min(height, width) <= nets.SMALL else 32)
    counts = [f"{name} ({len(images):,})" for name, images in train.images.items()]
    targets = nets.Targets(classes=len(counts))
    imports = ['import "std/conv.net"', 'import "std/classifier.net"']
    if min(height, width) > nets.MEDIUM:
        imports.insert(1, 'import "std/resnet.net"')
    data = _data(net, train, test, seen, plan.batch, split)
    return (
        comment(f"Classifies images of {plural(len(counts), 'class', 'classes')}, as in the folder {shown(path)}.")
        + "\n".join(imports)
        + f'\n\nname: "{net_name(path)}"\n\n'
        + comment(f"The classes are the subfolders, in order of their names, with their images: {listed(counts)}.")
        + f"let classes: {len(counts)}\n\n{data}\n"
        + nets.convolutional(height, width, kept, targets)
        + nets.losses(targets)
        + nets.solver(plan, normalized=True)
    )


class Fitted(NamedTuple):
    """The size of the images that the net sees; the fields of `image_folder_param` that resize them; and whether a part
    of the resized image is cut out."""

    height: int
    width: int
    fields: str = ""
    cut: bool = False

    @property
    def words(self) -> str:
        side = min(self.height, self.width)
        if not self.cut:
            return f" All are resized to {self.height}x{self.width}." if self.fields else ""
        return (
            f" They are resized so that the shorter side has {side + side // 8} pixels; then a square of {side} is cut "
            "out, at random in training, in the center in tests."
        )


def _fitted(seen: Measured) -> Fitted:
    """Images of one size stay as they are, unless they are large; the sides of others become their medians."""
    height, width = seen.size
    side = min(height, width)
    if side > nets.MEDIUM and (side >= nets.SHARPEST or not seen.one_size):
        side = min(nets.SHARPEST, side // 32 * 32)
        return Fitted(side, side, f"short_side: {side + side // 8}", cut=True)
    return Fitted(height, width, "" if seen.one_size else f"new_height: {height} new_width: {width}")


def _data(net: Path, train: Classes, test: Classes | None, seen: Measured, batch: int, split: float | None) -> str:
    way = _fitted(seen)
    words = f"The images are {'gray' if seen.gray else 'in color'}, {seen.words}.{way.words}"
    mirror = not seen.gray or min(way.height, way.width) > nets.MEDIUM
    if mirror:
        words += " Half of them are mirrored in training; remove `mirror` if left and right matter, as in letters."
    kept = _kept(train, split)
    if split:
        words += f" {100 * split:.0f} % of each class are for training, {kept:,} images; "
        words += f"tests use the other {train.count - kept:,}."
    sizes = [len(images) for images in train.images.values()]
    sample = [f"split: {split}"] if split else []
    if max(sizes) >= nets.UNEVEN * min(sizes):
        sample.append("balance: true")
        words += f" Classes of {min(sizes):,} to {max(sizes):,} images are drawn equally often."
    if seen.broken:
        sample.append("skip_corrupt: true")
        words += f" Images that cannot be used ({len(seen.broken):,}) are replaced by the next ones."
    deviation = sum(seen.deviation) / len(seen.deviation)
    mean = ", ".join(map(number, seen.mean))
    means = mean if seen.gray else f"[{mean}]"
    order = "" if seen.gray else ", of blue, green and red"
    crop = f"crop_size: {way.height} " if way.cut else ""
    scaled = comment(
        f"The pixels have mean {mean}{order}, and standard deviation {number(deviation)}; they become 0 and 1."
    )
    transform = f"{'mirror: true ' if mirror else ''}{crop}mean_value: {means} scale: {number(1 / deviation)}"
    color = " is_color: false" if seen.gray else ""
    layers = []
    for classes, phase in ((train, "TRAIN"), (test, "TEST")) if test else ((train, ""),):
        assert classes is not None
        rule = f"include {{ phase: {phase} }}\n" if phase else ""
        source = f"source: {source_of(classes.folder, net)} batch_size: {batch} {way.fields}{color}"
        chosen = f"sample_param {{ {' '.join(sample)} }}\n" if sample and phase != "TEST" else ""
        layers.append(
            f'layer {{\nname: "images" type: "ImageFolder" top: "data" top: "label"\n{rule}'
            f"image_folder_param {{ {source} }}\n{chosen}{scaled if phase != 'TEST' else ''}transform_param "
            f"{{ {transform} }}\n}}\n"
        )
    return comment(words) + "".join(layers)
