"""Snapshots that are written while training continues, in the parts of the devices; and processes that are killed."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from orbax.checkpoint import StandardCheckpointer

import netdef
from netdef.interop import snapshot
from netdef.training import events as ev

CLASSES, FEATURES = 64, 6
NET = f"""
layer {{ name: "d" type: "ArrayData" top: "x" top: "label" array_data_param {{ source: "faces.npz" batch_size: 8 }} }}
layer {{ name: "trunk" type: "InnerProduct" bottom: "x" top: "trunk"
        inner_product_param {{ num_output: {FEATURES} weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "trunk" top: "scores"
        inner_product_param {{ num_output: {CLASSES} shard: true weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss" }}
solver {{ base_lr: 0.5 momentum: 0.9 weight_decay: 0.001 max_iter: 8 display: 1 average_loss: 1 test_interval: 0
         snapshot: 2 ema: 0.9 }}
"""
OF_CLASSES = {f"ip.{i}{more}" for i in (0, 1) for more in ("", "/momentum", "/ema")}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """A net with class weights that devices divide, and its data."""
    folder = tmp_path_factory.mktemp("faces")
    random = np.random.default_rng(0)
    x, label = random.normal(size=(32, 5)).astype(np.float32), random.integers(0, CLASSES, 32)
    np.savez(folder / "faces.npz", x=x, label=label)
    (folder / "faces.net").write_text(NET)
    return folder / "faces.net"


def trained(path: Path, folder: Path, devices: int | None = None, resume: Any = None, until: int = 8) -> list[float]:
    """The losses of a run."""
    result = netdef.train(path, output=folder, devices=devices, resume=resume, max_iter=until)
    return [record["loss"] for record in result.history if record["phase"] == "train"]


@pytest.fixture(scope="module")
def undisturbed(faces, tmp_path_factory) -> list[float]:
    """The losses of a whole run on one device."""
    return trained(faces, tmp_path_factory.mktemp("undisturbed") / "run")


# Parts of arrays


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_a_snapshot_of_four_devices_is_resumed_on_others(eight, faces, tmp_path, undisturbed, devices):
    before = eight(trained, faces, tmp_path / "run", 4, until=4)
    after = eight(trained, faces, tmp_path / "run", devices, resume=True)
    np.testing.assert_allclose(before, undisturbed[:4], rtol=2e-6)
    np.testing.assert_allclose(after[-4:], undisturbed[4:], rtol=2e-6)


def parts(path: Path, folder: Path) -> dict[str, Any]:
    """What is saved and restored, and the largest arrays that are made on the host, in a run on eight devices and one
    that resumes it."""
    saved: list[dict[str, Any]] = []
    wanted: list[dict[str, Any]] = []
    made: list[tuple[int, ...]] = []
    save, restore = StandardCheckpointer.save, StandardCheckpointer.restore

    def recorded_save(self: Any, path: Any, arrays: Any) -> None:
        saved.append(arrays)
        save(self, path, arrays)

    def recorded_restore(self: Any, path: Any, like: Any, **how: Any) -> Any:
        wanted.append(like)
        return restore(self, path, like, **how)

    def recorded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            result = function(*given, **named)
            arrays = [array for array in jax.tree.leaves(result) if isinstance(array, np.ndarray)]
            made.extend(array.shape for array in arrays if 0 not in array.strides)  # else a number that is repeated
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StandardCheckpointer, "save", recorded_save)
        trained(path, folder, 8, until=2)
        patch.setattr(StandardCheckpointer, "restore", recorded_restore)
        for name in ("array", "asarray", "zeros"):
            patch.setattr(np, name, recorded(getattr(np, name)))
        patch.setattr(jax, "device_get", recorded(jax.device_get))
        trained(path, folder, 8, resume=True, until=4)
    found = lambda arrays: {name.replace("%2F", "/"): array for name, array in arrays.items()}
    of = lambda arrays: {name: array for name, array in found(arrays).items() if name in OF_CLASSES}
    return {
        "saved": [{n: [p.data.shape for p in a.addressable_shards] for n, a in of(all).items()} for all in saved],
        "memory": {array.sharding.memory_kind for all in saved for array in of(all).values()},
        "places": [{name: (a.sharding.mesh.size, a.sharding.spec) for name, a in of(all).items()} for all in saved],
        "wanted": {name: (like.sharding.mesh.size, like.sharding.spec) for name, like in of(wanted[0]).items()},
        "others": {type(array) for name, array in found(wanted[0]).items() if name not in OF_CLASSES},
        "made": made,
    }


def test_no_process_has_a_whole_array_that_devices_divide(eight, faces, tmp_path):
    facts = eight(parts, faces, tmp_path / "run")
    first, resumed = facts["saved"]
    assert first == resumed
    assert first.keys() == OF_CLASSES
    assert first["ip.0/ema"] == [(CLASSES // 8, FEATURES)] * 8
    assert facts["memory"] == {"pinned_host"}
    assert facts["places"][0] == facts["places"][1] == facts["wanted"]
    assert facts["others"] == {np.ndarray}
    assert facts["made"]
    assert not {(CLASSES, FEATURES), (CLASSES,)} & set(facts["made"])


# In the background


def test_training_continues_while_a_snapshot_is_written(tiny, tmp_path, monkeypatch, capsys):
    alone = netdef.train(tiny, output=tmp_path / "alone")
    save, reached, seen, under_way = StandardCheckpointer.save, threading.Event(), [], []

    def slow(self, path, arrays):
        under_way.append(path)
        assert threading.current_thread() is not threading.main_thread()
        assert reached.wait(60)
        save(self, path, arrays)

    def see(event):
        seen.append(event)
        if isinstance(event, ev.Snapshotted):
            under_way.pop()
        assert len(under_way) <= 1
        if event == ev.Stepped(10) and not reached.is_set():
            assert not (tmp_path / "run" / "iter_000005").exists()
            print("a message", file=sys.stderr)
            reached.set()

    monkeypatch.setattr(StandardCheckpointer, "save", slow)
    run = netdef.train(tiny, output=tmp_path / "run", on_event=see)
    assert [e.iteration for e in seen if isinstance(e, ev.Snapshotted)] == [5, 10, 15, 20]
    assert seen.index(ev.Stepped(10)) < seen.index(ev.Snapshotted(5, tmp_path / "run" / "iter_000005"))
    assert isinstance(seen[-1], ev.Finished)
    assert [record["loss"] for record in run.history] == [record["loss"] for record in alone.history]
    first, second = (snapshot.load(tmp_path / name / "iter_000005") for name in ("alone", "run"))
    assert first.state["position"] == second.state["position"]
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name])
    assert "a message" in capsys.readouterr().err


def test_a_snapshot_that_fails_is_reported_and_the_next_is_written(tiny, tmp_path, monkeypatch):
    save, seen = StandardCheckpointer.save, []

    def once(self, path, arrays):
        if "iter_000005" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(self, path, arrays)

    monkeypatch.setattr(StandardCheckpointer, "save", once)
    netdef.train(tiny, output=tmp_path / "run", on_event=seen.append)
    notices = [event.text for event in seen if isinstance(event, ev.Notice)]
    assert len(notices) == 1
    assert "iteration 5 cannot be written" in notices[0] and "No space left" in notices[0]
    assert [event.iteration for event in seen if isinstance(event, ev.Snapshotted)] == [10, 15, 20]


def test_an_error_of_the_run_does_not_lose_the_snapshot_under_way(tiny, tmp_path, monkeypatch):
    save, failed = StandardCheckpointer.save, threading.Event()

    def slow(self, path, arrays):
        assert failed.wait(60)
        save(self, path, arrays)

    def fail(event):
        if event == ev.Stepped(8):
            failed.set()
            raise OSError("the listener fails")

    monkeypatch.setattr(StandardCheckpointer, "save", slow)
    with pytest.raises(OSError, match="the listener fails"):
        netdef.train(tiny, output=tmp_path / "run", on_event=fail)
    assert [path.name for path in snapshot.found(tmp_path / "run")] == ["iter_000005"]
    assert snapshot.damage(tmp_path / "run" / "iter_000005") is None


def test_an_interrupted_program_does_not_wait_for_the_snapshot_under_way(tiny, tmp_path, monkeypatch):
    save, begun, released = StandardCheckpointer.save, threading.Event(), threading.Event()

    def slow(self, path, arrays):
        begun.set()
        assert released.wait(60)
        save(self, path, arrays)

    def interrupt(event):
        if event == ev.Stepped(8):
            assert begun.wait(60)
            raise KeyboardInterrupt

    monkeypatch.setattr(StandardCheckpointer, "save", slow)
    with pytest.raises(KeyboardInterrupt):
        netdef.train(tiny, output=tmp_path / "run", on_event=interrupt)
    assert list((tmp_path / "run").glob(".iter_000005.*.writing"))
    released.set()
    (writer,) = (thread for thread in threading.enumerate() if thread.name == "netdef-snapshot")
    writer.join(60)
    assert not list((tmp_path / "run").glob("*iter_000005*"))  # another run may have begun in the folder


# Killed processes

KILLED = """
import os, signal, sys
import orbax.checkpoint
from netdef.cli import main
from netdef.training.prefetch import Batches

moment, save, following = sys.argv.pop(1), orbax.checkpoint.StandardCheckpointer.save, Batches.__next__

def half(self, path, arrays):
    if moment == "share" and "iter_000004" in str(path):
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, path, arrays)
    if moment == "save" and "iter_000004" in str(path):
        os.kill(os.getpid(), signal.SIGKILL)

def step(self):
    piece = following(self)
    if moment == "step" and piece.begin == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return piece

orbax.checkpoint.StandardCheckpointer.save, Batches.__next__ = half, step
sys.exit(main())
"""
unix = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


def killed(moment: str, faces: Path, folder: Path, *words: str) -> subprocess.Popen:
    """Starts a run that kills itself at the moment: in a "step", before its "share" of a snapshot is written, after
    its arrays are "save"d, or "" for never."""
    command = [sys.executable, "-c", KILLED, moment, "train", str(faces), "--output", str(folder), *words]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def resumed(faces: Path, folder: Path, undisturbed: list[float], devices: int | None = None) -> None:
    """Resumes a run of which a process was killed, and compares its losses."""
    path, notes = snapshot.newest(folder)
    assert path is not None
    assert notes == []
    begin = snapshot.load(path).state["iteration"]
    assert begin >= 2
    np.testing.assert_allclose(trained(faces, folder, devices, resume=True)[begin:], undisturbed[begin:], rtol=2e-6)
    assert not list(folder.glob(".*.writing"))


@unix
def test_a_process_that_is_killed_while_it_saves_loses_nothing(faces, tmp_path, undisturbed):
    process = killed("save", faces, tmp_path / "run")
    told = process.communicate(timeout=120)[0]
    assert process.returncode == -signal.SIGKILL, told
    assert [path.name for path in snapshot.found(tmp_path / "run")] == ["iter_000002"]
    assert list((tmp_path / "run").glob(".iter_000004.*.writing"))
    resumed(faces, tmp_path / "run", undisturbed)


@unix
@pytest.mark.parametrize("moment", ["step", "share"])
def test_one_of_four_processes_that_is_killed_loses_nothing(eight, faces, tmp_path, undisturbed, moment):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    words = lambda i: ("--hosts", address, "--host", f"{i}/4", "--heartbeat", "20")
    processes = [killed(moment if i == 2 else "", faces, tmp_path / "run", *words(i)) for i in range(4)]
    told = [process.communicate(timeout=300)[0] for process in processes]
    assert processes[2].returncode == -signal.SIGKILL, "\n".join(told)
    assert all(process.returncode for process in processes)
    assert "process 2 of 4 on " in told[0] and "this process ends, too" in told[0]
    if moment == "share":
        assert [path.name for path in snapshot.found(tmp_path / "run")] == ["iter_000002"]
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    resumed(faces, tmp_path / "run", undisturbed)
    eight(resumed, faces, tmp_path / "again", undisturbed, 8)
