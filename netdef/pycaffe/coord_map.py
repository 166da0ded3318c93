"""`caffe.coord_map`: the positions in one blob that correspond to those in another, and layers that crop by them.

A map `(axis, scale, shift)` says that position i of one blob is position `scale * i + shift` of the other, on the
spatial axes after `axis`, which is None for layers that keep all positions.
Source: BVLC/caffe python/caffe/coord_map.py for names and behavior.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..language.errors import NetdefError
from .net_spec import Function, Top, layers

PASS_THROUGH_LAYERS = [
    "AbsVal", "BNLL", "BatchNorm", "Bias", "Dropout", "ELU", "Eltwise", "Exp", "LRN", "Log", "MVN", "PReLU", "Power",
    "ReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold",
]  # fmt: skip
Map = tuple[int | None, Any, Any]


class UndefinedMapException(NetdefError):
    """A layer does not keep positions (InnerProduct)."""


class AxisMismatchException(NetdefError):
    """Two layers have different spatial axes."""


class NoCrop(NetdefError, AssertionError):
    """A blob cannot be cropped to another one."""


def coord_map(fn: Function) -> Map:
    """Returns the map from the positions of a layer's top to those of its bottom, as (axis, scale, shift)."""
    kind = fn.type_name
    if kind in PASS_THROUGH_LAYERS:
        return None, 1, 0
    if kind == "Crop":
        given = fn.params.get("crop_param", fn.params)
        return given.get("axis", 2) - 1, 1, -np.array(given.get("offset", 0), ndmin=1)
    if kind in ("Convolution", "Pooling", "Im2col", "Deconvolution"):
        axis, stride, size, pad = _window(fn)
        if kind == "Deconvolution":
            return axis, stride, (size - 1) / 2 - pad
        return axis, 1 / stride, (pad - (size - 1) / 2) / stride
    raise UndefinedMapException(f"layers of type {kind} do not keep positions")


def _window(fn: Function) -> tuple[int, Any, Any, Any]:
    """Returns the axis, stride, dilated size and padding of a window."""
    given = fn.params.get("convolution_param", fn.params)
    sides = [name for name in fn.params if name in ("pad_h", "pad_w", "kernel_h", "kernel_w", "stride_h", "stride_w")]
    if sides:
        raise NoCrop(f"L.{fn.type_name} has `{sides[0]}`; to crop, give the fields without _h and _w")
    number = lambda name, default: np.array(given.get(name, default), ndmin=1)
    if "kernel_size" not in given:
        raise NoCrop(f"L.{fn.type_name} has no `kernel_size`, which its positions depend on")
    size = (number("kernel_size", 1) - 1) * number("dilation", 1) + 1
    return given.get("axis", 1), number("stride", 1), size, number("pad", 0)


def compose(base_map: Map, next_map: Map) -> Map:
    """Returns the map through two layers in turn."""
    (first, a, b), (second, c, d) = base_map, next_map
    if None not in (first, second) and first != second:
        raise AxisMismatchException(f"the spatial axes begin after axis {first} in one layer and {second} in another")
    return second if first is None else first, a * c, a * d + b


def inverse(coord_map: Map) -> Map:
    """Returns the map in the other direction."""
    axis, a, b = coord_map
    return axis, 1 / a, -b / a


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """Returns the map between two blobs that are computed from a common one."""
    maps = _maps(top_from, set())
    for top, found in _maps(top_to, set(maps)).items():
        if top in maps:
            return compose(found, inverse(maps[top]))
    raise NetdefError("Could not compute map between tops; are they connected by spatial layers?")


def _maps(start: Top, until: set[Top]) -> dict[Top, Map]:
    """Returns the maps to the blobs from which one is computed, nearest first; stops at a blob of `until`."""
    found: dict[Top, Map] = {start: (None, 1, 0)}
    for top in (waiting := [start]):
        if top in until:
            break
        try:
            step = coord_map(top.fn)
        except UndefinedMapException:
            continue
        bottoms = top.fn.inputs[:1] if top.fn.type_name == "Crop" else top.fn.inputs  # the second is only a size
        for bottom in bottoms:
            if bottom not in found:
                found[bottom] = compose(found[top], step)
                waiting.append(bottom)
    return found


def crop(top_from: Top, top_to: Top) -> Any:
    """Returns a Crop layer of `top_from` to the size and the positions of `top_to`."""
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    scale, shift = np.array(scale, ndmin=1), np.array(shift, ndmin=1)
    if not (scale == 1).all():
        raise NoCrop(f"scale mismatch on crop (a = {scale})")
    if not (shift <= 0).all():
        raise NoCrop(f"cannot crop negative offset (b = {shift})")
    if not (np.round(shift) == shift).all():
        raise NoCrop(f"cannot crop noninteger offset (b = {shift})")
    offset = (-shift).astype(int).tolist()
    return layers.Crop(top_from, top_to, crop_param=dict(axis=(axis or 0) + 1, offset=offset))
