"""Convert, measure and check data sets, and list the words of texts.

SOURCE is a folder with one subfolder of images for each class, a list of images (`path label` on each line), a table
(.csv), an LMDB or LevelDB database, tar files of WebDataset (one, a folder of them, or a quoted pattern such as
'train-{000..146}.tar'), a .npz, .npy or .h5 file, an idx file of MNIST or a .bin file of CIFAR; or images with boxes: a
folder of VOC, a .json file of COCO, a table with the sides of each box, or a database of the SSD fork. It can also be
a net, which means the records that its data layer reads. Of a table without images (.csv, .tsv, .parquet), `stats` and
`check` read the columns.

  netdef data convert faces faces.lmdb --resize 50x50 --gray
  netdef data convert train-images-idx3-ubyte.gz mnist.h5
  netdef data mean faces.lmdb --output mean.binaryproto
  netdef data stats model.net --sheet samples.png
  netdef data stats houses.csv
  netdef data check faces.lmdb
  netdef data vocabulary reviews.csv --column text --output words.txt
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
from ._tables import VOCABULARY, add_vocabulary, check_columns, show_columns, table_of, write_vocabulary

HELP = "convert, measure and check data sets"
CONVERT = """\
Write a data set as LMDB, HDF5, .npz or tar files of WebDataset.

An interrupted conversion to LMDB, HDF5 or tar resumes when the command is repeated.
Images with boxes (a folder of VOC, a .json file of COCO, a .csv file with the columns image, label, xmin, ymin, xmax,
ymax) become an LMDB for AnnotatedData, with a label map beside it.

  netdef data convert faces faces.lmdb --resize 50x50 --gray
  netdef data convert train-images-idx3-ubyte.gz mnist.h5
  netdef data convert list.txt train.lmdb --root images --encoded --shuffle
  netdef data convert VOC2007 voc.lmdb --encoded --image-set VOC2007/ImageSets/Main/trainval.txt
  netdef data convert instances.json coco.lmdb --root train2017 --encoded
  netdef data convert list.txt train --to tar --shard-size 10000 --root images --encoded --shuffle
"""
MEAN = """\
Write the mean image of a data set as .binaryproto for Caffe, and print the mean of each channel.

  netdef data mean faces.lmdb --output mean.binaryproto
  netdef data mean model.net --layer data --output mean.binaryproto
"""
STATS = """\
Print the number of records, their shapes and classes, and the mean and standard deviation of each channel; of a table,
what each column contains.

  netdef data stats faces.lmdb
  netdef data stats houses.csv
  netdef data stats model.net --sheet samples.png
"""
CHECK = """\
Read every record and list the corrupt ones; of a table, the columns with mistakes. The exit code is 1 if there are any.

  netdef data check faces.lmdb
  netdef data check model.net --phase TEST
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="convert|mean|stats|check|vocabulary", title="actions"
    )
    raw: Any = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    one = actions.add_parser("convert", help="write a data set as LMDB, HDF5, .npz or tar", description=CONVERT, **raw)
    add_source(one)
    one.add_argument("target", metavar="TARGET", help="data set to write: NAME.lmdb, NAME.h5, NAME.npz or NAME.tar")
    one.add_argument(
        "--to", choices=("lmdb", "hdf5", "npz", "tar"), help="format (default: by the extension of TARGET)"
    )
    one.add_argument(
        "--shard-size", type=int, metavar="N", help="TARGET is a folder of tar files with N records each (tar)"
    )
    one.add_argument("--encoded", action="store_true", help="store the image files undecoded (LMDB, tar)")
    one.add_argument("--shuffle", action="store_true", help="write the records in random order")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random order (default: 0)")
    one.add_argument("--skip-corrupt", action="store_true", help="skip records that cannot be read")
    one.add_argument("--force", action="store_true", help="replace TARGET if it exists, and do not resume")
    one = actions.add_parser("mean", help="write the mean image for Caffe", description=MEAN, **raw)
    add_source(one)
    one.add_argument("--output", "-o", required=True, metavar="FILE", help="write the mean to this file")
    one = actions.add_parser("stats", help="print count, shapes, classes, mean, deviation", description=STATS, **raw)
    add_source(one)
    one.add_argument("--sheet", metavar="FILE", help="write samples as one PNG, those of a net preprocessed")
    one.add_argument("--json", action="store_true", help="print the result as JSON")
    one = actions.add_parser("check", help="read every record and list the corrupt ones", description=CHECK, **raw)
    add_source(one)
    one = actions.add_parser("vocabulary", help="list the words of texts", description=VOCABULARY, **raw)
    add_vocabulary(one)


def run(args: argparse.Namespace) -> int:
    from ..data.layers.tar import is_pattern

    if args.action == "vocabulary":
        return write_vocabulary(args)
    load_plugins(args.plugin)
    if not is_pattern(args.source):
        existing(args.source, "source")
    return {"convert": _convert, "mean": _mean, "stats": _stats, "check": _check}[args.action](args)


