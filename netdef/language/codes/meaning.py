"""The codes of decoding: fields and their values, and the types of layers, fillers, solvers and policies."""

from __future__ import annotations

from ..diagnostics import Code

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
