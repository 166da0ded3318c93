"""Overhead of the training loop relative to the jitted step of the same net, for a short and a long step.

usage: python tests/benchmarks/loop_overhead.py [--iterations N] [--turns N]

The bare step is the same forward pass and update in `jax.jit` with donated state, called in a Python loop with one
batch that is already on the device; the loop is `netdef.train` with its data, its checks and its metrics.  The two
alternate, and the best time of each is used.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import jax
import numpy as np

import netdef
from netdef.model import Model
from netdef.training.params import arrays_of, partition_of
from netdef.training.prepare import first_state
from netdef.training.solver_nets import nets_of
from netdef.training.step import make_single, make_step

DATA = 'layer {{ name: "d" type: "HDF5Data" top: "data" top: "label" hdf5_data_param {{ source: "d.txt" batch_size: {batch} }} }}\n'
FC = 'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" inner_product_param {{ num_output: {out} weight_filler {{ type: "msra" }} }} }}\n'
CONV = 'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ num_output: {out} kernel_size: 3 pad: 1 weight_filler {{ type: "msra" }} }} }}\n'
RELU = 'layer {{ name: "r{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'
LOSS = 'layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "{bottom}" bottom: "label" top: "loss" }}\n'


def text(layer: str, width: int, depth: int, batch: int) -> str:
    made, bottom = DATA.format(batch=batch), "data"
    for i in range(depth):
        made += layer.format(name=f"l{i}", bottom=bottom, out=width) + RELU.format(name=f"l{i}")
        bottom = f"l{i}"
    made += FC.format(name="out", bottom=bottom, out=10) + LOSS.format(bottom="out")
    return (
        made
        + 'solver { base_lr: 0.001 momentum: 0.9 lr_policy: "fixed" max_iter: 1 snapshot_after_train: false display: 100 }\n'
    )


def bare(path: Path, iterations: int) -> float:
    """Returns the seconds per iteration of the jitted step alone."""
    nets = nets_of(path)
    model = Model(nets.train, 0)
    parts = partition_of(nets.train)
    state = first_state(nets.solver, model, parts)
    step = make_single(make_step(nets.train, nets.solver, parts, jax.random.key(0)))
    batch = {k: jax.device_put(v[None, None]) for k, v in next(iter(netdef.data.batches(path, phase="TRAIN"))).items()}
    fixed = arrays_of(model, parts.fixed)
    state, metrics = step(state, fixed, batch, np.int32(1))
    jax.block_until_ready(state)
    begun = time.perf_counter()
    for _ in range(iterations):
        state, metrics = step(state, fixed, batch, np.int32(1))
    jax.block_until_ready((state, metrics))
    return (time.perf_counter() - begun) / iterations


def looped(path: Path, iterations: int) -> float:
    """Returns the seconds per iteration of `netdef.train`, from the end of the first to the end of the last."""
    times: list[float] = []

    def watch(event: object) -> None:
        if type(event).__name__ == "Display":
            times.append(time.perf_counter())

    settings = {"solver.display": iterations // 2, "solver.max_iter": iterations + 1}
    with tempfile.TemporaryDirectory() as folder:
        netdef.train(path, output=folder, set=settings, on_event=watch)
    return (times[-1] - times[0]) / iterations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    some = "iterations of the short step (default 400); a tenth for the long one"
    parser.add_argument("--iterations", type=int, default=400, help=some)
    parser.add_argument("--turns", type=int, default=3, help="measurements of each (default 3)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        for what, layer, shape, width, depth, batch, n in [
            ("short", FC, (100,), 256, 3, 64, given.iterations),
            ("long", CONV, (3, 32, 32), 32, 4, 32, max(given.iterations // 10, 2)),
        ]:
            with h5py.File(folder / "d.h5", "w") as file:
                file["data"] = rng.normal(size=(1000, *shape)).astype(np.float32)
                file["label"] = rng.integers(0, 10, 1000).astype(np.float32)
            (folder / "d.txt").write_text("d.h5\n")
            path = folder / f"{what}.net"
            path.write_text(text(layer, width, depth, batch))
            pairs = [(bare(path, n), looped(path, n)) for _ in range(given.turns)]
            alone, whole = (min(column) for column in zip(*pairs, strict=True))
            spread = statistics.median(b / a for a, b in pairs)
            print(
                f"{what}: bare step {alone * 1e3:.2f} ms, in the loop {whole * 1e3:.2f} ms, ratio {whole / alone:.3f} (median {spread:.3f})"
            )


if __name__ == "__main__":
    main()
