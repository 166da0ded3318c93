"""Memory over long runs: what is used after a warm-up must not grow by more than 5 %.

    python tests/fuzzing/long_runs.py               20,000 iterations, 200 nets, 2,000 passes of pycaffe
    python tests/fuzzing/long_runs.py --part 0.1    a tenth of each
    python tests/fuzzing/long_runs.py compilations passes

training:      examples/digits.net, with its tests and snapshots
compilations:  nets of different widths and sizes, each compiled and run once forward and once for its gradient; JAX keeps
               a trace of each of its own functions, `x + y` included, for each new shape and without a limit, so they
               are cleared at each point with `jax.clear_caches()`, and a line tells how much they were
passes:        a pycaffe net whose input gets another shape before every pass; there are 40 shapes in all

Each runs in a process of its own.  Prints the resident memory in MiB at ten points, the rate, and the verdict: the
greatest of the last five points against the greatest of points three and four.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

MOST = 1.05
POINTS = 10
EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.net"
NET = """
name: "n{i}"
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: {batch} dim: 3 dim: {size} dim: {size} }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param {{ num_output: {width}
        kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param {{ scale_bias: true }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param {{ global_pooling: true pool: AVE }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param {{ num_output: 4 weight_filler {{ type: "xavier" }} }} }}
"""
LOSS = 'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "y" top: "loss" }\n'
TARGET = 'layer {{ name: "y" type: "Input" top: "y" input_param {{ shape {{ dim: {batch} dim: 4 }} }} }}\n'


def training(count: int) -> Iterator[int]:
    """Iterations that were made, at each display."""
    import queue
    import threading

    import netdef

    made: queue.Queue[int | None] = queue.Queue(1)
    settings = {
        "solver.max_iter": count,
        "solver.snapshot": max(count // 20, 1),
        "solver.snapshot_keep": 2,
        "solver.stepvalue": [count // 2, count],
    }

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            watch = lambda event: made.put(event.iteration) if type(event).__name__ == "Display" else None
            netdef.train(EXAMPLE, output=folder, set=settings, on_event=watch)
        made.put(None)

    threading.Thread(target=work, daemon=True).start()
    while (iteration := made.get()) is not None:
        yield iteration


def compilations(count: int) -> Iterator[int]:
    import jax
    import numpy as np
    from flax import nnx

    import netdef

    for i in range(1, count + 1):
        facts = {"i": i, "batch": 2, "size": 4 + i % 3, "width": 4 + i}
        model = netdef.compile((NET + TARGET).format(**facts) + LOSS)
        batch = {"x": np.ones((2, 3, facts["size"], facts["size"])), "y": np.zeros((2, 4))}
        model(**batch)
        jax.block_until_ready(nnx.grad(lambda model, batch=batch: model.loss(**batch))(model))
        del model
        if i % max(count // POINTS, 1) == 0 and i < count:
            jax.clear_caches()
        yield i
    freed = traces() / (count // POINTS)
    print(f"compilations: JAX's caches, cleared at each point, held {freed:.2f} MiB a net, programs in use included")


def traces() -> float:
    """MiB that JAX's caches held."""
    import jax

    trim = ctypes.CDLL(None).malloc_trim  # returns freed memory to the system
    trim(0)
    before = resident()
    jax.clear_caches()
    trim(0)
    return before - resident()


def passes(count: int) -> Iterator[int]:
    import numpy as np

    import netdef.pycaffe as caffe

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "passes.net"
        path.write_text(NET.format(i=0, batch=2, size=8, width=8))
        net = caffe.Net(str(path), caffe.TEST)
    for i in range(1, count + 1):
        size = 4 + i % 40
        net.blobs["x"].reshape(2, 3, size, size)
        net.blobs["x"].data[...] = np.ones((2, 3, size, size))
        net.forward()
        net.backward()
        yield i


PARTS: dict[str, tuple[Callable[[int], Iterator[int]], int]] = {
    "training": (training, 20_000),
    "compilations": (compilations, 200),
    "passes": (passes, 2_000),
}


def measure(title: str, part: float) -> int:
    """Run one part and print its memory; 1 if it grew."""
    work, whole = PARTS[title]
    count = max(int(whole * part), POINTS)
    points: list[float] = []
    begun = time.monotonic()
    for done in work(count):
        if done * POINTS // count > len(points):
            points.append(resident())
    rate = count / (time.monotonic() - begun)
    before, after = max(points[2:4]), max(points[5:])
    grown = after > MOST * before
    print(f"{title}: {count} at {rate:.1f} a second; MiB: {' '.join(f'{point:.0f}' for point in points)}")
    print(
        f"  {'GREW' if grown else 'flat'}: {before:.0f} after the warm-up, {after:.0f} at most later ({after / before - 1:+.1%})"
    )
    return int(grown)


def resident() -> float:
    """MiB of this process."""
    gc.collect()
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--part", type=float, default=1.0, metavar="F", help="this fraction of the counts (default 1)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    if given.here:
        return measure(given.parts[0], given.part)
    failed = 0
    for title in given.parts or PARTS:
        command = [sys.executable, __file__, title, "--part", str(given.part), "--here"]
        failed += subprocess.run(command).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
