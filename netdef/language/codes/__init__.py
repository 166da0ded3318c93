"""The catalogue of everything that netdef can find wrong with a file: one `Code` per kind of fault.

To add one: write a module constant in the section of its stage, with a name in kebab-case that users will see, a
summary of a few fixed words, one paragraph of `why`, and the smallest files that show it: `wrong` and `right`.
Nothing else has to be told: `netdef explain` and the tests find it in `catalogue()`.
"""

from __future__ import annotations

from ..diagnostics import Code
from .check import *  # noqa: F403 - warnings about a whole net
from .language import *  # noqa: F403 - syntax and expansion


def catalogue() -> dict[str, Code]:
    """All codes by name."""
    return {code.name: code for code in globals().values() if isinstance(code, Code)}


# Meaning: fields and their values

UNKNOWN_FIELD = Code(
    "unknown-field",
    "error",
    "Unknown field",
    "Every message has a fixed set of fields, and this is none of them.  `netdef explain TYPE` lists "
    "those of a layer type.",
    'layer { name: "relu" type: "ReLU" botom: "x" top: "x" }\n',
    'layer { name: "relu" type: "ReLU" bottom: "x" top: "x" }\n',
)
MISSING_FIELD = Code(
    "missing-field",
    "error",
    "Missing field",
    "Some fields have no default, because no value would be right for every net: the number of outputs, say.",
    'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" }\n',
    'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 10 } }\n',
)
GIVEN_TWICE = Code(
    "given-twice",
    "error",
    "Given twice",
    "The field takes one value.  Caffe refuses such a file as well; delete the value that is not meant.",
    'name: "net"\nname: "network"\n',
    'name: "net"\n',
)
WRONG_TYPE = Code(
    "wrong-type",
    "error",
    "Wrong type of value",
    "Numbers stand bare, texts in quotes, the words of an enum bare, and messages in braces.",
    'base_lr: "0.1"\n',
    "base_lr: 0.1\n",
)
WRONG_ENUM = Code(
    "wrong-enum",
    "error",
    "Not one of the allowed words",
    "The field takes one of a few fixed words, in capitals as listed, or the word's number.",
    'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { pool: AVERAGE kernel_size: 2 } }\n',
    'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { pool: AVE kernel_size: 2 } }\n',
)
OUT_OF_RANGE = Code(
    "out-of-range",
    "error",
    "Out of range",
    "The value is a number of the right kind and has no meaning here: a stride of 0, a negative size.",
    'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { kernel_size: 2 stride: 0 } }\n',
    'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { kernel_size: 2 stride: 1 } }\n',
)
NO_EFFECT = Code(
    "no-effect",
    "warning",
    "Without effect",
    "The field is valid in Caffe's files and nothing reads it where it stands, so the setting is lost.  Most often the "
    "block belongs to another layer type, or the type of the layer was changed and its block was not.",
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" pooling_param { kernel_size: 2 } }\n',
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }\n',
)
UNKNOWN_LAYER_TYPE = Code(
    "unknown-layer-type",
    "error",
    "Unknown layer type",
    "No layer type has this name.  Types are written as in Caffe, with capitals: InnerProduct, "
    "SoftmaxWithLoss.  Types of "
    "your own are loaded with `--plugin MODULE` or by an entry point of the group `netdef.layers`.",
    'layer { name: "c" type: "Convolutional" bottom: "x" top: "c" }\n',
    'layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 8 kernel_size: 3 } }\n',
)
UNKNOWN_TYPE_ELSEWHERE = Code(
    "unknown-type-elsewhere",
    "warning",
    "Unknown layer type in another net of the file",
    "No layer type has this name, and the layer is not in the net that is built: its rules leave it out of this phase, "
    "level and stage.  Caffe looks at the types of the net's own layers alone, so this one is built; the other is not.",
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "s" type: "Spy" bottom: "x" top: "s" include { stage: "debug" } }\n',
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "s" type: "TanH" bottom: "x" top: "s" include { stage: "debug" } }\n',
)
UNKNOWN_FILLER = Code(
    "unknown-filler",
    "error",
    "Unknown filler",
    "A filler says how a parameter is filled before training; `netdef explain` lists them.",
    'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" '
    'inner_product_param { num_output: 2 weight_filler { type: "xaviar" } } }\n',
    'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" '
    'inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }\n',
)
UNKNOWN_SOLVER = Code(
    "unknown-solver",
    "error",
    "Unknown solver",
    "`type` names the update rule: SGD, Nesterov, AdaGrad, RMSProp, AdaDelta or Adam as in Caffe, and some more; "
    "`netdef explain` lists them.",
    'solver { type: "Adan" base_lr: 0.001 lr_policy: "fixed" }\n',
    'solver { type: "Adam" base_lr: 0.001 lr_policy: "fixed" }\n',
)
UNKNOWN_POLICY = Code(
    "unknown-policy",
    "error",
    "Unknown learning-rate policy",
    "`lr_policy` names the formula by which the learning rate goes: fixed, step, exp, inv, multistep, "
    "poly or sigmoid as in "
    "Caffe, and some more; `netdef explain` lists them.",
    'solver { base_lr: 0.1 lr_policy: "steps" gamma: 0.1 stepsize: 1000 }\n',
    'solver { base_lr: 0.1 lr_policy: "step" gamma: 0.1 stepsize: 1000 }\n',
)

# The net: which layers, and how they are joined

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

# Shapes

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
