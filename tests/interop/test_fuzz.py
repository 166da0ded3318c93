"""Damaged files of every kind: one line of error or weights of sound shapes, whatever bytes stand there.

NETDEF_FUZZ=10000 runs so many mutations of each kind of file in place of 150.
"""

from __future__ import annotations

import os
import random
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import netdef
from netdef.interop import read_weights
from netdef.interop.caffemodel import read_mean, write_mean
from netdef.interop.solver_state import read_state, write_state
from netdef.interop.weights import read_entries

N = int(os.environ.get("NETDEF_FUZZ", "150"))
SLACK = 1 << 20  # bytes that a reader may take for itself


def state_arrays(path):
    state = read_state(path)
    return {"history": [stored.read() for stored in state.history]}


def own_arrays(path):
    return {entry.name: [stored.read() for stored in entry.arrays if stored] for entry in read_entries(path)}


READERS = {
    "caffemodel": read_weights,
    "caffemodel.h5": own_arrays,
    "npz": read_weights,
    "safetensors": read_weights,
    "solverstate": state_arrays,
    "solverstate.h5": state_arrays,
    "binaryproto": lambda path: {"mean": [read_mean(path)]},
}


@pytest.fixture(scope="module")
def whole(small, written, tmp_path_factory):
    """A file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    history = [a for arrays in small.get_weights().values() for a in arrays]
    for ending in ("solverstate", "solverstate.h5"):
        write_state(folder / f"s.{ending}", 15, history, "s.caffemodel")
    write_mean(folder / "m.binaryproto", np.arange(48, dtype=np.float32).reshape(3, 4, 4))
    return {**written, **{p.name.partition(".")[2]: p for p in folder.iterdir()}}


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Up to four random changes: of bytes, of bits, of lengths, of places; or the file cut short."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = min(int(len(changed) * rng.random() ** 2), max(len(changed) - 1, 0))  # heads are at the beginning
        kind = rng.randrange(7)
        if kind == 0:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            changed[at : at + 1] = bytes([changed[at] ^ 1 << rng.randrange(8)]) if changed else b""
        elif kind == 2:
            changed[at : at + rng.choice((1, 2, 4, 8))] = b"\xff" * rng.choice((1, 2, 4, 8))
        elif kind == 3:
            del changed[at : at + rng.randrange(1, 9)]
        elif kind == 4:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 5:
            length = rng.randrange(1, 64)
            changed[at:at] = changed[rng.randrange(len(changed) or 1) :][:length]
        else:
            del changed[at:]
    return bytes(changed)


def assert_sound(arrays, size):
    """Arrays of numbers, which are no more than a file of this size can hold as halves."""
    numbers = 0
    for blobs in arrays.values():
        for blob in blobs:
            assert blob.dtype == np.float32
            numbers += blob.size
    assert numbers <= max(size, 1)


@pytest.mark.parametrize("kind", READERS)
def test_mutations(kind, whole, tmp_path):
    data, path = whole[kind].read_bytes(), tmp_path / f"x.{kind}"
    wanted = READERS[kind](whole[kind])
    rng, refused = random.Random(kind), 0
    tracemalloc.start()
    try:
        for i in range(N):
            bad = mutated(data, rng)
            path.write_bytes(bad)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                arrays = READERS[kind](path)
            except netdef.NetdefError as error:
                refused += 1
                assert str(error).startswith(str(path)) and "\n" not in str(error), f"mutation {i}"
            else:
                assert_sound(arrays, len(bad))
                if kind == "npz":  # its checksums find every change of a number
                    assert all(
                        (a == b).all()
                        for k in arrays
                        if k in wanted
                        for a, b in zip(arrays[k], wanted[k], strict=False)
                    )
            assert tracemalloc.get_traced_memory()[1] - before <= 2 * len(bad) + SLACK, f"mutation {i}"
    finally:
        tracemalloc.stop()
    assert refused >= N // 10


# Reads that orbax gives up go on in its threads, which then find its event loop closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_orbax_folder(whole, tmp_path):
    files = [p for p in whole["orbax"].rglob("*") if p.is_file()]
    rng = random.Random(0)
    for i in range(max(N // 15, 10)):
        folder = tmp_path / f"{i}.orbax"
        shutil.copytree(whole["orbax"], folder)
        victim = folder / rng.choice(files).relative_to(whole["orbax"])
        victim.write_bytes(mutated(victim.read_bytes(), rng))
        try:
            arrays = read_weights(folder)
        except netdef.NetdefError as error:
            assert str(error).startswith(str(folder)) and "\n" not in str(error)
        else:
            assert_sound(arrays, 1 << 20)
        shutil.rmtree(folder)


@pytest.mark.parametrize("content", [b"\0" * 4096, b"\xff" * 4096, bytes(range(256)) * 16, b"a\n" * 2000])
@pytest.mark.parametrize("kind", READERS)
def test_files_of_nothing(kind, content, tmp_path):
    path = Path(tmp_path / f"x.{kind}")
    path.write_bytes(content)
    with pytest.raises(netdef.NetdefError):
        READERS[kind](path)
