"""Runs that are also written for MLflow and for Weights & Biases, and what happens if that fails."""

from __future__ import annotations

import json
import struct
import sys

import pytest

import netdef
from netdef import NetdefError
from netdef.training import events as ev
from netdef.training import run
from netdef.training.tracker import Tracker

SETTINGS = {"solver.base_lr": 0.05}


def notices(events):
    return [event.text for event in events if isinstance(event, ev.Notice)]


@pytest.mark.parametrize("name", ["tensorboardX", "mlflow", "wandb"])
def test_without_its_package_no_run_is_started(name, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(NetdefError, match=f"pip install {name}"):
        netdef.train(tiny, output=tmp_path / "run", **{name.removesuffix("X").lower(): True})
    assert not (tmp_path / "run").exists()


class Failing(Tracker):
    """Fails at the first test."""

    name, writes = "failing", "what it writes"
    closed = 0

    @classmethod
    def require(cls):
        return None

    def begin(self, event):
        pass

    def log(self, kind, iteration, row):
        if kind == "test":
            raise RuntimeError("its server is gone\nand more")

    def end(self, interrupted):
        raise AssertionError("it has failed before")

    def close(self):
        Failing.closed += 1
        raise RuntimeError("again")


def test_a_tracker_that_fails_is_reported_once(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(run.TRACKERS, "tensorboard", Failing)
    events = []
    done = netdef.train(tiny, output=tmp_path / "run", tensorboard=True, on_event=events.append)
    assert notices(events) == [
        "failing failed: RuntimeError: its server is gone; training continues without what it writes"
    ]
    assert done.iteration == 20 and Failing.closed == 2


def test_mlflow_has_metrics_settings_and_files(tiny, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    events = []
    more = {"output": tmp_path / "run", "set": SETTINGS, "mlflow": True, "on_event": events.append}
    netdef.train(tiny, max_iter=8, **more)
    done = netdef.train(tiny, max_iter=12, resume=True, **more)
    assert not notices(events)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/run/mlflow/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("Tiny").experiment_id])
    assert found.info.status == "FINISHED" and found.info.run_name == "run"
    assert found.data.params["solver.base_lr"] == "0.05" and found.data.params["solver.gamma"] == "0.5"
    assert found.data.params["seed"] == "3" and found.data.tags["snapshot"] == str(done.snapshot)
    for phase, name in (("train", "loss"), ("test", "accuracy")):
        written = {m.step: m.value for m in client.get_metric_history(found.info.run_id, f"{phase}/{name}")}
        assert written == {row["iteration"]: row[name] for row in done.history if row["phase"] == phase}
    assert {file.path for file in client.list_artifacts(found.info.run_id)} == {
        *("net.prototxt", "metrics.jsonl", "run.json"),
    }


def records(path):
    """Yields the records of a run of Weights & Biases: protobuf messages in the log format of LevelDB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # the end of a block is empty
            at += 32768 - at % 32768
            continue
        size, part = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if part in (1, 4):  # a whole record, or the end of one
            yield Record.FromString(whole)
            whole = b""


def test_wandb_has_metrics_settings_and_files(tiny, tmp_path):
    pytest.importorskip("wandb")
    events = []
    done = netdef.train(tiny, output=tmp_path / "run", set=SETTINGS, max_iter=8, wandb=True, on_event=events.append)
    assert not notices(events)
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    assert {"net.prototxt", "metrics.jsonl", "run.json"} <= {path.name for path in (folder / "files").iterdir()}
    losses, config = {}, {}
    for record in records(next(folder.glob("*.wandb"))):
        row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        losses |= {row["iteration"]: row["train/loss"]} if "train/loss" in row else {}
        config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    assert losses == {row["iteration"]: row["loss"] for row in done.history if row["phase"] == "train"}
    assert config["solver.base_lr"] == 0.05 and config["seed"] == 3
