"""Damaged data files in great number: what the readers make of them.

    python tests/fuzzing/fuzz_data.py                             300 mutations of each kind of data set
    python tests/fuzzing/fuzz_data.py --mutations 2000 lmdb npz   so many of these kinds
    python tests/fuzzing/fuzz_data.py --seed 17 lmdb              one mutation again, with its whole error

Each data set is read through a net and through `netdef data`; either is a NetdefError of one line, or the values of the
undamaged files.  `values` counts other values, which formats without checksums cannot know.  Each kind runs in a process
of its own, so that a crash is seen as one; it ends the mutation, and those after it go on in another process.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

RECORDS, BATCH, BATCHES = 12, 4, 4  # one batch more than an epoch
SLOWEST = 2.0  # seconds of CPU
STUCK = 300  # seconds after which the process ends itself
CHECKED = ("npz", "leveldb")  # formats with checksums, where other values are a mistake


class DataSet(NamedTuple):
    """How a kind of data set is written and read: a layer's type, block and tops, and what `netdef data` opens."""

    write: Callable[[Path], None]
    layer: str
    block: str
    source: str
    top: str = "data label"
    opened: str = ""
    also: str = ""


def images():
    import numpy as np
    from data_sets import numbered

    return numbered(RECORDS, 3, 20, 20), np.arange(RECORDS) % 3


def lmdb_set(folder: Path) -> None:
    from data_sets import datum, write_lmdb

    records = [datum(image, label) for image, label in zip(*images(), strict=True)]
    write_lmdb(folder / "db", records)
    (folder / "db" / "lock.mdb").unlink()


def leveldb_set(folder: Path) -> None:
    import plyvel
    from data_sets import datum

    db = plyvel.DB(str(folder / "db"), create_if_missing=True)
    for i, (image, label) in enumerate(zip(*images(), strict=True)):
        db.put(b"%08d" % i, datum(image, label))
        if i == RECORDS // 2:
            db.compact_range()  # the first half is in a table, the second in the log
    db.close()
    for name in ("LOG", "LOG.old", "LOCK"):
        (folder / "db" / name).unlink(missing_ok=True)


def hdf5_set(folder: Path) -> None:
    import h5py

    data, label = images()
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("data", data=data, chunks=(5, 3, 20, 20), compression="gzip")
        file["label"] = label.astype("float32")
    (folder / "list.txt").write_text("x.h5\n")


def npz_set(folder: Path) -> None:
    import numpy as np

    data, label = images()
    np.savez_compressed(folder / "x.npz", data=data, label=label)


def npy_set(folder: Path) -> None:
    import numpy as np

    (folder / "rows").mkdir()
    for name, array in zip(("data", "label"), images(), strict=True):
        np.save(folder / "rows" / f"{name}.npy", array)


def image_set(folder: Path) -> None:
    from PIL import Image

    kinds = ("png", "jpg", "bmp", "gif", "tif", "webp", "ppm")
    for i, image in enumerate(images()[0]):
        place = folder / "faces" / f"class{i % 3}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(place / f"{i}.{kinds[i % len(kinds)]}")


def list_set(folder: Path) -> None:
    from data_sets import write_images

    names = write_images(folder, images()[0])
    (folder / "list.txt").write_text("".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))


def csv_set(folder: Path) -> None:
    from data_sets import write_images

    names = write_images(folder, images()[0])
    rows = [f'"{name}",{i % 3},{"cat" if i % 2 else "dog"}\n' for i, name in enumerate(names)]
    (folder / "t.csv").write_text("".join(["file,label,kind\n", *rows]))


def tar_set(folder: Path) -> None:
    from data_sources import members, write_tar

    write_tar(folder / "x.tar", [members(image, int(label)) for image, label in zip(*images(), strict=True)])


KINDS = {
    "lmdb": DataSet(lmdb_set, "Data", "data_param", "db", also="backend: LMDB"),
    "leveldb": DataSet(leveldb_set, "Data", "data_param", "db"),
    "hdf5": DataSet(hdf5_set, "HDF5Data", "hdf5_data_param", "list.txt", opened="x.h5"),
    "npz": DataSet(npz_set, "ArrayData", "array_data_param", "x.npz"),
    "npy": DataSet(npy_set, "ArrayData", "array_data_param", "rows"),
    "image": DataSet(image_set, "ImageFolder", "image_folder_param", "faces"),
    "list": DataSet(list_set, "ImageData", "image_data_param", "list.txt"),
    "tar": DataSet(tar_set, "TarData", "tar_data_param", "x.tar"),
    "csv": DataSet(csv_set, "ImageTable", "image_table_param", "t.csv", top="data label kind"),
}
VICTIMS = {"hdf5": "*.h5", "list": "*.txt", "csv": "*.csv"}  # the files that are changed, where it is not any file


def written(kind: str, folder: Path) -> None:
    """A data set of one kind, and a net that reads it."""
    from data_sets import layer

    one = KINDS[kind]
    one.write(folder)
    block = f'{one.block} {{ source: "{one.source}" batch_size: {BATCH} {one.also} }}'
    (folder / "n.prototxt").write_text(layer(one.layer, block, one.top))


def read(kind: str, folder: Path) -> list[list]:
    """The values of a data set, through the net and through the tools; in place of either, the text of an error."""
    return [attempt(lambda: by_net(folder)), attempt(lambda: by_tools(kind, folder))]


