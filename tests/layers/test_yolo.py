"""YOLO's layers, which can be read but not run."""

from __future__ import annotations

import pytest
from one_layer import fault, text

import netdef

YOLO = (
    'layer { name: "found" type: "EvalDetection" bottom: "boxes" bottom: "truth" top: "found"\n'
    "        eval_detection_param { side: 3 num_class: 2 num_object: 2 } }"
)


def test_detections_of_yolo_are_shaped_and_not_run() -> None:
    net = netdef.load(text(YOLO, {"boxes": (2, 3, 3, 14), "truth": (2, 30, 5)}))
    assert net.blobs["found"].shape == (2, 2 + 4 * 9 * 2)
    with pytest.raises(netdef.NetdefError, match="EvalDetection can be read and checked, but not run yet"):
        netdef.compile(net)
    assert "126 values per image" in fault(YOLO, boxes=(2, 3, 3, 15), truth=(2, 30, 5))[1]


def test_check_warns_and_says_where_to_cut_the_net():
    net = netdef.load(
        'layer { name: "in" type: "Input" top: "x" top: "truth" input_param { shape { dim: [2, 3, 3, 14] }\n'
        "  shape { dim: [2, 30, 5] } } }\n"
        'layer { name: "boxes" type: "ReLU" bottom: "x" top: "boxes" }\n'
        'layer { name: "found" type: "EvalDetection" bottom: "boxes" bottom: "truth" top: "found"\n'
        "        eval_detection_param { side: 3 num_class: 2 num_object: 2 biases: [1, 1, 2, 2] } }"
    )
    found = [d for d in net.diagnostics if d.code == "cannot-run"]
    assert [d.line for d in found] == [4] and "`netdef deploy NET --output boxes`" in found[0].detail
    assert netdef.deploy(net.text, outputs=["boxes"]).outputs == ("boxes",)
