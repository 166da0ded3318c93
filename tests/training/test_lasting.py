"""Runs that are ended by signals, lose their output, meet a full disk, or share a folder; in real processes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_net import variant

import netdef
from netdef import NetdefError
from netdef.files import temporary_name, write_text_atomically
from netdef.interop import snapshot
from netdef.training import events as ev
from netdef.training import run_lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and locks are POSIX's")
LONG = {"solver.snapshot": 0, "solver.test_interval": 0, "solver.display": 50}


def start(tiny, output, stdout, stderr=subprocess.PIPE):
    """Starts a run that does not end by itself."""
    words = [part for name, value in LONG.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "netdef", "train", str(tiny), "--output", str(output), *words]
    return subprocess.Popen([*command, "--max-iter", "100000000"], stdout=stdout, stderr=stderr, text=True)


def until_running(process, output):
    deadline = time.monotonic() + 120
    metrics = Path(output) / "metrics.jsonl"
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and metrics.stat().st_size:
            return
        time.sleep(0.05)
    pytest.fail(f"the run did not start: {process.poll()}")


@pytest.fixture(autouse=True)
def _a_lost_terminal_ends_a_program():
    """Also where the tests run under nohup, which ignores SIGHUP; the programs that they start would inherit that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def limited(process, seconds=120):
    """Ends a process at the end, or after some time if it has not ended by then."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_with_a_snapshot(tiny, tmp_path, number):
    with start(tiny, tmp_path / "run", subprocess.PIPE) as process:
        until_running(process, tmp_path / "run")
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    assert "; saved " in out and "resume with: netdef train" in out
    assert snapshot.newest(tmp_path / "run")[0] is not None
    assert not (tmp_path / "run" / "lock").exists()


def test_a_closed_pipe_ends_a_run_with_a_snapshot(tiny, tmp_path):
    with start(tiny, tmp_path / "run", subprocess.PIPE) as process:
        until_running(process, tmp_path / "run")
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(120) == 141
    assert "; saved " in err and "Traceback" not in err
    assert snapshot.newest(tmp_path / "run")[0] is not None


def test_a_closed_pipe_does_not_end_a_run_whose_other_output_is_a_file(tiny, tmp_path):
    with (tmp_path / "log").open("w") as log, start(tiny, tmp_path / "run", subprocess.PIPE, log) as process:
        until_running(process, tmp_path / "run")
        process.stdout.close()
        before = (tmp_path / "log").stat().st_size
        deadline = time.monotonic() + 60
        while (tmp_path / "log").stat().st_size <= before + 500 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 143
    assert "; saved " in (tmp_path / "log").read_text()


def test_a_live_folder_is_refused_and_one_of_a_killed_process_is_not(tiny, tmp_path):
    folder = tmp_path / "run"
    with start(tiny, folder, subprocess.DEVNULL, subprocess.DEVNULL) as process:
        until_running(process, folder)
        assert run_lock.holder(folder).process == process.pid
        with pytest.raises(run_lock.LockedError, match=rf"run in progress \(process {process.pid} on "):
            netdef.train(tiny, output=folder)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]  # was not moved
        process.kill()
        process.wait()
    assert (folder / "lock").exists() and run_lock.holder(folder) is None
    netdef.train(tiny, output=folder, max_iter=2)
    assert (tmp_path / "run.1" / "metrics.jsonl").is_file() and not (folder / "lock").exists()


def test_a_resume_and_a_sweep_of_a_live_folder_are_refused(tiny, tmp_path):
    from netdef.sweep.sweep import sweep

    folder = netdef.train(tiny, output=tmp_path / "run", max_iter=2).folder
    with run_lock.locked(folder) as warning:
        assert warning == ""
        with pytest.raises(run_lock.LockedError, match="run in progress"):
            netdef.train(tiny, output=folder, resume=True)
        with pytest.raises(run_lock.LockedError, match="run in progress"):
            sweep(tiny, {"solver.base_lr": [0.1]}, output=folder)


SLOW = """
import gc, sys, threading, time
import orbax.checkpoint
from netdef.cli import main
from netdef.training.saving import Saving

save = orbax.checkpoint.StandardCheckpointer.save

def slow(self, path, arrays):
    save(self, path, arrays)
    if "iter_000005" not in str(path):
        gc.callbacks.append(collect)
        time.sleep(600)

def collect(*_):  # discards what a signal raises, as a callback of JAX does
    if threading.current_thread() is threading.main_thread():
        print("half written", flush=True)
        time.sleep(600)

def take(self, wait):
    while wait and self.busy:
        gc.collect()
        time.sleep(0.1)

