"""The folders of runs: saved files are never overwritten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netdef.interop import snapshot
from netdef.training.run_folder import new_folder, resumed
from netdef.training.solver_nets import nets_of

DATA = 'layer { name: "z" type: "DummyData" top: "z" dummy_data_param { shape { dim: 1 } } }'
TEXT = 'name: "N" ' + DATA + " solver { base_lr: 1 %s }"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run_in(path: Path, iteration: int = 1) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "metrics.jsonl").write_text("{}\n")
    return snapshot.save(path, iteration, {"a": np.zeros(1)}, {"iteration": iteration}, "")


@pytest.mark.parametrize(
    ("field", "first", "second"),
    [("", "runs/N", "runs/N-2"), ('snapshot_prefix: "a/b"', "a/b", "a/b-2"), ('snapshot_prefix: "a/"', "a/N", "a/N-2")],
)
def test_a_run_without_output_uses_the_next_free_name(field, first, second):
    nets = nets_of(TEXT % field)
    assert new_folder(nets, None) == (Path(first), [])
    run_in(Path(first))
    assert new_folder(nets, None) == (Path(second), [])
    newest = run_in(Path(second), 3)
    assert resumed(nets, None, True) == (Path(second), newest, [])


def test_an_existing_run_in_a_given_output_is_moved():
    nets = nets_of(TEXT % "")
    saved = run_in(Path("out"))
    path, notes = new_folder(nets, "out")
    assert path == Path("out")
    assert notes == ["out contained another run, which was moved to out.1; --resume would have continued it"]
    assert not any(Path("out").iterdir())
    assert (Path("out.1") / saved.name).is_dir()


def test_a_folder_without_a_run_is_used_as_it_is():
    Path("out").mkdir()
    (Path("out") / "notes.txt").write_text("mine")
    assert new_folder(nets_of(TEXT % ""), "out") == (Path("out"), [])
    assert (Path("out") / "notes.txt").read_text() == "mine"
