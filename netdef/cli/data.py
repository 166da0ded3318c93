"""Make, measure and check data sets.

A SOURCE is a folder with a folder of images for each class, a list of images (`path label` on each line), a table
(.csv), an LMDB or LevelDB database, .npz, .npy or .h5 files, MNIST's idx files or CIFAR's .bin files.  `mean`, `stats`
and `check` take a net too, and mean what its data layer reads.

  netdef data convert faces faces.lmdb --resize 50x50 --gray
  netdef data convert train-images-idx3-ubyte.gz mnist.h5
  netdef data mean faces.lmdb --output mean.binaryproto
  netdef data stats model.net --sheet samples.png
  netdef data check faces.lmdb
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..language.errors import NetdefError
from . import UsageError
from ._options import existing, load_plugins
from ._output import say
from ._records import add_source, bar, is_net, net_of, read_all, records_of

HELP = "make, measure and check data sets: convert, mean, stats, check"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="convert|mean|stats|check")
    one = actions.add_parser("convert", help="write a data set as LMDB, HDF5 or .npz")
    add_source(one)
    one.add_argument("target", metavar="TARGET", help="what to write: NAME.lmdb, NAME.h5 or NAME.npz")
    one.add_argument("--to", choices=("lmdb", "hdf5", "npz"), help="format, where the name of TARGET does not say")
    one.add_argument("--encoded", action="store_true", help="store image files as they are (LMDB)")
    one.add_argument("--shuffle", action="store_true", help="write the records in a random order")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="of that order (default 0)")
    one.add_argument("--skip-corrupt", action="store_true", help="leave out records that cannot be read")
    one.add_argument("--force", action="store_true", help="replace TARGET if it is there, and do not resume")
    one = actions.add_parser("mean", help="write the mean image as Caffe's binaryproto")
    add_source(one)
    one.add_argument("--output", "-o", required=True, metavar="FILE", help="the file to write")
    one = actions.add_parser("stats", help="count, shapes, classes, mean and deviation")
    add_source(one)
    one.add_argument("--sheet", metavar="PNG", help="write a picture of samples, of a net as it sees them in training")
    one.add_argument("--json", action="store_true", help="print JSON")
    one = actions.add_parser("check", help="read every record and name those that are broken")
    add_source(one)


def run(args: argparse.Namespace) -> int:
    load_plugins(args.plugin)
    existing(args.source, "data set or net")
    return {"convert": _convert, "mean": _mean, "stats": _stats, "check": _check}[args.action](args)


def _convert(args: argparse.Namespace) -> int:
    import numpy as np

    from ..data.base import generator
    from ..data.convert import convert, open_sink

    target = Path(args.target)
    if target.exists() and not args.force:
        raise UsageError(f"{target} is there already; choose another name, or give --force to replace it")
    records = records_of(args)
    order = generator(args.seed, "convert").permutation(records.size) if args.shuffle else np.arange(records.size)
    with open_sink(target, args.to, resume=not args.force) as sink, bar(records.size, "written") as show:
        if sink.done:
            say(f"goes on at record {sink.done} of {records.size}")
        skip = {"encoded": args.encoded, "skip_corrupt": args.skip_corrupt}
        broken = convert(records, order, sink, progress=show, **skip)
    for text in broken:
        say(f"left out: {text}")
    print(f"{target}: {records.size - len(broken):,} records" + (f", {len(broken):,} left out" if broken else ""))
    return 0


def _mean(args: argparse.Namespace) -> int:
    from ..interop.means import write_mean

    moments = _measure(args)[0]
    image = moments.mean_image
    if image is None:
        raise NetdefError(f"{args.source}: images have several sizes, so they have no mean image; give --resize HxW.")
    c, h, w = image.shape
    write_mean(Path(args.output), image)
    print(f"{args.output}: the mean of {moments.count:,} images {c}x{h}x{w}")
    print("mean_value: " + " mean_value: ".join(f"{m:.4f}" for m in moments.mean))
    return 0


def _stats(args: argparse.Namespace) -> int:
    moments, shapes, classes = _measure(args)
    found = {
        "records": moments.count,
        "shapes": {"x".join(map(str, shape)): count for shape, count in sorted(shapes.items())},
        "classes": {str(kind): count for kind, count in sorted(classes.items())},
        "mean": [round(float(m), 5) for m in moments.mean],
        "deviation": [round(float(d), 5) for d in moments.deviation],
    }
    if args.sheet:
        _sheet(args)
    print(json.dumps(found, indent=2) if args.json else "\n".join(_lines(found)))
    return 0


def _lines(found: dict[str, Any]) -> list[str]:
    """The statistics in words, with fields to paste into a net."""
    shapes = ", ".join(
        f"{shape}" + (f" ({count:,})" if len(found["shapes"]) > 1 else "") for shape, count in found["shapes"].items()
    )
    lines = [f"records    {found['records']:,}", f"shapes     {shapes}"]
    counts = list(found["classes"].values())
    if counts:
        lines.append(f"classes    {len(counts):,}, of {min(counts):,} to {max(counts):,} records")
        if len(counts) <= 20:
            lines += [f"  {kind:>8}  {count:,}" for kind, count in found["classes"].items()]
    lines.append("mean       " + " ".join(f"{m:.4f}" for m in found["mean"]))
    lines.append("deviation  " + " ".join(f"{d:.4f}" for d in found["deviation"]))
    means = " ".join(f"mean_value: {m:.4f}" for m in found["mean"])
    scale = len(found["deviation"]) / sum(found["deviation"])
    lines.append(f"in a net   transform_param {{ {means} scale: {scale:.6f} }}")
    return lines


def _sheet(args: argparse.Namespace) -> None:
    """Samples, as the net sees them if it is one."""
    import numpy as np

    from ..data.contact_sheet import contact_sheet
    from ..data.feed import Feed

    if is_net(args.source):
        net = net_of(args)
        with Feed(net) as feed:
            batch = next(feed)
        images = next((x for x in batch.values() if x.ndim == 4), None)
        if images is None:
            raise NetdefError(f"{args.source}: none of the data layers delivers images.")
    else:
        records = records_of(args)
        numbers = np.linspace(0, records.size - 1, min(64, records.size)).astype(int)
        found = [records.decode(raw).image for raw in records.read(numbers)]
        images = np.stack([image for image in found if image.shape == found[0].shape])
    contact_sheet(images[:64], Path(args.sheet))


def _check(args: argparse.Namespace) -> int:
    from ..data.layers._image_layer import Corrupt

    records = records_of(args)
    faults, shapes = [], {}
    with bar(records.size, "read") as show:
        for number, raw in read_all(records, show):
            try:
                image = records.decode(raw).image
                shapes.setdefault(image.shape, number)
            except Corrupt as error:
                faults.append(str(error))
    for text in faults:
        print(text)
    if len(shapes) > 1:
        print(f"{args.source}: images have {len(shapes)} shapes, so they need resizing or a cut")
    print(f"{args.source}: {records.size:,} records, {len(faults):,} broken")
    return 1 if faults else 0


def _measure(args: argparse.Namespace) -> tuple[Any, dict[Any, int], dict[int, int]]:
    """Moments of all images, how often each shape occurs, and each class."""
    from ..data.statistics import Moments

    records = records_of(args)
    moments, shapes, classes = Moments(), {}, {}
    with bar(records.size, "measured") as show:
        for _, raw in read_all(records, show):
            record = records.decode(raw)
            try:
                moments.add(record.image)
            except ValueError as error:
                raise NetdefError(f"{record.name}: {error}.") from None
            shapes[record.image.shape] = shapes.get(record.image.shape, 0) + 1
            label = record.labels[0] if record.labels else None
            if label is not None and getattr(label, "shape", ()) == () and label == int(label):
                classes[int(label)] = classes.get(int(label), 0) + 1
    return moments, shapes, classes
