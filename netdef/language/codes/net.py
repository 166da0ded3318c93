"""The codes of a whole net: which layers are in it, how they are connected, and their shapes."""

from __future__ import annotations

from ..diagnostics import Code

EMPTY = Code(
    "empty-file",
    "error",
    "Empty file",
    "A file has at least one layer, solver field or definition. It may have been truncated, or not have been saved.",
    "# no layers\n",
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n',
)
INCLUDE_AND_EXCLUDE = Code(
    "include-and-exclude",
    "error",
    "Both include and exclude",
    "A layer has either rules that include it or rules that exclude it. Caffe rejects a layer with both.",
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" include { phase: TRAIN } exclude { stage: "deploy" } }\n',
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" include { phase: TRAIN not_stage: "deploy" } }\n',
)
UNKNOWN_BOTTOM = Code(
    "unknown-bottom",
    "error",
    "Unknown bottom",
    "A layer can use only blobs that an earlier layer outputs in the same phase. Look for a misspelled name, or "
    "for a layer whose `include` rules leave it out of this phase.",
    'layer { name: "x" type: "Input" top: "conv1" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "con1" top: "r" }\n',
    'layer { name: "x" type: "Input" top: "conv1" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "conv1" top: "r" }\n',
)
DOUBLE_TOP = Code(
    "double-top",
    "error",
    "Two layers output the same blob",
    "Each blob is the output of one layer. Another layer may modify it in place: it names the blob both as its "
    "bottom and as its top.",
    'layer { name: "a" type: "ReLU" bottom: "x" top: "y" }\nlayer { name: "b" type: "ReLU" bottom: "x" top: "y" }\n',
    'layer { name: "a" type: "ReLU" bottom: "x" top: "y" }\nlayer { name: "b" type: "ReLU" bottom: "y" top: "y" }\n',
)
WRONG_COUNT = Code(
    "wrong-count",
    "error",
    "Wrong number of blobs",
    "Each layer type has a certain number of bottoms and tops; `netdef explain TYPE` shows them.",
    'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" top: "l" }\n',
    'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "l" }\n',
)
SAME_NAME = Code(
    "same-name",
    "warning",
    "Two layers have the same name",
    "Parameters are saved and loaded by the name of their layer, so layer names should be unique.",
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "a" }\nlayer { name: "r" type: "TanH" bottom: "a" top: "b" }\n',
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "a" }\nlayer { name: "t" type: "TanH" bottom: "a" top: "b" }\n',
)
OVERWRITTEN = Code(
    "overwritten",
    "warning",
    "Overwritten before its gradient is computed",
    "Caffe computes the gradient of ReLU, Sigmoid and TanH from the values in their top. If a later layer works "
    "in place on the same blob, it has replaced these values by then, and the gradient is wrong. netdef computes "
    "the same gradient as Caffe; to correct it, give the later layer its own top.",
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }\nlayer { name: "s" type: "Scale" bottom: "x" top: "x" }\n',
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }\nlayer { name: "s" type: "Scale" bottom: "x" top: "s" }\n',
)

SHAPE_MISMATCH = Code(
    "shape-mismatch",
    "error",
    "Shape mismatch",
    "The layer cannot be applied to inputs of these shapes. `netdef summary` prints the shape of every blob.",
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
    "More param blocks than parameters",
    "Each `param { }` applies to one parameter of the layer, in order: usually the weight, then the bias.",
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" param { lr_mult: 1 } }\n',
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }\n',
)
NOT_RUN = Code(
    "not-run",
    "note",
    "A Python module that has not been run",
    "Checking, drawing or deploying a net never runs code that the file names, so that a file from anywhere can be "
    "opened. The tops of this layer and what follows from them have unknown shapes. --trust-python runs the module, "
    "as training and testing do.",
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "sorted" type: "Python" bottom: "x" top: "y" python_param { module: "jax.numpy" layer: "sort" } }\n',
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "y" type: "ReLU" bottom: "x" top: "y" }\n',
)
OWN_LAYER = Code(
    "own-layer",
    "note",
    "A Python layer of py-faster-rcnn that netdef has itself",
    "The Python layers of py-faster-rcnn change the shapes of their tops at each pass, so their code cannot be part of "
    "a compiled program. netdef computes the same with layers of its own, whose types `netdef explain` describes. The "
    "settings in YAML files of py-faster-rcnn are fields of these types; they can be added to `param_str`, where the "
    "original ignores them.",
    'layer { name: "s" type: "Input" top: "s" input_param { shape { dim: 1 dim: 18 dim: 3 dim: 4 } } }\n'
    'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 36 dim: 3 dim: 4 } } }\n'
    'layer { name: "i" type: "Input" top: "i" input_param { shape { dim: 1 dim: 3 } } }\n'
    'layer { name: "p" type: "Python" bottom: "s" bottom: "d" bottom: "i" top: "rois" python_param { '
    'module: "rpn.proposal_layer" layer: "ProposalLayer" param_str: "\'feat_stride\': 16" } }\n',
    'layer { name: "s" type: "Input" top: "s" input_param { shape { dim: 1 dim: 18 dim: 3 dim: 4 } } }\n'
    'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 36 dim: 3 dim: 4 } } }\n'
    'layer { name: "i" type: "Input" top: "i" input_param { shape { dim: 1 dim: 3 } } }\n'
    'layer { name: "p" type: "ProposalLayer" bottom: "s" bottom: "d" bottom: "i" top: "rois" }\n',
)
UNAVAILABLE = Code(
    "unavailable",
    "warning",
    "Unknown shape",
    "A file or a Python module that determines the shape of this layer is missing. The net is checked as far as "
    "possible; compiling it requires the missing file or module.",
    'layer { name: "faces" type: "ImageData" top: "x" top: "y" image_data_param { source: "fases.txt" '
    "batch_size: 10 } }\n",
    'layer { name: "faces" type: "ImageData" top: "x" top: "y" image_data_param { source: "faces.txt" '
    "batch_size: 10 } }\n",
)
