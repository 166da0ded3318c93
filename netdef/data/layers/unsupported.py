"""Data layers of other forks whose nets are understood, and whose files netdef does not read.

They have tops and fields, so that a net with them can be checked, summarised and given its inputs in Python; opening
one ends with an error that says so.
"""

from __future__ import annotations

import enum

from ...files import Locate
from ...layers.base import Phase
from ...schema import Block, param
from ...shape import UNKNOWN, Shape
from ..base import DataLayer, Process, Reader
from ..transform import Transform
from .database import Backend


class _Unsupported(DataLayer):
    batch_size: int
    instead = "give its tops as inputs in Python, or convert the data for another data layer"
    transform_param: Transform = param("What is made of each image.", default=Transform(), beside=True)

    def shapes(self, locate: Locate) -> list[Shape]:
        raise self.fault(f"netdef does not read the files of {self.type} yet; {self.instead}.")

    def open(self, locate: Locate, *, phase: Phase, seed: int = 0, process: Process = (0, 1)) -> Reader:
        raise self.fault(f"netdef does not read the files of {self.type} yet; {self.instead}.")


class _Listed(_Unsupported):
    """What the layers that read a list of images and labels share."""

    source: str = param("Text file with `image labels` on each line.", default="")
    batch_size: int = param("Images of a batch.", default=1, at_least=0)
    rand_skip: int = param("Skip a random number of images at the start.", default=0, at_least=0)
    shuffle: bool = param("Draw the order anew for each epoch.", default=False)
    new_height: int = param("Resize to this height.", default=0, at_least=0)
    new_width: int = param("Resize to this width.", default=0, at_least=0)
    is_color: bool = param("Three channels, else one.", default=True)
    root_folder: str = param("Put in front of each path.", default="")


class Sampler(Block):
    """`sampler { }`: sizes of random boxes."""

    min_scale: float = param("Least area, as a part of the image.", default=1.0)
    max_scale: float = param("Largest area.", default=1.0)
    min_aspect_ratio: float = param("Least ratio of width to height.", default=1.0)
    max_aspect_ratio: float = param("Largest ratio.", default=1.0)


class SampleConstraint(Block):
    """`sample_constraint { }`: which random boxes are taken."""

    min_jaccard_overlap: float | None = param("Least intersection over union.", default=None)
    max_jaccard_overlap: float | None = param("Largest intersection over union.", default=None)
    min_sample_coverage: float | None = param("Least part of the sample that objects cover.", default=None)
    max_sample_coverage: float | None = param("Largest part of the sample that objects cover.", default=None)
    min_object_coverage: float | None = param("Least part of the object that is covered.", default=None)
    max_object_coverage: float | None = param("Largest part of the object that is covered.", default=None)


class BatchSampler(Block):
    """`batch_sampler { }`: random parts of an image that hold objects."""

    use_original_image: bool = param("Draw from the whole image.", default=True)
    sampler: Sampler | None = param("Sizes of the boxes.", default=None)
    sample_constraint: SampleConstraint | None = param("Which are taken.", default=None)
    max_sample: int | None = param("How many are wanted.", default=None)
    max_trials: int = param("How many are tried.", default=100)


class AnnotationType(enum.Enum):
    """Kind of annotation."""

    BBOX = 0


class AnnotatedDataBlock(Block):
    """`annotated_data_param { }`."""

    batch_sampler: tuple[BatchSampler, ...] = param("Parts of images that are drawn.", default=())
    label_map_file: str = param("Names of the classes.", default="")
    anno_type: AnnotationType | None = param("Kind of annotation.", default=None)


class AnnotatedData(_Unsupported, type="AnnotatedData", block="data_param"):
    """Images with boxes from an LMDB of the SSD fork.

    Bottoms: none.  Tops: data (batch_size, 3, h, w), label (1, 1, boxes, 8): item, class, instance, box, difficult.
    Source: weiliu89/caffe branch ssd, src/caffe/layers/annotated_data_layer.cpp.  Differs: not read yet.
    """

    n_tops = (1, 2)

    source: str = param("Folder of the database.", default="")
    batch_size: int = param("Images of a batch.", default=0, at_least=0)
    backend: Backend = param("Kind of the database.", default=Backend.LEVELDB)
    rand_skip: int = param("Skip a random number of records at the start.", default=0, at_least=0)
    prefetch: int = param("Batches made ahead.", default=4, at_least=0, inert=True)
    shuffle: bool = param("Draw the order anew for each epoch.", default=False)
    threads: int = param("Threads of the NVIDIA fork.", default=0, at_least=0, inert=True)
    parser_threads: int = param("Threads of the NVIDIA fork.", default=0, at_least=0, inert=True)
    cache: bool = param("Keep records in memory (NVIDIA).", default=False, inert=True)
    annotated_data_param: AnnotatedDataBlock = param("Boxes.", default=AnnotatedDataBlock(), beside=True)

    def declared_shapes(self) -> list[Shape]:
        image = self.transform_param.declared(True)
        return [(self.batch_size or UNKNOWN, *image), (1, 1, UNKNOWN, 8)][: len(self.top)]


