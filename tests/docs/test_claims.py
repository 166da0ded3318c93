"""What the pages of the manual say about commands on data of the reader, several devices and other files."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from pathlib import Path

import pytest
from markdown_blocks import ROOT, Block, blocks, run

import netdef


def page(name: str) -> str:
    return (ROOT / "netdef" / "docs" / f"{name}.md").read_text(encoding="utf-8")


def block_of(name: str, begin: str) -> Block:
    """Returns the one block of a page that begins with these words."""
    (found,) = [block for block in blocks(page(name)) if block.text.startswith(begin)]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("manual")
    shutil.copytree(ROOT / "examples", place / "examples")
    return place


def test_several_devices_divide_the_batch(folder: Path, monkeypatch: pytest.MonkeyPatch):
    command = "netdef train examples/digits.net --devices all"
    assert f"$ {command}" in page("devices").splitlines()
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    for devices in ("--devices all", "--gpu 0,1"):
        told = run(f"{command.replace('--devices all', devices)} --max-iter 20 --output devices", folder).stdout
        assert re.search(r"^batch 64 .* 2 devices: .*$", told, re.M)[0] in page("devices").splitlines()


def test_several_processes_divide_the_batch(folder: Path):
    command = block_of("devices", "netdef launch").text.strip()
    told = run(f"{command} --max-iter 20 --output processes", folder).stdout
    assert "batch 64 divided among 2 devices: 32 on each" in told
    assert "done: 20 iterations" in told


def write_faces(people: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for i in range(12):
        person = people / f"person{i % 3}"
        person.mkdir(parents=True, exist_ok=True)
        image.effect_noise((60 + i, 80), 50 + 20 * (i % 3)).save(person / f"{i}.png")


def test_a_folder_of_faces(folder: Path):
    write_faces(folder / "FOLDER")
    command = block_of("faces", "netdef train").text.splitlines()[0]
    short = "--max-iter 1 --set solver.test_iter=1 --set solver.test_interval=1 --set solver.display=1 --output mine"
    run(f"{command} {short}", folder)
    rows = [json.loads(line) for line in (folder / "mine/metrics.jsonl").read_text().splitlines()]
    assert {row["phase"] for row in rows} == {"train", "test"}
    features = block_of("faces", "netdef features").text.strip()
    run(f"{features} --run mine", folder)
    assert (folder / "features.npz").exists()


def test_the_layer_of_shards_is_read(folder: Path):
    write_faces(folder / "photos")
    run(block_of("large-data", "netdef data convert").text.replace("10000", "2"), folder)
    text = block_of("large-data", "layer {").text
    here = text.replace("train-{000000..000146}", "shards/{000000..000005}").replace("crop_size: 224", "crop_size: 60")
    (folder / "shards.net").write_text(here)
    run("netdef check shards.net --strict", folder)
    assert netdef.load(folder / "shards.net", phase="TRAIN").blobs["data"].shape == (256, 3, 60, 60)


@pytest.mark.parametrize("command", block_of("targets", "netdef time").text.splitlines())
def test_commands_for_devices_that_are_not_present(command: str, folder: Path):
    pytest.importorskip("libtpu", reason="the compiler of TPUs is not installed: pip install libtpu")
    assert run(command, folder).stdout.strip()


def test_the_templates_of_the_language_compile(folder: Path):
    (folder / "stages.net").write_text(block_of("language", 'import "std/conv.net"\n\nlet width').text)
    run("netdef check stages.net --strict", folder)
    assert netdef.load(folder / "stages.net").blobs["b_3"].shape == (8, 32, 8, 8)
    assert netdef.load(folder / "stages.net", set={"width": 32}).blobs["b_3"].shape == (8, 64, 8, 8)


def test_the_error_of_the_first_net_is_the_output(folder: Path):
    net = block_of("first-net", 'name: "Small"').text
    (folder / "small.net").write_text(net.replace("num_output: 50", "num_outputs: 50"))
    with pytest.raises(AssertionError) as error:
        run("netdef check small.net", folder)
    assert block_of("first-net", "small.net:15").text in str(error.value)


def test_lines_for_neovim_are_those_of_the_editors_page():
    assert block_of("editors", "vim.").text in (ROOT / "grammar" / "editors" / "README.md").read_text()


def test_hooks_are_those_of_pre_commit_hooks_yaml():
    offered = re.findall(r"^- id: (\S+)$", (ROOT / ".pre-commit-hooks.yaml").read_text(), re.M)
    assert re.findall(r"id: ([\w-]+)", block_of("editors", "repos:").text) == offered


def test_weights_of_keras_have_the_same_result(folder: Path):
    """A convolution and a fully connected layer of Keras's shapes, computed in NumPy, agree with the net."""
    import numpy as np

    text = page("keras")
    functions = next(block.text for block in blocks(text) if block.kind == "python").partition("random =")[0]
    (folder / "keras_weights.py").write_text(functions)
    names = runpy.run_path(str(folder / "keras_weights.py"))
    net = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 4, 5] } } }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
            convolution_param { num_output: 6 kernel_size: 1 } }
    layer { name: "score" type: "InnerProduct" bottom: "conv" top: "score" inner_product_param { num_output: 7 } }
    """
    random = np.random.default_rng(0)
    draw = lambda *shape: random.normal(size=shape).astype(np.float32)
    x, kernel, bias, dense, offset = draw(2, 4, 5, 3), draw(1, 1, 3, 6), draw(6), draw(4 * 5 * 6, 7), draw(7)
    model = netdef.compile(net, phase="TEST")
    weights = {"conv": names["convolution"](kernel, bias), "score": names["dense"](dense, offset, image=(4, 5, 6))}
    model.set_weights(weights)
    expected = (x @ kernel[0, 0] + bias).reshape(2, -1) @ dense + offset
    np.testing.assert_allclose(model(data=x.transpose(0, 3, 1, 2))["score"], expected, rtol=1e-4, atol=1e-4)
