"""The codes of a whole net: which layers are in it, how they are connected, and their shapes."""

from __future__ import annotations

from ..diagnostics import Code

INCLUDE_AND_EXCLUDE = Code(
    "include-and-exclude",
    "error",
    "Both include and exclude",
    "A layer says either when it is there or when it is not.  With both, Caffe refuses the file.",
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" include { phase: TRAIN } exclude { stage: "deploy" } }\n',
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" include { phase: TRAIN not_stage: "deploy" } }\n',
)
UNKNOWN_BOTTOM = Code(
    "unknown-bottom",
    "error",
    "Unknown bottom",
    "A layer takes only blobs that a layer above it makes in the same phase.  Look for a misspelt name, "
    "or a layer whose "
    "`include` leaves it out of this phase.",
    'layer { name: "x" type: "Input" top: "conv1" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "con1" top: "r" }\n',
    'layer { name: "x" type: "Input" top: "conv1" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "conv1" top: "r" }\n',
)
DOUBLE_TOP = Code(
    "double-top",
    "error",
    "Two layers make one blob",
    "A blob is made by one layer.  Another may change it in place, by naming it as its bottom and as its top.",
    'layer { name: "a" type: "ReLU" bottom: "x" top: "y" }\nlayer { name: "b" type: "ReLU" bottom: "x" top: "y" }\n',
    'layer { name: "a" type: "ReLU" bottom: "x" top: "y" }\nlayer { name: "b" type: "ReLU" bottom: "y" top: "y" }\n',
)
WRONG_COUNT = Code(
    "wrong-count",
    "error",
    "Wrong number of blobs",
    "Each layer type takes and makes a certain number of blobs; `netdef explain TYPE` tells which.",
    'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" top: "l" }\n',
    'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "l" }\n',
)
SAME_NAME = Code(
    "same-name",
    "warning",
    "Two layers of one name",
    "Parameters are saved and loaded by the name of their layer, so two layers of one name cannot both be found.",
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "a" }\nlayer { name: "r" type: "TanH" bottom: "a" top: "b" }\n',
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "a" }\nlayer { name: "t" type: "TanH" bottom: "a" top: "b" }\n',
)
OVERWRITTEN = Code(
    "overwritten",
    "warning",
    "Overwritten before its gradient",
    "Caffe computes the gradient of ReLU, Sigmoid and TanH from what stands in their top.  A layer "
    "further down that works "
    "in place on the same blob has put other numbers there by then, and the gradient is wrong.  netdef "
    "computes what Caffe "
    "computes; a top of its own for the later layer makes it right.",
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }\nlayer { name: "s" type: "Scale" bottom: "x" top: "x" }\n',
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }\nlayer { name: "s" type: "Scale" bottom: "x" top: "s" }\n',
)

SHAPE_MISMATCH = Code(
    "shape-mismatch",
    "error",
    "Shapes do not fit",
    "The layer cannot work on blobs of these shapes.  `netdef summary` prints the shape of every blob.",
    'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 2 dim: 4 } } }\n'
    'layer { name: "s" type: "Eltwise" bottom: "a" bottom: "b" top: "s" }\n',
    'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "s" type: "Eltwise" bottom: "a" bottom: "b" top: "s" }\n',
)
TOO_MANY_PARAMS = Code(
    "too-many-params",
    "error",
    "More param messages than parameters",
    "Each `param { }` belongs to one parameter of the layer, in order: most often the weight and the bias.",
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" param { lr_mult: 1 } }\n',
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }\n',
)
UNAVAILABLE = Code(
    "unavailable",
    "warning",
    "Shape not known",
    "A file or a Python module that decides the shape of this layer is not there.  The net is checked as "
    "far as that goes; "
    "compiling it needs what is missing.",
    'layer { name: "faces" type: "ImageData" top: "x" top: "y" image_data_param { source: "fases.txt" '
    "batch_size: 10 } }\n",
    'layer { name: "faces" type: "ImageData" top: "x" top: "y" image_data_param { source: "faces.txt" '
    "batch_size: 10 } }\n",
)
