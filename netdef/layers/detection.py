"""Detections of the SSD detector: DetectionOutput, and their comparison with true boxes, DetectionEvaluate."""

from __future__ import annotations

from ..fillers import Constant
from ..lazy import Array, jnp, lax
from ..schema import Block, param
from ..shape import Shape, ShapeError, show
from ._boxes import (
    CodeType,
    NonMaximumSuppression,
    boxes_of,
    check_background,
    check_predictions,
    overlap,
)
from ._detecting import Detecting, detections
from ._image_sizes import Pixels, in_pixels, pixel_overlap, read_sizes
from ._matching import claims
from ._resize import Resize
from .base import Context, Example, Layer, Weight


class SaveOutput(Block):
    """`save_output_param { }`: files that the fork writes detections to."""

    output_directory: str = param("Folder; nothing is written to it.", default="", inert=True)
    output_name_prefix: str = param("Prefix of the file names.", default="", inert=True)
    output_format: str = param('"VOC", "COCO" or "ILSVRC".', default="", inert=True)
    label_map_file: str = param("File with the names of the labels, which predictions show.", default="")
    name_size_file: str = param("File with the name and size of each image.", default="", inert=True)
    num_test_image: int | None = param("Number of images.", default=None, at_least=0, inert=True)
    resize_param: Resize = param("How the images were resized.", default=Resize(), inert=True)


class DetectionOutput(Layer, type="DetectionOutput", block="detection_output_param"):
    """Detections after non-maximum suppression: (image, label, confidence, xmin, ymin, xmax, ymax) each.

    Of each class but the background, the `top_k` boxes with the highest confidence above `confidence_threshold` are
    considered, highest first, and a box is kept if it overlaps no kept box by more than `nms_threshold`, which is
    multiplied by `eta` after each kept box while it is above 0.5.  Of an image, the `keep_top_k` boxes with the highest
    confidence are kept.  They are sorted by image, label and confidence; in case of ties, the first box comes first.
    Bottoms: coordinates (n, boxes 4), or (n, boxes classes 4) without `share_location`; confidences (n, boxes classes);
    default boxes (1, 2, boxes 4); optional images, which are not used.
    Tops: detections (1, 1, count, 7); if there are none, one row (image, -1, -1, -1, -1, -1, -1) for each image.  In a
    compiled program, count is the largest possible one, and rows of -1 follow the detections.
    Source: weiliu89/caffe, branch ssd, src/caffe/layers/detection_output_layer.cpp.
    Differs: nothing is drawn, and no files are written; `share_location` works without a background; of more than 16
    detections with equal confidence, the fork keeps others, depending on the C++ library.
    """

    float32 = "its tops are coordinates and indices"
    pads_rows = True
    detects = True
    n_bottoms = (3, 4)

    examples = (
        Example(
            'layer { name: "found" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "found"\n'
            "        detection_output_param { num_classes: 3 code_type: CENTER_SIZE keep_top_k: 200\n"
            "                                 nms_param { nms_threshold: 0.45 top_k: 400 } } }",
            {"loc": (2, 24), "conf": (2, 18), "priors": (1, 2, 24)},
            differentiable=False,
        ),
    )

    num_classes: int = param("Number of classes, including the background.", at_least=1)
    share_location: bool = param("Whether all classes share the coordinates of a box.", default=True)
    background_label_id: int = param("Class of the background; -1: there is none.", default=0, at_least=-1)
    nms_param: NonMaximumSuppression = param("Suppression of overlapping boxes.", default=NonMaximumSuppression())
    save_output_param: SaveOutput = param("Files of the fork; nothing is written.", default=SaveOutput())
    code_type: CodeType = param("How boxes are encoded.", default=CodeType.CORNER)
    variance_encoded_in_target: bool = param("Whether the predictions include the variances.", default=False)
    keep_top_k: int = param("Number of boxes to keep per image; -1: all.", default=-1, at_least=-1)
    confidence_threshold: float | None = param(
        "Only boxes with a higher confidence are considered; default: all.", default=None
    )
    visualize: bool = param("Whether detections are shown in a window.", default=False, inert=True)
    visualize_threshold: float | None = param("Minimum confidence of shown detections.", default=None, inert=True)
    save_file: str = param("Video file for the detections.", default="", inert=True)

    def infer(self, loc: Shape, conf: Shape, priors: Shape, image: Shape | None = None) -> Shape:
        boxes = check_predictions(priors, loc, conf, self.num_classes, self.share_location)
        return (1, 1, loc[0] * max(self.settings.per_image(boxes), 1), 7)

    @property
    def settings(self) -> Detecting:
        """What the computation depends on."""
        top_k, nms = self.nms_param.top_k, self.nms_param
        return Detecting(
            self.num_classes,
            tuple(c for c in range(self.num_classes) if c != self.background_label_id),
            self.code_type.name,
            self.variance_encoded_in_target,
            self.confidence_threshold,
            nms.nms_threshold,
            nms.eta,
            -1 if top_k is None else top_k,
            self.keep_top_k,
        )

    def apply(
        self, w: tuple[Array, ...], loc: Array, conf: Array, priors: Array, image: Array | None = None, *, ctx: Context
    ) -> Array:
        return detections(loc, conf, priors, self.settings)


