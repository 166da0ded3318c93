"""Data layers of other forks.  netdef understands their nets, but does not read their files.

They have tops and fields, so that a net with them can be checked, summarized, and given its inputs in Python; opening
one is an error.
"""

from __future__ import annotations

import enum

from ...files import Locate
from ...layers.base import Phase
from ...schema import param
from ...shape import UNKNOWN, Shape
from ..base import DataLayer, Process, Reader
from ..transform import Transform


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
