"""Every code block of the README is run, and its claims are checked where they can be measured."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest
from manual import for_starter
from markdown_blocks import ROOT, Reader, blocks, commands, read_fragment, run

import netdef

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = blocks(README)


def texts(kind: str) -> list[str]:
    return [block.text for block in BLOCKS if block.kind == kind]


COMMANDS = [command.text for text in texts("console") for command in commands(text)]

TESTED = ("netdef train", "netdef sweep", "netdef docs", "netdef view", "netdef init")  # which have tests of their own


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
    assert {block.kind for block in BLOCKS} == {"console", "protobuf", "text", "python"}
    assert len(BLOCKS) == README.count("```") / 2


def test_install_commands_are_those_of_the_project_checks():
    steps = (ROOT / ".ci" / "run").read_text().splitlines()
    installs = [command for command in COMMANDS if command.startswith(("pip", "python -m pytest"))]
    checked = ["pip install .", 'pip install ".[test]"', "python -m pytest -n 3"]
    assert [command for command in installs if command in checked] == checked
    assert all(command in steps for command in checked)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r'"\.\[(\w+)\]"', README)) <= set(extras)


def test_the_digits_are_learned(trained: str, folder: Path):
    rows = [json.loads(line) for line in (folder / "runs/Digits/metrics.jsonl").read_text().splitlines()]
    tests = [row for row in rows if row["phase"] == "test"]
    assert tests[-1]["accuracy"] >= 0.97
    losses = [row["loss"] for row in rows if row["phase"] == "train"]
    assert losses[-1] < losses[0] / 20
    assert trained.splitlines()[-1].startswith("done: 600 iterations in ")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("netdef") and not c.startswith(TESTED)])
def test_commands(command: str, trained: str, folder: Path):
    assert run(command, folder).stdout.strip()


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("netdef view")])
def test_pages_are_served(command: str, trained: str, folder: Path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", *shlex.split(command)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}page.json", timeout=60) as answer:
            page = json.load(answer)
        process.send_signal(signal.SIGINT)
    assert page["title"] in ("runs", "GoogLeNet")


def test_a_net_for_your_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    monkeypatch.chdir(tmp_path)
    for_starter()
    Reader(iterations=2).follow(next(block for block in BLOCKS if block.text.startswith("$ netdef init")))
    assert Path("photos.net").is_file() and Path("houses.net").is_file() and Path("runs").is_dir()


def test_an_optimizer_of_optax():
    read_fragment(next(text for text in texts("protobuf") if text.startswith("solver")))


def test_every_block_is_checked():
    assert [text.split()[0] for text in texts("protobuf")] == ["name:", "solver", "import"]
    assert [text.split()[0] for text in texts("text")] == ["small.net:8:25:"]
    assert len(texts("python")) == 1


def test_a_sweep_of_depths_is_plotted(folder: Path):
    command = next(command for command in COMMANDS if command.startswith("netdef sweep"))
    short = command.replace("depth=1..7", "depth=1..2").replace("--seeds 3", "--max-iter 10").replace(",Sigmoid", "")
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
    script.write_text("\n".join(texts("python")))
    done = run("python readme.py", folder)
    assert done.stderr == ""
    loss = float(next(line for line in done.stdout.splitlines() if line.startswith("loss ")).split()[1])
    assert loss < 0.5


def test_the_net_in_the_readme_trains(folder: Path):
    (folder / "small.net").write_text(texts("protobuf")[0])
    run("netdef check small.net --strict", folder)
    losses = [row["loss"] for row in netdef.train(folder / "small.net", output=folder / "small").history]
    assert losses[-1] < losses[0] / 3


def test_the_error_in_the_readme_is_the_output(folder: Path):
    (folder / "small.net").write_text(texts("protobuf")[0].replace("num_output: 50", "num_outputs: 50"))
    command = [sys.executable, "-m", "netdef", "check", "small.net"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 2
    assert next(text for text in texts("text") if text.startswith("small.net:")) in done.stdout


def test_paths_in_the_readme_exist():
    for path in re.findall(r"`((?:examples|runs|lists)/[\w./]+)`", README):
        assert path.startswith(("runs", "lists")) or (ROOT / path).exists(), path


def test_the_templates_in_the_readme_compile(folder: Path):
    (folder / "stages.net").write_text(next(text for text in texts("protobuf") if text.startswith("import")))
    run("netdef check stages.net --strict", folder)
    assert netdef.load(folder / "stages.net").blobs["b_3"].shape == (8, 32, 8, 8)
    assert netdef.load(folder / "stages.net", set={"width": 32}).blobs["b_3"].shape == (8, 64, 8, 8)


def test_resnet_152_has_the_stated_number_of_lines():
    lines = int(re.search(r"ResNet-152 is (\d+) lines", README)[1])
    assert len((ROOT / "examples" / "resnet152.net").read_text().splitlines()) == lines


def test_links_of_the_readme_are_pages():
    links = [path for path in re.findall(r"\]\(([^)]+)\)", README) if not path.startswith("http")]
    assert len([path for path in links if path.startswith("netdef/docs/")]) > 10
    assert all((ROOT / path).is_file() for path in links)
