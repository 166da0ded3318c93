"""A run stands alone: commands need neither its file nor its settings, and FILE alone uses its last run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import netdef as library
from netdef.cli import main
from netdef.inference.predict import Predictor
from netdef.training.saved_run import last_run, saved_run

BLOCKS = 'template dense(out) { layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"\n' + (
    'inner_product_param { num_output: ${out} weight_filler { type: "xavier" } } } }\n'
)
TEXT = """
import "parts/blocks.net"
let data: "none.txt"
let classes: 3
name: "Signs"
layer { name: "d" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: ${data} batch_size: 6 } }
dense { out: ${classes} }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "y" top: "accuracy" include { phase: TEST } }
solver { base_lr: 0.5 lr_policy: "fixed" max_iter: 20 display: 5 test_interval: 10 random_seed: 7 }
"""
SET = ["--set", "data=d.txt", "--set", "classes=2", "--set", "solver.base_lr=0.25"]


def write_project(folder: Path) -> Path:
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "blocks.net").write_text(BLOCKS)
    with h5py.File(folder / "d.h5", "w") as file:
        file["x"] = np.array([[-3.0], [-2.0], [-1.0], [1.0], [2.0], [3.0]], np.float32)
        file["y"] = np.array([0, 0, 0, 1, 1, 1], np.float32)
    (folder / "d.txt").write_text("d.h5\n")
    (folder / "signs.net").write_text(TEXT)
    return folder / "signs.net"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a net, its data and its run, in `runs/Signs`."""
    folder = tmp_path_factory.mktemp("project")
    file = write_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", str(file), *SET]) == 0
    return folder


@pytest.fixture(autouse=True)
def here(project, monkeypatch):
    monkeypatch.chdir(project)


def test_the_net_of_a_run_is_the_one_that_was_trained(project):
    text = (project / "runs/Signs/net.prototxt").read_text()
    assert "num_output: 2" in text and "base_lr: 0.25" in text and 'source: "d.txt"' in text
    assert "import" not in text and "${" not in text
    snapshot = project / "runs/Signs/iter_000020/net.prototxt"
    assert snapshot.read_text() == text


def test_the_sources_are_beside_it(project):
    kept = project / "runs/Signs/source"
    assert (kept / "signs.net").read_text() == TEXT
    assert (kept / "parts/blocks.net").read_text() == BLOCKS


def test_the_record_has_settings_versions_and_a_fingerprint_of_the_data(project):
    record = json.loads((project / "runs/Signs/run.json").read_text())
    assert record["settings"] == {"data": "d.txt", "classes": "2", "solver.base_lr": "0.25"}
    assert record["sittings"][0]["versions"]["netdef"]
    for phase in ("train", "test"):
        found = record["data"][phase]["d"]
        assert (found["records"], found["files"]) == (6, 1) and len(found["sha256"]) == 64


@pytest.mark.parametrize("words", [["signs.net"], ["--run", "runs/Signs"], ["--run", "runs/Signs/iter_000020"]])
def test_testing_uses_the_settings_of_the_run(netdef, words):
    done = netdef("test", *words, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["outputs"]["accuracy"] == 1


def test_a_file_alone_names_its_last_run_and_its_settings(netdef):
    done = netdef("test", "signs.net")
    line = (
        "netdef: the weights are those of runs/Signs/iter_000020, the last run of signs.net, with its settings "
        "data=d.txt classes=2 solver.base_lr=0.25\n"
    )
    assert done.err == line
    assert "with its settings data=d.txt solver" in netdef("test", "signs.net", "--set", "classes=2").err


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "rows.npy"],
        ["features", "--blobs", "ip", "-o", "OUT.npz"],
        ["eject", "-o", "OUT.py"],
        ["deploy", "--fold", "--save-weights", "OUT.npz", "-o", "OUT.net"],
        ["convert", "-o", "OUT.npz"],
        ["convert", "-o", "OUT.stablehlo"],
    ],
)
@pytest.mark.parametrize("by_run", [True, False])
def test_commands_name_the_run_that_they_use(netdef, tmp_path, words, by_run):
    np.save("rows.npy", np.array([[-2.0], [2.0]], np.float32))
    if "OUT.stablehlo" in words:
        pytest.importorskip("flatbuffers")
    command, *rest = [word.replace("OUT", str(tmp_path / "out")) for word in words]
    done = netdef(command, *(["--run", "runs/Signs"] if by_run else ["signs.net"]), *rest)
    assert done.code == 0, done.err
    assert "the weights are those of runs/Signs/iter_000020" in done.err
    assert ("classes=2" in done.err) is not by_run
    if words == ["convert", "-o", "OUT.npz"]:
        assert np.load(tmp_path / "out.npz")["ip/0"].shape == (2, 1)


def test_deploy_time_plot_and_report_need_no_file(netdef, tmp_path):
    pytest.importorskip("matplotlib")
    assert "num_output: 2" in netdef("deploy", "--run", "runs/Signs").out
    assert "images/s" in netdef("time", "--run", "runs/Signs", "--iterations", 1).out
    for words in (["--run", "runs/Signs"], ["signs.net"]):
        assert netdef("plot", *words, "-o", tmp_path / "a.png").code == 0
        assert netdef("report", *words, "-o", tmp_path / "a.html").code == 0
    assert "the run is runs/Signs" in netdef("plot", "signs.net", "-o", tmp_path / "a.png").err
    assert netdef("plot").code == netdef("report").code == 2


