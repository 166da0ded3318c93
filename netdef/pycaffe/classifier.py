"""`caffe.Classifier`: a net with the preprocessing of images, which returns class scores.

Source: BVLC/caffe python/caffe/classifier.py for names and defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import io
from .net import TEST, Net


class Classifier(Net):
    """A net of phase TEST with one input. Its first output contains the scores."""

    def __init__(
        self,
        model_file: str | Path,
        pretrained_file: str | Path,
        image_dims: Sequence[int] | None = None,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ):
        super().__init__(model_file, pretrained_file, TEST)
        self.transformer = transformer_of(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].shape[2:])
        self.image_dims = tuple(self.crop_dims if image_dims is None else image_dims)

    def predict(self, inputs: Sequence[np.ndarray], oversample: bool = True) -> np.ndarray:
        """Returns scores (images, classes) of images (h, w, k): the mean over ten crops, or those of the center."""
        whole = [io.resize_image(image, self.image_dims) for image in inputs]
        if oversample:
            cuts = io.oversample(whole, tuple(self.crop_dims))
        else:
            top, left = (np.array(self.image_dims) - self.crop_dims) // 2
            height, width = self.crop_dims
            cuts = np.stack([image[top : top + height, left : left + width] for image in whole])
        name = self.inputs[0]
        rows = np.stack([self.transformer.preprocess(name, cut) for cut in cuts])
        scores = self.forward_all(None, **{name: rows})[self.outputs[0]]
        return scores.reshape(len(whole), -1, *scores.shape[1:]).mean(1) if oversample else scores


def transformer_of(
    net: Net,
    mean: np.ndarray | None,
    input_scale: float | None,
    raw_scale: float | None,
    channel_swap: Sequence[int] | None,
) -> io.Transformer:
    """Returns the preprocessing for the first input of a net."""
    name = net.inputs[0]
    made = io.Transformer({name: net.blobs[name].shape})
    made.set_transpose(name, (2, 0, 1))
    if mean is not None:
        made.set_mean(name, mean)
    if input_scale is not None:
        made.set_input_scale(name, input_scale)
    if raw_scale is not None:
        made.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        made.set_channel_swap(name, channel_swap)
    return made