orbax.checkpoint.StandardCheckpointer.save, Saving.take = slow, take
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_run_in_its_last_snapshot(tiny, tmp_path, number):
    folder = tmp_path / "run"
    netdef.train(tiny, output=folder, max_iter=5)
    words = ["train", str(tiny), "--resume", str(folder), "--max-iter", "100000000", "--set", "solver.snapshot=0"]
    command = [sys.executable, "-c", SLOW, *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process, limited(process):
        for line in process.stdout:
            if line.startswith("iteration"):
                break
        process.send_signal(number)
        told = []
        for line in process.stdout:
            told.append(line)
            if line == "half written\n":
                break
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -number and "Traceback" not in errors
    text = f"{signal.Signals(number).name}: saving a snapshot; a second signal ends the run at once, without it"
    assert sum(text in line for line in told) == 1
    assert [path.name for path in snapshot.found(folder)] == ["iter_000005"]
    assert netdef.train(tiny, resume=folder, max_iter=8).iteration == 8
    assert not list(folder.glob(".*.writing")) and not (folder / "lock").exists()


IN_TERMINAL = """
import os, sys
terminal = os.open(sys.argv[1], os.O_RDWR)  # becomes the controlling terminal of the new session
for stream in (0, 1, 2):
    os.dup2(terminal, stream)
if sys.argv[2]:
    os.dup2(os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT), 2)
os.execv(sys.executable, [sys.executable, "-m", "netdef", *sys.argv[3:]])
"""


@pytest.mark.parametrize("log", ["", "log"])
def test_a_lost_terminal_ends_a_run_unless_its_output_is_also_a_file(tiny, tmp_path, log):
    folder, log = tmp_path / "run", log and str(tmp_path / log)
    ours, theirs = os.openpty()
    words = ["train", str(tiny), "--output", str(folder), "--max-iter", "100000000"]
    more = [part for name, value in LONG.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-c", IN_TERMINAL, os.ttyname(theirs), log, *words, *more]
    with subprocess.Popen(command, start_new_session=True) as process, limited(process, 240):
        metrics = folder / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
            if select.select([ours], [], [], 0.1)[0]:
                os.read(ours, 4096)  # else the terminal is full and the run waits
        os.close(theirs)
        os.close(ours)
        if log:
            before, deadline = metrics.stat().st_size, time.monotonic() + 120
            while metrics.stat().st_size <= before + 1000 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
        assert process.wait(120) == (143 if log else 129)
    assert snapshot.newest(folder)[0] is not None and not (folder / "lock").exists()
    assert not log or "Traceback" not in Path(log).read_text()


def test_handlers_of_the_program_are_kept(tiny, tmp_path):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    netdef.train(tiny, output=tmp_path / "run", max_iter=2)
    assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP])
