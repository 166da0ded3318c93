"""Generates small signal data sets: waves of four kinds, and streams of bits.

    python examples/make_signals.py [FOLDER]        (default: examples/data)

Writes waves_train.npz (600 waves) and waves_test.npz (200), each with
    wave  (n, 32, 1) float16, 32 steps of a noisy wave of any phase, one to three periods long
    kind  (n) uint8, 0 sine, 1 square, 2 rising sawtooth, 3 falling sawtooth
and echo_train.npz (2,000 steps of 16 streams) and echo_test.npz (400), each with
    bit   (steps, 16, 1) int8, a random 0 or 1 at each step of each stream
    echo  (steps, 16, 1) int8, the bit three steps before
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

STEPS, STREAMS, DELAY = 32, 16, 3


def waves(random: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    periods, start = random.uniform(1, 3, (count, 1)), random.random((count, 1))
    place = (np.arange(STEPS) / STEPS * periods + start) % 1  # (n, steps), of a period
    shapes = np.stack([np.sin(2 * np.pi * place), np.sign(place - 0.5), 2 * place - 1, 1 - 2 * place])
    kind = random.integers(0, len(shapes), count)
    wave = shapes[kind, np.arange(count)] + random.normal(0, 0.1, (count, STEPS))
    return {"wave": wave[:, :, None].astype(np.float16), "kind": kind.astype(np.uint8)}


def echoes(random: np.random.Generator, steps: int) -> dict[str, np.ndarray]:
    bits = random.integers(0, 2, (steps + DELAY, STREAMS, 1)).astype(np.int8)
    return {"bit": bits[DELAY:], "echo": bits[:-DELAY]}


def main(folder: Path) -> None:
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, steps in (("train", 600, 2000), ("test", 200, 400)):
        np.savez_compressed(folder / f"waves_{name}.npz", **waves(random, count))
        np.savez_compressed(folder / f"echo_{name}.npz", **echoes(random, steps))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
