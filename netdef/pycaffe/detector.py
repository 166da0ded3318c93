"""`caffe.Detector`: a classifier applied to windows of images, as in R-CNN.

Source: BVLC/caffe python/caffe/detector.py for names and the geometry of the context.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..language.errors import NetdefError
from . import io
from .classifier import transformer_of
from .net import TEST, Net

Window = Sequence[float]  # ymin, xmin, ymax, xmax
SEARCH = "selective_search_ijcv_with_python"


class Detector(Net):
    """A net of phase TEST with one input. `context_pad` pixels of each side of the net's input show what is around the
    window, as in R-CNN."""

    def __init__(
        self,
        model_file: str | Path,
        pretrained_file: str | Path,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ):
        super().__init__(model_file, pretrained_file, TEST)
        self.transformer = transformer_of(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad: int | None) -> None:
        """Sets the context, which is filled with the mean where a window exceeds the image."""
        name = self.inputs[0]
        channels, height, width = self.blobs[name].shape[1:]
        self.context_pad = context_pad or 0
        if 2 * self.context_pad >= width:
            raise NetdefError(f"context_pad is {context_pad}, but the input of the net has only {width} columns")
        self.crop_dims = np.array((height, width, channels))
        mean = np.broadcast_to(self.transformer.mean.get(name, np.zeros(1, np.float32)), (channels, height, width))
        plain = io.Transformer({name: self.blobs[name].shape})  # the mean as an image: what becomes 0
        plain.__dict__.update({**self.transformer.__dict__, "mean": {}, "input_scale": {}})
        self.crop_mean = plain.deprocess(name, mean)

    def detect_windows(self, images_windows: Iterable[tuple[str | Path, Sequence[Window]]]) -> list[dict[str, Any]]:
        """Classifies windows of images, given as (file, windows). Returns {window, prediction, filename} of each."""
        name, found, rows = self.inputs[0], [], []
        for file, windows in images_windows:
            image = io.load_image(file)
            for window in windows:
                rows.append(self.transformer.preprocess(name, self.crop(image, window)))
                found.append({"window": window, "filename": file})
        if not rows:
            return []
        scores = self.forward_all(None, **{name: np.stack(rows)})[self.outputs[0]]
        return [{**each, "prediction": score} for each, score in zip(found, scores, strict=True)]

    def detect_selective_search(self, image_fnames: Sequence[str]) -> list[dict[str, Any]]:
        """Classifies the windows that the package `selective_search_ijcv_with_python` (with MATLAB) proposes."""
        if importlib.util.find_spec(SEARCH) is None:
            raise NetdefError(
                f"selective search requires the package {SEARCH}, which is not installed; use detect_windows with "
                "windows of your own"
            )
        search = importlib.import_module(SEARCH)
        files = [str(Path(name).absolute()) for name in image_fnames]
        return self.detect_windows(zip(files, search.get_windows(files, cmd="selective_search_rcnn"), strict=True))

    def crop(self, im: np.ndarray, window: Window) -> np.ndarray:
        """Returns a window of an image (h, w, k); with a context, warped to the input of the net."""
        top, left, bottom, right = (int(edge) for edge in window)
        if not self.context_pad:
            return im[top:bottom, left:right]
        size = self.blobs[self.inputs[0]].width
        scale = size / (size - 2.0 * self.context_pad)
        half = np.array((bottom - top + 1, right - left + 1)) / 2
        center = np.array((top, left)) + half
        low, high = np.round(center - scale * half), np.round(center + scale * half)
        warp = size / (high - low + 1)
        pad = np.round(np.maximum(0, -low) * warp).astype(int)
        limits = np.array(im.shape[:2])
        low, high = np.clip(low, 0, limits).astype(int), np.clip(high, 0, limits).astype(int)
        extent = np.minimum(np.round((high - low + 1) * warp).astype(int), size - pad)
        if (high <= low).any() or (extent < 1).any():
            raise NetdefError(f"the window {list(window)} is not inside the image of {im.shape[0]}x{im.shape[1]}")
        made = np.array(self.crop_mean, np.float32)
        inside = io.resize_image(im[low[0] : high[0], low[1] : high[1]], extent)
        made[pad[0] : pad[0] + extent[0], pad[1] : pad[1] + extent[1]] = inside
        return made