def _convert(args: argparse.Namespace) -> int:
    import numpy as np

    from ..data.base import generator
    from ..data.convert import convert, kind_of, open_sink
    from ..data.label_map import write_label_map
    from ..data.layers._box_layer import BoxRecords

    target = Path(args.target)
    kind = args.to or kind_of(target)
    if args.shard_size is not None and (kind != "tar" or args.shard_size < 1):
        raise UsageError(f"--shard-size {args.shard_size} of {kind}: expected at least 1, and --to tar")
    options = {"shard_size": args.shard_size} if args.shard_size else {}
    if target.exists() and not args.force:
        raise UsageError(f"{target} already exists; choose another name, or replace it with --force")
    records = records_of(args)
    order = generator(args.seed, "convert").permutation(records.size) if args.shuffle else np.arange(records.size)
    with open_sink(target, kind, resume=not args.force, **options) as sink, bar(records.size, "written") as show:
        if sink.done:
            say(f"resuming at record {sink.done} of {records.size}")
        skip = {"encoded": args.encoded, "skip_corrupt": args.skip_corrupt}
        broken = convert(records, order, sink, progress=show, **skip)
    if names := records.names() if isinstance(records, BoxRecords) else {}:
        write_label_map(target.with_name(target.name + ".labelmap.prototxt"), names)
    for text in broken:
        say(f"skipped: {text}")
    print(f"{target}: {records.size - len(broken):,} records" + (f", {len(broken):,} skipped" if broken else ""))
    return 0


def _mean(args: argparse.Namespace) -> int:
    from ..interop.means import write_mean

    moments = _measure(args)[0]
    image = moments.mean_image
    if image is None:
        raise NetdefError(
            f"{args.source}: the images have different sizes, so there is no mean image; use --resize HxW."
        )
    c, h, w = image.shape
    write_mean(Path(args.output), image)
    print(f"{args.output}: mean of {moments.count:,} images of shape {c}x{h}x{w}")
    print("mean_value: " + " mean_value: ".join(f"{m:.4f}" for m in moments.mean))
    return 0


def _stats(args: argparse.Namespace) -> int:
    table = table_of(args)
    if table is not None:
        if args.sheet:
            raise UsageError(f"--sheet shows images, but {args.source} is a table")
        show_columns(table, args.json)
        return 0
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
    """Returns the statistics as lines, with fields to paste into a net."""
    shapes = ", ".join(
        f"{shape}" + (f" ({count:,})" if len(found["shapes"]) > 1 else "") for shape, count in found["shapes"].items()
    )
    lines = [f"records    {found['records']:,}", f"shapes     {shapes}"]
    counts = list(found["classes"].values())
    if counts:
        lines.append(f"classes    {len(counts):,}, with {min(counts):,} to {max(counts):,} records each")
        if len(counts) <= 20:
            lines += [f"  {kind:>8}  {count:,}" for kind, count in found["classes"].items()]
    lines.append("mean       " + " ".join(f"{m:.4f}" for m in found["mean"]))
    lines.append("deviation  " + " ".join(f"{d:.4f}" for d in found["deviation"]))
    means = " ".join(f"mean_value: {m:.4f}" for m in found["mean"])
    scale = len(found["deviation"]) / sum(found["deviation"])
    lines.append(f"in a net   transform_param {{ {means} scale: {scale:.6f} }}")
    return lines


def _sheet(args: argparse.Namespace) -> None:
    """Writes a contact sheet of samples; those of a net are preprocessed as in training."""
    import numpy as np

    from ..data.contact_sheet import contact_sheet
    from ..data.feed import Feed

    if is_net(args.source):
        net = net_of(args)
        with Feed(net) as feed:
            batch = next(feed)
        images = next((x for x in batch.values() if x.ndim == 4), None)
        if images is None:
            raise NetdefError(f"{args.source}: no data layer outputs images.")
    else:
        records = records_of(args)
        numbers = np.linspace(0, records.size - 1, min(64, records.size)).astype(int)
        found = [records.decode(raw).image for raw in records.read(numbers)]
        images = np.stack([image for image in found if image.shape == found[0].shape])
    contact_sheet(images[:64], Path(args.sheet))


def _check(args: argparse.Namespace) -> int:
    from ..data.layers._image_layer import Corrupt

    if (table := table_of(args)) is not None:
        return check_columns(table)
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
        print(f"{args.source}: the images have {len(shapes)} different shapes; they must be resized or cropped")
    print(f"{args.source}: {records.size:,} records, {len(faults):,} corrupt")
    return 1 if faults else 0


def _measure(args: argparse.Namespace) -> tuple[Any, dict[Any, int], dict[int, int]]:
    """Returns the moments of all images, and the count of each shape and of each class (of boxes, if there are any)."""
    from ..data.boxes import LABEL, Boxes
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
            if isinstance(label, Boxes):
                for kind in label.rows[:, LABEL].astype(int).tolist():
                    classes[kind] = classes.get(kind, 0) + 1
                continue
            if label is not None and getattr(label, "shape", ()) == () and label == int(label):
                classes[int(label)] = classes.get(int(label), 0) + 1
    return moments, shapes, classes
