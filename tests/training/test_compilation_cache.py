"""The compiled programs on the disk: shared by processes, and done without where there is no place for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from netdef.training import compilation_cache


def started(tiny: Path, output: Path, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "netdef", "train", str(tiny), "--output", str(output), "--max-iter", "8"]
    environment = os.environ | {"NETDEF_CACHE": str(cache)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_two_processes_share_a_cache_at_the_same_time(tiny, tmp_path):
    both = [started(tiny, tmp_path / name, tmp_path / "cache") for name in ("one", "other")]
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0 and "Error" not in errors, errors
    assert any((tmp_path / "cache").iterdir())
    ends = [(tmp_path / name / "iter_000008" / "arrays").is_dir() for name in ("one", "other")]
    assert all(ends)


def test_a_damaged_cache_is_done_without(tiny, tmp_path):
    """jax does not write its entries atomically: a killed process leaves a part of one."""
    first = started(tiny, tmp_path / "run", tmp_path / "cache")
    first.communicate(timeout=300)
    assert first.returncode == 0
    programs = list((tmp_path / "cache").glob("*-cache"))
    assert programs
    for path in programs:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    process = started(tiny, tmp_path / "again", tmp_path / "cache")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0 and "Traceback" not in errors, errors
    assert (tmp_path / "again" / "iter_000008" / "arrays").is_dir()


@pytest.fixture
def unset():
    """jax without a cache, as at the start of a process."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize("home", ["none", "unwritable"])
def test_a_user_without_a_home_compiles_each_time(unset, home, monkeypatch, tmp_path):
    monkeypatch.delenv("NETDEF_CACHE", raising=False)
    if home == "none":
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home directory")))
    else:
        monkeypatch.setattr(Path, "home", lambda: tmp_path)
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    compilation_cache.keep_compiled()
    assert jax.config.jax_compilation_cache_dir is None


def test_the_mean_is_measured_where_there_is_no_home(monkeypatch):
    import numpy as np

    from netdef.data.statistics import standard

    monkeypatch.delenv("NETDEF_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home directory")))
    mean, _ = standard(iter([np.full((1, 2, 2), 3.0, np.float32)]), "key")
    assert mean == [3]
