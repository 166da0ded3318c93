"""Proposals: comparison with plain NumPy, several images, regions that are not shown, and errors."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import rcnn
from one_layer import fault, model, outputs

from netdef.layers.proposal import Proposal, ProposalLayer
from netdef.shape import UNKNOWN, ShapeError

LAYER = """layer { name: "p" type: "%s" bottom: "prob" bottom: "pred" bottom: "info" top: "rois" top: "scores"
  proposal_param { feat_stride: 8 ratio: 0.5 ratio: 2 scale: 1 scale: 2.5 min_size: 6 %s } }"""
SHAPES = rcnn.anchor_shapes(16, (0.5, 2), (1, 2.5))


def given(images: int = 1, seed: int = 0, info: object = (50, 61, 1.2)) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "prob": random.random((images, 8, 5, 6)).astype(np.float32),
        "pred": random.normal(size=(images, 16, 5, 6), scale=0.4).astype(np.float32),
        "info": np.array(info, np.float32).reshape(-1, np.shape(info)[-1]),
    }


def rows(arrays: dict[str, np.ndarray], considered: int, kept: int, threshold: float = 0.7) -> np.ndarray:
    """(image, x1, y1, x2, y2, score) of all proposals."""
    made = []
    for i, (prob, pred) in enumerate(zip(arrays["prob"], arrays["pred"], strict=True)):
        info = arrays["info"][min(i, len(arrays["info"]) - 1)]
        found = rcnn.proposals(prob, pred, info, SHAPES, 8, 6, considered, kept, threshold)
        made += [[i, *box, score] for box, score in found]
    return np.array(made).reshape(-1, 6)


def test_the_anchors_are_those_of_the_paper():
    want = [[-83, -39, 100, 56], [-175, -87, 192, 104], [-359, -183, 376, 200], [-55, -55, 72, 72]]
    want += [[-119, -119, 136, 136], [-247, -247, 264, 264], [-35, -79, 52, 96], [-79, -167, 96, 184]]
    want = np.array([*want, [-167, -343, 184, 360]]) - 1  # the table in generate_anchors.py, which starts from 1
    made = ProposalLayer().anchors(2, 3)
    np.testing.assert_array_equal(made[0, 0], want)
    np.testing.assert_array_equal(made[1, 2], want + [32, 16, 32, 16])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("fields", "considered", "kept", "threshold"),
    [
        ("", 6000, 300, 0.7),
        ("pre_nms_topn: 40 post_nms_topn: 12", 40, 12, 0.7),
        ("pre_nms_topn: 0 post_nms_topn: 0 nms_thresh: 0.3", 0, 0, 0.3),
    ],
)
def test_proposals_equal_those_of_loops(seed: int, fields: str, considered: int, kept: int, threshold: float):
    arrays = given(seed=seed)
    made = outputs(LAYER % ("Proposal", fields), **arrays)
    want = rows(arrays, considered, kept, threshold)
    np.testing.assert_allclose(made["rois"], want[:, :5], atol=1e-4)
    np.testing.assert_allclose(made["scores"], want[:, 5:], rtol=1e-6)


def test_images_of_a_batch_have_sizes_of_their_own():
    arrays = given(3, info=[(50, 61, 1.2, 0.5), (30, 40, 2, 1), (44, 44, 1, 3)])
    made = outputs(LAYER % ("Proposal", "post_nms_topn: 20 nms_thresh: 0.05"), **arrays)
    want = rows(arrays, 6000, 20, 0.05)
    assert len(want) < 60  # rows of -1 between the images would be seen
    np.testing.assert_allclose(made["rois"], want[:, :5], atol=1e-4)


def test_the_phase_determines_the_numbers_of_the_python_layer():
    numbers = {}
    for phase in ("TRAIN", "TEST"):
        layer = model(LAYER % ("ProposalLayer", ""), phase, **given()).net.layers[-1].layer
        assert isinstance(layer, Proposal)
        numbers[phase] = layer.pre_nms_topn, layer.post_nms_topn
    assert numbers == {"TRAIN": (12000, 2000), "TEST": (6000, 300)}
    arrays = given()
    fields = "target_std: 2 target_std: 2 target_std: 0.5 target_std: 1 target_mean: [0.1, 0, 0, 0.2]"
    made = outputs(LAYER % ("ProposalLayer", fields), "TRAIN", **arrays)
    scaled = arrays["pred"] * np.tile([2, 2, 0.5, 1], 4)[:, None, None] + np.tile([0.1, 0, 0, 0.2], 4)[:, None, None]
    np.testing.assert_allclose(made["rois"], rows(arrays | {"pred": scaled}, 12000, 2000)[:, :5], atol=1e-4)
    made = outputs(LAYER % ("ProposalLayer", fields), "TEST", **arrays)
    np.testing.assert_allclose(made["rois"], rows(arrays, 6000, 300)[:, :5], atol=1e-4)


HEAD = """
layer { name: "pool" type: "ROIPooling" bottom: "prob" bottom: "rois" top: "pool"
        roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.125 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "class" type: "Softmax" bottom: "ip" top: "class" }
