"""Every code block of the README is run, and its claims are checked where they can be measured."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import netdef

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.S | re.M)


def blocks(kind: str) -> list[str]:
    return [body for name, body in BLOCKS if name == kind]


COMMANDS = [line[2:].partition("#")[0].strip() for body in blocks("console") for line in body.splitlines()]

TRAINING = ("netdef train", "netdef sweep", "netdef launch")  # which have tests of their own


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command of the README, with the Python that runs the tests."""
    name, *words = shlex.split(command)
    program = {"netdef": [sys.executable, "-m", "netdef"], "python": [sys.executable]}[name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run([*program, *words], capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a fresh checkout, in which the README's commands are run."""
    place = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", place / "examples")
    return place


@pytest.fixture(scope="module")
def trained(folder: Path) -> str:
    """The output of the README's first training command."""
    assert "netdef train examples/digits.net" in COMMANDS
    return run("netdef train examples/digits.net", folder).stdout


def test_all_languages_of_blocks_are_tested():
    assert {name for name, _ in BLOCKS} == {"console", "protobuf", "text", "python"}
    assert len(BLOCKS) == README.count("```") / 2


def test_install_commands_are_those_of_the_project_checks():
    steps = (ROOT / ".ci" / "run").read_text().splitlines()
    installs = [command for command in COMMANDS if command.startswith(("pip", "python -m pytest"))]
    assert installs[:3] == ["pip install .", 'pip install ".[test]"', "python -m pytest -n 2"]
    assert all(command in steps for command in installs[:3])
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r'"\.\[(\w+)\]"', README)) <= set(extras)


def test_the_digits_are_learned(trained: str, folder: Path):
    rows = [json.loads(line) for line in (folder / "runs/Digits/metrics.jsonl").read_text().splitlines()]
    tests = [row for row in rows if row["phase"] == "test"]
    assert tests[-1]["accuracy"] >= 0.97
    losses = [row["loss"] for row in rows if row["phase"] == "train"]
    assert losses[-1] < losses[0] / 20
    assert trained.splitlines()[-1].startswith("done: 600 iterations in ")


def test_several_devices_divide_the_batch(folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert (command := "netdef train examples/digits.net --devices all") in COMMANDS
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    assert "batch 64 divided among 2 devices: 32 on each" in README
    for devices in ("--devices all", "--gpu 0,1"):
        told = run(f"{command.replace('--devices all', devices)} --max-iter 20 --output devices", folder).stdout
        assert re.search(r"^batch 64 .* 2 devices: .*$", told, re.M)[0] in README.splitlines()


def test_several_processes_divide_the_batch(folder: Path):
    assert (command := "netdef launch -n 2 -- train examples/digits.net") in COMMANDS
    told = run(f"{command} --max-iter 20 --output processes", folder).stdout
    assert "batch 64 divided among 2 devices: 32 on each" in told
    assert "done: 20 iterations" in told


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("netdef") and not c.startswith(TRAINING)])
def test_commands(command: str, trained: str, folder: Path):
    if "--target" in command:
        pytest.importorskip("libtpu", reason="the compiler of TPUs is not installed: pip install libtpu")
    if "netdef data" in command and "csv" in command:
        pytest.importorskip("pyarrow")
    assert run(command, folder).stdout.strip()


def test_a_sweep_of_depths_is_plotted(folder: Path):
    command = next(command for command in COMMANDS if command.startswith("netdef sweep"))
    short = command.replace("depth=1..7", "depth=1..2").replace("--seeds 3", "--max-iter 10 --set act=ReLU")
    assert short != command
    done = run(f"{short} --output depths", folder)
    assert len(done.stdout.splitlines()) == 1 + 2 * 2  # one activation, with and without normalization
    assert (folder / "depths/sweep.svg").exists() and (folder / "depths/sweep.png").exists()


def test_figures_exist_and_are_small():
    shown = [ROOT / path for path in re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)]
    assert shown and all(path.stat().st_size < 150_000 for path in shown)
    begin = {".svg": b"<", ".png": b"\x89PNG"}
    assert all(path.read_bytes().startswith(begin[path.suffix]) for path in shown)


