"""SSD detection: default boxes, their loss, detections and their evaluation.

PriorBox can be run.  The other layers are decoded and their shapes are checked, so the file of a detector can be read,
checked and drawn, but running them is an error.
"""

from __future__ import annotations

import enum
import math
from typing import Any

from ..lazy import Array, jnp, np
from ..schema import Block, param
from ..shape import UNKNOWN, Dim, Shape, ShapeError, show
from ._loss import Loss, LossParam
from ._resize import Resize
from .base import Context, Example, Layer


class PriorBox(Layer, type="PriorBox", block="prior_box_param"):
    """Default boxes at each position of a feature map: xmin, ymin, xmax, ymax as fractions of the image, and variances.

    The boxes at a position, for each min_size s: s x s; a square of side sqrt(s max_size), if there is a max_size; and
    s sqrt(r) x s / sqrt(r) for each aspect ratio r except 1.
    Bottoms: features (n, c, h, w); image (n, c, height, width).  Tops: boxes and variances (1, 2, h w boxes 4).
    Source: weiliu89/caffe, branch ssd, src/caffe/layers/prior_box_layer.cpp.  Differs: nothing.
    """

    float32 = "its tops are coordinates"
    n_bottoms = 2

    min_size: tuple[float, ...] = param("Smaller sides of boxes.", default=(), above=0, unit="pixels")
    max_size: tuple[float, ...] = param("Larger sides, one for each min_size.", default=(), above=0, unit="pixels")
    aspect_ratio: tuple[float, ...] = param("Width / height; 1 is always included.", default=(), above=0)
    flip: bool = param("Whether to include 1 / r for each aspect ratio r.", default=True)
    clip: bool = param("Whether to clip boxes at the border of the image.", default=False)
    variance: tuple[float, ...] = param(
        "One value for all coordinates, or one for each of the four; default: 0.1.", default=(), above=0
    )
    img_size: int | None = param("Side of the image.", default=None, at_least=1, unit="pixels")
    img_h: int | None = param("Height of the image.", default=None, at_least=1, unit="pixels")
    img_w: int | None = param("Width of the image.", default=None, at_least=1, unit="pixels")
    step: float | None = param("Distance of positions in the image.", default=None, above=0, unit="pixels")
    step_h: float | None = param("Distance of rows in the image.", default=None, above=0, unit="pixels")
    step_w: float | None = param("Distance of columns in the image.", default=None, above=0, unit="pixels")
    offset: float = param("Position of the center of a box in its cell, as a fraction.", default=0.5)

    examples = (
        Example(
            'layer { name: "boxes" type: "PriorBox" bottom: "features" bottom: "image" top: "boxes"\n'
            "        prior_box_param { min_size: 30 max_size: 60 aspect_ratio: 2 variance: [0.1, 0.1, 0.2, 0.2] } }",
            {"features": (1, 8, 3, 2), "image": (1, 3, 48, 32)},
            differentiable=False,
        ),
    )

    def ratios(self) -> list[float]:
        """Returns the distinct aspect ratios, 1 first."""
        found = [1.0]
        for ratio in self.aspect_ratio:
            if all(abs(ratio - r) >= 1e-6 for r in found):
                found += [ratio, 1 / ratio] if self.flip else [ratio]
        return found

    def infer(self, x: Shape, image: Shape) -> Shape:
        for i, shape in enumerate((x, image)):
            if len(shape) != 4:
                raise ShapeError(
                    f"bottom {i} {show(shape)} has {len(shape)} axes; it must have 4: batch, channels, height, width.",
                    bottom=i,
                )
        self._check()
        boxes = len(self.ratios()) * len(self.min_size) + len(self.max_size)
        return (1, 2, x[2] * x[3] * boxes * 4)

    def _check(self) -> None:
        if not self.min_size:
            raise ShapeError("`min_size` is missing; give at least one.", field="min_size")
        if self.max_size and len(self.max_size) != len(self.min_size):
            raise ShapeError(
                f"the number of `max_size` is {len(self.max_size)}, but the number of `min_size` is "
                f"{len(self.min_size)}; give one for each, or none.",
                field="max_size",
            )
        for small, large in zip(self.min_size, self.max_size, strict=False):
            if large <= small:
                raise ShapeError(
                    f"`max_size` {large:g} is not above its `min_size` {small:g}; give a larger value.",
                    field="max_size",
                )
        if len(self.variance) not in (0, 1, 4):
            raise ShapeError(f"`variance` has {len(self.variance)} values; give one or four.", field="variance")
        for one, two in (("img_size", ("img_h", "img_w")), ("step", ("step_h", "step_w"))):
            given = [name for name in two if getattr(self, name) is not None]
            if given and getattr(self, one) is not None:
                raise ShapeError(
                    f"`{one}` and `{given[0]}` are both given; give only `{one}`, or `{two[0]}` and `{two[1]}`.",
                    field=one,
                )
            if len(given) == 1:
                raise ShapeError(f"only `{given[0]}` is given; give both `{two[0]}` and `{two[1]}`.", field=given[0])

    def apply(self, w: tuple[Array, ...], x: Array, image: Array, *, ctx: Context) -> Array:
        return jnp.asarray(self.boxes(x.shape[2:], image.shape[2:]), x.dtype)

    def boxes(self, places: Shape, image: Shape) -> Any:
        """Returns the top as a NumPy array, from the sizes (h, w) of the features and of the image."""
        height, width = (self.img_h or self.img_size or image[0]), (self.img_w or self.img_size or image[1])
        step_h, step_w = (
            (self.step_h or self.step or height / places[0]),
            (self.step_w or self.step or width / places[1]),
        )
        y = (np.arange(places[0]) + self.offset) * step_h
        x = (np.arange(places[1]) + self.offset) * step_w
        centers = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), -1)[:, :, None]  # (h, w, 1, 2) of x, y
        halves = np.asarray(self._sides())[None, None] / 2  # (1, 1, boxes, 2)
        corners = np.concatenate([centers - halves, centers + halves], -1) / [width, height, width, height]
        corners = np.clip(corners, 0, 1) if self.clip else corners
        spread = np.broadcast_to(np.asarray(self.variance or (0.1,)), corners.shape)
        return np.stack([corners.reshape(-1), spread.reshape(-1)])[None].astype(np.float32)

    def _sides(self) -> list[tuple[float, float]]:
        """Returns the widths and heights of the boxes at one position."""
        sides = []
        for i, small in enumerate(map(int, self.min_size)):  # the fork truncates sizes to integers
            sides.append((float(small), float(small)))
            if self.max_size:
                sides.append((math.sqrt(small * int(self.max_size[i])),) * 2)
            roots = [math.sqrt(ratio) for ratio in self.ratios()[1:]]
            sides += [(small * root, small / root) for root in roots]
        return sides


