"""Data layers of other forks.  netdef understands their nets, but does not read their files.

They have tops and fields, so that a net with them can be checked, summarized, and given its inputs in Python; opening
one is an error.
"""

from __future__ import annotations

import enum

from ...files import Locate
from ...layers._resize import Resize, ResizeMode
from ...layers.base import Phase
from ...schema import Block, param
from ...shape import UNKNOWN, Dim, Shape
from ..base import DataLayer, Process, Reader
from ..transform import Transform
from .database import Backend


class _Unsupported(DataLayer):
    batch_size: int
    instead = "pass its tops as inputs in Python, or convert the data for another data layer"
    transform_param: Transform = param("How each image is transformed.", default=Transform(), beside=True)

    def shapes(self, locate: Locate) -> list[Shape]:
        raise self.fault(f"netdef does not read the files of {self.type} yet; {self.instead}.")

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        raise self.fault(f"netdef does not read the files of {self.type} yet; {self.instead}.")


class _Listed(_Unsupported):
    """The common fields of layers that read a list of images and labels."""

    source: str = param("Text file with `image labels` on each line.", default="")
    batch_size: int = param("Number of images in a batch.", default=1, at_least=1)
    rand_skip: int = param("Skip a random number of images at the start.", default=0, at_least=0)
    shuffle: bool = param("Shuffle in each epoch.", default=False)
    new_height: int = param("Resize to this height.", default=0, at_least=0)
    new_width: int = param("Resize to this width.", default=0, at_least=0)
    is_color: bool = param("Decode to three channels, else to one.", default=True)
    root_folder: str = param("Prefix of each path.", default="")


class Sampler(Block):
    """`sampler { }`: sizes of random boxes."""

    min_scale: float = param("Smallest area, as a fraction of the image.", default=1.0)
    max_scale: float = param("Largest area, as a fraction of the image.", default=1.0)
    min_aspect_ratio: float = param("Smallest ratio of width to height.", default=1.0)
    max_aspect_ratio: float = param("Largest ratio of width to height.", default=1.0)


class SampleConstraint(Block):
    """`sample_constraint { }`: which random boxes are used."""

    min_jaccard_overlap: float | None = param("Smallest intersection over union.", default=None)
    max_jaccard_overlap: float | None = param("Largest intersection over union.", default=None)
    min_sample_coverage: float | None = param("Smallest fraction of the sample that objects cover.", default=None)
    max_sample_coverage: float | None = param("Largest fraction of the sample that objects cover.", default=None)
    min_object_coverage: float | None = param("Smallest fraction of the object that is covered.", default=None)
    max_object_coverage: float | None = param("Largest fraction of the object that is covered.", default=None)


class BatchSampler(Block):
    """`batch_sampler { }`: random crops of an image that contain objects."""

    use_original_image: bool = param("Draw from the original image.", default=True)
    sampler: Sampler | None = param("Sizes of the boxes.", default=None)
    sample_constraint: SampleConstraint | None = param("Which boxes are used.", default=None)
    max_sample: int | None = param("Largest number of samples.", default=None)
    max_trials: int = param("Largest number of trials.", default=100)


class AnnotationType(enum.Enum):
    """Kind of annotation."""

    BBOX = 0


class AnnotatedDataBlock(Block):
    """`annotated_data_param { }`."""

    batch_sampler: tuple[BatchSampler, ...] = param("Random crops of the images.", default=())
    label_map_file: str = param("File with the names of the classes.", default="")
    anno_type: AnnotationType | None = param("Kind of annotation.", default=None)
    yolo_data_type: int = param("1: labels of the YOLO fork, (batch_size, 1, 300, 5).", default=0)
    yolo_data_jitter: float = param("Largest change of the sides of a crop (YOLO).", default=0.3)
    train_diffcult: bool = param("Whether difficult boxes are used (YOLO).", default=True)
    single_class: bool = param("Whether label images have one class (YOLO).", default=True)
    seg_scales: int = param("Factor by which label images are smaller (YOLO).", default=8)
    seg_resize_width: int = param("Width of label images (YOLO).", default=0)
    seg_resize_height: int = param("Height of label images (YOLO).", default=0)
    difficult_label_warmup: bool = param("Whether difficult boxes are used at the start (YOLO).", default=False)


