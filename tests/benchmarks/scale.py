"""Many classes and many devices: bytes on a device and between devices, snapshots, and records read by processes.

usage: python tests/benchmarks/scale.py [--parts bytes target snapshot records] [--classes 100000 1000000 10000000]

bytes      memory of each of 8 devices and what they exchange in a step, against the number of classes: weights that each
           device has (replicated), that they divide (divided), and of which a step uses a tenth (sampled); compiled for
           simulated devices from abstract arrays, so that nothing of their size is allocated
target     the same for a TPU that is not present, as in --target v5e:2x4; needs `pip install libtpu`, and minutes for each
snapshot   seconds until a snapshot of divided weights is written, and until a run has restored it
records    records per second that 1, 2 and 4 processes read together from an LMDB of JPEGs

A net has 512 features, batches of 512, ArcFace, momentum and weight decay.  MB and GB are 10^6 and 10^9 bytes.  There is
no time of training: simulated devices share the cores of this machine.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from input_pipeline import NETS, write_data
from jax.sharding import Mesh

import netdef
from netdef.data.feed import Feed
from netdef.inspect.collectives import collectives
from netdef.inspect.estimate import estimate, program_of
from netdef.inspect.target import Target, environment, require_compiler, target_of
from netdef.language.errors import NetdefError
from netdef.training.events import Event, Snapshotted, Started
from netdef.training.placement import AXIS
from netdef.training.run_record import machine

DEVICES, BATCH, FEATURES = 8, 512, 512
HEAD = """
layer { name: "trunk" type: "InnerProduct" bottom: "x" top: "trunk"
        inner_product_param { num_output: FEATURES weight_filler { type: "xavier" } } }
layer { name: "unit" type: "Normalize" bottom: "trunk" top: "unit" }
"""
TAIL = """
layer { name: "arc" type: "ArcFace" bottom: "cosines" bottom: "LABEL" top: "scores" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "LABEL" top: "loss" }
solver { base_lr: 0.1 momentum: 0.9 weight_decay: 0.0005 max_iter: 1 display: 1 test_interval: 0 }
"""
WHOLE = """
layer { name: "people" type: "InnerProduct" bottom: "unit" top: "cosines"
        inner_product_param { num_output: CLASSES shard: SHARD normalize: true bias_term: false
                              weight_filler { type: "msra" } } }
"""
SAMPLED = """
layer { name: "people" type: "SampledInnerProduct" bottom: "unit" bottom: "label" top: "cosines" top: "own"
        sampled_inner_product_param { num_output: CLASSES shard: true normalize: true
                                      weight_filler { type: "msra" } } }
"""
KINDS = {
    "replicated": WHOLE.replace("SHARD", "false") + TAIL.replace("LABEL", "label"),
    "divided": WHOLE.replace("SHARD", "true") + TAIL.replace("LABEL", "label"),
    "sampled": SAMPLED + TAIL.replace("LABEL", "own"),
}
INPUT = f"""
layer {{ name: "in" type: "Input" top: "x" top: "label"
        input_param {{ shape {{ dim: {BATCH} dim: {FEATURES} }} shape {{ dim: {BATCH} }} }} }}