class CodeType(enum.Enum):
    """How a box is encoded relative to its default box."""

    CORNER = 1
    CENTER_SIZE = 2
    CORNER_SIZE = 3


class NonMaximumSuppression(Block):
    """`nms_param { }`: suppression of overlapping boxes."""

    nms_threshold: float = param("Boxes that overlap more than this are dropped.", default=0.3, at_least=0)
    top_k: int | None = param("Number of boxes with the highest scores to consider.", default=None)
    eta: float = param("Factor of the threshold after each step.", default=1.0, above=0)


class SaveOutput(Block):
    """`save_output_param { }`: files that detections are written to."""

    output_directory: str = param("Folder; if empty, nothing is written.", default="")
    output_name_prefix: str = param("Prefix of the file names.", default="")
    output_format: str = param('"VOC" or "COCO".', default="")
    label_map_file: str = param("File with the names of the labels.", default="")
    name_size_file: str = param("File with the name and size of each image.", default="")
    num_test_image: int | None = param("Number of images.", default=None, at_least=0)
    resize_param: Resize = param("How the images were resized.", default=Resize())


class _NotComputed(Layer):
    runs = False


def _check_predictions(priors: Shape, loc: Shape, conf: Shape, num_classes: int, share_location: bool) -> Dim:
    """Returns the number of default boxes; raises ShapeError unless the predictions (n, boxes x values) fit them."""
    if len(priors) != 3 or len(loc) < 2 or len(conf) < 2:
        raise ShapeError(
            f"the predictions are {show(loc)} and {show(conf)}, and the default boxes {show(priors)}; "
            "they must be n x values, n x values and 1 x 2 x values."
        )
    boxes = priors[2] // 4
    for i, (shape, each) in enumerate(((loc, 4 * (1 if share_location else num_classes)), (conf, num_classes))):
        if shape[1] != boxes * each:
            raise ShapeError(
                f"bottom {i}, the {('coordinates', 'confidences')[i]}, is {show(shape)}, {shape[1]} values per image, "
                f"but {boxes} default boxes of {each} values require {boxes * each}; change the layer that outputs it.",
                bottom=i,
            )
    if loc[0] != conf[0]:
        raise ShapeError(
            f"bottom 0 has coordinates of {loc[0]} images and bottom 1 confidences of {conf[0]}; they must be equal.",
            bottom=1,
        )
    return boxes


