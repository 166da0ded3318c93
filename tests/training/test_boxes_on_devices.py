"""The loss of a detector whose batch several devices divide: the true boxes have the numbers of images in the whole
batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_detector

import netdef


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
