"""Recordings of real Caffe: twelve data layers, five batches each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import netdef

FOLDER = Path(__file__).parents[1] / "golden" / "data"
ROWS = [json.loads(line) for line in (FOLDER / "index.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_recorded(row):
    recorded = np.load(FOLDER / "expected.npz")
    batches = netdef.data.batches(row["net"], phase="TEST", root=FOLDER)
    for b in range(row["batches"]):
        batch = next(batches)
        for top in ("data", "label"):
            assert batch[top].dtype == np.float32
            # Resized images are equal too, because the arithmetic is that of OpenCV.
            np.testing.assert_array_equal(batch[top], recorded[f"{row['id']}:{b}/{top}"])
    batches.close()


@pytest.mark.parametrize("row", ROWS[:3], ids=[row["id"] for row in ROWS[:3]])
def test_shapes_are_known_before_reading(row, monkeypatch):
    monkeypatch.chdir(FOLDER)
    recorded = np.load(FOLDER / "expected.npz")
    net = netdef.load(row["net"], phase="TEST")
    assert net.blobs["data"].shape == recorded[f"{row['id']}:0/data"].shape
    assert net.blobs["label"].shape == recorded[f"{row['id']}:0/label"].shape
