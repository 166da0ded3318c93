"""Detections of YOLO: YoloDetectionOutput (v2) and Yolov3DetectionOutput."""

from __future__ import annotations

from ..lazy import Array, jax, jnp, lax, np
from ..schema import param
from ..shape import Dim, Shape, ShapeError
from ._boxes import Boxes, suppress
from ._yolo import check_biases, check_cells
from .base import Context, Example, Layer
from .yolo import boxes_of


class _YoloOutput(Layer):
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

    def _count(self, boxes: int, *bottoms: Shape) -> Shape:
        """Returns the shape of the top, with one row for each box."""
        rows: Dim = 0
        for i, x in enumerate(bottoms):
            check_cells(x, boxes, self.num_classes, i)
            if x[0] != bottoms[0][0]:
                raise ShapeError(
                    f"bottom {i} has a batch of {x[0]}, but bottom 0 one of {bottoms[0][0]}; make them equal.", bottom=i
                )
            rows = rows + boxes * x[2] * x[3]
        return (1, 1, bottoms[0][0] * rows, 7)

    def _listed(self, boxes: Array, label: Array, sure: Array, counted: Array) -> Array:
        """Returns the top for boxes (n, rows, 4), their class, confidence, and whether it is high enough (n, rows)."""
        n, total = sure.shape
        order = jnp.argsort(jnp.where(counted, -sure, jnp.inf), axis=1, stable=True)
        pick = lambda values: jnp.take_along_axis(values, order, 1)
        x, y, w, h = (pick(boxes[..., i]) for i in range(4))
        corners = Boxes(x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        limit = float(np.nextafter(np.float32(self.nms_threshold), np.float32(0)))
        kept = suppress(corners, pick(counted), limit).reshape(-1)
        image = jnp.broadcast_to(jnp.arange(n, dtype=jnp.float32)[:, None], (n, total))
        rows = jnp.stack([image, pick(label) + 1.0, pick(sure), *corners], -1).reshape(-1, 7)
        rows = jnp.where(kept[:, None], rows, -1.0)[jnp.argsort(~kept, stable=True)]
        nothing = jnp.full((n * total, 7), -1.0).at[:n, 0].set(jnp.arange(n))
        return jnp.where(jnp.any(kept), rows, nothing)[None, None]


def _decoded(x: Array, boxes: int, anchors: Array) -> tuple[Array, Array]:
    """Returns the boxes (n, rows, 4) and the other values (n, rows, values) of predictions, in the order of the cells
    and then of their boxes."""
    n, _, height, width = x.shape
    x = lax.stop_gradient(x).reshape(n, boxes, -1, height, width)
    made = jnp.concatenate([jax.nn.sigmoid(x[:, :, :2]), x[:, :, 2:4]], 2)
    found = jnp.stack(boxes_of(made, anchors), -1)  # (n, boxes, h, w, 4)
    rows = lambda values: jnp.moveaxis(values, 1, 3).reshape(n, height * width * boxes, -1)
    return rows(found), rows(jnp.moveaxis(x[:, :, 4:], 2, -1))


class YoloDetectionOutput(_YoloOutput, type="YoloDetectionOutput", block="yolo_detection_output_param"):
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
        return self._count(self.num_box, *bottoms)

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> Array:
        anchors = jnp.asarray(self.biases, jnp.float32).reshape(-1, 2)
        size = lambda x: jnp.array([x.shape[3], x.shape[2]], jnp.float32)
        boxes, values = zip(*(_decoded(x, self.num_box, anchors / size(x)) for x in bottoms), strict=True)
        rest = jnp.concatenate(values, 1)
        classes = jax.nn.softmax(rest[..., 1:], -1)
        sure = jax.nn.sigmoid(rest[..., 0]) * jnp.max(classes, -1)
        label = jnp.argmax(classes, -1)
        return self._listed(jnp.concatenate(boxes, 1), label, sure, sure >= self.confidence_threshold)


class Yolov3DetectionOutput(_YoloOutput, type="Yolov3DetectionOutput", block="yolov3_detection_output_param"):
    """Detections of YOLO v3: (image, label, confidence, xmin, ymin, xmax, ymax) each, highest confidence first.

    A cell predicts boxes as for Yolov3; the confidence of a class is s(c) s(p), and above `confidence_threshold`.  A
    box is dropped if it overlaps one with a higher confidence, of any class, by `nms_threshold` or more.  The label is
    1 for class 0.
    Bottoms: predictions (n, num_box (5 + num_classes), h, w), one for each of `mask_group_num` scales.
    Tops: detections (1, 1, count, 7); if there are none, one row (image, -1, -1, -1, -1, -1, -1) for each image.  In a
    compiled program, count is the number of boxes, and rows of -1 follow the detections.
    Source: eric612/MobileNet-YOLO src/caffe/layers/yolov3_detection_output_layer.cpp.
    Differs: the images of a batch are separate, where the fork treats them as one; in case of ties the first box comes
    first; boxes without an area are dropped like others; `gaussian_box` is not supported.
    """

    num_box: int = param("Number of boxes per cell.", default=3, at_least=1)
    anchors_scale: tuple[int, ...] = param("Pixels of the image per cell, for each bottom.", default=(), at_least=1)
    mask_group_num: int = param("Number of scales.", default=2, at_least=1)
    mask: tuple[int, ...] = param(
        "Indices of the boxes of each scale in `biases`, those of the first bottom first.", default=(), at_least=0
    )
    gaussian_box: bool = param("Whether coordinates have variances, which is not supported.", default=False)

    examples = (
        Example(
            'layer { name: "found" type: "Yolov3DetectionOutput" bottom: "coarse" bottom: "fine" top: "found"\n'
            "        yolov3_detection_output_param { num_classes: 2 num_box: 1 anchors_scale: [16, 8] mask: [1, 0]\n"
            "                                        biases: [5, 6, 20, 16] } }",
            {"coarse": (2, 7, 2, 2), "fine": (2, 7, 4, 4)},
            differentiable=False,
        ),
    )

    def infer(self, *bottoms: Shape) -> Shape:
        if self.gaussian_box:
            raise ShapeError("boxes with variances are not supported; remove `gaussian_box`.", field="gaussian_box")
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
        return self._count(self.num_box, *bottoms)

    def apply(self, w: tuple[Array, ...], *bottoms: Array, ctx: Context) -> Array:
        step = len(self.mask) // self.mask_group_num
        made = []
        for i, (x, pixels) in enumerate(zip(bottoms, self.anchors_scale, strict=True)):
            pairs = [self.biases[2 * k : 2 * k + 2] for k in self.mask[i * step : i * step + self.num_box]]
            size = jnp.array([x.shape[3] * pixels, x.shape[2] * pixels], jnp.float32)
            made.append(_decoded(x, self.num_box, jnp.asarray(pairs, jnp.float32) / size))
        boxes, values = zip(*made, strict=True)
        rest = jax.nn.sigmoid(jnp.concatenate(values, 1))
        classes = rest[..., 1:] * rest[..., :1]
        sure = jnp.max(classes, -1)
        return self._listed(jnp.concatenate(boxes, 1), jnp.argmax(classes, -1), sure, sure > self.confidence_threshold)
