"""The codes of the decoder: fields and their values, and the types of layers, fillers, solvers and policies."""

from __future__ import annotations

from ..diagnostics import Code

UNKNOWN_FIELD = Code(
    "unknown-field",
    "error",
    "Unknown field",
    "Each block has a fixed set of fields, and this is not one of them. `netdef explain TYPE` lists the fields of "
    "a layer type.",
    'layer { name: "relu" type: "ReLU" botom: "x" top: "x" }\n',
    'layer { name: "relu" type: "ReLU" bottom: "x" top: "x" }\n',
)
MISSING_FIELD = Code(
    "missing-field",
    "error",
    "Missing field",
    "Some fields, such as the number of outputs, have no default because no value would suit every net.",
    'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" }\n',
    'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 10 } }\n',
)
GIVEN_TWICE = Code(
    "given-twice",
    "error",
    "Field given twice",
    "This field has a single value. Caffe rejects such a file as well; delete the value you do not want.",
    'name: "net"\nname: "network"\n',
    'name: "net"\n',
)
WRONG_TYPE = Code(
    "wrong-type",
    "error",
    "Wrong type of value",
    "Numbers, booleans and enum values are written without quotes, strings with quotes, and blocks as `{ ... }`.",
    'base_lr: "0.1"\n',
    "base_lr: 0.1\n",
)
WRONG_ENUM = Code(
    "wrong-enum",
    "error",
    "Not an allowed value",
    "The field accepts only a few fixed values. Enum values are written in capitals as listed, or as numbers.",
    'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { pool: AVERAGE kernel_size: 2 } }\n',
    'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { pool: AVE kernel_size: 2 } }\n',
)
OUT_OF_RANGE = Code(
    "out-of-range",
    "error",
    "Out of range",
    "The number is outside the range that the field allows, for example a stride of 0 or a negative size.",
    'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { kernel_size: 2 stride: 0 } }\n',
    'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { kernel_size: 2 stride: 1 } }\n',
)
NO_EFFECT = Code(
    "no-effect",
    "warning",
    "No effect",
    "The field is valid in Caffe's files, but nothing reads it here, so the setting is lost. Most often the block "
    "belongs to another layer type, or the type of the layer was changed but its block was not.",
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" pooling_param { kernel_size: 2 } }\n',
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "r" type: "ReLU" bottom: "x" top: "x" }\n',
)
UNKNOWN_LAYER_TYPE = Code(
    "unknown-layer-type",
    "error",
    "Unknown layer type",
    "No layer type has this name. Types are written as in Caffe, with capitals: InnerProduct, SoftmaxWithLoss. "
    "Custom types are loaded with `--plugin MODULE` or by an entry point of the group `netdef.layers`.",
    'layer { name: "c" type: "Convolutional" bottom: "x" top: "c" }\n',
    'layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 8 kernel_size: 3 } }\n',
)
UNKNOWN_TYPE_ELSEWHERE = Code(
    "unknown-type-elsewhere",
    "warning",
    "Unknown layer type outside this net",
    "No layer type has this name, but the layer is not part of the net that is built: its rules exclude it from "
    "this phase, level and stage. Like Caffe, netdef requires only the types of the layers that it builds. This "
    "net can be built; one with this layer cannot.",
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "s" type: "Spy" bottom: "x" top: "s" include { stage: "debug" } }\n',
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    'layer { name: "s" type: "TanH" bottom: "x" top: "s" include { stage: "debug" } }\n',
)
UNKNOWN_FILLER = Code(
    "unknown-filler",
    "error",
    "Unknown filler",
    "A filler sets the initial values of a parameter; `netdef explain` lists all fillers.",
    'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" '
    'inner_product_param { num_output: 2 weight_filler { type: "xaviar" } } }\n',
    'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" '
    'inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }\n',
)
UNKNOWN_SOLVER = Code(
    "unknown-solver",
    "error",
    "Unknown solver",
    "`type` is the name of the update rule: SGD, Nesterov, AdaGrad, RMSProp, AdaDelta or Adam as in Caffe, and "
    "some more; `netdef explain` lists them.",
    'solver { type: "Adan" base_lr: 0.001 lr_policy: "fixed" }\n',
    'solver { type: "Adam" base_lr: 0.001 lr_policy: "fixed" }\n',
)
UNKNOWN_POLICY = Code(
    "unknown-policy",
    "error",
    "Unknown learning rate policy",
    "`lr_policy` is the name of the formula for the learning rate: fixed, step, exp, inv, multistep, poly or "
    "sigmoid as in Caffe, and some more; `netdef explain` lists them.",
    'solver { base_lr: 0.1 lr_policy: "steps" gamma: 0.1 stepsize: 1000 }\n',
    'solver { base_lr: 0.1 lr_policy: "step" gamma: 0.1 stepsize: 1000 }\n',
)
