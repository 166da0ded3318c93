"""COCO's measures in tests of a detector."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import small_detector

import netdef

NAMES = ["eval", "eval/AP50", "eval/AP75", "eval/AP_small"]


@pytest.fixture
def ssd(tmp_path: Path) -> Path:
    small_detector.write_data(tmp_path)
    path = tmp_path / "ssd.net"
    path.write_text(small_detector.trained_by(solver='base_lr: 0 ap_version: "COCO"'))
    return path


def test_they_are_in_tests_and_in_the_records_of_a_run(ssd):
    pytest.importorskip("faster_coco_eval")
    result = netdef.train(ssd, output=ssd.parent / "run")
    scores = {name: float(result.scores[name]) for name in NAMES}
    # Of 12 true boxes 11 are found, all with an overlap of 1, before or at the same score as a false one: COCO reads the
    # precision at 101 recalls, of which 92 are reached (11 / 12 = 0.917). All squares are smaller than 32 x 32.
    assert 0.80 < scores["eval"] <= 92 / 101 + 1e-6
    assert len({round(value, 6) for value in scores.values()}) == 1
    assert not {"eval/AP_medium", "eval/AP_large"} & {*result.scores}
    tested = netdef.test(ssd, ssd.parent / "run")
    assert {name: float(tested.outputs[name]) for name in NAMES} == pytest.approx(scores)


def test_boxes_that_overlap_little_count_at_low_overlaps_only(ssd):
    pytest.importorskip("faster_coco_eval")
    ssd.write_text(ssd.read_text().replace("min_size: 8", "min_size: 10"))  # an overlap of 64 / 100
    found = netdef.test(ssd, netdef.compile(ssd, phase="TEST")).outputs
    assert found["eval/AP50"] > 0.8 and found["eval/AP75"] == 0
    assert float(found["eval"]) == pytest.approx(0.3 * float(found["eval/AP50"]), rel=1e-5)  # at 0.5, 0.55 and 0.6


def test_the_missing_package_is_named(ssd, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(netdef.NetdefError, match="requires the package faster-coco-eval"):
        netdef.test(ssd, netdef.compile(ssd, phase="TEST"))


def test_a_detector_that_finds_nothing_has_a_precision_of_zero(ssd):
    pytest.importorskip("faster_coco_eval")
    ssd.write_text(ssd.read_text().replace("confidence_threshold: 0.05", "confidence_threshold: 2"))
    assert float(netdef.test(ssd, netdef.compile(ssd, phase="TEST")).outputs["eval"]) == 0
