"""Mean files: a data layer and `netdef convert` read the same values from every variant of a BlobProto."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netdef
from netdef.cli import main
from netdef.interop.caffe_proto import messages

MEAN = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
LEGACY = {"num": 1, "channels": 1, "height": 2, "width": 3}
NET = """
layer { name: "d" type: "ArrayData" top: "x" array_data_param { source: "x.npy" batch_size: 1 shuffle: false }
        transform_param { mean_file: "mean.binaryproto" } }
"""


@pytest.mark.parametrize(
    "fields",
    [
        {**LEGACY, "data": MEAN.ravel()},
        {"shape": {"dim": [1, 1, 2, 3]}, "data": MEAN.ravel()},
        {"shape": {"dim": [1, 2, 3]}, "double_data": MEAN.ravel()},
        {"shape": {"dim": [1, 1, 2, 3]}, "raw_data_type": 2, "raw_data": MEAN.astype("<f2").tobytes()},
    ],
    ids=["legacy shape", "shape", "doubles", "half precision"],
)
def test_every_reader_reads_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict):
    monkeypatch.chdir(tmp_path)
    Path("mean.binaryproto").write_bytes(messages().BlobProto(**fields).SerializeToString())
    np.save("x.npy", np.full((1, 2, 3), 9, np.uint8))
    batch = next(netdef.data.batches(NET, phase="TEST"))
    np.testing.assert_array_equal(batch["x"], 9 - MEAN[None])
    assert main(["convert", "mean.binaryproto", "-o", "mean.npy"]) == 0
    np.testing.assert_array_equal(np.load("mean.npy").reshape(MEAN.shape), MEAN)