def test_a_folder_that_cannot_be_locked_is_a_warning(tiny, tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    events = []
    netdef.train(tiny, output=tmp_path / "run", max_iter=2, on_event=events.append)
    warnings = [text for text in events[0].warnings if "cannot be locked" in text]
    assert len(warnings) == 1 and f"({os.strerror(number)})" in warnings[0] and "two runs" in warnings[0]
    assert run_lock.holder(tmp_path / "run") is None


# A full disk


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_last_snapshot_that_cannot_be_written_is_an_error(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("orbax.checkpoint.StandardCheckpointer.save", full)
    events = []
    with pytest.raises(NetdefError, match=r"iteration 20 cannot be written to .*iter_000020: No space left"):
        netdef.train(tiny, output=tmp_path / "run", on_event=events.append)
    notices = [e.text for e in events if isinstance(e, ev.Notice)]
    assert len(notices) == 3 and all("No space left" in n and "training continues" in n for n in notices)


def test_too_little_room_for_snapshots_is_a_warning(tiny, tmp_path, monkeypatch):
    from collections import namedtuple

    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("Usage", "total used free")(10, 0, 10))
    events = []
    netdef.train(tiny, output=tmp_path / "run", max_iter=2, on_event=events.append)
    assert any("0.0 MB are free, but two snapshots need about 0.0 MB" in w for w in events[0].warnings)


def test_records_wait_while_the_disk_is_full(tmp_path, monkeypatch):
    from netdef.training.metrics import Recorder

    recorder = Recorder(tmp_path / "metrics.jsonl", 0)
    row = lambda n: recorder.add(ev.Display(n, 1.0, 0.1, {}, 1.0), 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        row(0)
        assert recorder.failure == f"{tmp_path / 'metrics.jsonl'}: cannot be written: No space left on device"
        with pytest.raises(NetdefError, match="1 records are not in it"):
            recorder.close()
    row(1)
    recorder.close()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 KB, in which not every snapshot fits, however its pages are used."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_becomes_full_is_reported_in_one_line(tiny, small_disk):
    wide = tiny.parent / "wide.net"
    wide.write_text(tiny.read_text().replace("num_output: 6", "num_output: 3000"))
    command = [sys.executable, "-m", "netdef", "train", str(wide), "--output", str(small_disk / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "No space left on device" in done.stderr


# Data, and what killed processes left


def test_a_non_finite_value_of_the_data_is_named_with_its_record(tiny, tmp_path):
    x = np.zeros((16, 4), np.float32)
    x[13, 2] = np.nan
    with h5py.File(tiny.parent / "nan.h5", "w") as file:
        file["x"], file["label"] = x, np.zeros(16, np.float32)
    (tiny.parent / "nan.txt").write_text("nan.h5\n")
    path = tiny.parent / "nandata.net"
    path.write_text(tiny.read_text().replace("train.txt", "nan.txt"))
    with pytest.raises(NetdefError, match=r"`x` of layer `d`.*row 13 of .*nan\.h5\. .*correct or remove") as caught:
        netdef.train(path, output=tmp_path / "run")
    assert "base_lr" not in str(caught.value)


def test_an_infinite_value_of_the_data_is_not_blamed_on_the_learning_rate(tiny, tmp_path):
    x = np.zeros((16, 4), np.float32)
    x[13, 2] = np.inf
    with h5py.File(tiny.parent / "inf.h5", "w") as file:
        file["x"], file["label"] = x, np.zeros(16, np.float32)
    (tiny.parent / "inf.txt").write_text("inf.h5\n")
    path = variant(tiny, "infdata", ("train.txt", "inf.txt"), ("iter_size: 2", ""))
    with pytest.raises(NetdefError, match=r"The loss is (nan|not finite) at.*row 13 of .*correct or remove") as caught:
        netdef.train(path, output=tmp_path / "run")
    assert "base_lr" not in str(caught.value)


def test_given_weights_that_are_not_finite_are_not_blamed_on_the_learning_rate(tiny, tmp_path):
    weights = netdef.compile(tiny, phase="TRAIN").get_weights()
    weights["ip1"] = [np.full_like(weights["ip1"][0], np.nan), *weights["ip1"][1:]]
    with pytest.raises(NetdefError, match=r"Parameter 0 of layer `ip1` .*The weights that the run starts") as caught:
        netdef.train(tiny, output=tmp_path / "run", weights=weights)
    assert "base_lr" not in str(caught.value)


def test_leftovers_of_dead_processes_are_removed_and_those_of_live_ones_are_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, old = tmp_path / f".a.json.{dead.pid}.writing", tmp_path / ".a.json.writing"
    live, other = tmp_path / f".a.json.{os.getppid()}.writing", tmp_path / f".b.json.{dead.pid}.writing"
    for path in (left, old, live, other):
        path.write_text("{")
    write_text_atomically(tmp_path / "a.json", "{}")
    assert not left.exists() and not old.exists() and live.exists() and other.exists()
    assert not temporary_name(tmp_path / "a.json").exists()


def test_leftovers_of_another_host_are_removed_only_when_they_are_old(tmp_path, monkeypatch):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    monkeypatch.setattr("socket.gethostname", lambda: "here.example.org")
    assert temporary_name(tmp_path / "a.json").name == f".a.json.{os.getpid()}@here.writing"
    old, new, ours = (tmp_path / f".a.json.{dead.pid}@{host}.writing" for host in ("there", "elsewhere", "here"))
    same_number = tmp_path / f".a.json.{os.getpid()}@there.writing"  # the processes of a container have low numbers
    for path in (old, new, ours, same_number):
        path.mkdir()
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    write_text_atomically(tmp_path / "a.json", "{}")
    assert not old.exists() and not ours.exists() and new.exists() and same_number.exists()


def test_a_snapshot_removes_what_a_killed_process_left(tmp_path):
    save = lambda n: snapshot.save(tmp_path, n, {"a": np.zeros(1)}, {"iteration": n}, "")
    save(1)
    (tmp_path / ".metrics.jsonl.writing").write_text("")  # a file, which was an error of every later snapshot
    whole = save(2)
    whole.rename(tmp_path / "iter_000002~")
    save(2)
    (tmp_path / "iter_000001").rename(tmp_path / "iter_000001~")
    save(1).rename(tmp_path / "keep")
    save(3)
    assert not list(tmp_path.glob(".*.writing")) and not (tmp_path / "iter_000002~").exists()
    assert json.loads((tmp_path / "iter_000003" / "state.json").read_text())["iteration"] == 3