class AnnotatedTransform(Transform):
    """`transform_param { }` for images with boxes."""

    resize_param: tuple[Resize, ...] = param(  # pyright: ignore[reportIncompatibleVariableOverride]
        "Resize to a fixed size; of several, one is chosen at random every 10 batches (YOLO).", default=()
    )

    def resized(self, h: Dim = UNKNOWN, w: Dim = UNKNOWN) -> tuple[Dim, Dim]:
        sizes = {(one.height, one.width, one.resize_mode is ResizeMode.FIT_SMALL_SIZE) for one in self.resize_param}
        if len(sizes) > 1:
            return UNKNOWN, UNKNOWN
        height, width, varies = next(iter(sizes), (0, 0, False))
        return (UNKNOWN, UNKNOWN) if varies else (height or h, width or w)


class AnnotatedData(_Unsupported, type="AnnotatedData", block="data_param"):
    """Images with boxes from an LMDB of the SSD fork.

    Bottoms: none.
    Tops: data (batch_size, 3, h, w), label (1, 1, boxes, 8): item, class, instance, box, difficult; with
    `yolo_data_type: 1`, label (batch_size, 1, 300, 5): class, x, y, w, h; optional label images (YOLO).
    Source: weiliu89/caffe branch ssd, src/caffe/layers/annotated_data_layer.cpp;
    fields of YOLO: eric612/MobileNet-YOLO.  Differs: not read yet.
    """

    n_tops = (1, 3)

    source: str = param("Folder of the database.", default="")
    batch_size: int = param("Number of images in a batch.", default=0, at_least=1)
    backend: Backend = param("Kind of the database.", default=Backend.LEVELDB)
    rand_skip: int = param("Skip a random number of records at the start.", default=0, at_least=0)
    prefetch: int = param("Number of prefetched batches.", default=4, at_least=0, inert=True)
    shuffle: bool = param("Shuffle in each epoch.", default=False)
    threads: int = param("Number of threads in the NVIDIA fork.", default=0, at_least=0, inert=True)
    parser_threads: int = param("Number of threads in the NVIDIA fork.", default=0, at_least=0, inert=True)
    cache: bool = param("Keep records in memory (NVIDIA).", default=False, inert=True)
    annotated_data_param: AnnotatedDataBlock = param("Boxes.", default=AnnotatedDataBlock(), beside=True)
    transform_param: AnnotatedTransform = param(
        "How each image is transformed.", default=AnnotatedTransform(), beside=True
    )

    def declared_shapes(self) -> list[Shape]:
        image = self.transform_param.declared(True)
        batch = self.batch_size or UNKNOWN
        label = (batch, 1, 300, 5) if self.annotated_data_param.yolo_data_type == 1 else (1, 1, UNKNOWN, 8)
        return [(batch, *image), label, (batch, UNKNOWN, UNKNOWN, UNKNOWN)][: len(self.top)]


class LabelType(enum.Enum):
    """Kind of label of each image."""

    NONE = 0
    IMAGE = 1
    PIXEL = 2


class SegTransform(Transform):
    """`transform_param { }` for images with label images."""

    scale_factors: tuple[float, ...] = param("Scale factors, one of which is drawn for each image.", default=())


class ImageSegData(_Listed, type="ImageSegData", block="image_data_param"):
    """Images with one class per image or per pixel.

    Bottoms: none.
    Tops: data (batch_size, 3, h, w), label (batch_size, 1, h, w), height and width (batch_size, 1, 1, 2).
    Source: DeepLab's and PSPNet's src/caffe/layers/image_seg_data_layer.cpp; Chen et al. 2015.  Differs: not read yet.
    """

    n_tops = (1, 3)

    label_type: LabelType = param("No label, one per image, or one per pixel.", default=LabelType.PIXEL)
    ignore_label: int = param("Label of the padding of an image that is smaller than the crop.", default=255)
    transform_param: SegTransform = param("How each image is transformed.", default=SegTransform(), beside=True)

    def declared_shapes(self) -> list[Shape]:
        batch = self.batch_size or UNKNOWN
        data = (batch, *self.transform_param.declared(self.is_color))
        pixels = data[2:] if self.label_type is LabelType.PIXEL else (1, 1)
        return [data, (batch, 1, *pixels), (batch, 1, 1, 2)][: len(self.top)]


