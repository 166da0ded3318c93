"""Options that say how images are prepared, for nets whose training data and preprocessing are not stored."""

from __future__ import annotations

import argparse
from typing import Any

from ..language.source import ENDINGS
from . import UsageError
from ._options import existing
from ._output import say


def add_preparing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preprocessing",
        metavar="FILE",
        help="prepare images as this preprocessing.json, or the data layer of this training file says",
    )
    parser.add_argument(
        "--mean", metavar="V,V,V", help="subtract this mean: one value, or one per channel of the input"
    )
    parser.add_argument("--scale", type=float, metavar="X", help="multiply by this after the mean is subtracted")
    parser.add_argument(
        "--crop", type=int, metavar="N", help="cut out the center of NxN, of images resized to 256x256 or --resize"
    )
    parser.add_argument("--resize", metavar="HxW", help="resize images to this first (default: the input's size)")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--bgr", action="store_true", help="order of the channels: B, G, R, as in Caffe (default)")
    order.add_argument("--rgb", action="store_true", help="order of the channels: R, G, B")


def prepared(predictor: Any, args: argparse.Namespace) -> Any:
    """Returns the predictor with the preprocessing of the options, if they give one, and prints what it does."""
    from ..inference.given import by_options, by_training_file, words_of
    from ..inference.predict import Predictor

    given = [f"--{name}" for name in ("mean", "scale", "crop", "resize") if getattr(args, name) is not None]
    named = args.preprocessing if names_net(args.preprocessing) else None
    if not (given or args.bgr or args.rgb or named):
        return predictor
    if given and args.preprocessing:
        raise UsageError(f"{given[0]} and --preprocessing are both given; remove one of them")
    shape = _input_shape(predictor)
    if named:
        way = by_training_file(existing(named), shape, args.rgb)
    elif given or args.preprocessing is None:
        numbers = _numbers("--mean", args.mean)
        scale, crop = 1.0 if args.scale is None else args.scale, _positive("--crop", args.crop)
        way = by_options(shape, numbers, scale, crop, _size(args.resize), args.rgb)
    else:
        raise UsageError("--bgr and --rgb have no effect with a preprocessing.json, which includes the order")
    say(f"images are prepared {f'as by {named}' if named else 'by the options'}: {words_of(way)}")
    return Predictor(predictor.model, None, args.blob, way, args.devices)


def names_net(path: str | None) -> bool:
    """Whether --preprocessing names a training file, and not a preprocessing.json."""
    return path is not None and path.endswith(ENDINGS)


def _input_shape(predictor: Any) -> tuple[int, int, int]:
    net = predictor.net
    shape = net.blobs[net.inputs[0]].shape if net.inputs else None
    if shape is None or len(shape) != 4 or not all(isinstance(d, int) for d in shape):
        raise UsageError("the net has no input for images: the shape of its first input is not (n, c, h, w)")
    return shape[1], shape[2], shape[3]


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(",")) if text is not None else ()
    except ValueError:
        raise UsageError(
            f"{option} expects numbers separated by commas, as in {option} 104,117,123, not {text}"
        ) from None


def _positive(option: str, value: int | None) -> int:
    if value is not None and value < 1:
        raise UsageError(f"{option} is {value}; it must be at least 1")
    return value or 0


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    words = text.lower().split("x")
    if len(words) > 2 or not all(word.isdigit() and int(word) for word in words):
        raise UsageError(f"--resize expects HxW or one side, as in --resize 256x256, not {text}")
    return int(words[0]), int(words[-1])
