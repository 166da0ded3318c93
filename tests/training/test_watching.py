"""The files of a run for later inspection: run.json, events for TensorBoard, and a report."""

from __future__ import annotations

import json
import re
import struct
import sys
from pathlib import Path

import pytest

import netdef
from netdef import NetdefError
from netdef.language.errors import printable
from netdef.observe import facts_of, page
from netdef.training import events as ev


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    """Reads the scalars in the event files of a folder: {tag: [(step, value)]}."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("events*")):
        data = path.read_bytes()
        while data:  # length, its checksum, the record, its checksum
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    pytest.importorskip("tensorboardX")
    folder = tmp_path_factory.mktemp("watched") / "run"
    netdef.train(tiny, output=folder, max_iter=8, set={"solver.base_lr": 0.05}, tensorboard=True)
    return netdef.train(tiny, output=folder, resume=True, max_iter=12, set={"solver.base_lr": 0.05}, tensorboard=True)


def test_run_json_describes_each_sitting(trained, tiny):
    told = json.loads((trained.folder / "run.json").read_text())
    assert told["file"] == str(tiny) and told["settings"] == {"solver.base_lr": 0.05}
    assert (told["name"], told["seed"], told["batch"]) == ("Tiny", 3, 16)
    assert [(s["from"], s["to"], s["ended"]) for s in told["sittings"]] == [(0, 8, "max_iter"), (8, 12, "max_iter")]
    assert set(told["sittings"][0]["versions"]) >= {"netdef", "python", "jax", "flax"}
    assert told["sittings"][0]["machine"]["cores"] > 0


def test_events_are_the_records(trained):
    train, test = (scalars(trained.folder / "tensorboard" / kind) for kind in ("train", "test"))
    for tags, phase in ((train, "train"), (test, "test")):
        rows = [row for row in trained.history if row["phase"] == phase]
        for name in ("loss", "lr"):
            written = dict(tags[name])  # the last of repeated events, as TensorBoard shows them
            assert sorted(written) == sorted({row["iteration"] for row in rows})
            assert all(written[row["iteration"]] == pytest.approx(row[name], rel=1e-6) for row in rows)
    assert "accuracy" in test and "accuracy" not in train


def test_without_tensorboardx_no_run_is_started(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(NetdefError, match=r"pip install tensorboardX"):
        netdef.train(tiny, output=tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()


def test_events_that_cannot_be_written_are_reported_once(tiny, tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs Linux's /dev/full")
    monkeypatch.setattr("tensorboardX.record_writer.open_file", lambda path: full.open("wb"))
    events = []
    done = netdef.train(
        tiny, output=tmp_path / "run", set={"solver.display": 1}, tensorboard=True, on_event=events.append
    )
    notices = [event.text for event in events if isinstance(event, ev.Notice)]
    assert len(notices) == 1 and re.match(
        r"(?s).*/tensorboard/train/events.*: cannot be written: No space left", notices[0]
    )
    assert "training continues without TensorBoard events" in notices[0]
    assert done.iteration == 20 and done.why == "max_iter"


def test_a_folder_of_events_that_cannot_be_made_is_reported_once(tiny, tmp_path):
    pytest.importorskip("tensorboardX")
    folder = netdef.train(tiny, output=tmp_path / "run", max_iter=2).folder
    (folder / "tensorboard").write_text("")
    events = []
    netdef.train(tiny, output=folder, resume=True, max_iter=12, tensorboard=True, on_event=events.append)
    assert [
        e.text
        for e in events
        if isinstance(e, ev.Notice) and printable(str(folder / "tensorboard")) in printable(e.text)
    ]


def test_a_report_is_a_single_self_contained_page(trained):
    pytest.importorskip("matplotlib")
    facts = facts_of(trained.folder)
    html = page(facts)
    assert not re.findall(r"(?:src|href)=\"(?!data:)|url\(|@import|https?://", html)
    for words in ("<h1>Tiny</h1>", "12 iterations in", "Curves", "Net", "SoftmaxWithLoss", "solver.base_lr=0.05"):
        assert words in html, words
    for name in ("seed", "jax", "python", "processor", "cores"):
        assert f"<th>{name}</th>" in html, name
    assert html.count("data:image/svg+xml;base64,") == 1 + (facts.picture is not None)


def test_the_confusion_matrix_is_of_the_last_snapshot(trained):
    found = facts_of(trained.folder).confusion
    assert found is not None and found.records == 15 and found.snapshot == "iter_000012"
    last = next(row for row in reversed(trained.history) if row["phase"] == "test")
    assert last["iteration"] <= 12 and len(found.counts) == 3
    assert [sum(row) for row in found.counts] == [5, 5, 5]
    assert sum(n for _, _, n in found.mistakes(99)) == found.records - found.right


def test_a_report_of_a_damaged_run(trained, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "metrics.jsonl").write_text((trained.folder / "metrics.jsonl").read_text() + "{")
    (tmp_path / "run.json").write_text('{"seed": [], "batch": "many", "sittings": [3, {"to": "x"}]}')
    (tmp_path / "net.prototxt").write_text("layer { <b>")
    facts = facts_of(tmp_path)
    assert len(facts.notes) == 2 and "damaged" in facts.notes[0] and "could not be compiled" in facts.notes[1]
    html = page(facts)
    assert "layer { &lt;b&gt;" in html and "Not recorded." in html


def test_the_report_of_a_run_that_was_killed(trained, tmp_path):
    told = json.loads((trained.folder / "run.json").read_text())
    del told["sittings"][1]["to"]
    (tmp_path / "run.json").write_text(json.dumps(told))
    (tmp_path / "metrics.jsonl").write_text((trained.folder / "metrics.jsonl").read_text())
    pytest.importorskip("matplotlib")
    assert "or killed" in page(facts_of(tmp_path, test=False))
