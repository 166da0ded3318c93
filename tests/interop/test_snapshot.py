"""Snapshots: complete, or not written at all, even after errors and kills during writing."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from netdef import NetdefError
from netdef.interop import snapshot

ARRAYS = {
    "conv1.0": np.arange(12, dtype=np.float32).reshape(3, 4),
    "conv1.0/momentum": np.int32(7),
    "inception_3a/größe %2F.0": np.float32([np.nan, 1]),
}
STATE = {"iteration": 5, "position": {"d": {"position": 40}}}


def save(folder, iteration=5, arrays=ARRAYS):
    return snapshot.save(folder, iteration, arrays, {**STATE, "iteration": iteration}, "name: 'net'")


def test_what_was_saved_is_read(tmp_path):
    path = save(tmp_path)
    read = snapshot.load(path)
    assert path.name == "iter_000005" and read.state == {"format": 2, **STATE} and read.net == "name: 'net'"
    assert all(
        np.array_equal(read.arrays[k], v, equal_nan=True) and read.arrays[k].dtype == v.dtype for k, v in ARRAYS.items()
    )
    assert [p.name for p in tmp_path.iterdir()] == ["iter_000005"]


def test_the_newest_comes_first_and_one_may_be_written_again(tmp_path):
    for iteration in (5, 1000000, 20, 5):
        save(tmp_path, iteration)
    assert [p.name for p in snapshot.found(tmp_path)] == ["iter_1000000", "iter_000020", "iter_000005"]


def files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file())


@pytest.mark.parametrize("fault", ["cut", "flipped", "missing"])
def test_damage_of_any_file_is_named_and_the_snapshot_before_is_used(tmp_path, fault):
    before, last = save(tmp_path, 5), save(tmp_path, 10)
    for file in files(last):
        good = file.read_bytes()
        if fault == "missing":
            file.unlink()
        else:
            file.write_bytes(
                good[: len(good) // 2] if fault == "cut" else bytes([good[0] ^ 1]) + good[1:]
            ) if good else None
        if good:
            found, notes = snapshot.newest(tmp_path)
            assert found == before
            assert len(notes) == 1 and file.name in notes[0] and str(last) in notes[0]
            with pytest.raises(NetdefError, match="damaged"):
                snapshot.load(last)
        file.write_bytes(good)
    assert snapshot.newest(tmp_path) == (last, [])


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    before = save(tmp_path, 5)
    monkeypatch.setattr(
        os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))
    )
    with pytest.raises(NetdefError, match="iteration 10.*No space left"):
        save(tmp_path, 10)
    assert [p.name for p in tmp_path.iterdir()] == ["iter_000005"]
    assert snapshot.newest(tmp_path) == (before, [])


KILLED = """
import os, random, signal, sys, time
import numpy as np, orbax.checkpoint  # before the fork, so that a child only saves
from pathlib import Path
from netdef.interop import snapshot

folder, rng, newest = Path(sys.argv[1]), random.Random(0), -1
for turn in range(50):
    child = os.fork()
    if child == 0:
        for n in range(1, 1000):
            array = np.full((50, 50), newest + n, np.float32)
            snapshot.save(folder, newest + n, {"a": array}, {"iteration": newest + n}, "net")
    while turn == 0 and not list(folder.glob("iter_*")):  # one snapshot is complete before the first kill
        time.sleep(0.01)
    time.sleep(rng.uniform(0.0, 0.25))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    path, notes = snapshot.newest(folder)
    assert notes == [], notes
    if path is not None:
        n = int(path.name.removeprefix("iter_"))
        assert n >= newest, (n, newest)
        newest = n
print("newest", newest)
"""


def test_a_process_killed_at_any_moment_leaves_whole_snapshots_only(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    done = subprocess.run([sys.executable, script, tmp_path / "run"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    last, _ = snapshot.newest(tmp_path / "run")
    assert last is not None
    assert np.all(snapshot.load(last).arrays["a"] == json.loads((last / "state.json").read_text())["iteration"])