@pytest.mark.parametrize("alone", [True, False])
def test_a_run_may_be_moved_alone_or_with_its_project(netdef, project, tmp_path, monkeypatch, alone):
    if alone:
        shutil.copytree(project / "runs/Signs", tmp_path / "sent")
        run = tmp_path / "sent"
    else:
        shutil.copytree(project, tmp_path / "p")
        run = tmp_path / "p/runs/Signs"
        record = json.loads((run / "run.json").read_text())
        for name in ("file", "folder"):
            record[name] = record[name].replace(str(project), str(tmp_path / "gone"))
        (run / "run.json").write_text(json.dumps(record))
    monkeypatch.chdir("/")
    done = netdef("test", "--run", run, "--json")
    assert done.code == 0 and json.loads(done.out)["outputs"]["accuracy"] == 1, done.err


def test_a_run_without_its_data_still_predicts(netdef, project, tmp_path):
    run = shutil.copytree(project / "runs/Signs", tmp_path / "sent")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"folder": "/gone", "up": "gone", "file": "/gone/signs.net"}))
    assert "num_output: 2" in netdef("deploy", "--run", run, "--shape", "x=1,1").out


def test_the_last_run_is_not_that_of_another_file_with_the_same_name(netdef, tmp_path, monkeypatch):
    file = write_project(tmp_path / "p")
    monkeypatch.chdir(file.parent)
    other = file.with_name("other.net")
    other.write_text(TEXT)
    for path in (file, other):
        assert netdef("train", path, *SET, "--max-iter", 2).code == 0
    found = [last_run(path) for path in (file, other)]
    assert [run.folder.name for run in found if run] == ["Signs", "Signs-2"]
    assert netdef("train", file, *SET, "--max-iter", 4, "--resume").code == 0
    assert saved_run("runs/Signs/iter_000004").folder.name == "Signs"
    assert netdef("train", file, *SET, "--max-iter", 2, "--output", "mine").code == 0
    assert netdef("test", file).err.startswith("netdef: the weights are those of mine/iter_000002, the last run")


def test_a_solver_that_names_two_nets(netdef, tmp_path, monkeypatch):
    monkeypatch.chdir(write_project(tmp_path / "p").parent)
    body = TEXT[: TEXT.index("solver")].replace("none.txt", "d.txt").replace("classes: 3", "classes: 2")
    for name in ("train.net", "test.net"):
        Path(name).write_text(body)
    Path("solver.prototxt").write_text(
        'train_net: "train.net" test_net: "test.net" test_iter: 1 test_interval: 5 max_iter: 5 base_lr: 0.5 '
        'lr_policy: "fixed" snapshot_prefix: "out/signs"'
    )
    assert netdef("train", "solver.prototxt").code == 0
    text = Path("out/signs/net.prototxt").read_text()
    assert "train_net_param {" in text and "test_net_param {" in text
    Path("train.net").unlink()
    assert netdef("test", "--run", "out/signs").code == 0
    assert sorted(p.name for p in Path("out/signs/source").iterdir()) == [
        "parts",
        "solver.prototxt",
        "test.net",
        "train.net",
    ]


def test_a_run_of_an_older_version(netdef, project, tmp_path):
    """It has the user's file, and no folder in its record."""
    run = shutil.copytree(project / "runs/Signs", tmp_path / "old")
    shutil.rmtree(run / "source")
    shutil.copy(project / "signs.net", run / "net.prototxt")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({k: record[k] for k in ("name", "file", "settings", "sittings")}))
    done = netdef("test", "--run", run, "--json")
    assert done.code == 0 and json.loads(done.out)["outputs"]["accuracy"] == 1, done.err


def test_a_record_cannot_choose_the_folder_of_imports(netdef, project, tmp_path):
    run = shutil.copytree(project / "runs/Signs", tmp_path / "run")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.txt").write_text("SECRET {")
    (run / "net.prototxt").write_text('import "key.txt"')
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"folder": str(tmp_path / "secret")}))
    done = netdef("deploy", "--run", run)
    assert done.code == 2 and "SECRET" not in done.err and "was not found" in done.err


def test_another_net_for_the_weights_of_a_run_needs_none_of_its_settings(netdef, project, tmp_path):
    done = netdef("deploy", "--run", "runs/Signs", "-o", tmp_path / "deploy.prototxt")
    assert done.code == 0
    np.save("rows.npy", np.array([[-2.0], [2.0]], np.float32))
    done = netdef("predict", tmp_path / "deploy.prototxt", "rows.npy", "--run", "runs/Signs", "--json")
    assert done.code == 0 and [a["classes"][0]["class"] for a in json.loads(done.out)] == [0, 1], done.err


def test_what_is_not_a_run(netdef, project, tmp_path):
    done = netdef("test", "--run", project)
    assert done.code == 2 and "is not the folder of a run" in done.err
    assert "it contains runs: Signs" in netdef("test", "--run", "runs").err
    assert netdef("test").code == 2
    (tmp_path / "metrics.jsonl").write_text("")
    assert "has no net.prototxt" in netdef("test", "--run", tmp_path).err


def test_weights_are_loaded_in_python(project):
    run = saved_run(project / "runs/Signs")
    net, settings = run.net()
    predictor = Predictor(library.load(net, "TEST", set=settings), str(run.folder))
    assert predictor.model.get_weights()["ip"][0].shape == (2, 1)
