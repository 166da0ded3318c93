"""The detection layers of weiliu89/caffe, branch ssd, in plain Python: loops as in bbox_util.cpp and the layers.

It has no shapes, masks or compiled loops in common with netdef, so that equal results of both are evidence.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Box = tuple[float, float, float, float]


def size(box: Any) -> float:
    xmin, ymin, xmax, ymax = box
    return 0.0 if xmax < xmin or ymax < ymin else (xmax - xmin) * (ymax - ymin)


def jaccard(a: Any, b: Any) -> float:
    if b[0] > a[2] or b[2] < a[0] or b[1] > a[3] or b[3] < a[1]:
        return 0.0
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w > 0 and h > 0:
        return w * h / (size(a) + size(b) - w * h)
    return 0.0


def decode(code: str, prior: Any, variance: Any, offset: Any, in_target: bool) -> list[float]:
    v = [1.0] * 4 if in_target else variance
    d = [float(v[k]) * float(offset[k]) for k in range(4)]
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    if code == "CORNER":
        return [float(prior[k]) + d[k] for k in range(4)]
    if code == "CORNER_SIZE":
        return [float(prior[k]) + d[k] * (w, h)[k % 2] for k in range(4)]
    x, y = (prior[0] + prior[2]) / 2 + d[0] * w, (prior[1] + prior[3]) / 2 + d[1] * h
    bw, bh = math.exp(d[2]) * w, math.exp(d[3]) * h
    return [x - bw / 2, y - bh / 2, x + bw / 2, y + bh / 2]


def encode(code: str, prior: Any, variance: Any, box: Any, in_target: bool) -> list[float]:
    v = [1.0] * 4 if in_target else variance
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    if code == "CENTER_SIZE":
        made = [
            ((box[0] + box[2]) - (prior[0] + prior[2])) / 2 / w,
            ((box[1] + box[3]) - (prior[1] + prior[3])) / 2 / h,
            math.log((box[2] - box[0]) / w),
            math.log((box[3] - box[1]) / h),
        ]
    else:
        sides = (w, h) if code == "CORNER_SIZE" else (1.0, 1.0)
        made = [(box[k] - prior[k]) / sides[k % 2] for k in range(4)]
    return [made[k] / v[k] for k in range(4)]


def by_score(pairs: list[tuple[float, Any]]) -> list[tuple[float, Any]]:
    return sorted(pairs, key=lambda pair: -pair[0])  # stable


def detect(loc: Any, conf: Any, prior: Any, p: dict[str, Any]) -> np.ndarray:
    """DetectionOutput; `p` are its fields."""
    n, classes, share = len(loc), p["num_classes"], p["share_location"]
    boxes = prior.reshape(2, -1, 4)
    count = boxes.shape[1]
    loc, conf = loc.reshape(n, count, -1, 4), conf.reshape(n, count, classes)
    rows = []
    for i in range(n):
        kept: dict[int, list[int]] = {}
        where: dict[int, list[Any]] = {}
        for c in range(classes):
            if c == p["background_label_id"]:
                continue
            part = 0 if share else c
            where[c] = [
                decode(p["code_type"], boxes[0, j], boxes[1, j], loc[i, j, part], p["variance_encoded_in_target"])
                for j in range(count)
            ]
            threshold = p.get("confidence_threshold")
            pairs = [(float(s), j) for j, s in enumerate(conf[i, :, c]) if threshold is None or s > threshold]
            pairs = by_score(pairs)
            if p["top_k"] > -1:
                pairs = pairs[: p["top_k"]]
            limit, chosen = p["nms_threshold"], []
            for _, j in pairs:
                keep = all(jaccard(where[c][j], where[c][k]) <= limit for k in chosen)
                if keep:
                    chosen.append(j)
                    if p["eta"] < 1 and limit > 0.5:
                        limit *= p["eta"]
            kept[c] = chosen
        if -1 < p["keep_top_k"] < sum(map(len, kept.values())):
            pairs = [(float(conf[i, j, c]), (c, j)) for c in sorted(kept) for j in kept[c]]
            pairs = by_score(pairs)[: p["keep_top_k"]]
            kept = {c: [j for _, (label, j) in pairs if label == c] for c in kept}
        rows += [[i, c, conf[i, j, c], *where[c][j]] for c in sorted(kept) for j in kept[c]]
    rows = rows or [[i, -1, -1, -1, -1, -1, -1] for i in range(n)]
    return np.array(rows, np.float32)[None, None]


def match(truth: list[Any], boxes: list[Any], p: dict[str, Any]) -> tuple[list[int], list[float]]:
    """MatchBBox: the index of the true box of each box, -1 for none, -2 for ignored; and the largest overlaps."""
    found, most, overlaps = [-1] * len(boxes), [0.0] * len(boxes), {}
    if not truth:
        return found, most
    for i, box in enumerate(boxes):
        if p["ignore_cross_boundary_bbox"] and any(v < 0 or v > 1 for v in box):
            found[i] = -2
            continue
        for j, (_, true) in enumerate(truth):
            overlap = jaccard(box, true)
            if overlap > 1e-6:
                most[i] = max(most[i], overlap)
                overlaps.setdefault(i, {})[j] = overlap
    pool = list(range(len(truth)))
    while pool:
        best = (-1.0, -1, -1)
        for i, row in overlaps.items():
            for j in pool:
                if found[i] == -1 and row.get(j, -1.0) > best[0]:
                    best = (row[j], i, j)
        if best[1] < 0:
            break
        found[best[1]], most[best[1]] = best[2], best[0]
        pool.remove(best[2])
    if p["match_type"] == "PER_PREDICTION":
        for i, row in overlaps.items():
            if found[i] != -1:
                continue
            good = [(j, o) for j, o in row.items() if o >= p["overlap_threshold"]]
            if good:
                found[i], most[i] = max(good, key=lambda pair: pair[1])
    return found, most


def nms(boxes: list[Any], scores: list[float], threshold: float, top_k: int) -> list[int]:
    """ApplyNMS, in which small boxes are never kept."""
    queue = [j for _, j in by_score([(s, j) for j, s in enumerate(scores)])]
    queue = queue[:top_k] if top_k > -1 else queue
    kept: list[int] = []
    while queue:
        j = queue.pop(0)
        if size(boxes[j]) < 1e-5:
            continue
        kept.append(j)
        queue = [k for k in queue if size(boxes[k]) >= 1e-5 and not jaccard(boxes[j], boxes[k]) > threshold]
    return kept


def multibox(loc: Any, conf: Any, prior: Any, truth: Any, p: dict[str, Any]) -> float:
    """MultiBoxLoss; `p` are its fields."""
    n, classes, background = len(loc), p["num_classes"], p["background_label_id"]
    boxes = prior.astype(float).reshape(2, -1, 4)
    count = boxes.shape[1]
    loc, conf = loc.astype(float).reshape(n, count, -1, 4), conf.astype(float).reshape(n, count, classes)
    true: dict[int, list[Any]] = {}
    for row in truth.reshape(-1, 8):
        if int(row[0]) != -1 and (p["use_difficult_gt"] or not row[7]):
            true.setdefault(int(row[0]), []).append((int(row[1]), [float(v) for v in row[3:7]]))
    mines = p["mining_type"] != "NONE"
    decoded = lambda i, j, part: decode(
        p["code_type"], boxes[0, j], boxes[1, j], loc[i, j, part], p["encode_variance_in_target"]
    )
    matches = [_matches(i, true.get(i, []), boxes, decoded, count, p) for i in range(n)]
    total_loc = total_conf = 0.0
    number = 0
    target = np.full(n * count * classes, float(background))
    labels = np.full((n, count), background)
    picked: list[list[tuple[int, int]]] = [[] for _ in range(n)]  # (box, label) that count
    for i, by_part in enumerate(matches):
        losses = {}
        for part, (found, _) in by_part.items():
            for j, g in enumerate(found):
                if g > -1:
                    losses[part, j] = _loc_loss(loc[i, j, part], decoded(i, j, part), boxes[:, j], true[i][g][1], p)
        if mines and i in true:
            (part, (found, most)) = next(iter(by_part.items()))
            each = [_class_loss(conf[i, j], true[i][g][0] if g > -1 else background, p) for j, g in enumerate(found)]
            if p["mining_type"] == "HARD_EXAMPLE":
                each = [loss + losses.get((part, j), 0.0) for j, loss in enumerate(each)]
            selected = _select(each, found, most, lambda j, i=i: decoded(i, j, 0), boxes, p)
            picked[i] = [(j, background) for j, g in enumerate(found) if g == -1 and j in selected]
            if p["mining_type"] == "HARD_EXAMPLE":
                found[:] = [-1 if g > -1 and j not in selected else g for j, g in enumerate(found)]
        for part, (found, _) in sorted(by_part.items()):
            for j, g in enumerate(found):
                if g > -1:
                    label = background + 1 if p["map_object_to_agnostic"] else true[i][g][0]
                    number += 1
                    total_loc += losses[part, j]
                    picked[i].append((j, label))
                    labels[i, j] = label
                    target[i * count + j * classes + label] = 1
    if mines:
        total_conf = sum(_final_loss(conf[i, j], label, p) for i in range(n) for j, label in picked[i])
    elif p["conf_loss_type"] == "SOFTMAX":
        total_conf = sum(_class_loss(conf[i, j], labels[i, j], p) for i in range(n) for j in range(count))
    else:
        x = conf.reshape(-1)
        total_conf = float(np.sum(np.logaddexp(0, x) - x * target))
    divisor = {"VALID": number, "FULL": n * count, "BATCH_SIZE": n, "NONE": 1}[p["normalization"]]
    return (p["loc_weight"] * total_loc + total_conf) / max(1.0, divisor)


def _matches(i: int, truth: list[Any], boxes: Any, decoded: Any, count: int, p: dict[str, Any]) -> dict[int, Any]:
    """FindMatches for one image: {class of the coordinates: (matches, overlaps)}."""
    if not truth:
        return {}
    parts = [0] if p["share_location"] else [c for c in range(p["num_classes"]) if c != p["background_label_id"]]
    if p["use_prior_for_matching"]:
        found, most = match(truth, [list(map(float, b)) for b in boxes[0]], p)
        if p["share_location"]:
            return {0: (found, most)}
        return {c: ([g if g > -1 and truth[g][0] == c else -1 for g in found], most) for c in parts}
    made = {}
    for c in parts:
        mine = [g for g, (label, _) in enumerate(truth) if p["share_location"] or label == c]
        found, most = match([truth[g] for g in mine], [decoded(i, j, c) for j in range(count)], p)
        made[c] = ([mine[g] if g > -1 else g for g in found], most)
    return made


def _loc_loss(offset: Any, decoded: Any, prior: Any, true: Any, p: dict[str, Any]) -> float:
    target = encode(p["code_type"], prior[0], prior[1], true, p["encode_variance_in_target"])
    own = list(offset)
    if p["bp_inside"]:
        box = prior[0] if p["use_prior_for_matching"] else decoded
        own = [target[k] if box[k] < 0 or box[k] > 1 else own[k] for k in range(4)]
    total = 0.0
    for k in range(4):
        d = (own[k] - target[k]) / (prior[1][k] if p["encode_variance_in_target"] else 1.0)
        total += 0.5 * d * d if p["loc_loss_type"] == "L2" or abs(d) < 1 else abs(d) - 0.5
    return total


def _class_loss(x: Any, label: int, p: dict[str, Any]) -> float:
    if p["conf_loss_type"] == "SOFTMAX":
        e = np.exp(x - x.max())
        return -math.log(max(e[label] / e.sum(), 1.17549435e-38))
    return float(np.sum(np.logaddexp(0, x)) - x[label])


def _final_loss(x: Any, label: int, p: dict[str, Any]) -> float:
    if p["conf_loss_type"] == "SOFTMAX":
        return _class_loss(x, label, p)
    target = np.full(len(x), float(p["background_label_id"]))
    target[label] = 1
    return float(np.sum(np.logaddexp(0, x) - x * target))


def _select(each: Any, found: Any, most: Any, decoded: Any, boxes: Any, p: dict[str, Any]) -> set[int]:
    """MineHardExamples for one image: the boxes that are used."""
    if p["mining_type"] == "HARD_EXAMPLE":
        eligible = list(range(len(each)))
        number = min(p["sample_size"], len(eligible))
    else:
        eligible = [j for j, g in enumerate(found) if g == -1 and most[j] < p["neg_overlap"]]
        number = min(int(sum(g > -1 for g in found) * p["neg_pos_ratio"]), len(eligible))
    if p.get("nms_threshold"):
        own = [list(boxes[0, j]) if p["use_prior_for_nms"] else decoded(j) for j in eligible]
        kept = nms(own, [each[j] for j in eligible], p["nms_threshold"], p.get("top_k", 0))
        return {eligible[k] for k in kept[: max(number, 0)]}
    return {j for _, j in by_score([(each[j], j) for j in eligible])[: max(number, 0)]}


def output_box(box: Any, height: int, width: int, resize: dict[str, Any] | None) -> tuple[list[float], float]:
    """OutputBBox: the box in pixels, and the size that is stored with it."""
    clip = lambda b, h, w: [max(min(float(v), (w, h)[k % 2]), 0.0) for k, v in enumerate(b)]
    box = list(map(float, box))
    if resize and resize["resize_mode"] == "FIT_SMALL_SIZE" and resize.get("height_scale"):
        box = [v * (resize["width_scale"], resize["height_scale"])[k % 2] for k, v in enumerate(box)]
        box = clip(box, height, width)
        return box, size(box)
    if resize and resize["resize_mode"] == "FIT_LARGE_SIZE_AND_PAD":
        h, w, aspect = resize["height"], resize["width"], width / height
        pad = (h - w / aspect) / 2 / h if aspect > w / h else (w - h * aspect) / 2 / w
        source = [0.0, pad, 1.0, 1 - pad] if aspect > w / h else [pad, 0.0, 1 - pad, 1.0]
        if box[0] < source[2] and box[2] > source[0] and box[1] < source[3] and box[3] > source[1]:
            box = [(v - source[k % 2]) / (source[k % 2 + 2] - source[k % 2]) for k, v in enumerate(box)]
    box = [v * (width, height)[k % 2] for k, v in enumerate(clip(box, 1, 1))]
    inverted = box[2] < box[0] or box[3] < box[1]
    return box, 0.0 if inverted else (box[2] - box[0] + 1) * (box[3] - box[1] + 1)


def pixel_jaccard(a: Any, b: Any) -> float:
    """JaccardOverlap of boxes in pixels."""
    (one, one_size), (other, other_size) = a, b
    common = [0.0] * 4
    if not (other[0] > one[2] or other[2] < one[0] or other[1] > one[3] or other[3] < one[1]):
        common = [max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])]
    w, h = common[2] - common[0] + 1, common[3] - common[1] + 1
    return w * h / (one_size + other_size - w * h) if w > 0 and h > 0 else 0.0


def evaluate(found: Any, truth: Any, p: dict[str, Any], sizes: Any = (), start: int = 0) -> np.ndarray:
    """DetectionEvaluate; `p` are its fields, `sizes` those of the images, and `start` the number of images before."""
    background, difficult = p["background_label_id"], p["evaluate_difficult_gt"]
    true: dict[int, dict[int, list[Any]]] = {}
    for row in truth.reshape(-1, 8):
        if int(row[0]) == -1:
            break
        true.setdefault(int(row[0]), {}).setdefault(int(row[1]), []).append(row)
    rows = []
    for c in range(p["num_classes"]):
        if c != background:
            mine = [row for labels in true.values() for row in labels.get(c, []) if difficult or not row[7]]
            rows.append([-1, c, len(mine), -1, -1])
    detections: dict[int, dict[int, list[Any]]] = {}
    for row in found.reshape(-1, 7):
        if int(row[0]) != -1:
            detections.setdefault(int(row[0]), {}).setdefault(int(row[1]), []).append(row)
    for at, image in enumerate(sorted(detections)):
        overlap = lambda a, b: jaccard(a, b)
        if len(sizes):
            height, width = sizes[(start + at) % len(sizes)]
            pixels = lambda b, h=height, w=width: output_box(b, h, w, p.get("resize_param"))
            overlap = lambda a, b, pixels=pixels: pixel_jaccard(pixels(a), pixels(b))
        for label in sorted(detections[image]):
            if label == -1:
                continue
            mine, boxes = detections[image][label], true.get(image, {}).get(label, [])
            if boxes:
                mine = [row for _, row in by_score([(row[2], row) for row in mine])]
            visited = set()
            for row in mine:
                best = max(range(len(boxes)), key=lambda j: overlap(row[3:], boxes[j][3:7]), default=None)
                hit, miss = 0, 1
                if best is not None and overlap(row[3:], boxes[best][3:7]) >= p["overlap_threshold"]:
                    if not difficult and boxes[best][7]:
                        hit, miss = 0, 0
                    elif best not in visited:
                        visited.add(best)
                        hit, miss = 1, 0
                rows.append([image, label, row[2], hit, miss])
    reserved = sum(row[1] != -1 for row in found.reshape(-1, 7)) + p["num_classes"] - (background >= 0)
    rows += [[0.0] * 5] * (reserved - len(rows))
    return np.array(rows, np.float32)[None, None]


def average_precision(confidence: Any, correct: Any, positives: int, version: str) -> float:
    """ComputeAP."""
    order = sorted(range(len(confidence)), key=lambda i: -confidence[i])
    hits, precision, recall = 0, [], []
    for rank, i in enumerate(order, 1):
        hits += int(correct[i])
        precision.append(np.float32(hits / rank))
        recall.append(np.float32(hits / positives))
    last, total = len(order) - 1, 0.0
    if version == "11point":
        highest, start = [0.0] * 11, last
        for j in range(10, -1, -1):
            for i in range(start, -1, -1):
                if float(recall[i]) < j / 10:
                    start = i
                    if j > 0:
                        highest[j - 1] = highest[j]
                    break
                highest[j] = max(highest[j], precision[i])
        return float(sum(highest) / 11)
    if version == "MaxIntegral":
        r, q = recall[last], precision[last]
        for i in range(last - 1, -1, -1):
            q = max(precision[i], q)
            if abs(r - recall[i]) > 1e-6:
                total += q * abs(r - recall[i])
            r = recall[i]
        return float(total + r * q)
    before = 0.0
    for q, r in zip(precision, recall, strict=True):
        if abs(r - before) > 1e-6:
            total += q * abs(r - before)
        before = r
    return float(total)