def by_net(folder: Path) -> list:
    import netdef

    batches = netdef.data.batches(folder / "n.prototxt", phase="TEST")
    try:
        return [value.tolist() for _ in range(BATCHES) for value in next(batches).values()]
    finally:
        batches.close()


def by_tools(kind: str, folder: Path) -> list:
    from netdef.data.sources import open_source

    one = KINDS[kind]
    records = open_source(folder / (one.opened or one.source), root_folder=f"{folder}/")
    try:
        found = [records.decode(raw) for raw in records.read(range(records.size))]
        return [[record.image.tolist(), [float(label) for label in record.labels]] for record in found]
    finally:
        records.close()


def attempt(call: Callable[[], list]) -> list | str:
    import netdef

    try:
        return call()
    except netdef.NetdefError as error:
        if not isinstance(error, netdef.CompileError):
            assert "\n" not in str(error), f"an error of several lines: {error}"
        return str(error)


def damage(kind: str, folder: Path, rng: random.Random) -> None:
    """Changes one file: in a few places, or in 40 random bytes."""
    from weight_fuzz import mutated

    victims = [file for file in sorted(folder.rglob(VICTIMS.get(kind, "*"))) if file.is_file() and file.stem != "n"]
    victim = rng.choice(victims)
    data = bytearray(victim.read_bytes())
    if rng.random() < 0.3 and data:
        for _ in range(40):
            data[rng.randrange(len(data))] = rng.randrange(256)
        victim.write_bytes(data)
    else:
        victim.write_bytes(mutated(bytes(data), rng))


def mutate(kind: str, seeds: range, loud: bool = False) -> None:
    """Prints `SEED verdict seconds` for each mutation."""
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole"
        whole.mkdir()
        written(kind, whole)
        expected = read(kind, whole)
        refused = [part for part in expected if isinstance(part, str)]
        assert not refused, refused
        for seed in seeds:
            folder = Path(name) / f"{seed}"
            shutil.copytree(whole, folder)
            damage(kind, folder, random.Random(f"{kind} {seed}"))
            faulthandler.dump_traceback_later(STUCK, exit=True)
            begin = time.process_time()  # of all threads; the machine may be busy
            try:
                found = read(kind, folder)
                verdict = judged(kind, found, expected)
            except Exception as error:
                if loud:
                    raise
                verdict, found = f"{type(error).__name__}: {str(error)[:200]!r}", []
            took = time.process_time() - begin
            faulthandler.cancel_dump_traceback_later()
            print(f"{seed}\t{verdict if took < SLOWEST else 'slow'}\t{took:.3f}", flush=True)
            if loud:
                print(*(part if isinstance(part, str) else "read" for part in found), sep="\n")
            shutil.rmtree(folder, ignore_errors=True)


def judged(kind: str, found: list, expected: list) -> str:
    """The worse of what the two readers made of it."""
    wrong = any(not isinstance(a, str) and a != b for a, b in zip(found, expected, strict=True))
    if wrong:
        # A log that ends early is what a writer leaves that was killed; LevelDB reads the records before that.
        fewer = kind == "leveldb" and found[1] == expected[1][: len(found[1])]
        assert fewer or kind not in CHECKED, "other values in spite of checksums"
        return "values"
    return "refused" if any(isinstance(part, str) for part in found) else "equal"


def run(kind: str, mutations: int) -> tuple[Counter[str], float, list[str]]:
    """(verdicts, longest time, one line for each failure) of the mutations 0, 1, ... of a kind."""
    seen: Counter[str] = Counter()
    slowest, failures, seed = 0.0, [], 0
    while seed < mutations:
        command = [sys.executable, __file__, "--seeds", str(seed), str(mutations), kind]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NETDEF_CACHE": os.devnull})
        if not done.stdout and "Traceback" in done.stderr:
            raise SystemExit(done.stderr)  # a mistake of this program
        for line in done.stdout.splitlines():
            number, verdict, took = line.split("\t")
            known = verdict in ("refused", "equal", "values")
            seen[verdict if known else "failed"] += 1
            failures += [] if known else [f"{kind} --seed {number}: {verdict}, {took} s"]
            slowest, seed = max(slowest, float(took)), int(number) + 1
        if done.returncode:
            failures.append(f"{kind} --seed {seed}: exit {done.returncode}: {done.stderr.strip()[-600:]}")
            seen["failed"] += 1
            seed += 1
    return seen, slowest, failures


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--mutations", type=int, default=300, metavar="N", help="number of each kind (default 300)")
    parser.add_argument("--seed", type=int, metavar="N", help="only this one, with its errors")
    parser.add_argument("--seeds", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    if args.seeds or args.seed is not None:
        seeds = range(*args.seeds) if args.seeds else range(args.seed, args.seed + 1)
        for kind in args.kinds or KINDS:
            mutate(kind, seeds, loud=not args.seeds)
        return 0
    failed = []
    print(f"{'kind':<10}  refused    equal   values   failed     slowest")
    for kind in args.kinds or KINDS:
        seen, slowest, failures = run(kind, args.mutations)
        counts = "".join(f"{seen[verdict]:>9}" for verdict in ("refused", "equal", "values", "failed"))
        print(f"{kind:<10}{counts}{slowest * 1e3:>9.0f} ms", flush=True)
        failed += failures
    print(*failed, sep="\n", end="\n" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
