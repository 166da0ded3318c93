"""A weight format defined in a single file outside the package: it works like those of the package."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import netdef
from netdef.cli import main
from netdef.inference.preprocessing import NAME, beside
from netdef.interop.formats import Format
from netdef.interop.formats.base import FORMATS, endings, format_to_read

JSON = '''
"""Weights in a human-readable format."""

import json
from pathlib import Path

import numpy as np

from netdef import NetdefError
from netdef.interop.formats import Contents, Entry, Format, Stored

MARK = b'{"mine": '


class Mine(Format, name="mine"):
    """A file of JSON."""

    endings = (".mine",)
    dtypes = ("float32", "float16")

    def recognizes(self, path: Path, head: bytes) -> bool:
        return head.startswith(MARK)

    def read(self, path: Path) -> list[Entry]:
        try:
            layers = json.loads(path.read_bytes())["mine"]
        except (ValueError, KeyError):
            raise NetdefError(f"{path}: this is not a .mine") from None
        stored = lambda array: Stored(array.shape, lambda: array)
        return [
            Entry(name, tuple(stored(np.array(values, np.float32)) for values in arrays))
            for name, arrays in layers.items()
        ]

    def write(self, path: Path, contents: Contents) -> None:
        layers = {
            e.name: [a.read().astype(contents.dtype).tolist() for a in e.arrays] for e in contents.entries if e.arrays
        }
        path.write_text(json.dumps({"mine": layers}))
'''
NET = """
name: "N"
layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
solver { base_lr: 0 lr_policy: "fixed" max_iter: 1 display: 1 }
"""


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes the format as a module in the working directory; it is registered on import and removed after the test."""
    (tmp_path / "mine_format.py").write_text(JSON)
    (tmp_path / "n.net").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("mine_format", None)
    FORMATS.known().pop("mine", None)


@pytest.fixture
def wanted() -> dict[str, list[np.ndarray]]:
    model = netdef.compile("n.net", seed=5)
    model.save_weights("w.caffemodel")
    return model.get_weights()


def test_without_the_plugin_nobody_knows_it(wanted, capsys: pytest.CaptureFixture[str]):
    assert main(["convert", "w.caffemodel", "-o", "w.mine"]) == 1
    assert "the name of a weight file must end in one of .caffemodel, " in capsys.readouterr().err


def test_it_is_converted_loaded_and_trained_from(wanted, capsys: pytest.CaptureFixture[str]):
    plugin = ["--plugin", "mine_format"]
    assert main(["convert", "w.caffemodel", "-o", "w.mine", *plugin]) == 0
    assert json.loads(Path("w.mine").read_text())["mine"].keys() == {"ip"}
    model = netdef.compile("n.net", weights="w.mine")
    assert all(map(np.array_equal, model.get_weights()["ip"], wanted["ip"]))
    assert main(["train", "n.net", "--weights", "w.mine", "--output", "run", *plugin]) == 0
    trained = netdef.compile("n.net", weights="run").get_weights()  # the learning rate is 0
    assert all(map(np.array_equal, trained["ip"], wanted["ip"]))
    assert main(["convert", "w.mine", "-o", "back.npz", *plugin]) == 0
    assert (netdef.interop.read_weights("back.npz")["ip"][0] == wanted["ip"][0]).all()
    assert main(["deploy", "n.net", "--weights", "w.mine", "--save-weights", "d.mine", "-o", "d.net", *plugin]) == 0
    assert Path("d.mine").is_file()


def test_it_is_known_by_what_stands_in_it(wanted):
    __import__("mine_format")
    netdef.compile("n.net", seed=5).save_weights("w.mine")
    Path("w.mine").rename("renamed.caffemodel")
    assert format_to_read(Path("renamed.caffemodel")).name == "mine"
    assert (netdef.interop.read_weights("renamed.caffemodel")["ip"][0] == wanted["ip"][0]).all()


def test_its_dtypes_are_held(wanted, capsys: pytest.CaptureFixture[str]):
    words = ["convert", "w.caffemodel", "-o", "w.mine", "--plugin", "mine_format", "--dtype"]
    assert main([*words, "fp16"]) == 0
    assert main([*words, "bf16"]) == 1
    assert ".mine can store float32 or float16, not bfloat16; use .orbax or .safetensors" in capsys.readouterr().err


def test_what_belongs_to_the_weights_goes_by_its_ending_too():
    __import__("mine_format")
    Path(f"vgg.{NAME}").write_text("{}")
    assert beside("vgg.mine") == Path(f"vgg.{NAME}")
    assert ".mine" in endings()


def test_two_formats_of_one_name_are_a_mistake():
    with pytest.raises(TypeError, match="two weight formats have the name 'npz'"):

        class Again(Format, name="npz"):
            pass
