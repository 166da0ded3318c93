"""Runs of several processes: the result of one, and how all of them end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_detector import write_ragged
from tiny_net import variant

import netdef
from netdef.training.hosts import Hosts

DROPOUT = 'layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" dropout_param { dropout_ratio: 0.3 } }'
ENDLESS = ("solver.max_iter=1000000", "solver.display=100", "solver.test_interval=0", "solver.snapshot=0")


def start(path, folder, *words, processes=2, settings=(), heartbeat=60):
    """Starts the processes of a run with `netdef launch`; on a busy machine, one may be silent for many seconds."""
    options = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "netdef", "launch", "-n", str(processes), "--", "train", str(path)]
    command += ["--output", str(folder), "--heartbeat", str(heartbeat), *options, *words]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def ended(launched):
    """(exit code, output) of a run."""
    told = launched.communicate(timeout=300)[0]
    return launched.returncode, told


def records(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def wait_for_records(folder, launched):
    while not ((folder / "metrics.jsonl").exists() and len(records(folder)) > 1):
        assert launched.poll() is None, launched.communicate()[0]
        time.sleep(0.1)


def process_of(folder, index):
    """The number of the process with this index, from the arguments of its command."""
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{number}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if str(folder) in words and f"{index}/2" in words:
            return int(number)
    raise AssertionError(f"process {index} of {folder} does not run")


@pytest.fixture(scope="module")
def net(tiny):
    """A net whose tests read each record once; the last batch of them cannot be divided."""
    return variant(tiny, "hosts", ("test_iter: 2 ", ""), ("batch_size: 5", "batch_size: 4"))


@pytest.fixture(scope="module")
def common(net, tmp_path_factory):
    """The folder of a run of two processes, and what it printed."""
    folder = tmp_path_factory.mktemp("hosts") / "run"
    code, told = ended(start(net, folder, settings=("solver.display=1", "solver.average_loss=1")))
    assert code == 0, told
    return folder, told


def test_the_result_is_that_of_one_process(net, tmp_path, common):
    folder, told = common
    assert "batch 8 divided among 2 devices, 2 times: 4 on each" in told
    netdef.train(net, output=tmp_path / "run", set={"solver.display": 1, "solver.average_loss": 1})
    one, two = records(tmp_path / "run"), records(folder)
    assert [(r["iteration"], r["phase"]) for r in one] == [(r["iteration"], r["phase"]) for r in two]
    np.testing.assert_allclose([r["loss"] for r in two], [r["loss"] for r in one], rtol=2e-6)


def test_one_process_writes_the_run(common):
    folder, told = common
    assert sorted(p.name for p in folder.iterdir()) == [
        *(f"iter_0000{i:02}" for i in (5, 10, 15, 20)),
        *("metrics.jsonl", "net.prototxt", "run.json", "source"),
    ]
    assert len(re.findall("done: 20 iterations", told)) == 1


def test_one_process_resumes_the_run_of_two(net, tmp_path, common):
    folder, _ = common
    again = netdef.train(
        net,
        output=tmp_path / "run",
        resume=folder / "iter_000015",
        set={"solver.display": 1, "solver.average_loss": 1},
    )
    rest = [r["loss"] for r in records(folder) if r["iteration"] >= 15 and r["phase"] == "train"]
    np.testing.assert_allclose([r["loss"] for r in again.history if r["phase"] == "train"], rest, rtol=2e-6)


def test_two_processes_resume_the_run_of_one(tiny, tmp_path, common):
    folder, _ = common
    netdef.train(tiny, output=tmp_path / "run", max_iter=15, set={"solver.average_loss": 1})
    code, told = ended(
        start(tiny, tmp_path / "run", "--resume", settings=("solver.display=1", "solver.average_loss=1"))
    )
    assert code == 0, told
    assert "resuming at iteration 15" in told
    rest = lambda folder: [r["loss"] for r in records(folder) if r["iteration"] >= 15 and r["phase"] == "train"]
    np.testing.assert_allclose(rest(tmp_path / "run"), rest(folder), rtol=2e-6)


def test_processes_divide_images_with_boxes(tmp_path):
    """Each process reads the boxes of its own images; the loss is divided by the matches of all."""
    net = write_ragged(tmp_path / "set", 4, "")
    one = [r["loss"] for r in netdef.train(net, output=tmp_path / "one").history]
    code, told = ended(start(net, tmp_path / "two"))
    assert code == 0, told
    np.testing.assert_allclose([r["loss"] for r in records(tmp_path / "two")], one, rtol=2e-6)


CLASSES = """
layer { name: "d" type: "ArrayData" top: "x" top: "label" array_data_param { source: "faces.npz" batch_size: 8 } }
layer { name: "trunk" type: "InnerProduct" bottom: "x" top: "trunk"
        inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "ip" type: "InnerProduct" bottom: "trunk" top: "scores"
        inner_product_param { num_output: 103 shard: true weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss" }
solver { base_lr: 0.5 momentum: 0.9 weight_decay: 0.001 max_iter: 6 display: 1 snapshot: 3 ema: 0.9 }
"""


def test_processes_divide_a_number_of_classes_that_is_prime(tmp_path, monkeypatch):
    """One process goes on with their snapshot, and they with its."""
    random = np.random.default_rng(0)
    np.savez(tmp_path / "faces.npz", x=random.normal(size=(64, 20)), label=random.integers(0, 103, 64))
    (tmp_path / "faces.net").write_text(CLASSES)
    net = tmp_path / "faces.net"
    one = [r["loss"] for r in netdef.train(net, output=tmp_path / "one").history]
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    code, told = ended(start(net, tmp_path / "two"))
    assert code == 0, told
    assert "batch 8 divided among 4 devices: 2 on each; they divide the classes of `ip`" in told
    np.testing.assert_allclose([r["loss"] for r in records(tmp_path / "two")], one, rtol=2e-6)
    again = netdef.train(net, output=tmp_path / "again", resume=tmp_path / "two" / "iter_000003")
    np.testing.assert_allclose([r["loss"] for r in again.history], one[3:], rtol=2e-6)
    code, told = ended(start(net, tmp_path / "others", "--resume", str(tmp_path / "one" / "iter_000003")))
    assert code == 0, told
    np.testing.assert_allclose([r["loss"] for r in records(tmp_path / "others")], one[3:], rtol=2e-6)


def test_a_signal_to_one_process_ends_all_with_one_snapshot(tiny, tmp_path):
    launched = start(tiny, tmp_path / "run", settings=ENDLESS)
    wait_for_records(tmp_path / "run", launched)
    os.kill(process_of(tmp_path / "run", 1), signal.SIGTERM)
    code, told = ended(launched)
    assert code == 128 + signal.SIGTERM, told
    saved = [p.name for p in (tmp_path / "run").glob("iter_*")]
    assert len(saved) == 1
    assert f"stopped after {int(saved[0][5:])} iterations" in told


def test_a_process_that_dies_ends_the_others_and_is_named(tiny, tmp_path):
    launched = start(tiny, tmp_path / "run", settings=(*ENDLESS[:3], "solver.snapshot=50"), heartbeat=15)
    wait_for_records(tmp_path / "run", launched)
    killed = time.monotonic()
    os.kill(process_of(tmp_path / "run", 1), signal.SIGKILL)
    code, told = ended(launched)
    assert time.monotonic() - killed < 60  # with the time of a loaded machine
    assert code == 128 + signal.SIGKILL
    assert re.search(
        "netdef: error: process 1 of 2 on .* has not answered for 15 seconds; this process ends, too", told
    )
    assert "netdef: process 1 was ended by SIGKILL" in told
    again = netdef.train(
        tiny, output=tmp_path / "run", resume=True, set=dict(s.split("=") for s in ENDLESS), max_iter=1
    )
    assert again.iteration >= 50


def test_process_0_that_dies_is_named(tiny, tmp_path):
    launched = start(tiny, tmp_path / "run", settings=ENDLESS)
    wait_for_records(tmp_path / "run", launched)
    killed = time.monotonic()
    os.kill(process_of(tmp_path / "run", 0), signal.SIGKILL)
    code, told = ended(launched)
    assert time.monotonic() - killed < 60
    assert code == 128 + signal.SIGKILL
    assert "netdef: error: process 0 of 2 has ended; this process ends, too. --resume goes on." in told
    assert "netdef: process 0 was ended by SIGKILL" in told and "process 1 was ended" not in told
    assert "Check failure" not in told and "Traceback" not in told


def test_an_error_of_the_first_process_ends_all(tiny, tmp_path):
    code, told = ended(start(tiny, tmp_path / "none", "--resume"))
    assert code == 1
    assert told.count("there is no snapshot to resume from") == 2  # of both processes
    assert "Traceback" not in told


def caffes(tiny, folder, words, settings=()):
    """The losses of a run of two processes, each of whose devices has the batch of the file."""
    code, told = ended(start(tiny, folder, *words, settings=("solver.display=1", "solver.average_loss=1", *settings)))
    assert code == 0, told
    return [r["loss"] for r in records(folder)], told


def one_process(tiny, folder, devices):
    fields = {"solver.display": 1, "solver.average_loss": 1}
    result = netdef.train(tiny, output=Path(folder), devices=devices, set=fields)
    return [r["loss"] for r in result.history]


def test_each_device_of_two_processes_has_the_batch_of_the_file(eight, tiny, tmp_path, monkeypatch):
    """As with one process that has all devices: they get the same records, and the first one's statistics are saved."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    plain = variant(tiny, "plain", (DROPOUT, ""))
    two, told = caffes(plain, tmp_path / "two", ["--gpu", "all"])
    assert "batch 8 on each of 4 devices, 2 times: 64 an iteration, with statistics of their own" in told
    one = eight(one_process, plain, tmp_path / "one", [0, 1, 2, 3])
    np.testing.assert_allclose(two, one, rtol=2e-6)


def test_the_batches_of_all_processes_can_have_common_statistics(tiny, tmp_path):
    plain = (DROPOUT, ""), ("shuffle: true", "shuffle: false")  # both depend on the size of the batch
    large = variant(tiny, "large", *plain, ("batch_size: 8", "batch_size: 16"))
    two, told = caffes(
        variant(tiny, "small", *plain), tmp_path / "two", ["--devices", "all"], ["solver.mesh.batch=EACH"]
    )
    assert "batch 8 on each of 2 devices, 2 times: 32 an iteration\n" in told
    np.testing.assert_allclose(two, one_process(large, tmp_path / "one", None), rtol=2e-6)


def test_several_processes_use_all_devices(tiny, tmp_path):
    code, told = ended(start(tiny, tmp_path / "run", "--gpu", "0"))
    assert code == 1
    assert "several processes use all of their devices, 2, but the run is for 1: use `--devices all` or `--gpu" in told


@pytest.mark.parametrize(
    ("hosts", "host", "words"),
    [
        ("gpu1:7000", None, "give both"),
        (None, "0/2", "give both"),
        ("gpu1", "0/2", "hosts: expected ADDRESS:PORT of process 0, as in gpu1:7000, not 'gpu1'"),
        ("gpu1:70000", "0/2", "hosts: expected ADDRESS:PORT"),
        ("gpu1:7000", "2/2", "host: expected I/N, the index of this process from 0 and their number, not '2/2'"),
        ("gpu1:7000", "one", "host: expected I/N"),
    ],
)
def test_addresses_that_are_wrong(hosts, host, words):
    with pytest.raises(netdef.NetdefError, match=re.escape(words)):
        Hosts.parse(hosts, host)


def test_a_host_that_does_not_exist(tiny, tmp_path):
    with pytest.raises(netdef.NetdefError, match="process 0 of this run does not answer at nowhere.invalid:7000: "):
        netdef.train(tiny, output=tmp_path / "run", hosts="nowhere.invalid:7000", host="1/2")
    assert not (tmp_path / "run").exists()


def test_a_heartbeat_that_is_too_short(tiny, tmp_path):
    with pytest.raises(netdef.NetdefError, match="heartbeat is 1 seconds; it must be at least 5"):
        netdef.train(tiny, output=tmp_path / "run", hosts="127.0.0.1:7000", host="0/2", heartbeat=1)


def test_the_processes_of_a_run():
    assert Hosts.parse(None, None) is None
    assert Hosts.parse("[::1]:7000", "1/4") == Hosts("[::1]:7000", 1, 4)
