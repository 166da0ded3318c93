"""A detector of bright squares on a grid of 3 x 3 cells, whose weights are those of its fillers: a cell is an object of
class 1 if it is bright, of class 2 if it is gray."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from data_sets import write_images

CELL, SIDE = 8, 24

HEADS = """
layer { name: "cells" type: "Pooling" bottom: "data" top: "cells" pooling_param { pool: AVE kernel_size: 8 stride: 8 } }
layer { name: "nothing" type: "Convolution" bottom: "cells" top: "nothing" convolution_param { num_output: 1 kernel_size: 1
        weight_filler { type: "constant" value: -0.2 } bias_filler { type: "constant" value: 10 } } }
layer { name: "bright" type: "Convolution" bottom: "cells" top: "bright" convolution_param { num_output: 1 kernel_size: 1
        weight_filler { type: "constant" value: 0.2 } bias_filler { type: "constant" value: -30 } } }
layer { name: "gray" type: "Convolution" bottom: "cells" top: "gray" convolution_param { num_output: 1 kernel_size: 1
        weight_filler { type: "constant" } } }
layer { name: "scores" type: "Concat" bottom: "nothing" bottom: "bright" bottom: "gray" top: "scores" }
layer { name: "conf_rows" type: "Permute" bottom: "scores" top: "conf_rows" permute_param { order: [0, 2, 3, 1] } }
layer { name: "conf" type: "Flatten" bottom: "conf_rows" top: "conf" }
layer { name: "offsets" type: "Convolution" bottom: "cells" top: "offsets" convolution_param { num_output: 4 kernel_size: 1
        weight_filler { type: "constant" } } }
layer { name: "loc_rows" type: "Permute" bottom: "offsets" top: "loc_rows" permute_param { order: [0, 2, 3, 1] } }
layer { name: "loc" type: "Flatten" bottom: "loc_rows" top: "loc" }
layer { name: "priors" type: "PriorBox" bottom: "cells" bottom: "data" top: "priors"
        prior_box_param { min_size: 8 variance: [0.1, 0.1, 0.2, 0.2] } }
"""
FOUND = """
layer { name: "conf_reshape" type: "Reshape" bottom: "conf" top: "conf_reshape" reshape_param { shape { dim: [0, -1, 3] } } }
layer { name: "conf_softmax" type: "Softmax" bottom: "conf_reshape" top: "conf_softmax" softmax_param { axis: 2 } }
layer { name: "conf_flat" type: "Flatten" bottom: "conf_softmax" top: "conf_flat" }
layer { name: "found" type: "DetectionOutput" bottom: "loc" bottom: "conf_flat" bottom: "priors" top: "found"
        detection_output_param { num_classes: 3 code_type: CENTER_SIZE keep_top_k: 10 confidence_threshold: 0.05
                                 nms_param { nms_threshold: 0.45 top_k: 9 } %s } }
"""
IN_TEST = FOUND.replace('top: "found"\n', 'top: "found" include { phase: TEST }\n').replace(
    'top: "conf_', 'include { phase: TEST } top: "conf_'
)
INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 1, 24, 24] } } }'
DATA = """
layer { name: "images" type: "HDF5Data" top: "data" hdf5_data_param { source: "list.txt" batch_size: %d } }
layer { name: "boxes" type: "HDF5Data" top: "truth_rows" hdf5_data_param { source: "list.txt" batch_size: %d } }
layer { name: "truth" type: "Reshape" bottom: "truth_rows" top: "truth" reshape_param { shape { dim: [1, 1, -1, 8] } } }
"""
LOSS = """
layer { name: "loss" type: "MultiBoxLoss" bottom: "loc" bottom: "conf" bottom: "priors" bottom: "truth" top: "loss"
        include { phase: TRAIN } propagate_down: [true, true, false, false] loss_param { normalization: VALID }
        multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE overlap_threshold: 0.5 neg_pos_ratio: 3 } }
