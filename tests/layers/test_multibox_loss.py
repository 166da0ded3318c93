"""MultiBoxLoss: comparison with loops as in the fork, its gradients, and errors."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
import ssd_cases
import ssd_fork
from one_layer import fault, loss_and_gradients, model, outputs, text

import netdef

SHAPES = {"loc": (2, 24), "conf": (2, 18), "priors": (1, 2, 24), "truth": (1, 1, 5, 8)}


def layer(fields: str, more: str = "") -> str:
    return ssd_cases.LOSS % f"multibox_loss_param {{ num_classes: 3 {fields} }} {more}"


def inputs(truth: list[list[float]], images: int = 1) -> dict[str, np.ndarray]:
    """Predictions of two default boxes, (0.1, 0.1, 0.4, 0.4) and (0.5, 0.5, 0.9, 0.9), and true boxes."""
    random = np.random.default_rng(0)
    boxes = np.array([0.1, 0.1, 0.4, 0.4, 0.5, 0.5, 0.9, 0.9])
    return {
        "loc": ssd_cases.normal(random, images, 8),
        "conf": ssd_cases.normal(random, images, 6),
        "priors": np.stack([boxes, np.full(8, 0.2)])[None].astype(np.float32),
        "truth": np.array(truth, np.float32)[None, None],
    }


FIRST, SECOND = [0, 1, 0, 0.1, 0.1, 0.4, 0.45, 0], [0, 2, 0, 0.5, 0.5, 0.9, 0.8, 1]


@pytest.mark.parametrize("seed", [0, 1, 3, 5, 6, 8, 12, 15, 17, 20, 23, 27])
def test_the_loss_equals_that_of_the_fork(seed: int):
    source, fields, given = ssd_cases.loss_case(seed)
    want = ssd_fork.multibox(given["loc"], given["conf"], given["priors"], given["truth"], fields)
    assert float(model(source, **given).loss(**given)) == pytest.approx(want, rel=2e-4)


@pytest.mark.parametrize("code", ssd_cases.CODES)
def test_the_gradient_is_that_of_the_loss(code: str):
    given = inputs([FIRST, SECOND])
    detector = model(layer(f"code_type: {code} loc_loss_type: L2"), **given)
    value = jax.jit(lambda loc, conf: detector.loss(**{**given, "loc": loc, "conf": conf}))
    slopes = jax.grad(value, (0, 1))(given["loc"], given["conf"])
    for i, name in enumerate(("loc", "conf")):
        way = ssd_cases.normal(np.random.default_rng(1), *given[name].shape)
        moved = lambda by, name=name, way=way: {**given, name: given[name] + np.float32(by) * way}
        after, before = (float(value(at["loc"], at["conf"])) for at in (moved(1e-2), moved(-1e-2)))
        measured = (after - before) / 2e-2
        assert measured == pytest.approx(float((np.asarray(slopes[i]) * way).sum()), rel=5e-3, abs=1e-3)


def test_the_gradient_of_a_prediction_that_includes_variances_is_that_of_the_quotient():
    given = inputs([FIRST])
    given["loc"] *= 0.01
    plain = loss_and_gradients(layer("loc_loss_type: L2 encode_variance_in_target: true"), **given)[1]["loc"]
    box = np.array([0.1, 0.1, 0.4, 0.4])
    want = (given["loc"][0, :4] - (np.array(FIRST[3:7]) - box)) / 0.2  # not divided by the variance again
    np.testing.assert_allclose(plain[0, :4], want, rtol=1e-4)
    assert not plain[0, 4:].any()


def test_coordinates_outside_the_image_have_no_gradient():
    given = inputs([[0, 1, 0, 0.1, 0.1, 0.4, 0.4, 0]])
    given["priors"][0, 0, :4] = [-0.1, 0.1, 0.4, 0.4]
    slope = loss_and_gradients(layer("bp_inside: true"), **given)[1]["loc"][0]
    assert slope[0] == 0
    assert slope[1:4].all()


def test_an_image_without_true_boxes_adds_only_its_background():
    given = inputs([FIRST, [-1] * 8], images=2)
    _, slopes = loss_and_gradients(layer(""), **given)
    assert not slopes["conf"][1].any()
    _, slopes = loss_and_gradients(layer("mining_type: NONE"), **given)
    assert slopes["conf"][1].all()
    empty = inputs([[-1] * 8])
    loss, slopes = loss_and_gradients(layer(""), **empty)
    assert loss == 0
    assert not slopes["conf"].any()
    assert not slopes["loc"].any()


def test_what_receives_no_gradient_adds_nothing_to_the_loss():
    given = inputs([FIRST, SECOND])
    total, parts = loss_and_gradients(layer(""), **given)[0], []
    for down in ((True, False), (False, True)):
        flags = " ".join(f"propagate_down: {str(flag).lower()}" for flag in (*down, False, False))
        parts.append(loss_and_gradients(layer("", flags), **given)[0])
    assert sum(parts) == pytest.approx(total, rel=1e-5)
    assert loss_and_gradients(layer("", "propagate_down: true"), **given)[0] == pytest.approx(total, rel=1e-6)
    assert all(part > 0 for part in parts)


def test_difficult_boxes_are_not_matched_if_so_specified():
    both, one = inputs([FIRST, SECOND]), inputs([FIRST])
    without = loss_and_gradients(layer("use_difficult_gt: false"), **both)[0]
    assert without == pytest.approx(loss_and_gradients(layer(""), **one)[0], rel=1e-6)
    assert without != pytest.approx(loss_and_gradients(layer(""), **both)[0], rel=1e-2)


@pytest.mark.parametrize("label", [0, 3, -2])
def test_a_label_out_of_range_makes_the_loss_nan(label: int):
    given = inputs([[0, label, *FIRST[2:]]])
    loss, slopes = loss_and_gradients(layer(""), **given)
    assert np.isnan(loss)
    assert not np.isnan(slopes["loc"]).any()


@pytest.mark.parametrize(
    ("fields", "shapes", "words"),
    [
        ("", {"conf": (2, 12)}, "6 default boxes of 3 values require 18"),
        ("", {"truth": (1, 1, 5, 7)}, "bottom 3, the true boxes, is 1x1x5x7; it must be 1 x 1 x count x 8"),
        ("share_location: false", {"loc": (2, 72)}, "`mining_type` is MAX_NEGATIVE; mining requires coordinates"),
        ("do_neg_mining: false", {}, "`do_neg_mining` is false, but `mining_type` is MAX_NEGATIVE"),
        ("map_object_to_agnostic: true", {}, "`num_classes` is 3, but with `map_object_to_agnostic` there are 2"),
        ("background_label_id: 3", {}, "`background_label_id` is 3, but `num_classes` is 3; give at most 2"),
        ("sample_size: 0", {}, "`sample_size`"),
    ],
)
def test_errors(fields: str, shapes: dict[str, Any], words: str):
    assert words in fault(layer(fields), **(SHAPES | shapes))[1]


def test_true_boxes_without_axes_are_no_fault_of_the_checks_if_the_predictions_are_unknown():
    """Nothing is known of the shapes of a Python layer, so the layer says nothing about its bottoms."""
    unknown = 'layer { name: "p" type: "Python" top: "a" top: "b" top: "c" python_param { module: "m" layer: "L" } }'
    true = 'layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 2 dim: 3 } } }'
    loss = """layer { name: "l" type: "MultiBoxLoss" bottom: "a" bottom: "b" bottom: "c" bottom: "t" top: "loss"
                      multibox_loss_param { num_classes: 4 } }"""
    assert netdef.load(f"{unknown} {true} {loss}").layers[-1].name == "l"


def test_true_boxes_of_another_shape_are_read_in_order_with_a_warning():
    given = inputs([FIRST, SECOND])
    want = loss_and_gradients(layer(""), **given)[0]
    flat = {**given, "truth": np.concatenate([given["truth"].reshape(-1), np.ones(16)]).astype(np.float32)}
    flat["truth"] = flat["truth"].reshape(2, 2, 2, 4)
    assert loss_and_gradients(layer(""), **flat)[0] == pytest.approx(want, rel=1e-6)
    found = netdef.load(text(layer(""), {name: value.shape for name, value in flat.items()})).diagnostics
    assert [d.code for d in found] == ["as-in-fork"]
    assert "reads its first 8 x 2 values as 2 boxes" in found[0].message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("nms_param { nms_threshold: 0.5 }", "`top_k` of `nms_param` is not given, so `l` selects no boxes"),
        (
            "mining_type: NONE conf_loss_type: LOGISTIC",
            "the targets of all images but the first of 2 are those of other",
        ),
    ],
)
def test_faults_of_the_fork_are_warned_of(fields: str, words: str):
    found = [d for d in netdef.load(text(layer(fields), SHAPES)).diagnostics if d.code == "as-in-fork"]
    assert len(found) == 1
    assert words in found[0].message


def test_predictions_that_minimize_the_loss_are_detected_as_the_true_boxes():
    """Gradient descent on predictions for two images with MultiBoxLoss, then DetectionOutput."""
    random = np.random.default_rng(0)
    truth = np.array([FIRST, [0, 2, 0, 0.45, 0.5, 0.9, 0.95, 0], [1, 2, 0, 0.2, 0.3, 0.7, 0.8, 0]], np.float32)
    fixed = {"priors": ssd_cases.priors(random, 40), "truth": truth[None, None]}
    moving = {"loc": np.zeros((2, 160), np.float32), "conf": np.zeros((2, 120), np.float32)}
    learner = model(layer("code_type: CENTER_SIZE overlap_threshold: 0.3"), **moving, **fixed)

    @jax.jit
    def descend(moving: dict[str, Any]) -> dict[str, Any]:
        slopes = jax.grad(lambda some: learner.loss(**some, **fixed))
        step = lambda _, now: jax.tree.map(lambda a, d: a - 0.5 * d, now, slopes(now))
        return jax.lax.fori_loop(0, 400, step, moving)

    learned = descend(moving)
    share = jax.nn.softmax(learned["conf"].reshape(2, 40, 3), -1).reshape(2, -1)
    fields = "num_classes: 3 code_type: CENTER_SIZE confidence_threshold: 0.5"
    found = outputs(
        ssd_cases.OUTPUT % f"detection_output_param {{ {fields} }}",
        "TEST",
        loc=np.asarray(learned["loc"]),
        conf=np.asarray(share),
        priors=fixed["priors"],
    )["y"][0, 0]
    np.testing.assert_array_equal(found[:, :2], truth[:, :2])
    for row, true in zip(found, truth, strict=True):
        assert ssd_fork.jaccard(row[3:], true[3:7]) > 0.9