"""
ARRAYS = """
layer { name: "in" type: "ArrayData" top: "x" top: "label" array_data_param { source: "faces.npz" batch_size: 64 } }
"""


def text(kind: str, classes: int, source: str = INPUT, features: int = FEATURES) -> str:
    """The net with some number of classes."""
    return (source + HEAD + KINDS[kind]).replace("CLASSES", str(classes)).replace("FEATURES", str(features))


class Bytes(NamedTuple):
    """Of one device, in a step."""

    arguments: int
    temporary: int
    exchanged: int
    largest: int  # result of one kind of collective in one instruction


HEADER = f"{'classes':>12} {'weights':12}{'arguments MB':>14}{'temporary MB':>14}{'exchanged MB':>14}{'largest MB':>12}"


def row(classes: int, kind: str, found: Bytes) -> str:
    return f"{classes:12,} {kind:12}" + "".join(
        f"{n / 1e6:{w}.1f}" for n, w in zip(found, (14, 14, 14, 12), strict=True)
    )


def simulated(kind: str, classes: int) -> Bytes:
    """The step on devices that JAX simulates on the CPU."""
    net = netdef.load(text(kind, classes), phase="TRAIN")
    program = program_of(net, Mesh(np.array(jax.devices()[:DEVICES]), (AXIS,)), BATCH)
    step = jax.jit(program.run, donate_argnums=program.donated, out_shardings=program.results)
    made = step.lower(*program.given).compile()
    sizes = [c.bytes for line in made.as_text().splitlines() for c in collectives(line)]
    plan: Any = made.memory_analysis()
    return Bytes(plan.argument_size_in_bytes, plan.temp_size_in_bytes, sum(sizes), max(sizes))


def bytes_of_devices(counts: list[int]) -> None:
    print(f"\n{DEVICES} simulated devices, bytes of one\n{HEADER}")
    for classes in counts:
        for kind in KINDS:
            print(row(classes, kind, simulated(kind, classes)), flush=True)


def bytes_of_a_target(counts: list[int], target: Target) -> None:
    print(f"\n{target}, bytes of one device")
    try:
        require_compiler(target)
    except NetdefError as error:
        print(f"not measured: {error}")
        return
    print(f"{'classes':>12} {'weights':12}{'arguments MB':>14}{'temporary MB':>14}{'exchanged MB':>14}  fits")
    with environment(target):
        for classes in counts:
            for kind in KINDS:
                made = estimate(netdef.load(text(kind, classes), phase="TRAIN"), target).program
                sizes = (
                    made.arguments,
                    made.temporary,
                    sum(c.bytes for c in made.collectives) if made.memory else None,
                )
                shown = "".join(f"{'?' if n is None else format(n / 1e6, '.1f'):>14}" for n in sizes)
                print(f"{classes:12,} {kind:12}{shown}  {'yes' if made.fits else f'no: {made.refusal}'}", flush=True)


def snapshots(folder: Path, classes: int, features: int = 64) -> None:
    """Seconds from the end of training to a complete snapshot, and of the start of a run, new and restored."""
    random = np.random.default_rng(0)
    label = random.integers(0, classes, 64)
    np.savez(folder / "faces.npz", x=random.normal(size=(64, features)).astype(np.float32), label=label)
    (folder / "faces.net").write_text(text("divided", classes, ARRAYS, features))
    seen: list[tuple[float, Event]] = []

    def run(**options: Any) -> tuple[float, list[tuple[float, Event]]]:
        seen.clear()
        begun = time.perf_counter()
        netdef.train(
            folder / "faces.net",
            output=folder / "run",
            devices=DEVICES,
            on_event=lambda event: seen.append((time.perf_counter(), event)),
            **options,
        )
        return begun, list(seen)

    begun, events = run()
    fresh = next(at for at, event in events if isinstance(event, Started)) - begun
    written = next(i for i, (_, event) in enumerate(events) if isinstance(event, Snapshotted))
    begun, again = run(resume=True, max_iter=2)
    restored = next(at for at, event in again if isinstance(event, Started)) - begun
    size = 2 * 4 * classes * features / 1e9
    print(f"\nsnapshot of {classes:,} classes with {features} features and momentum, {size:.2f} GB, {DEVICES} devices")
    print(f"written in {events[written][0] - events[written - 1][0]:.1f} s")
    print(f"a new run starts in {fresh:.1f} s, one that restores it in {restored:.1f} s")


def reading(folder: Path, index: int, count: int, seconds: float) -> Iterator[int]:
    """Yields the number of records of each batch that a process has read."""
    with Feed(netdef.load(NETS["lmdb_jpeg"], phase="TRAIN"), root=folder, process=(index, count)) as feed:
        for _ in range(4):
            next(feed)
        print("ready", flush=True)
        sys.stdin.readline()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            yield len(next(feed)["label"])


def records(folder: Path, seconds: float) -> None:
    write_data(folder, 500)
    print("\nrecords of an LMDB of JPEGs that processes read together, at the same time\nprocesses     records/s")
    for count in (1, 2, 4):
        words = [sys.executable, __file__, "--folder", str(folder), "--seconds", str(seconds)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started = [subprocess.Popen([*words, "--process", f"{i}/{count}"], **pipes) for i in range(count)]
        for process in started:
            process.stdout.readline()
        for process in started:
            process.stdin.write("\n")
            process.stdin.flush()
        found = [int(process.communicate()[0]) for process in started]
        print(f"{count:9}{sum(found) / seconds:14.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("bytes", "target", "snapshot", "records")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--classes", nargs="+", type=int, default=[10**5, 10**6, 10**7])
    parser.add_argument("--target", type=target_of, default=target_of("v5e:2x4"), metavar="CHIP:SHAPE")
    parser.add_argument("--seconds", type=float, default=5.0, help="of reading, for each number of processes")
    parser.add_argument("--saved", type=int, default=10**6, help="classes of the snapshot")
    parser.add_argument("--process", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.process:
        index, count = map(int, given.process.split("/"))
        print(sum(reading(given.folder, index, count, given.seconds)))
        return
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    about = machine()
    print(f"{datetime.date.today()}, {about['processor']}, {about['cores']} cores, jax {jax.__version__}")
    if "bytes" in given.parts:
        bytes_of_devices(given.classes)
    if "target" in given.parts:
        bytes_of_a_target(given.classes, given.target)
    with tempfile.TemporaryDirectory() as folder:
        if "snapshot" in given.parts:
            snapshots(Path(folder), given.saved)
        if "records" in given.parts:
            records(Path(folder), given.seconds)


if __name__ == "__main__":
    main()
