"""Processes killed with SIGKILL at random moments: what they leave is whole, and the next one goes on from it.

    python tests/fuzzing/kill.py                        50 kills of a training, 20 of each command that writes files
    python tests/fuzzing/kill.py --training 8 --files 5 --seed 1

A training is killed at a moment drawn from all the CPU time that it takes, every third time while a snapshot is being written; it
is resumed to its end, and its weights must equal those of the unbroken run bit for bit.  A command (`data convert` to
each format, `convert`, `fmt`) is killed too, every second time while its temporary file is there: afterwards the old
file or the new one is there, whole, and running it once more leaves the new file and nothing else.
Prints a line for each kill that found something wrong, and how many kills fell into which stage.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "support"))

from killing import Child, after  # noqa: E402

NET = """
name: "Killed"
layer { name: "d" type: "HDF5Data" top: "x" top: "label"
        hdf5_data_param { source: "data.txt" batch_size: 16 shuffle: true } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { num_output: 4 kernel_size: 3
        weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { scale_bias: true } }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" dropout_param { dropout_ratio: 0.3 } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
solver { base_lr: 0.05 momentum: 0.9 weight_decay: 0.001 lr_policy: "step" gamma: 0.5 stepsize: 30 max_iter: 60
         display: 3 test_iter: 40 test_interval: 6 snapshot: 5 random_seed: 3 }
"""
STAGES = (
    ("snapshot", "interop/snapshot.py"),
    ("test", "training/evaluation.py"),
    ("step", "training/loop.py"),
    ("data", "netdef/data/"),
    ("start", "training/prepare.py"),
)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", type=int, default=50, metavar="N", help="kills of a training (default 50)")
    parser.add_argument("--files", type=int, default=20, metavar="N", help="kills of each command (default 20)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default 0)")
    parser.add_argument("--iterations", type=int, default=60, metavar="N", help="of the training (default 60)")
    given = parser.parse_args(words)
    import_all()
    failures = 0
    with tempfile.TemporaryDirectory(prefix="netdef-kill-") as name:
        os.environ["NETDEF_CACHE"] = f"{name}/cache"
        if given.training:
            chance = random.Random(given.seed)
            failures += kill_training(Path(name) / "training", given.training, given.iterations, chance)
        if given.files:
            for command in commands(Path(name)):
                failures += kill_command(command, given.files, random.Random(f"{given.seed} {command.title}"))
    print("no failure" if not failures else f"{failures} failures")
    return 1 if failures else 0


def import_all() -> None:
    """Import here what every child would import; no device is used before they are forked."""
    import h5py  # noqa: F401
    import lmdb  # noqa: F401
    import orbax.checkpoint  # noqa: F401
    import PIL.Image  # noqa: F401

    import netdef.cli.convert
    import netdef.cli.data
    import netdef.cli.fmt
    import netdef.training.run  # noqa: F401

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


# A training


def kill_training(folder: Path, kills: int, iterations: int, chance: random.Random) -> int:
    """Prints the stages that were interrupted; the number of resumed runs that ended with other weights."""
    folder.mkdir()
    net = write_net(folder, iterations)
    train(net, folder / "unbroken")  # compiles; the second run is as long as the others will be
    compiling = spent()
    wanted = train(net, folder / "unbroken-2")
    work = spent() - compiling
    if wanted != digest(folder / "unbroken.sha256"):
        print("two unbroken runs end with different weights")
        return 1
    stages, failures, begun = Counter(), 0, time.monotonic()
    for turn in range(kills):
        output = folder / "run"
        aimed = turn % 3 == 2
        stage = killed_training(net, output, work, chance, aimed and iterations // 5)
        stages[stage] += 1
        there = sorted(p.name for p in output.glob("iter_*")) if output.is_dir() else []
        got = train(net, output, resume=bool(there))
        left = [p.name for p in output.glob(".*") if p.name.endswith(".writing")]
        if got != wanted or left:
            failures += 1
            print(f"kill {turn} in {stage}, with {there}: resumed to weights {got}, not {wanted}; left over: {left}")
        shutil.rmtree(output)
    each = (time.monotonic() - begun) / max(kills, 1)
    print(
        f"training: {kills} kills, {failures} failures; "
        + ", ".join(f"{n} in {stage}" for stage, n in stages.most_common())
        + f"; a run takes {work:.1f} s of CPU ({compiling:.1f} s with compiling), a kill {each:.1f} s",
        flush=True,
    )
    return failures


def write_net(folder: Path, iterations: int) -> Path:
    import h5py
    import numpy as np

    rng = np.random.default_rng(0)
    with h5py.File(folder / "data.h5", "w") as file:
        file["x"] = rng.normal(size=(200, 1, 8, 8)).astype(np.float32)
        file["label"] = rng.integers(0, 10, 200).astype(np.float32)
    (folder / "data.txt").write_text("data.h5\n")
    path = folder / "killed.net"
    path.write_text(NET.replace("max_iter: 60", f"max_iter: {iterations}"))
    return path


def training(net: Path, output: Path, resume: bool) -> Child:
    """A process that trains and then writes a digest of the weights beside the folder of the run."""

    def work() -> None:
        import netdef

        trace = output.with_suffix(".trace").open("w")
        faulthandler.register(signal.SIGUSR1, trace, all_threads=True)
        result = netdef.train(net, output=output, resume=resume, progress=False)
        arrays = [array for many in result.model.get_weights().values() for array in many]
        done = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]
        output.with_suffix(".sha256").write_text(done)

    return Child(work)


def train(net: Path, output: Path, resume: bool = False) -> str:
    """Train to the end; the digest of the weights, or what went wrong."""
    output.with_suffix(".sha256").unlink(missing_ok=True)
    code = training(net, output, resume).wait()
    return digest(output.with_suffix(".sha256")) if code == 0 else f"exit status {code}"


def digest(path: Path) -> str:
    return path.read_text() if path.is_file() else "none"


def spent() -> float:
    """Seconds of CPU of all processes that were begun here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def worked(child: Child, seconds: float) -> Callable[[], bool]:
    """A condition that holds once a process has used so much CPU time."""
    return lambda: child.worked() >= seconds


def killed_training(net: Path, output: Path, work: float, chance: random.Random, snapshots: int) -> str:
    """Begin a training and kill it, in one of its `snapshots` unless that is 0; the stage that was interrupted."""
    trace = output.with_suffix(".trace")
    trace.unlink(missing_ok=True)
    child = training(net, output, False)
    due = worked(child, chance.uniform(0, work))
    if snapshots:
        number, pause = chance.randrange(snapshots), chance.uniform(0, 0.03)
        due = appeared(lambda: (p.name for p in output.glob(".iter_*.writing")), number, pause)
    killed = child.kill_when(due, lambda pid: look(pid, trace))
    return stage_of(trace) if killed else "end"


def appeared(names: Callable[[], Iterator[str]], number: int, pause: float) -> Callable[[], bool]:
    """A condition that holds `pause` seconds after more than `number` different names have been seen."""
    seen: set[str] = set()
    wait: list[Callable[[], bool]] = []

    def due() -> bool:
        if not wait:
            seen.update(names())
            if len(seen) > number:
                wait.append(after(pause))
        return bool(wait) and wait[0]()

    return due


def look(pid: int, trace: Path) -> None:
    """Have the process write where it is."""
    if trace.is_file():  # else it has not begun, and the signal would end it
        os.kill(pid, signal.SIGUSR1)
        enough = after(0.05)
        while not trace.stat().st_size and not enough():
            time.sleep(0.0002)


def stage_of(trace: Path) -> str:
    text = trace.read_text() if trace.is_file() else ""
    return next((stage for stage, file in STAGES if file in text), "start")


# Commands that write files


@dataclass(frozen=True)
class Command:
    """A command line, the file or folder that it writes, and how that is read for comparison."""

    title: str
    words: tuple[str, ...]
    target: Path
    read: Callable[[Path], object]
    old: Path | None = None  # what is at the target before
    again: tuple[str, ...] = ()  # options of the run after the kill

    @property
    def folder(self) -> Path:
        return self.target.parent


def commands(folder: Path) -> Iterator[Command]:
    """Every command that is killed, with its files written."""
    source = write_images(folder / "images")
    for kind, read in (("lmdb", read_lmdb), ("h5", read_h5), ("npz", read_npz)):
        for old in (False, True):
            here = folder / f"data-{kind}-{old}"
            (here / "out").mkdir(parents=True)
            target, before = here / "out" / f"new.{kind}", here / f"old.{kind}"
            base = ("data", "convert", str(source))
            if old:
                assert run((*base, str(before), "--resize", "6x6")) == 0
            force = ("--force",) if old else ()
            title = f"data convert to .{kind}" + (" over another" if old else "")
            words = (*base, str(target), "--resize", "8x8", *force)
            yield Command(title, words, target, read, before if old else None)
    weights = folder / "weights"
    (weights / "out").mkdir(parents=True)
    for name, value in (("new", 1.0), ("old", 2.0)):
        write_weights(weights / f"{name}.npz", value)
    for kind in ("npz", "caffemodel"):
        before, target = weights / f"before.{kind}", weights / "out" / f"w.{kind}"
        assert run(("convert", str(weights / "old.npz"), "-o", str(before))) == 0
        yield Command(
            f"convert to .{kind}", ("convert", str(weights / "new.npz"), "-o", str(target)), target, read_bytes, before
        )
    text = folder / "text"
    (text / "out").mkdir(parents=True)
    (text / "ugly.net").write_text('layer{name:"a" type:"ReLU" bottom:"x"\n\n\n\n top:"x"}\n' * 1500)
    yield Command("fmt", ("fmt", str(text / "out/x.net")), text / "out/x.net", read_bytes, text / "ugly.net")


def kill_command(command: Command, kills: int, chance: random.Random) -> int:
    """Prints what the kills of a command left; the number of those that left something broken."""
    prepare(command)
    before = spent()
    assert run(command.words) == 0, command.title
    work = spent() - before
    new = command.read(command.target)
    names = contents(command.folder)
    old = command.read(command.old) if command.old else None
    found, failures, begun = Counter(), 0, time.monotonic()
    for turn in range(kills):
        prepare(command)
        child = Child(lambda: quiet(command.words))
        due = worked(child, chance.uniform(0, work))
        if turn % 2:
            due = appeared(lambda: temporary(command), 0, chance.uniform(0, 0.004))
        child.kill_when(due)
        what = state(command, old, new)
        rest = temporary_names(command)
        found[what + (" and a temporary" if rest else "")] += 1
        words = command.words
        code = run(words) if "data" not in words or what != "new" else 0
        after_all = state(command, old, new)
        broken = what == "broken" or code or after_all != "new" or (what != "new" and contents(command.folder) != names)
        if broken:
            failures += 1
            print(
                f"{command.title}, kill {turn}: {what} with {rest}; run again: exit {code}, {after_all}, "
                f"{sorted(contents(command.folder) - names)} left over"
            )
    each = (time.monotonic() - begun) / max(kills, 1)
    print(
        f"{command.title}: {kills} kills, {failures} failures; left: "
        + ", ".join(f"{n} {what}" for what, n in found.most_common())
        + f"; {each:.2f} s a kill",
        flush=True,
    )
    return failures


def prepare(command: Command) -> None:
    """An empty folder with what is at the target before."""
    shutil.rmtree(command.folder)
    command.folder.mkdir()
    if command.old:
        copy = shutil.copytree if command.old.is_dir() else shutil.copyfile
        copy(command.old, command.target)


def state(command: Command, old: object, new: object) -> str:
    """What is at the target: "nothing", "old", "new" or "broken"."""
    if not command.target.exists():
        return "nothing" if command.old is None or command.old.is_dir() else "broken"
    try:
        there = command.read(command.target)
    except Exception:
        return "broken"
    return "new" if there == new else "old" if old is not None and there == old else "broken"


def contents(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def temporary_names(command: Command) -> set[str]:
    return {n for n in contents(command.folder) if n.endswith((".writing", ".partial", "~"))}


def temporary(command: Command) -> Iterator[str]:
    yield from temporary_names(command)


def run(words: tuple[str, ...]) -> int:
    return Child(lambda: quiet(words)).wait()


def quiet(words: tuple[str, ...]) -> int:
    """The command line, without its output; errors are shown."""
    from netdef.cli import main as netdef_main

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2) if "NETDEF_SHOW" not in os.environ else None
    return netdef_main(list(words))


def write_images(folder: Path) -> Path:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(1200):
        path = folder / f"class{i % 3}" / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return folder


def write_weights(path: Path, value: float) -> None:
    import numpy as np

    np.savez(path, **{f"ip{i}/{j}": np.full((200, 2000), value, np.float32) for i in range(4) for j in range(2)})


def read_lmdb(path: Path) -> object:
    import lmdb

    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as txn:
        return list(txn.cursor())


def read_h5(path: Path) -> object:
    import h5py

    with h5py.File(path, "r") as file:
        return {name: (file[name].shape, file[name][...].tobytes()) for name in file}


def read_npz(path: Path) -> object:
    import numpy as np

    with np.load(path) as file:
        return {name: (file[name].shape, file[name].tobytes()) for name in file.files}


def read_bytes(path: Path) -> object:
    return path.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
