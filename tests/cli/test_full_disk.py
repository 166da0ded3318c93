"""Every command that writes a file, where it cannot: one line names the file and says why, what was there stays, and no
part of a file is left."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

import netdef as library
from netdef.files import write_text_atomically
from netdef.language.errors import printable

if sys.platform == "win32":
    pytest.skip("limits of file sizes are POSIX's", allow_module_level=True)

import resource

COMMANDS = {
    "net.prototxt": ["expand {net}", "deploy {net}", "convert {old}"],
    "net.net": ["convert {old}"],
    "w.npz": ["convert {run}"],
    "w.safetensors": ["convert {run}"],
    "w.caffemodel": ["convert {run}"],
    "w.caffemodel.h5": ["convert {run}"],
    "w.orbax": ["convert {run}"],
    "w.solverstate": ["convert {run}"],
    "w.solverstate.h5": ["convert {run}"],
    "net.stablehlo": ["convert {net} --run {run}"],
    "net.py": ["eject {net} --run {run}"],
    "net.dot": ["draw {net}"],
    "net.html": ["draw {net}"],
    "f.npz": ["features {net} --run {run} --blobs ip"],
    "f.h5": ["features {net} --run {run} --blobs ip"],
    "mean.binaryproto": ["data mean {set}"],
    "sheet.png": ["data stats {set} --sheet"],
    "start.net": ["init {set} --force"],
}
NET = """
layer { name: "d" type: "ArrayData" top: "x" top: "y" array_data_param { source: "set.npz" batch_size: 4 } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
solver { base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" max_iter: 1 }
"""
CASES = [(name, command) for name, commands in COMMANDS.items() for command in commands]


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
    """What the commands read."""
    folder = tmp_path_factory.mktemp("places")
    net, old, images = folder / "net.net", folder / "old.prototxt", folder / "set.npz"
    net.write_text(NET)
    old.write_text('input: "data" input_dim: 1 input_dim: 3\nlayers { name: "r" type: RELU bottom: "data" top: "r" }\n')
    np.savez(images, x=np.random.default_rng(0).normal(size=(8, 3, 9, 9)).astype(np.float32), y=np.arange(8) % 2)
    run = library.train(net, output=folder / "run").folder
    return {"net": net, "old": old, "set": images, "run": next(run.glob("iter_*"))}


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    """Because jax warns of each program that it cannot write to its cache, and Python leaves a part of a .pyc file."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("NETDEF_CACHE", "")
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 3600.0)
    yield
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before)


@contextlib.contextmanager
def nothing_fits() -> Iterator[None]:
    """As on a full disk: writes fail beyond the first bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# TensorStore's threads raise in a loop that has ended, for the writes that are pending when one has failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("name", "command"), CASES, ids=[f"{c.split()[0]}-{n}" for n, c in CASES])
def test_a_file_that_does_not_fit(netdef, places, tmp_path, name, command):
    target = tmp_path / "out" / name
    target.parent.mkdir()
    target.write_text("old")
    words = [word.format(**places) for word in command.split()]
    with nothing_fits():
        done = netdef(*words, *([] if words[-1] == "--sheet" else ["-o"]), target)
    (error,) = [line for line in done.err.splitlines() if "error: " in line]
    assert done.code in (1, 2) and error.endswith(": cannot be written: File too large")
    assert error.split("error: ")[1].startswith(
        printable(str(target.parent))
    )  # two files are written for .py and .solverstate
    assert target.read_text() == "old" and list(target.parent.iterdir()) == [target]


def test_a_device_is_written_to_and_not_replaced(netdef, good, tmp_path):
    device = tmp_path / "null"
    device.symlink_to(os.devnull)
    assert netdef("expand", good, "-o", device).code == 0
    write_text_atomically(device, "text")
    assert device.is_symlink() and device.is_char_device() and not Path(os.devnull).is_file()