"""
EVALUATE = """
layer { name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "truth" top: "eval" include { phase: TEST }
        detection_evaluate_param { num_classes: 3 overlap_threshold: 0.5 } }
"""

DEPLOYED = 'name: "Squares"\n' + INPUT + HEADS + FOUND % ""


def trained_by(batch: int = 3, solver: str = "") -> str:
    """Returns the net of a training file, which reads `list.txt`."""
    data = DATA % (batch, batch)
    settings = f'solver {{ lr_policy: "fixed" max_iter: 2 display: 1 test_interval: 2 {solver or "base_lr: 0.001"} }}'
    return 'name: "Squares"\n' + data + HEADS + LOSS + IN_TEST % "" + EVALUATE + settings


def image(*cells: tuple[int, int, int], height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Returns an image (height, width) uint8 that is dark but for cells (row, column, brightness)."""
    made = np.full((3, 3), 10, np.uint8)
    for row, column, value in cells:
        made[row, column] = value
    return made.repeat(height // 3, 0).repeat(width // 3, 1)


def true_row(number: int, label: int, row: int, column: int, difficult: int = 0) -> list[float]:
    """Returns a true box that is a cell of an image of the batch."""
    return [number, label, 0, column / 3, row / 3, (column + 1) / 3, (row + 1) / 3, difficult]


def write_data(folder: Path, batch: int = 3) -> None:
    """Writes six images with two true boxes each: in image 1 one is missed, image 4 has a false one too."""
    truth = [[(0, 0), (2, 2)], [(1, 1), (2, 2)], [(2, 0), (0, 2)], [(0, 1), (1, 2)], [(1, 0), (2, 1)], [(0, 0), (1, 1)]]
    cells = [[(row, column, 250) for row, column in boxes] for boxes in truth]
    cells[1][1], cells[4] = (2, 2, 20), [*cells[4], (0, 2, 215)]
    rows = [[true_row(i % batch, 1, *box) for box in boxes] for i, boxes in enumerate(truth)]
    with h5py.File(folder / "images.h5", "w") as file:
        file["data"] = np.stack([image(*own) for own in cells])[:, None].astype(np.float32)
        file["truth_rows"] = np.array(rows, np.float32)
    (folder / "list.txt").write_text("images.h5\n")


TRUE_CELLS = [  # the true boxes of eight images, more in some than in others
    [(0, 0), (1, 1), (2, 2)], [], [(0, 2)], [(1, 0), (1, 2), (0, 1), (2, 0)], [(2, 1)], [(0, 0), (2, 2)], [(1, 1)], [],
]  # fmt: skip
FOLDER = """layer {{ name: "d" type: "BoxFolder" top: "data" top: "truth" transform_param {{ }}
           box_folder_param {{ source: "boxes.csv" image_set: "{}" batch_size: {} is_color: false shuffle: false }} }}"""


def write_ragged(folder: Path, batch: int, solver: str, order: tuple[int, ...] = tuple(range(8))) -> Path:
    """Writes images with different numbers of boxes, read in this order, and the net that is trained with them."""
    folder.mkdir()
    images = [image(*((row, column, 200) for row, column in cells)) for cells in TRUE_CELLS]
    names = write_images(folder, np.stack(images)[:, None].repeat(3, 1))
    lines = ["image,label,xmin,ymin,xmax,ymax"]
    for name, cells in zip(names, TRUE_CELLS, strict=True):
        lines += [f"{name},{['a', 'b'][r % 2]},{8 * c},{8 * r},{8 * c + 6},{8 * r + 7}" for r, c in cells]
        lines += [] if cells else [f"{name},,,,,"]
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    (folder / "order.txt").write_text("\n".join(names[i] for i in order) + "\n")
    loss = LOSS.replace("include { phase: TRAIN }", "")
    rest = 'solver {{ base_lr: 0.0001 lr_policy: "fixed" max_iter: 4 display: 1 snapshot_after_train: false {} }}'
    (folder / "ssd.net").write_text(FOLDER.format("order.txt", batch) + HEADS + loss + rest.format(solver))
    return folder / "ssd.net"
