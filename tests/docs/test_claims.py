"""What the pages of the manual say about nets and functions on them, beyond that their blocks run."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest
from manual import block_of, images
from markdown_blocks import ROOT, commands, run

import netdef


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("manual")
    shutil.copytree(ROOT / "examples", place / "examples")
    return place


def test_the_layer_of_shards_is_read(folder: Path):
    images(folder / "photos", each=4, size=(80, 60))
    (command,) = commands(block_of("large-data", "$ netdef data convert").text)
    run(command.text.replace("10000", "2"), folder)
    text = block_of("large-data", "layer {").text
    here = text.replace("train-{000000..000146}", "shards/{000000..000005}").replace("crop_size: 224", "crop_size: 60")
    (folder / "shards.net").write_text(here)
    run("netdef check shards.net --strict", folder)
    assert netdef.load(folder / "shards.net", phase="TRAIN").blobs["data"].shape == (256, 3, 60, 60)


def test_the_templates_of_the_language_compile(folder: Path):
    (folder / "stages.net").write_text(block_of("language", 'import "std/conv.net"\n\nlet width').text)
    run("netdef check stages.net --strict", folder)
    assert netdef.load(folder / "stages.net").blobs["b_3"].shape == (8, 32, 8, 8)
    assert netdef.load(folder / "stages.net", set={"width": 32}).blobs["b_3"].shape == (8, 64, 8, 8)


def test_weights_of_keras_have_the_same_result(folder: Path):
    """A convolution and a fully connected layer of Keras's shapes, computed in NumPy, agree with the net."""
    import numpy as np

    functions = block_of("keras", "import numpy").text.partition("random =")[0]
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
