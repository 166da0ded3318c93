"""Damaged files of every format: an error message of one line, or weights of valid shapes.

NETDEF_FUZZ sets the number of mutations of each format, 150 by default; `fuzzing/fuzz_weights.py` runs many, each
format in its own process.
"""

from __future__ import annotations

import os
import random
import shutil
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from weight_fuzz import READERS, files_of, mutated, verdict

import netdef
from netdef.interop import read_weights
from netdef.language.errors import printable

N = int(os.environ.get("NETDEF_FUZZ", "150"))
SLACK = 1 << 20  # bytes that a reader may allocate in addition


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """Writes an undamaged file of each format."""
    return files_of(small, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("kind", READERS)
def test_mutations(kind, whole, small, tmp_path):
    data, path = whole[kind].read_bytes(), tmp_path / f"x.{kind}"
    wanted = READERS[kind](whole[kind])
    rng, seen = random.Random(kind), Counter()
    tracemalloc.start()
    try:
        for i in range(N):
            path.write_bytes(mutated(data, rng))
            size = path.stat().st_size
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            seen[verdict(kind, path, wanted, small.net)] += 1
            assert tracemalloc.get_traced_memory()[1] - before <= 2 * size + SLACK, f"mutation {i}"
    finally:
        tracemalloc.stop()
    assert seen["refused"] >= N // 10 and sum(seen.values()) == N


# Reads that orbax abandons continue in its threads, which later find that its event loop is closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_orbax_folder(written, tmp_path):
    files = [p for p in written["orbax"].rglob("*") if p.is_file()]
    rng = random.Random(0)
    for i in range(max(N // 15, 10)):
        folder = tmp_path / f"{i}.orbax"
        shutil.copytree(written["orbax"], folder)
        victim = folder / rng.choice(files).relative_to(written["orbax"])
        victim.write_bytes(mutated(victim.read_bytes(), rng))
        try:
            arrays = read_weights(folder)
        except netdef.NetdefError as error:
            assert str(error).startswith(printable(str(folder))) and "\n" not in str(error)
        else:
            assert all(blob.dtype == np.float32 for blobs in arrays.values() for blob in blobs)
            assert sum(blob.size for blobs in arrays.values() for blob in blobs) <= 1 << 20
        shutil.rmtree(folder)


@pytest.mark.parametrize("content", [b"\0" * 4096, b"\xff" * 4096, bytes(range(256)) * 16, b"a\n" * 2000])
@pytest.mark.parametrize("kind", READERS)
def test_files_of_nothing(kind, content, tmp_path):
    path = Path(tmp_path / f"x.{kind}")
    path.write_bytes(content)
    with pytest.raises(netdef.NetdefError):
        READERS[kind](path)