def test_python(trained: str, folder: Path):
    script = folder / "readme.py"
    script.write_text("\n".join(blocks("python")))
    done = run("python readme.py", folder)
    logged = ("Iteration ", "    Train net output", "    Test net output")  # by the solver of pycaffe, as in Caffe
    assert [line for line in done.stderr.splitlines() if not line.startswith(logged)] == []
    loss = float(next(line for line in done.stdout.splitlines() if line.startswith("loss ")).split()[1])
    assert loss < 0.5
    assert (folder / "runs/short/metrics.jsonl").exists()


def test_the_net_in_the_readme_trains(folder: Path):
    (folder / "small.net").write_text(blocks("protobuf")[0])
    run("netdef check small.net --strict", folder)
    losses = [row["loss"] for row in netdef.train(folder / "small.net", output=folder / "small").history]
    assert losses[-1] < losses[0] / 3


def test_the_error_in_the_readme_is_the_output(folder: Path):
    (folder / "small.net").write_text(blocks("protobuf")[0].replace("num_output: 50", "num_outputs: 50"))
    command = [sys.executable, "-m", "netdef", "check", "small.net"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 2
    assert blocks("text")[0] in done.stdout


def write_faces(people: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for i in range(12):
        person = people / f"person{i % 3}"
        person.mkdir(parents=True, exist_ok=True)
        image.effect_noise((60 + i, 80), 50 + 20 * (i % 3)).save(person / f"{i}.png")


def test_a_folder_of_faces(folder: Path):
    write_faces(folder / "FOLDER")
    command = next(command for command in COMMANDS if "faces=FOLDER" in command)
    short = "--max-iter 1 --set solver.test_iter=1 --set solver.test_interval=1 --set solver.display=1 --output mine"
    run(f"{command} {short}", folder)
    rows = [json.loads(line) for line in (folder / "mine/metrics.jsonl").read_text().splitlines()]
    assert {row["phase"] for row in rows} == {"train", "test"}


def test_paths_in_the_readme_exist():
    for path in re.findall(r"`((?:examples|runs|lists)/[\w./]+)`", README):
        assert path.startswith(("runs", "lists")) or (ROOT / path).exists(), path


def test_the_templates_in_the_readme_compile(folder: Path):
    (folder / "stages.net").write_text(blocks("protobuf")[1])
    run("netdef check stages.net --strict", folder)
    assert netdef.load(folder / "stages.net").blobs["b_3"].shape == (8, 32, 8, 8)
    assert netdef.load(folder / "stages.net", set={"width": 32}).blobs["b_3"].shape == (8, 64, 8, 8)


def test_resnet_152_has_the_stated_number_of_lines():
    lines = int(re.search(r"ResNet-152 is (\d+) lines", README)[1])
    assert len((ROOT / "examples" / "resnet152.net").read_text().splitlines()) == lines


def test_the_layer_of_shards_is_read(folder: Path):
    convert = next(body for body in blocks("text") if body.startswith("netdef data convert"))
    write_faces(folder / "photos")
    run(convert.replace("10000", "2"), folder)
    (text,) = [body for body in blocks("text") if body.startswith('layer {\n  name: "images"')]
    here = text.replace("train-{000000..000146}", "shards/{000000..000005}").replace("crop_size: 224", "crop_size: 60")
    (folder / "shards.net").write_text(here)
    run("netdef check shards.net --strict", folder)
    assert netdef.load(folder / "shards.net", phase="TRAIN").blobs["data"].shape == (256, 3, 60, 60)


def test_the_layer_of_a_table_is_read(folder: Path):
    pytest.importorskip("pyarrow")
    (text,) = [body for body in blocks("text") if body.startswith('layer {\n  name: "houses"')]
    net = netdef.load(text.replace("houses.csv", str(folder / "examples/data/houses.csv")))
    assert not net.diagnostics
    assert [blob.shape for blob in net.blobs.values()] == [(40, 3), (40,), (40,)]
    batch = next(netdef.data.batches(text.replace("houses.csv", str(folder / "examples/data/houses.csv"))))
    assert set(batch["district"]) <= set(range(5))


def test_lines_for_neovim_are_those_of_the_editors_page():
    (lines,) = [body for body in blocks("text") if body.startswith("vim.")]
    assert lines in (ROOT / "grammar" / "editors" / "README.md").read_text()


def test_hooks_are_those_of_pre_commit_hooks_yaml():
    offered = re.findall(r"^- id: (\S+)$", (ROOT / ".pre-commit-hooks.yaml").read_text(), re.M)
    (lines,) = [body for body in blocks("text") if body.startswith("repos:")]
    assert re.findall(r"id: ([\w-]+)", lines) == offered