class LocLossType(enum.Enum):
    """The loss of the coordinates."""

    L2 = 0
    SMOOTH_L1 = 1


class ConfLossType(enum.Enum):
    """The loss of the confidences."""

    SOFTMAX = 0
    LOGISTIC = 1


class MatchType(enum.Enum):
    """Which default boxes are matched with a true box."""

    BIPARTITE = 0
    PER_PREDICTION = 1


class MiningType(enum.Enum):
    """Which boxes without an object are used."""

    NONE = 0
    MAX_NEGATIVE = 1
    HARD_EXAMPLE = 2


class MultiBoxLoss(_NotComputed, Loss, type="MultiBoxLoss", block="multibox_loss_param"):
    """The loss of SSD: of the coordinates of the boxes that match a true box, and of the classes of all boxes.

    Bottoms: coordinates (n, boxes 4); confidences (n, boxes num_classes); default boxes (1, 2, boxes 4); true boxes
    (1, 1, count, 8).  Tops: loss ().
    Source: weiliu89/caffe, branch ssd, src/caffe/layers/multibox_loss_layer.cpp.  Differs: cannot be run yet.
    """

    n_bottoms = 4

    examples = (
        Example(
            'layer { name: "loss" type: "MultiBoxLoss" bottom: "loc" bottom: "conf" bottom: "priors" bottom: "truth"\n'
            '        top: "loss" multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE } }',
            {"loc": (2, 24), "conf": (2, 18), "priors": (1, 2, 24), "truth": (1, 1, 5, 8)},
        ),
    )

    num_classes: int = param("Number of classes, including the background.", at_least=1)
    loc_loss_type: LocLossType = param("Loss of coordinates.", default=LocLossType.SMOOTH_L1)
    conf_loss_type: ConfLossType = param("Loss of confidences.", default=ConfLossType.SOFTMAX)
    loc_weight: float = param("Weight of the loss of coordinates.", default=1.0)
    share_location: bool = param("Whether all classes share the coordinates of a box.", default=True)
    match_type: MatchType = param("Which boxes are matched.", default=MatchType.PER_PREDICTION)
    overlap_threshold: float = param("Overlap from which on boxes are matched.", default=0.5)
    use_prior_for_matching: bool = param("Whether to match default boxes instead of predicted ones.", default=True)
    background_label_id: int = param("Class of the background.", default=0, at_least=0)
    use_difficult_gt: bool = param("Whether to use true boxes marked as difficult.", default=True)
    do_neg_mining: bool | None = param("Old form of `mining_type`.", default=None)
    neg_pos_ratio: float = param("Number of boxes without an object for each box with one.", default=3.0)
    neg_overlap: float = param("Overlap up to which a box has no object.", default=0.5)
    code_type: CodeType = param("How boxes are encoded.", default=CodeType.CORNER)
    encode_variance_in_target: bool = param("Whether the targets include the variances.", default=False)
    map_object_to_agnostic: bool = param("Whether all objects are one class.", default=False)
    ignore_cross_boundary_bbox: bool = param("Whether to ignore boxes that cross the border.", default=False)
    bp_inside: bool = param("Whether only corners inside the image have a gradient.", default=False)
    mining_type: MiningType = param("Which boxes without an object are used.", default=MiningType.MAX_NEGATIVE)
    nms_param: NonMaximumSuppression = param("Suppression for HARD_EXAMPLE.", default=NonMaximumSuppression())
    sample_size: int = param("Number of boxes that HARD_EXAMPLE uses.", default=64)
    use_prior_for_nms: bool = param("Whether to suppress default boxes instead of predicted ones.", default=False)
    loss_param: LossParam = param("How the sum is normalized.", default=LossParam(), beside=True)

    def infer(self, loc: Shape, conf: Shape, priors: Shape, truth: Shape) -> Shape:
        _check_predictions(priors, loc, conf, self.num_classes, self.share_location)
        if self.background_label_id >= self.num_classes:
            raise ShapeError(
                f"`background_label_id` is {self.background_label_id}, but `num_classes` is {self.num_classes}; "
                f"give at most {self.num_classes - 1}.",
                field="background_label_id",
            )
        return ()