class DetectionEvaluate(Layer, type="DetectionEvaluate", block="detection_evaluate_param"):
    """Evaluates detections: (image, label, confidence, correct, wrong) each, after the number of true boxes per class.

    A detection is correct if the true box of its label that it overlaps most, at least by `overlap_threshold`, is not
    found by one of higher confidence; without `evaluate_difficult_gt`, one at a difficult box is neither correct nor
    wrong.  With `name_size_file`, overlaps are in pixels of the original images, whose sizes are taken from the file in
    order, one for each image with a row in bottom 0.  A test reports the mean average precision of these rows (see
    `ap_version` of the solver).
    Bottoms: detections (1, 1, count, 7); true boxes (1, 1, count, 8): image, label, instance, xmin, ymin, xmax, ymax,
    difficult.  A row with image -1 ends the true boxes.
    Tops: (1, 1, classes + detections, 5): a row (-1, label, number of true boxes, -1, -1) for each class, then the
    detections by image and label, those of labels with a true box by confidence.  In a compiled program, rows of -1
    follow.
    Source: weiliu89/caffe, branch ssd, src/caffe/layers/detection_evaluate_layer.cpp.
    Differs: boxes with the label of the background are not used, where the fork aborts.
    """

    float32 = "its tops are counts and indices"
    pads_rows = True
    is_metric = True
    truth_bottom = 1
    n_bottoms = 2

    examples = (
        Example(
            'layer { name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "truth" top: "eval"\n'
            "        detection_evaluate_param { num_classes: 3 } }",
            {"found": (1, 1, 9, 7), "truth": (1, 1, 5, 8)},
            integers={"found": 3, "truth": 3},
            differentiable=False,
        ),
    )

    num_classes: int = param("Number of classes, including the background.", at_least=1)
    background_label_id: int = param("Class of the background; -1: there is none.", default=0, at_least=-1)
    overlap_threshold: float = param("Overlap from which on a detection is correct.", default=0.5, above=0)
    evaluate_difficult_gt: bool = param("Whether to use true boxes marked as difficult.", default=True)
    name_size_file: str = param("File with the name, height and width of each image, one per line.", default="")
    resize_param: Resize | None = param("How the images were resized.", default=None)

    def infer(self, found: Shape, truth: Shape) -> Shape:
        if self.name_size_file and self.resize_param and not (self.resize_param.height and self.resize_param.width):
            raise ShapeError(
                f"`resize_param` has the height {self.resize_param.height} and the width {self.resize_param.width}; "
                "give both.",
                field="resize_param",
            )
        for i, (shape, numbers) in enumerate(((found, 7), (truth, 8))):
            if len(shape) != 4 or shape[0] != 1 or shape[1] != 1 or shape[3] != numbers:
                raise ShapeError(f"bottom {i} is {show(shape)}; it must be 1 x 1 x count x {numbers}.", bottom=i)
        if self.background_label_id >= 0:
            check_background(self.background_label_id, self.num_classes)
        return (1, 1, len(self._classes()) + found[2], 5)

    def _classes(self) -> list[int]:
        return [c for c in range(self.num_classes) if c != self.background_label_id]

    def weights(self, found: Shape, truth: Shape) -> list[Weight]:
        return [Weight((), Constant(), kind="carry")] if self.name_size_file else []  # number of images so far

    def apply(self, w: tuple[Array, ...], found: Array, truth: Array, *, ctx: Context) -> Array:
        found, truth = lax.stop_gradient(found)[0, 0], lax.stop_gradient(truth)[0, 0]
        usable = jnp.cumsum(_whole(truth[:, 0]) == -1) == 0
        usable &= _whole(truth[:, 1]) != self.background_label_id
        listed = found[:, 1] != -1
        seen = listed & (_whole(found[:, 0]) != -1) & (_whole(found[:, 1]) != self.background_label_id)
        same = _same(found, truth) & usable
        judged = jnp.any(same, 1)
        image, label = _whole(found[:, 0]), _whole(found[:, 1])
        keys = (~seen, image, label, jnp.where(judged, -found[:, 2], 0.0), jnp.arange(len(found)))
        order = lax.sort(keys, num_keys=4)[-1] if len(found) else keys[-1]
        overlaps = self._overlaps(w, found, truth, ctx)
        rows = self._judged(found[order], truth, jnp.where(same, overlaps, -1.0)[order])
        # The fork reserves a row for each detection with a label, but writes none for image -1: it stays 0.
        place = jnp.arange(len(found))
        rows = jnp.where((place < jnp.sum(seen))[:, None], rows, jnp.where((place < jnp.sum(listed))[:, None], 0.0, -1))
        return jnp.concatenate([self._counts(truth, usable), rows])[None, None]

    def _counts(self, truth: Array, usable: Array) -> Array:
        """Returns the row of each class: the number of its true boxes."""
        classes = jnp.asarray(self._classes(), jnp.float32)
        counted = usable if self.evaluate_difficult_gt else usable & (_whole(truth[:, 7]) == 0)
        number = jnp.sum((_whole(truth[:, 1]) == classes[:, None]) & counted, 1)
        last = jnp.full(len(classes), -1.0)
        return jnp.stack([last, classes, number.astype(jnp.float32), last, last], 1)

    def _overlaps(self, w: tuple[Array, ...], found: Array, truth: Array, ctx: Context) -> Array:
        """Returns the overlaps (detections, true boxes) of all pairs."""
        one, other = boxes_of(found[:, 3:7]), boxes_of(truth[:, 3:7])
        sizes = read_sizes(ctx.locate(self.name_size_file)) if self.name_size_file else ()
        if not len(sizes):
            return overlap(one.each(lambda side: side[:, None]), other)
        images = _whole(found[:, 0])
        images = jnp.sort(jnp.where(images == -1, jnp.inf, images))
        number = jnp.cumsum((images < jnp.inf) & (images != jnp.roll(images, 1).at[0].set(-1)))
        ctx.update(0, (w[0] + number[-1]) % len(sizes))
        of = lambda rows: jnp.asarray(sizes)[
            (w[0].astype(jnp.int32) + number[jnp.searchsorted(images, _whole(rows[:, 0]))] - 1) % len(sizes)
        ]
        a, b = (in_pixels(box, of(rows), self.resize_param) for box, rows in ((one, found), (other, truth)))
        return pixel_overlap(Pixels(a.boxes.each(lambda side: side[:, None]), a.size[:, None]), b)

    def _judged(self, found: Array, truth: Array, overlaps: Array) -> Array:
        """Returns (image, label, confidence, correct, wrong) of sorted detections; `overlaps` (detections, true boxes)
        are -1 where the image or label is not the same."""
        nearest, first = claims(overlaps, self.overlap_threshold)
        if self.evaluate_difficult_gt:
            ignored = jnp.zeros(len(found), bool)
        else:
            ignored = jnp.any(nearest & (_whole(truth[:, 7]) != 0), 1)
        correct = first & ~ignored
        image_and_label = _whole(found[:, :2])
        return jnp.concatenate(
            [image_and_label, found[:, 2:3], jnp.stack([correct, ~correct & ~ignored], 1).astype(jnp.float32)], 1
        )


def _whole(values: Array) -> Array:
    """Returns values truncated to integers, as the fork reads indices."""
    return jnp.trunc(values)


def _same(found: Array, truth: Array) -> Array:
    """Returns (detections, true boxes): whether they have the same image and label."""
    one, other = _whole(found[:, None, :2]), _whole(truth[None, :, :2])
    return jnp.all(one == other, 2)
