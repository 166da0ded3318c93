"""The layers of a starter net, and its solver: chosen by the size of the records and by their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .words import comment, number, plural

SMALL, MEDIUM = 40, 64  # pixels of the short side up to which plain convolutions are used, with 3 and with 4 blocks
WIDTHS = (32, 64, 128, 256)  # channels of the blocks
FEW = 5000  # images, up to which a residual net has half as many channels
SHARPEST = 128  # pixels to which larger images are resized
APART = 10.0  # ratio of the deviations of columns, from which each is standardized by itself
UNEVEN = 5  # ratio of the largest and the smallest class, from which all are drawn equally often


class Targets(NamedTuple):
    """What a net shall output: one of `classes`, or `values` numbers with a mean and a deviation."""

    classes: int = 0
    values: int = 0
    mean: float = 0.0
    deviation: float = 1.0
    words: str = ""  # about the labels
    normalized: bool = False  # whether the data layer normalizes the values

    @property
    def outputs(self) -> str:
        return "${classes}" if self.classes else str(self.values)


class Schedule(NamedTuple):
    """The batch size, and the iterations of a run."""

    train: int  # records
    batch: int
    iterations: int

    @property
    def epochs(self) -> str:
        return f"{max(1, round(self.batch * self.iterations / self.train)):,}"


def part_for_training(counts: Sequence[int]) -> float:
    """The part of each class that is used for training: a half if a typical class has only two records."""
    return 0.8 if sorted(counts)[len(counts) // 2] >= 3 else 0.5


def schedule(train: int, batch: int, times: int = 1) -> Schedule:
    """Small data sets are repeated more often; a run has 300 iterations or more.  `times` as many for tasks that take
    longer."""
    batch = min(batch, 2 ** max(0, int(math.log2(max(1, train)))))
    epochs = next((count for limit, count in ((1000, 40), (10_000, 20), (100_000, 10)) if train <= limit), 5)
    return Schedule(train, batch, times * max(300, round(epochs * train / batch / 100) * 100))


def convolutional(height: int, width: int, images: int, targets: Targets, bottom: str = "data") -> str:
    """A net for images of this size as blob `bottom`; its scores are the blob `score`."""
    side = min(height, width)
    last, body = residual(height, width, images, bottom) if side > MEDIUM else blocks(height, width, bottom)
    pool = f'global_pool {{ name: "pool" bottom: "{last}" }}\n'
    return f"{body}{pool}{scores('pool', targets)}"


def blocks(height: int, width: int, bottom: str) -> tuple[str, str]:
    """Blocks of two convolutions, with half the size and twice the channels in each next block."""
    side = min(height, width)
    count = max(1, min(3 if side <= SMALL else 4, round(math.log2(max(side, 8) / 4))))
    lines = [
        comment(
            f"{plural(count, 'block')} of two 3x3 convolutions, each with batch normalization and ReLU. A block "
            "halves the size of the images and doubles the channels; then the mean of each channel is one number."
        )
    ]
    for i, out in enumerate(WIDTHS[:count], 1):
        if i > 1:
            lines.append(f'max_pool {{ name: "pool{i - 1}" bottom: "{bottom}" kernel: 2 }}\n')
            bottom, height, width = f"pool{i - 1}", -(-height // 2), -(-width // 2)
        lines.append(f'conv_bn_relu {{ name: "conv{i}a" bottom: "{bottom}" out: {out} }}  # {height}x{width}\n')
        lines.append(f'conv_bn_relu {{ name: "conv{i}b" bottom: "conv{i}a" out: {out} }}\n')
        bottom = f"conv{i}b"
    return bottom, "".join(lines)


def residual(height: int, width: int, images: int, data: str) -> tuple[str, str]:
    """ResNet-18, with half the channels for few images."""
    out = 32 if images <= FEW else 64
    why = "half of its channels, because there are few images" if out == 32 else "all of its channels"
    lines = [comment(f"ResNet-18 with {why}: four stages of two blocks, each half as large as the one before.")]
    height, width = -(-height // 4), -(-width // 4)
    lines.append(f'conv_bn_relu {{ name: "conv1" bottom: "{data}" out: {out} kernel: 7 stride: 2 }}\n')
    lines.append('max_pool { name: "pool1" bottom: "conv1" }\n')
    bottom = "pool1"
    for stage in range(2, 6):
        stride = "stride: 1 " if stage == 2 else ""
        lines.append(
            f'residual_stage {{ stage: {stage} blocks: 2 bottom: "{bottom}" out: {out * 2 ** (stage - 2)} {stride}'
            f"bottleneck: false }}  # {height}x{width}\n"
        )
        bottom, height, width = f"res{stage}b", -(-height // 2), -(-width // 2)
    return bottom, "".join(lines)


def perceptron(columns: int, rows: int, targets: Targets, bottom: str = "data") -> str:
    """Fully connected layers for vectors as blob `data`; the more rows, the larger."""
    most = max(64, 20 * rows // max(1, columns))  # because a weight is learned from a few values
    first = max(64, min(512, 2 ** round(math.log2(max(2 * columns, 4 * targets.classes))), 2 ** int(math.log2(most))))
    ratio = 0.2 if rows <= 20_000 and targets.classes else 0.0
    words = comment(
        f"A perceptron with hidden layers of {first} and {first // 2} units, for rows of {plural(columns, 'number')}"
        + (
            f"; {100 * ratio:.0f} % of the units are dropped at random in training, as there are few rows."
            if ratio
            else "."
        )
    )
    dropout = f" dropout: {ratio}" if ratio else ""
    sized = f"[{first}, {first // 2}, {targets.outputs}]"
    return f'{words}mlp {{ name: "score" bottom: "{bottom}" sizes: {sized}{dropout} }}\n'


def scores(bottom: str, targets: Targets) -> str:
    return f'fc {{ name: "score" bottom: "{bottom}" out: {targets.outputs} }}\n'


def losses(targets: Targets, label: str = "label") -> str:
    """The loss of the blob `score`, and what tests measure."""
    if targets.classes:
        several = targets.classes > 10
        words = comment(
            "The loss, and in tests the fraction of records whose class has the highest score"
            + (", or one of the five highest." if several else ".")
        )
        top = "" if several else " top_k: [1]"
        given = "" if label == "label" else f' label: "{label}"'
        return f'\n{words}softmax_loss {{ bottom: "score"{given}{top} }}\n'
    mean, deviation = number(targets.mean), number(targets.deviation)
    if targets.normalized:
        return _losses_of_normalized(deviation, label)
    weight = number(1 / targets.deviation**2)
    return (
        "\n"
        + comment(
            f"The labels have mean {mean} and standard deviation {deviation}. The net computes multiples of it, and "
            "this layer returns to the units of the labels."
        )
        + f"""layer {{
  name: "prediction" type: "Power" bottom: "score" top: "prediction"
  power_param {{ scale: {deviation} shift: {mean} }}
}}
"""
        + comment(
            f"Training minimizes half the squared error; its weight is 1 / {deviation}^2, so that the scale of the "
            "labels does not matter. Tests measure the mean absolute error, in the units of the labels."
        )
        + f"""layer {{
  name: "loss" type: "EuclideanLoss" bottom: "prediction" bottom: "{label}" top: "loss" loss_weight: {weight}
  include {{ phase: TRAIN }}
}}
layer {{
  name: "error" type: "MeanAbsoluteError" bottom: "prediction" bottom: "{label}" top: "error" include {{ phase: TEST }}
}}
"""
    )


def _losses_of_normalized(deviation: str, label: str) -> str:
    words = comment(
        "Training minimizes half the squared error, tests measure the mean absolute error, too, both in standard "
        f"deviations of the column: 0.1 is {number(float(deviation) / 10)}. `netdef predict` prints the units of the "
        "table."
    )
    return f"""
{words}layer {{ name: "loss" type: "EuclideanLoss" bottom: "score" bottom: "{label}" top: "loss" }}
layer {{
  name: "error" type: "MeanAbsoluteError" bottom: "score" bottom: "{label}" top: "error" include {{ phase: TEST }}
}}
"""


def solver(plan: Schedule, *, normalized: bool, adam: float = 0.0, more: str = "") -> str:
    """The solver; `normalized`: whether the net has batch normalization; `adam`: the rate of Adam, 0 for SGD."""
    every = plan.iterations // 10
    lines = [
        "\nsolver {\n",
        comment(
            f"{plan.iterations:,} batches of {plan.batch} are {plan.epochs} epochs of the {plan.train:,} records for "
            "training."
        ),
        f"max_iter: {plan.iterations}\n",
        comment(
            "The learning rate falls from base_lr to 0, along a cosine. If the loss becomes nan or stays where it "
            "began, divide it by 3; `netdef train --lr-find` plots the loss against it."
        ),
        f'type: "Adam" base_lr: {adam} lr_policy: "cosine"\n'
        if adam
        else 'base_lr: 0.05 momentum: 0.9 lr_policy: "cosine"\n',
        f"weight_decay: {'0.0001' if adam else '0.0005'}\n",
    ]
    if normalized:
        lines += [
            comment(
                "Statistics of batch normalization lag behind at high rates: tests and snapshots measure them anew."
            ),
            "bn_recalibrate: 10\n",
        ]
    lines += [
        f"test_interval: {every}\ntest_initialization: false\ndisplay: {every // 2}\naverage_loss: {every // 2}\n",
        f"snapshot: {5 * every}\n{more}",
        "random_seed: 1  # the same seed gives the same result\n}\n",
    ]
    return "".join(lines)
