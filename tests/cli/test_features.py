"""`netdef features`: writes a file with all rows, or no file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

NET = """
layer { name: "d" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "list.txt" batch_size: 4 } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "all" type: "Reduction" bottom: "ip" top: "all" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
"""


@pytest.fixture
def words(netdef, tmp_path: Path) -> list[object]:
    (tmp_path / "n.net").write_text(NET)
    (tmp_path / "list.txt").write_text("data.h5\n")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"], file["y"] = np.ones((4, 3), np.float32), np.zeros(4, np.float32)
    np.savez(tmp_path / "w.npz", **{"ip/0": np.ones((2, 3), np.float32), "ip/1": np.zeros(2, np.float32)})
    return ["features", tmp_path / "n.net", "--weights", tmp_path / "w.npz"]


@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_the_file_is_complete_or_missing(netdef, words, tmp_path: Path, ending: str):
    target = tmp_path / "out" / f"f.{ending}"
    target.parent.mkdir()
    done = netdef(*words, "--blobs", "ip", "-o", target)
    assert (done.code, done.out) == (0, f"{target}: ip 4x2\n")
    before = target.read_bytes()
    done = netdef(*words, "--blobs", "ip,all", "-o", target)
    assert done.code == 1 and "`all` has the shape ()" in done.err
    assert [p.name for p in target.parent.iterdir()] == [target.name] and target.read_bytes() == before
    done = netdef(*words, "--blobs", "ip,all", "-o", target.with_name(f"new.{ending}"))
    assert done.code == 1
    assert [p.name for p in target.parent.iterdir()] == [target.name]