class DetectionOutput(_NotComputed, type="DetectionOutput", block="detection_output_param"):
    """Detections after non-maximum suppression: (image, label, confidence, xmin, ymin, xmax, ymax) each.

    Bottoms: coordinates (n, boxes 4); confidences (n, boxes num_classes); default boxes (1, 2, boxes 4); optional
    images to draw into.
    Tops: detections (1, 1, count, 7).
    Source: weiliu89/caffe, branch ssd, src/caffe/layers/detection_output_layer.cpp.  Differs: cannot be run yet.
    """

    n_bottoms = (3, 4)

    examples = (
        Example(
            'layer { name: "found" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "found"\n'
            "        detection_output_param { num_classes: 3 code_type: CENTER_SIZE keep_top_k: 200\n"
            "                                 nms_param { nms_threshold: 0.45 top_k: 400 } } }",
            {"loc": (2, 24), "conf": (2, 18), "priors": (1, 2, 24)},
        ),
    )

    num_classes: int = param("Number of classes, including the background.", at_least=1)
    share_location: bool = param("Whether all classes share the coordinates of a box.", default=True)
    background_label_id: int = param("Class of the background; -1: there is none.", default=0, at_least=-1)
    nms_param: NonMaximumSuppression = param("Suppression of overlapping boxes.", default=NonMaximumSuppression())
    save_output_param: SaveOutput = param("Files that detections are written to.", default=SaveOutput())
    code_type: CodeType = param("How boxes are encoded.", default=CodeType.CORNER)
    variance_encoded_in_target: bool = param("Whether the predictions include the variances.", default=False)
    keep_top_k: int = param("Number of boxes to keep per image; -1: all.", default=-1, at_least=-1)
    confidence_threshold: float | None = param("Boxes with a lower confidence are dropped.", default=None)
    visualize: bool = param("Whether detections are shown in a window.", default=False, inert=True)
    visualize_threshold: float | None = param("Minimum confidence of shown detections.", default=None, inert=True)
    save_file: str = param("Video file for the detections.", default="", inert=True)

    def infer(self, loc: Shape, conf: Shape, priors: Shape, image: Shape | None = None) -> Shape:
        _check_predictions(priors, loc, conf, self.num_classes, self.share_location)
        return (1, 1, UNKNOWN, 7)


class DetectionEvaluate(_NotComputed, type="DetectionEvaluate", block="detection_evaluate_param"):
    """Evaluates detections: (image, label, confidence, correct, wrong) each, after the true boxes of each class.

    Bottoms: detections (1, 1, count, 7); true boxes (1, 1, count, 8).  Tops: (1, 1, classes + detections, 5).
    Source: weiliu89/caffe, branch ssd, src/caffe/layers/detection_evaluate_layer.cpp.  Differs: cannot be run yet.
    """

    n_bottoms = 2

    examples = (
        Example(
            'layer { name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "truth" top: "eval"\n'
            "        detection_evaluate_param { num_classes: 3 } }",
            {"found": (1, 1, 9, 7), "truth": (1, 1, 5, 8)},
        ),
    )

    num_classes: int = param("Number of classes, including the background.", at_least=1)
    background_label_id: int = param("Class of the background; -1: there is none.", default=0, at_least=-1)
    overlap_threshold: float = param("Overlap from which on a detection is correct.", default=0.5)
    evaluate_difficult_gt: bool = param("Whether to use true boxes marked as difficult.", default=True)
    name_size_file: str = param("File with the name and size of each image.", default="")
    resize_param: Resize | None = param("How the images were resized.", default=None)

    def infer(self, found: Shape, truth: Shape) -> Shape:
        for i, (shape, numbers) in enumerate(((found, 7), (truth, 8))):
            if len(shape) != 4 or shape[3] != numbers:
                raise ShapeError(f"bottom {i} is {show(shape)}; it must be 1 x 1 x count x {numbers}.", bottom=i)
        return (1, 1, UNKNOWN, 5)
