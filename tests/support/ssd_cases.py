"""Random inputs and fields for the detection layers, as nets of one layer and for the reference in `ssd_fork`."""

from __future__ import annotations

from typing import Any

import numpy as np

CODES = ("CORNER", "CENTER_SIZE", "CORNER_SIZE")
OUTPUT = 'layer { name: "l" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "y"\n%s }'
LOSS = 'layer { name: "l" type: "MultiBoxLoss" bottom: "loc" bottom: "conf" bottom: "priors" bottom: "truth" top: "y"\n%s }'
EVALUATE = 'layer { name: "l" type: "DetectionEvaluate" bottom: "found" bottom: "truth" top: "y"\n%s }'
NMS = ("nms_threshold", "top_k", "eta")
WORDS = {"code_type", "match_type", "mining_type", "loc_loss_type", "conf_loss_type"}


def shown(fields: dict[str, Any]) -> str:
    """Returns fields as text; strings of enums are not quoted."""
    text = lambda value: str(value).lower() if isinstance(value, bool) else str(value)
    own = " ".join(f"{name}: {text(value)}" for name, value in fields.items() if name not in (*NMS, "normalization"))
    nms = " ".join(f"{name}: {fields[name]}" for name in NMS if name in fields)
    return own + (f" nms_param {{ {nms} }}" if nms else "")


def boxes(random: np.random.Generator, count: int, spread: float = 0.25) -> np.ndarray:
    """Returns boxes (count, 4), some of them partly outside the image."""
    center, half = random.uniform(0, 1, (count, 2)), random.uniform(0.08, spread, (count, 2))
    return np.concatenate([center - half, center + half], 1).astype(np.float32)


def priors(random: np.random.Generator, count: int) -> np.ndarray:
    variances = random.uniform(0.1, 0.4, (count, 4))
    return np.stack([boxes(random, count).reshape(-1), variances.reshape(-1)])[None].astype(np.float32)


def truth(random: np.random.Generator, images: int, count: int, labels: list[int]) -> np.ndarray:
    """Returns true boxes (1, 1, count, 8), sorted by image; some are difficult."""
    rows = np.zeros((count, 8), np.float32)
    rows[:, 0] = np.sort(random.integers(0, images, count))
    rows[:, 1] = random.choice(labels, count)
    rows[:, 3:7] = boxes(random, count, 0.3)
    rows[:, 7] = random.random(count) < 0.3
    return rows[None, None]


def normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.normal(size=shape).astype(np.float32)


def output_case(seed: int) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Returns the source of a DetectionOutput layer, its fields, and inputs."""
    random = np.random.default_rng(seed)
    pick = lambda *values: values[int(random.integers(len(values)))]
    share, n, count, classes = pick(True, False), pick(1, 2, 3), pick(5, 12, 30), pick(2, 3, 5)
    fields = {
        "num_classes": classes,
        "share_location": share,
        "background_label_id": pick(0, 0, classes - 1) if share else pick(-1, 0, classes - 1),
        "code_type": pick(*CODES),
        "variance_encoded_in_target": pick(True, False),
        "keep_top_k": pick(-1, 0, 3, 8, 200),
        "nms_threshold": pick(0.0, 0.3, 0.45, 0.9),
        "top_k": pick(-1, 4, 9, 400),
        "eta": pick(1.0, 0.8),
    }
    if pick(True, False):
        fields["confidence_threshold"] = pick(0.1, 0.9, 5.0)
    inputs = {
        "loc": normal(random, n, count * (1 if share else classes) * 4),
        "conf": normal(random, n, count * classes),
        "priors": priors(random, count),
    }
    return OUTPUT % f"detection_output_param {{ {shown(fields)} }}", fields, inputs


def loss_case(seed: int) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Returns the source of a MultiBoxLoss layer, its fields, and inputs."""
    random = np.random.default_rng(seed)
    pick = lambda *values: values[int(random.integers(len(values)))]
    mining = pick("NONE", "MAX_NEGATIVE", "HARD_EXAMPLE")
    agnostic = pick(False, False, False, True)
    share, n, count = mining != "NONE" or pick(True, False), pick(1, 2, 3), pick(8, 14, 40)
    classes = 2 if agnostic else pick(2, 4)
    background = 0 if agnostic else pick(0, 0, classes - 1)
    fields = {
        "num_classes": classes,
        "share_location": share,
        "background_label_id": background,
        "loc_loss_type": pick("L2", "SMOOTH_L1"),
        "conf_loss_type": pick("SOFTMAX", "LOGISTIC"),
        "loc_weight": pick(1.0, 2.5),
        "match_type": pick("BIPARTITE", "PER_PREDICTION"),
        "overlap_threshold": pick(0.2, 0.35, 0.5),
        "use_prior_for_matching": pick(True, True, False),
        "use_difficult_gt": pick(True, False),
        "neg_pos_ratio": pick(3.0, 1.5),
        "neg_overlap": pick(0.1, 0.5),
        "code_type": pick(*CODES),
        "encode_variance_in_target": pick(True, False),
        "map_object_to_agnostic": agnostic,
        "ignore_cross_boundary_bbox": pick(True, False),
        "bp_inside": pick(True, False),
        "mining_type": mining,
        "sample_size": pick(3, 10, 64),
        "use_prior_for_nms": pick(True, False),
        "normalization": pick("VALID", "FULL", "BATCH_SIZE", "NONE"),
    }
    if pick(True, False):
        fields |= {"nms_threshold": pick(0.0, 0.5)} | pick({}, {"top_k": -1}, {"top_k": 6})
    labels = [c for c in range(classes) if c != background]
    true = truth(random, n, pick(1, 5, 9), labels)
    true[0, 0, random.random(true.shape[2]) < 0.1, 0] = -1
    inputs = {
        "loc": 0.3 * normal(random, n, count * (1 if share else classes) * 4),
        "conf": normal(random, n, count * classes),
        "priors": priors(random, count),
        "truth": true,
    }
    text = f"multibox_loss_param {{ {shown(fields)} }} loss_param {{ normalization: {fields['normalization']} }}"
    return LOSS % text, fields, inputs


def evaluate_case(seed: int) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Returns the source of a DetectionEvaluate layer, its fields, and inputs."""
    random = np.random.default_rng(seed)
    pick = lambda *values: values[int(random.integers(len(values)))]
    classes = pick(2, 4)
    fields = {
        "num_classes": classes,
        "background_label_id": pick(-1, 0, classes - 1),
        "overlap_threshold": pick(0.2, 0.5),
        "evaluate_difficult_gt": pick(True, False),
    }
    labels = [c for c in range(classes) if c != fields["background_label_id"]]
    true = truth(random, 4, 8, labels)
    if pick(True, False):
        true[0, 0, -2:, 0] = -1
    found = np.zeros((1, 1, 25, 7), np.float32)
    found[..., 0] = random.integers(-1, 5, 25)
    found[..., 1] = random.choice(labels, 25)
    found[..., 2] = random.random(25)
    near = true[0, 0, random.integers(0, 8, 25), 3:7]
    found[..., 3:] = np.where(random.random((25, 1)) < 0.6, near + 0.03 * normal(random, 25, 4), boxes(random, 25))
    found[0, 0, :3, 1:] = -1
    return EVALUATE % f"detection_evaluate_param {{ {shown(fields)} }}", fields, {"found": found, "truth": true}
