"""All readers resolve a path in a net to the same file: beside the net, in the working directory, or in `~`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netdef
from netdef.cli import main
from netdef.files import locator

NET = """
name: "Small"
layer { name: "d" type: "ArrayData" top: "x" top: "y" array_data_param { source: "SOURCE" batch_size: 4 } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
solver { base_lr: 0 lr_policy: "fixed" max_iter: 1 BEGIN }
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a data set and weights; the net and the working directory are elsewhere."""
    for name in ("home", "nets", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "home/set.npz", x=rng.normal(size=(8, 3)).astype(np.float32), y=np.arange(8) % 2)
    np.savez(tmp_path / "home/weights.npz", **{"ip/0": np.full((2, 3), 0.5, np.float32), "ip/1": np.zeros(2)})
    return tmp_path / "home"


def net(folder: Path, begin: str = "") -> Path:
    path = folder.parent / "nets/small.net"
    path.write_text(NET.replace("SOURCE", "~/set.npz").replace("BEGIN", begin))
    return path


def test_the_compiler_and_the_feed_find_data_in_the_home_folder(home: Path, capsys: pytest.CaptureFixture[str]):
    path = net(home)
    assert main(["check", str(path)]) == 0
    said = capsys.readouterr()
    assert "unavailable" not in said.out + said.err
    assert netdef.load(path).blobs["x"].shape == (4, 3)
    batch = next(netdef.data.batches(path, phase="TRAIN"))
    assert batch["x"].shape == (4, 3) and batch["y"].shape == (4,)


@pytest.mark.parametrize("begin", ['weights: "~/weights.npz"', 'reuse { source: "~/weights.npz" layers: "ip" }'])
def test_so_are_weights(home: Path, begin: str):
    result = netdef.train(net(home, begin), output=home / "run")
    np.testing.assert_array_equal(result.model.get_weights()["ip"][0], np.full((2, 3), 0.5, np.float32))


def test_the_order_of_places(tmp_path: Path):
    locate = locator(tmp_path / "nets")
    beside, here = tmp_path / "nets/a", tmp_path / "here/a"
    assert locate("a") == beside  # the file does not exist: the path beside the net
    here.touch()
    assert locate("a").resolve() == here
    beside.touch()
    assert locate("a") == beside
    assert locate(str(here)) == here
