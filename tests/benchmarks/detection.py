"""Speed of the layers of SSD300: MultiBoxLoss as a fraction of the training step, and DetectionOutput.

usage: python tests/benchmarks/detection.py [BATCH] [SECONDS]        (default 2 images, 20 seconds per comparison)

The step is the loss and the gradients of examples/vgg16_ssd300.net, with random images of five objects each.  Lines:
milliseconds of the step, of MultiBoxLoss with its gradients, and their ratio; then milliseconds of DetectionOutput for
one image, of OpenCV's DetectionOutput for the same predictions, if it is installed, and their ratio.  Functions
alternate, and the best time of each is used, so that other load affects all equally.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

import netdef
from netdef.cli import keep_freed_memory
from netdef.forward import jit

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).parent))

from contexts import PLAIN
from kernels import fastest

EXAMPLE = Path(__file__).parents[2] / "examples" / "vgg16_ssd300.net"
OBJECTS, BOXES, CLASSES = 5, 8732, 21
INPUTS = """layer {{ name: "data" type: "Input" top: "data" top: "label"
  input_param {{ shape {{ dim: [{0}, 3, 300, 300] }} shape {{ dim: [1, 1, {1}, 8] }} }} }}"""
FOUND = """name: "SSD300" input: "loc" input_shape {{ dim: 1 dim: {0} }} input: "conf" input_shape {{ dim: 1 dim: {1} }}
input: "priors" input_shape {{ dim: 1 dim: 2 dim: {0} }}
layer {{ name: "found" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "found"
  detection_output_param {{ num_classes: {2} share_location: true background_label_id: 0 code_type: CENTER_SIZE
    keep_top_k: 200 confidence_threshold: 0.01
    nms_param {{ nms_threshold: 0.45 top_k: 400 }} }} }}
"""


def main(batch: int = 2, seconds: float = 20.0) -> None:
    keep_freed_memory()
    step, loss = training(batch)
    whole, part = fastest([step, loss], (), seconds)
    print(f"training step, {batch} images {whole:10.1f} ms   MultiBoxLoss {part:8.1f} ms   ratio {part / whole:.3f}")
    detect(seconds / 4)


def training(batch: int) -> tuple[Any, Any]:
    """Returns functions that compute the step, and MultiBoxLoss with the predictions of the untrained net."""
    text = re.sub(r"ssd_data \{.*?\}.*\n", INPUTS.format(batch, OBJECTS * batch) + "\n", EXAMPLE.read_text(), count=1)
    net = netdef.load(text, phase="TRAIN")
    model = netdef.compile(net)
    inputs = {"data": np.random.default_rng(0).normal(0, 50, (batch, 3, 300, 300)).astype(np.float32)}
    inputs["label"] = true_boxes(batch)
    graph, state = nnx.split(model)
    objective = lambda state, inputs: nnx.merge(graph, state).loss(**inputs)
    step = jit(jax.value_and_grad(objective, allow_int=True), net)
    node = next(node for node in net.layers if node.type == "MultiBoxLoss")
    shapes = [net.shapes[value] for value in node.bottoms]
    random = np.random.default_rng(1)
    loc, conf = (random.normal(0, 0.5, shape).astype(np.float32) for shape in shapes[:2])
    apart = lambda loc, conf, priors, truth: node.layer.apply((), loc, conf, priors, truth, ctx=PLAIN)
    loss = jit(jax.value_and_grad(apart, (0, 1)))
    given = (loc, conf, default_boxes(shapes[2][2] // 4), inputs["label"])
    return lambda: step(state, inputs), lambda: loss(*given)


def true_boxes(batch: int) -> np.ndarray:
    """Returns a label (1, 1, rows, 8) of large and small objects."""
    random = np.random.default_rng(2)
    rows = []
    for image in range(batch):
        for label in random.integers(1, CLASSES, OBJECTS):
            x, y = random.uniform(0.2, 0.8, 2)
            w, h = random.uniform(0.05, 0.3, 2)
            rows.append([image, label, 0, max(0, x - w), max(0, y - h), min(1, x + w), min(1, y + h), 0])
    return np.array(rows, np.float32)[None, None]


def default_boxes(count: int) -> np.ndarray:
    """Returns default boxes (1, 2, 4 count) of all sizes and their variances."""
    random = np.random.default_rng(3)
    center, size = random.uniform(0, 1, (count, 2)), random.choice([0.1, 0.2, 0.37, 0.54, 0.71, 0.88], (count, 1))
    corners = np.concatenate([center - size / 2, center + size / 2], 1)
    variances = np.tile([0.1, 0.1, 0.2, 0.2], (count, 1))
    return np.stack([corners, variances]).reshape(1, 2, -1).astype(np.float32)


def detect(seconds: float) -> None:
    """Prints the time of DetectionOutput for one image, of which two boxes in a hundred are probably objects."""
    random, text = np.random.default_rng(4), FOUND.format(4 * BOXES, CLASSES * BOXES, CLASSES)
    logits = random.normal(0, 1, (BOXES, CLASSES)) + np.eye(CLASSES)[0] * 6
    likely = random.choice(BOXES, BOXES // 50, replace=False)
    logits[likely, random.integers(1, CLASSES, len(likely))] += 7
    conf = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loc = random.normal(0, 0.5, (1, 4 * BOXES)).astype(np.float32)
    blobs = {"loc": loc, "conf": conf.reshape(1, -1).astype(np.float32), "priors": default_boxes(BOXES)}
    layer = netdef.load(text, phase="TEST").layers[-1].layer
    mine = jit(lambda loc, conf, priors: layer.apply((), loc, conf, priors, ctx=PLAIN))
    functions = [lambda: mine(*blobs.values())]
    try:
        import cv2
    except ImportError:
        print(f"DetectionOutput, 1 image {fastest(functions, (), seconds)[0]:9.2f} ms   (OpenCV is not installed)")
        return
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
    for name, blob in blobs.items():
        net.setInput(blob, name)
    rows = np.asarray(functions[0]())[0, 0]
    assert len(net.forward()[0, 0]) == (rows[:, 1] > 0).sum(), "both find as many objects"
    own, other = fastest([*functions, net.forward], (), seconds)
    print(f"DetectionOutput, 1 image {own:9.2f} ms   OpenCV {other:8.2f} ms   ratio {own / other:.2f}")


if __name__ == "__main__":
    main(*(cast(word) for cast, word in zip((int, float), sys.argv[1:], strict=False)))