class VideoType(enum.Enum):
    """Source of a video."""

    WEBCAM = 0
    VIDEO = 1


class Modality(enum.Enum):
    """Frames, or the optical flow between them."""

    RGB = 0
    FLOW = 1


class VideoTransform(Transform):
    """`transform_param { }` of yjxiong's fork, for videos."""

    multi_scale: bool = param("Whether crops of several sizes are resized to `crop_size`.", default=False)
    scale_ratios: tuple[float, ...] = param("Sides of the crops, as fractions of the image's shorter side.", default=())
    max_distort: int = param("Largest distance of height and width in `scale_ratios`.", default=1, at_least=0)
    fix_crop: bool = param("Whether crops are only taken at the corners and the center.", default=False)
    more_fix_crop: bool = param("Whether crops are taken at eight more places.", default=False)
    is_flow: bool = param("Whether frames are optical flow, which mirroring reverses.", default=False)


class VideoData(_Unsupported, type="VideoData", block="video_data_param"):
    """Frames from a camera or a video file.

    Bottoms: none.  Tops: data (batch_size, 3, h, w), label (batch_size).
    Source: weiliu89/caffe branch ssd, src/caffe/layers/video_data_layer.cpp; `modality` and others are yjxiong/caffe's.
    Differs: not read yet.
    """

    n_tops = (1, 2)

    video_type: VideoType = param("Camera or file.", default=VideoType.WEBCAM)
    device_id: int = param("Index of the camera.", default=0)
    video_file: str = param("The video file.", default="")
    skip_frames: int = param("Number of frames skipped after each.", default=0, at_least=0)
    source: str = param("List of videos.", default="")
    batch_size: int = param("Number of videos in a batch.", default=1, at_least=1)
    new_length: int = param("Number of frames in a sample.", default=1)
    num_segments: int = param("Number of samples per video.", default=1)
    modality: Modality | None = param("Content of the frames.", default=None)
    new_height: int = param("Resize to this height.", default=0, at_least=0)
    new_width: int = param("Resize to this width.", default=0, at_least=0)
    length_first: bool = param("Whether time precedes channels.", default=False)
    shuffle: bool = param("Shuffle in each epoch.", default=False)
    root_folder: str = param("Prefix of each path.", default="")
    name_pattern: str = param("Pattern of the file names of frames.", default="")
    encoded: bool = param("Whether frames are encoded.", default=False)
    transform_param: VideoTransform = param("How each frame is transformed.", default=VideoTransform(), beside=True)

    def declared_shapes(self) -> list[Shape] | None:
        if self.new_length != 1 or self.modality is not None:
            return None
        return [(self.batch_size or UNKNOWN, *self.transform_param.declared(True)), (self.batch_size or UNKNOWN,)][
            : len(self.top)
        ]


class DenseImageData(_Listed, type="DenseImageData", block="dense_image_data_param"):
    """Images with one label image each.

    Bottoms: none.  Tops: data (batch_size, 3, h, w), label (batch_size, 1, h, w).
    Source: alexgkendall/caffe-segnet, src/caffe/layers/dense_image_data_layer.cpp.  Differs: not read yet.
    """

    n_tops = 2

    crop_height: int = param("Height of the crop.", default=0, at_least=0)
    crop_width: int = param("Width of the crop.", default=0, at_least=0)
    label_divider: int = param("Labels are divided by this.", default=1)

    def declared_shapes(self) -> list[Shape]:
        batch = self.batch_size or UNKNOWN
        h, w = self.crop_height or self.new_height or UNKNOWN, self.crop_width or self.new_width or UNKNOWN
        return [(batch, 3 if self.is_color else 1, h, w), (batch, 1, h, w)]