layer { name: "most" type: "Reduction" bottom: "class" top: "most" }
"""


def test_later_blobs_have_a_row_for_each_region_that_exists():
    arrays = given()
    made = model(LAYER % ("Proposal", "nms_thresh: 0.1") + HEAD, "TEST", **arrays)
    number = len(rows(arrays, 6000, 300, 0.1))
    assert 0 < number < made.net.shapes[made.net.layers[-2].tops[0]][0] == 120  # pyright: ignore[reportOptionalSubscript]
    assert {name: a.shape[:1] for name, a in made(**arrays).items()} == {"scores": (number,), "most": ()}
    blobs = made.blobs(**arrays)
    assert {len(blobs[name]) for name in ("rois", "scores", "pool", "ip", "class")} == {number}
    assert (blobs["prob"].shape, blobs["info"].shape) == ((1, 8, 5, 6), (1, 3))
    whole = jax.jit(lambda **arrays: made.blobs(**arrays)["class"])(**arrays)
    assert whole.shape == (120, 3)
    np.testing.assert_allclose(whole[:number], blobs["class"], rtol=1e-6)


def test_an_image_without_large_boxes_has_no_regions():
    arrays = given(info=(5, 5, 1))
    made = outputs(LAYER % ("Proposal", ""), **arrays)
    assert made["rois"].shape == (0, 5)


def test_errors_show_both_numbers():
    layer = LAYER % ("Proposal", "")
    shapes = {"prob": (1, 8, 5, 6), "pred": (1, 16, 5, 6), "info": (1, 3)}
    place, message = fault(layer, **shapes | {"prob": (1, 6, 5, 6)})
    assert place == '"prob"'
    assert "1x6x5x6, 6 scores at each position, but 2 ratios and 2 scales are 4 anchors with 8 scores" in message
    place, message = fault(layer, **shapes | {"pred": (1, 16, 5, 5)})
    assert (place, "is 1x16x5x5, but the scores 1x8x5x6 require 1x16x5x6" in message) == ('"pred"', True)
    place, message = fault(layer, **shapes | {"info": (1, 2)})
    assert (place, "is 1x2; it must be 1 x 3: height, width, scale" in message) == ('"info"', True)
    place, message = fault(layer, **shapes | {"info": (2, 3)})
    assert "bottom 2 has the sizes of 2 images, but there are 1" in message
    place, message = fault(layer, **shapes | {"prob": (1, 8)})
    assert "the scores, is 1x8, 2 axes; it must have 4" in message
    place, message = fault(LAYER % ("ProposalLayer", "target_std: 1"), **shapes)
    assert "`target_std` has 1 values; give 4" in message
    made = Proposal(top=("rois",)).infer((1, 18, UNKNOWN, UNKNOWN), (1, 36, UNKNOWN, UNKNOWN), (1, 3))
    assert repr(made) == "[(?, 5)]"
    with pytest.raises(ShapeError):
        Proposal().infer((1, 18, UNKNOWN, 4), (1, 35, UNKNOWN, 4), (1, 3))
    place, message = fault(layer.replace("ratio: 2", "ratio: 0"), **shapes)
    assert (place, "`ratio` is 0; it must be above 0" in message) == ("0", True)
