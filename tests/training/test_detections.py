"""Tests of detectors: mean average precision, as the SSD fork's solver reports it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import ssd_cases
import ssd_fork

import netdef
from netdef import NetdefError
from netdef.training import events as ev
from netdef.training.detections import average_precision, mean_average_precision
from netdef.training.evaluation import Evaluator

CLASSES = [[-1, 1, 2, -1, -1], [-1, 2, 1, -1, -1], [-1, 3, 0, -1, -1]]
VERSIONS = ("11point", "MaxIntegral", "Integral")


@pytest.mark.parametrize("version", VERSIONS)
def test_average_precision_equals_that_of_the_fork(version: str):
    random = np.random.default_rng(0)
    for count in (1, 2, 7, 40):
        confidence, correct = random.random(count).round(1), random.random(count) < 0.5
        for positives in (int(correct.sum()) or 1, int(correct.sum()) + 3):
            want = ssd_fork.average_precision(confidence, correct, positives, version)
            assert average_precision(confidence, correct, positives, version) == pytest.approx(want, abs=1e-6)


def test_the_mean_is_over_all_classes_and_the_batches_are_joined():
    first = [
        *CLASSES,
        [0, 1, 0.9, 1, 0],
        [0, 1, 0.5, 0, 1],
        [0, 2, 0.4, 0, 0],
        [-1] * 5,
    ]  # the 6th is at a difficult box
    second = [*CLASSES, [0, 1, 0.7, 0, 1], [1, 2, 0.3, 1, 0], [-1] * 5, [-1] * 5]
    mean, each = mean_average_precision([np.array(rows)[None, None] for rows in (first, second)], "Integral")
    assert each == pytest.approx({1: 1 / 4, 2: 1 / 2})  # a true box of four, and one of two, are found first
    assert mean == pytest.approx((1 / 4 + 1 / 2) / 3)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A solver whose test net evaluates detections that a file contains; its training net learns something else."""
    folder = tmp_path_factory.mktemp("detector")
    random = np.random.default_rng(3)
    found = np.zeros((4, 1, 6, 7), np.float32)
    found[..., 0] = random.integers(0, 2, (4, 1, 6))
    found[..., 1] = random.integers(1, 3, (4, 1, 6))
    found[..., 2] = random.random((4, 1, 6))
    found[..., 3:] = ssd_cases.boxes(random, 24).reshape(4, 1, 6, 4)
    truth = np.concatenate([ssd_cases.truth(random, 2, 4, [1, 2]) for _ in range(4)])
    truth[..., :2], truth[..., 3:7] = found[:, :, :4, :2], found[:, :, :4, 3:]
    with h5py.File(folder / "found.h5", "w") as file:
        file["found"], file["truth"], file["x"] = found, truth, random.normal(size=(4, 3)).astype(np.float32)
        file["y"] = np.arange(4, dtype=np.float32) % 2
    (folder / "list.txt").write_text(str(folder / "found.h5"))
    data = 'layer {{ name: "data" type: "HDF5Data" {} include {{ phase: {} }}\n'
    data += '        hdf5_data_param {{ source: "list.txt" batch_size: 1 }} }}\n'
    learned = (
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" include { phase: TRAIN } '
        'inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }\n'
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" include { phase: TRAIN } }\n'
    )
    evaluated = ssd_cases.EVALUATE % "detection_evaluate_param { num_classes: 3 } include { phase: TEST }"
    tops = lambda *names: " ".join(f'top: "{name}"' for name in names)
    (folder / "d.net").write_text(
        data.format(tops("x", "y"), "TRAIN")
        + data.format(tops("found", "truth"), "TEST")
        + learned
        + evaluated
        + '\nsolver { base_lr: 0.1 lr_policy: "fixed" max_iter: 1 test_iter: 4 test_interval: 1 display: 0 snapshot: 0\n'
        + '         eval_type: "detection" ap_version: "11point" show_per_class_result: true }\n'
    )
    return folder / "d.net"


def expected(net: Path, version: str) -> tuple[float, dict[int, float]]:
    """The mean over the classes and the value of each class, by the loops of the fork."""
    fields = {
        "num_classes": 3,
        "background_label_id": 0,
        "overlap_threshold": 0.5,
        "evaluate_difficult_gt": True,
    }
    with h5py.File(net.parent / "found.h5") as file:
        pairs = zip(file["found"][:], file["truth"][:], strict=True)
        rows = np.concatenate([ssd_fork.evaluate(found, truth, fields)[0, 0] for found, truth in pairs])
    each = {}
    for label in (1, 2):
        mine = rows[(rows[:, 0] >= 0) & (rows[:, 1] == label)]
        positives = int(rows[(rows[:, 0] == -1) & (rows[:, 1] == label), 2].sum())
        each[label] = ssd_fork.average_precision(mine[:, 2], mine[:, 3], positives, version)
    return sum(each.values()) / 2, each


def test_a_run_reports_the_mean_average_precision_and_that_of_each_class(detector: Path, tmp_path: Path):
    events = []
    netdef.train(detector, output=tmp_path / "run", on_event=events.append)
    tested = [event for event in events if isinstance(event, ev.Tested)]
    mean, each = expected(detector, "11point")
    assert 0.1 < mean < 1
    for event in tested:
        assert event.outputs == pytest.approx({"y": mean, "y/class1": each[1], "y/class2": each[2]}, abs=1e-5)


def test_a_test_uses_the_version_of_the_solver(detector: Path):
    net = detector.with_name("v.net")
    net.write_text(detector.read_text().replace("11point", "MaxIntegral").replace("show_per_class_result: true", ""))
    loaded = netdef.load(net, phase="TEST")
    evaluator = Evaluator(loaded, 4, 0, loaded)
    assert evaluator.test({}, 0).outputs == {"y": pytest.approx(expected(detector, "MaxIntegral")[0], abs=1e-5)}
    evaluator.close()


def test_a_monitor_may_watch_it_and_another_output_is_an_error(detector: Path, tmp_path: Path):
    watching = detector.with_name("w.net")
    watching.write_text(
        detector.read_text().replace("solver {", 'solver { early_stopping { monitor: "y" mode: "max" target: 0.01 }')
    )
    result = netdef.train(watching, output=tmp_path / "w")
    assert "y reached" in result.why
    other = detector.with_name("o.net")
    other.write_text(
        detector.read_text().replace(
            "solver {",
            'layer { name: "s" type: "Reduction" bottom: "truth" top: "s" include { phase: TEST } }\nsolver {',
        )
    )
    with pytest.raises(NetdefError, match="the test net's output `s` is not the top of a DetectionEvaluate layer"):
        netdef.train(other, output=tmp_path / "o")


@pytest.mark.parametrize(("before", "after"), [("11point", "12point"), ('type: "detection"', 'type: "segmentation"')])
def test_an_unknown_version_is_an_error(detector: Path, before: str, after: str):
    wrong = detector.with_name("unknown.net")
    wrong.write_text(detector.read_text().replace(before, after))
    with pytest.raises(netdef.CompileError, match=after.split('"')[-2] if '"' in after else after):
        netdef.load(wrong)
