"""The loss of a detector whose batch several devices divide: the true boxes have the index of their image in the whole
batch, and each device has those of its own images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_detector
from small_detector import write_ragged

import netdef
from netdef.language.errors import NetdefError
from netdef.training.numbered import Numbered


def losses(path: Path, devices: int | None, statistics: str) -> list[float]:
    result = netdef.train(path, output=path.parent / f"{devices}{statistics}", devices=devices)
    return [row["loss"] for row in result.history if row["phase"] == "train"]


@pytest.mark.parametrize("statistics", ["GLOBAL", "DEVICE"])
def test_the_loss_is_that_of_one_device(eight, tmp_path, statistics):
    """Each image has two true boxes, so that the devices divide by equal numbers of matches."""
    small_detector.write_data(tmp_path, batch=6)
    text = small_detector.trained_by(6, f"base_lr: 0.001 mesh {{ statistics: {statistics} }}")
    (tmp_path / "ssd.net").write_text(text)
    one, several = (eight(losses, tmp_path / "ssd.net", n, statistics) for n in (None, 3))
    assert several == pytest.approx(one, rel=1e-5) and len(one) == 2 and one[0] > 0.5


def test_devices_that_compute_as_one_count_the_matches_of_all(eight, tmp_path):
    """Also if each has the batch of the file, of which device r has every n-th record."""
    one = eight(losses, write_ragged(tmp_path / "one", 4, ""), None, "")
    each = write_ragged(tmp_path / "each", 2, "mesh { batch: EACH statistics: GLOBAL }")
    assert len(set(np.round(one, 6))) == 4  # iterations differ
    np.testing.assert_allclose(eight(losses, each, 2, ""), one, rtol=2e-6)


def test_devices_that_compute_apart_count_their_own_matches(eight, tmp_path):
    """As in Caffe: the loss is the mean of those of the devices, like that of batches which are accumulated."""
    dealt = (0, 2, 1, 3, 4, 6, 5, 7)
    one = eight(losses, write_ragged(tmp_path / "one", 2, "iter_size: 2", dealt), None, "")
    shared = write_ragged(tmp_path / "shared", 4, "mesh { statistics: DEVICE }", dealt)
    assert len(set(np.round(one, 6))) == 4
    np.testing.assert_allclose(eight(losses, shared, 2, ""), one, rtol=2e-6)
    np.testing.assert_allclose(eight(losses, write_ragged(tmp_path / "each", 2, ""), [0, 1], ""), one, rtol=2e-6)


def test_a_device_with_too_many_boxes():
    label = np.array([[[[0, 1]] * 3 + [[1, 1]] * 2 + [[3, 1]] * 4]], np.float32)
    words = "layer `d`: the 2 images of a device have 5 boxes, but `label_rows` is 4; set it to 5 or more"
    with pytest.raises(NetdefError, match=words):
        Numbered("d", images=4, shares=2, rows=4, first=0).divided([label], np.arange(4))


def test_a_label_is_divided_by_image():
    rows = lambda *images: np.array([[[[i, 10 * i + k] for k, i in enumerate(images)] + [[-1, -1]]]], np.float32)
    batches = [rows(0, 0, 1), rows(1, 1, 3)]
    two = Numbered("d", images=4, shares=2, rows=4, first=16).divided(batches, np.arange(8))
    assert two[0, 0].tolist() == [[16, 0], [16, 1], [17, 12], [-1, -1]]
    assert two[1, 0].tolist() == [[21, 10], [21, 11], [23, 32], [-1, -1]]
    dealt = np.concatenate([np.arange(8)[r::2] for r in range(2)])
    two = Numbered("d", images=4, shares=2, rows=4, first=0).divided(batches, dealt)
    assert two[0, 0].tolist() == [[0, 0], [0, 1], [-1, -1], [-1, -1]]
    assert two[1, 0].tolist() == [[4, 12], [6, 10], [6, 11], [7, 32]]