class LabelType(enum.Enum):
    """What stands beside each image."""

    NONE = 0
    IMAGE = 1
    PIXEL = 2


class SegTransform(Transform):
    """`transform_param { }` of images with an image of labels."""

    scale_factors: tuple[float, ...] = param("Sizes of which one is drawn for each image.", default=())


class ImageSegData(_Listed, type="ImageSegData", block="image_data_param"):
    """Images with a class for each image or each pixel.

    Bottoms: none.
    Tops: data (batch_size, 3, h, w), label (batch_size, 1, h, w), height and width (batch_size, 1, 1, 2).
    Source: DeepLab's and PSPNet's src/caffe/layers/image_seg_data_layer.cpp; Chen et al. 2015.  Differs: not read yet.
    """

    n_tops = (1, 3)

    label_type: LabelType = param("None, one for each image, or one for each pixel.", default=LabelType.PIXEL)
    ignore_label: int = param("Label of the pixels around an image that is smaller than the cut.", default=255)
    transform_param: SegTransform = param("What is made of each image.", default=SegTransform(), beside=True)

    def declared_shapes(self) -> list[Shape]:
        batch = self.batch_size or UNKNOWN
        data = (batch, *self.transform_param.declared(self.is_color))
        pixels = data[2:] if self.label_type is LabelType.PIXEL else (1, 1)
        return [data, (batch, 1, *pixels), (batch, 1, 1, 2)][: len(self.top)]


class VideoType(enum.Enum):
    """Where a video comes from."""

    WEBCAM = 0
    VIDEO = 1


class Modality(enum.Enum):
    """Frames, or the motion between them."""

    RGB = 0
    FLOW = 1


class VideoTransform(Transform):
    """`transform_param { }` of yjxiong's videos."""

    multi_scale: bool = param("Whether cuts of several sizes are resized to `crop_size`.", default=False)
    scale_ratios: tuple[float, ...] = param("Sides of the cuts, as parts of the image's shorter side.", default=())
    max_distort: int = param("How many places in `scale_ratios` height and width may differ.", default=1, at_least=0)
    fix_crop: bool = param("Whether cuts are made at the corners and the centre alone.", default=False)
    more_fix_crop: bool = param("Whether eight more places are cut.", default=False)
    is_flow: bool = param("Whether a mirrored frame shows motion the other way.", default=False)


class VideoData(_Unsupported, type="VideoData", block="video_data_param"):
    """Frames of a camera or a video file.

    Bottoms: none.  Tops: data (batch_size, 3, h, w), label (batch_size).
    Source: weiliu89/caffe branch ssd, src/caffe/layers/video_data_layer.cpp; `modality` and others are yjxiong/caffe's.
    Differs: not read yet.
    """

    n_tops = (1, 2)

    video_type: VideoType = param("Camera or file.", default=VideoType.WEBCAM)
    device_id: int = param("Number of the camera.", default=0)
    video_file: str = param("The file.", default="")
    skip_frames: int = param("Frames skipped after each.", default=0, at_least=0)
    source: str = param("List of videos.", default="")
    batch_size: int = param("Videos of a batch.", default=1, at_least=0)
    new_length: int = param("Frames of a sample.", default=1)
    num_segments: int = param("Samples of a video.", default=1)
    modality: Modality | None = param("What the frames show.", default=None)
    new_height: int = param("Resize to this height.", default=0, at_least=0)
    new_width: int = param("Resize to this width.", default=0, at_least=0)
    length_first: bool = param("Time before channels.", default=False)
    shuffle: bool = param("Draw the order anew for each epoch.", default=False)
    root_folder: str = param("Put in front of each path.", default="")
    name_pattern: str = param("Pattern of the names of frames.", default="")
    encoded: bool = param("Frames are encoded.", default=False)
    transform_param: VideoTransform = param("What is made of each frame.", default=VideoTransform(), beside=True)

    def declared_shapes(self) -> list[Shape] | None:
        if self.new_length != 1 or self.modality is not None:
            return None
        return [(self.batch_size or UNKNOWN, *self.transform_param.declared(True)), (self.batch_size or UNKNOWN,)][
            : len(self.top)
        ]


class DenseImageData(_Listed, type="DenseImageData", block="dense_image_data_param"):
    """Images with an image of labels each.

    Bottoms: none.  Tops: data (batch_size, 3, h, w), label (batch_size, 1, h, w).
    Source: alexgkendall/caffe-segnet, src/caffe/layers/dense_image_data_layer.cpp.  Differs: not read yet.
    """

    n_tops = 2

    crop_height: int = param("Height of the cut.", default=0, at_least=0)
    crop_width: int = param("Width of the cut.", default=0, at_least=0)
    label_divider: int = param("Labels are divided by this.", default=1)

    def declared_shapes(self) -> list[Shape]:
        batch = self.batch_size or UNKNOWN
        h, w = self.crop_height or self.new_height or UNKNOWN, self.crop_width or self.new_width or UNKNOWN
        return [(batch, 3 if self.is_color else 1, h, w), (batch, 1, h, w)]
