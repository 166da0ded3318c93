"""Detections of YOLO: YoloDetectionOutput (v2) and Yolov3DetectionOutput."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..lazy import Array, jax, jnp, np
from ..schema import param
from ..shape import Dim, Shape, ShapeError
from ._boxes import just_below, suppress
from ._yolo import COORDINATES, Box, check_biases, check_cells, corners
from .base import Context, Example, Layer
from .yolo import predicted


class YoloOutput(Layer):
    """Detections after non-maximum suppression over all classes.

    Only the class with the highest confidence of a box can remain, because its boxes of other classes overlap it
    entirely."""

    float32 = "its tops are coordinates and indices"
    pads_rows = True
    detects = True
    n_bottoms = (1, None)

    num_classes: int = param("Number of classes.", at_least=1)
    confidence_threshold: float = param("Only boxes with a higher confidence are considered.", default=0.01)
    nms_threshold: float = param("Boxes that overlap so much or more are dropped.", default=0.45, above=0, at_most=1)
    biases: tuple[float, ...] = param("Initial width and height of each box.", default=())
    num_box: int

    @property
    def spread(self) -> int:
        """The number of values for each coordinate: 2 with its variance."""
        return 1

    def anchors(self, bottom: int, height: int, width: int) -> Any:
        """Returns the initial sizes (num_box, 2) of the boxes of a cell, in fractions of the image, for predictions of
        this height and width."""
        raise NotImplementedError

    def _count(self, *bottoms: Shape) -> Shape:
        """Returns the shape of the top, with one row for each box."""
        rows: Dim = 0
        for i, x in enumerate(bottoms):
            check_cells(x, self.num_box, self.num_classes, i, COORDINATES * self.spread)
            if x[0] != bottoms[0][0]:
                raise ShapeError(
                    f"bottom {i} has a batch of {x[0]}, but bottom 0 one of {bottoms[0][0]}; make them equal.", bottom=i
                )
            rows = rows + self.num_box * x[2] * x[3]
        return (1, 1, bottoms[0][0] * rows, 7)

    def _predicted(self, bottoms: Sequence[Array]) -> tuple[list[Box], list[Array]]:
        """Returns the boxes of each bottom, and their other values."""
        made = [
            predicted(x, self.num_box, jnp.asarray(self.anchors(i, *x.shape[2:])), self.spread)
            for i, x in enumerate(bottoms)
        ]
        return [boxes for boxes, _ in made], [values for _, values in made]

    def _listed(self, boxes: Sequence[Box], label: Array, sure: Array, counted: Array) -> Array:
        """Returns the top for the boxes (n, rows) of each bottom, and of all bottoms, their class, confidence, and
        whether it is high enough (n, rows)."""
        n, total = sure.shape
        order = jnp.argsort(jnp.where(counted, -sure, jnp.inf), axis=1, stable=True)
        pick = lambda values: jnp.take_along_axis(values, order, 1)
        found = corners(Box(*(pick(jnp.concatenate(sides, 1)) for sides in zip(*boxes, strict=True))))
        kept = suppress(found, pick(counted), just_below(self.nms_threshold)).reshape(-1)
        image = jnp.broadcast_to(jnp.arange(n, dtype=jnp.float32)[:, None], (n, total))
        rows = jnp.stack([image, pick(label) + 1.0, pick(sure), *found], -1).reshape(-1, 7)
        rows = jnp.where(kept[:, None], rows, -1.0)[jnp.argsort(~kept, stable=True)]
        nothing = jnp.full((n * total, 7), -1.0).at[:n, 0].set(jnp.arange(n))
        return jnp.where(jnp.any(kept), rows, nothing)[None, None]


class YoloDetectionOutput(YoloOutput, type="YoloDetectionOutput", block="yolo_detection_output_param"):
    """Detections of YOLO v2: (image, label, confidence, xmin, ymin, xmax, ymax) each, highest confidence first.

    A cell (i, j) predicts boxes as for RegionLoss; the confidence is s(c) times that of the most probable class of the
    softmax, and at least `confidence_threshold`.  A box is dropped if it overlaps one with a higher confidence, of
    any class, by `nms_threshold` or more.  The label is 1 for class 0.
    Bottoms: predictions (n, num_box (5 + num_classes), h, w), of one scale or of several with the same `biases`.
    Tops: detections (1, 1, count, 7); if there are none, one row (image, -1, -1, -1, -1, -1, -1) for each image.  In a
    compiled program, count is the number of boxes, and rows of -1 follow the detections.
    Source: eric612/MobileNet-YOLO src/caffe/layers/yolo_detection_output_layer.cpp.
    Differs: the images of a batch are separate, where the fork treats them as one; in case of ties the first box comes
    first; boxes without an area are dropped like others.
    """

    side: int = param("Has no effect: the size is that of the predictions.", default=13, at_least=1, inert=True)
    num_box: int = param("Number of boxes per cell.", default=5, at_least=1)
    coords: int = param("Number of coordinates of a box.", default=4, at_least=4, at_most=4)
    label_map_file: str = param("File with the names of the labels; it is not read.", default="", inert=True)

    examples = (
        Example(
            'layer { name: "found" type: "YoloDetectionOutput" bottom: "boxes" top: "found"\n'
            "        yolo_detection_output_param { num_classes: 2 num_box: 2 biases: [1, 1, 2, 2] } }",
            {"boxes": (2, 14, 3, 3)},
            differentiable=False,
        ),
    )

    def infer(self, *bottoms: Shape) -> Shape:
        check_biases(self.biases, self.num_box)
        return self._count(*bottoms)

    def anchors(self, bottom: int, height: int, width: int) -> Any:
        return np.array(self.biases, np.float32).reshape(-1, 2) / np.array([width, height], np.float32)

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> Array:
        boxes, values = self._predicted(bottoms)
        rest = jnp.concatenate(values, 1)
        classes = jax.nn.softmax(rest[..., 1:], -1)
        sure = jax.nn.sigmoid(rest[..., 0]) * jnp.max(classes, -1)
        label = jnp.argmax(classes, -1)
        return self._listed(boxes, label, sure, sure >= self.confidence_threshold)


class Yolov3DetectionOutput(YoloOutput, type="Yolov3DetectionOutput", block="yolov3_detection_output_param"):
    """Detections of YOLO v3: (image, label, confidence, xmin, ymin, xmax, ymax) each, highest confidence first.

    A cell predicts boxes as for Yolov3; the confidence of a class is s(c) s(p), and above `confidence_threshold`.  A
    box is dropped if it overlaps one with a higher confidence, of any class, by `nms_threshold` or more.  The label is
    1 for class 0.  With `gaussian_box`, the values of a box are x, its variance, y, its variance and so on, and s(c) is
    multiplied by the mean of 1 - s(v) of the four variances v.
    Bottoms: predictions (n, num_box (5 + num_classes), h, w), one for each of `mask_group_num` scales; with
    `gaussian_box`, (n, num_box (9 + num_classes), h, w).
    Tops: detections (1, 1, count, 7); if there are none, one row (image, -1, -1, -1, -1, -1, -1) for each image.  In a
    compiled program, count is the number of boxes, and rows of -1 follow the detections.
    Source: eric612/MobileNet-YOLO src/caffe/layers/yolov3_detection_output_layer.cpp.
    Differs: the images of a batch are separate, where the fork treats them as one; in case of ties the first box comes
    first; boxes without an area are dropped like others.
    """

    num_box: int = param("Number of boxes per cell.", default=3, at_least=1)
    anchors_scale: tuple[int, ...] = param("Pixels of the image per cell, for each bottom.", default=(), at_least=1)
    mask_group_num: int = param("Number of scales.", default=2, at_least=1)
    mask: tuple[int, ...] = param(
        "Indices of the boxes of each scale in `biases`, those of the first bottom first.", default=(), at_least=0
    )
    gaussian_box: bool = param("Whether each coordinate is followed by its variance.", default=False)

    examples = (
        Example(
            'layer { name: "found" type: "Yolov3DetectionOutput" bottom: "coarse" bottom: "fine" top: "found"\n'
            "        yolov3_detection_output_param { num_classes: 2 num_box: 1 anchors_scale: [16, 8] mask: [1, 0]\n"
            "                                        biases: [5, 6, 20, 16] } }",
            {"coarse": (2, 7, 2, 2), "fine": (2, 7, 4, 4)},
            differentiable=False,
        ),
    )

    @property
    def spread(self) -> int:
        return 2 if self.gaussian_box else 1

    def infer(self, *bottoms: Shape) -> Shape:
        scales = self.mask_group_num
        if len(bottoms) != scales or len(self.anchors_scale) != scales:
            raise ShapeError(
                f"there are {len(bottoms)} bottoms and {len(self.anchors_scale)} values of `anchors_scale`, but "
                f"`mask_group_num` is {scales}; make them equal.",
                field="mask_group_num" if self.given("mask_group_num") else None,
            )
        if len(self.mask) < self.num_box * scales or len(self.mask) % scales:
            raise ShapeError(
                f"`mask` has {len(self.mask)} values; {scales} scales of {self.num_box} boxes need "
                f"{self.num_box * scales}.",
                field="mask" if self.mask else None,
            )
        if 2 * max(self.mask) + 1 >= len(self.biases):
            raise ShapeError(
                f"`mask` contains {max(self.mask)}, but `biases` has only {len(self.biases) // 2} pairs.", field="mask"
            )
        return self._count(*bottoms)

    def anchors(self, bottom: int, height: int, width: int) -> Any:
        first = bottom * (len(self.mask) // self.mask_group_num)
        pairs = [self.biases[2 * k : 2 * k + 2] for k in self.mask[first : first + self.num_box]]
        return np.array(pairs, np.float32) / (np.array([width, height], np.float32) * self.anchors_scale[bottom])

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> Array:
        boxes, values = self._predicted(bottoms)
        rest = jax.nn.sigmoid(jnp.concatenate(values, 1))
        variances = COORDINATES if self.gaussian_box else 0
        classes = rest[..., variances + 1 :] * rest[..., variances : variances + 1]
        if variances:
            classes = classes * (1 - jnp.mean(rest[..., :variances], -1, keepdims=True))
        sure = jnp.max(classes, -1)
        return self._listed(boxes, jnp.argmax(classes, -1), sure, sure > self.confidence_threshold)
