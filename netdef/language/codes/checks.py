"""The codes of what is allowed and probably not meant: warnings about a whole net, and about its solver."""

from __future__ import annotations

from ..diagnostics import Code

_DATA = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [4, 3, 8, 8] } } }\n'
_LABEL = 'layer { name: "y" type: "Input" top: "y" input_param { shape { dim: 4 } } }\n'
_IP = (
    'layer { name: "ip" type: "InnerProduct" bottom: "%s" top: "ip"\n'
    '        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }\n'
)
_LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "%s" bottom: "y" top: "loss" }\n'
_CONV = (
    'layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"\n'
    '        convolution_param { num_output: 4 kernel_size: 3 bias_term: %s weight_filler { type: "msra" } } }\n'
)
_NET = _DATA + _LABEL + _IP % "x" + _LOSS % "ip"
_BN = 'layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }\n'
_SCALE = 'layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }\n'
_RELU = 'layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }\n'
_END = _IP % "conv" + _LOSS % "ip"
_IMAGES = (
    'layer { name: "faces" type: "ImageData" top: "x" top: "y" image_data_param { source: "faces.txt" '
    "batch_size: 10 } }\n"
    + _IP % "x"
    + _LOSS % "ip"
    + 'layer { name: "right" type: "Accuracy" bottom: "ip" bottom: "y" top: "right" include { phase: TEST } }\n'
)

UNUSED_TOP = Code(
    "unused-top",
    "warning",
    "Nothing takes this blob",
    "In a net with a loss, a blob that no layer takes is computed for nothing, and most often a name is "
    "misspelt below. "
    "A Silence layer takes blobs that are left over on purpose.",
    _NET + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }\n',
    _NET + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" include { phase: TEST } }\n'
    'layer { name: "seen" type: "Silence" bottom: "prob" include { phase: TEST } }\n',
)
ALIKE_NAMES = Code(
    "alike-names",
    "warning",
    "Almost the name of another blob",
    "Nothing takes this blob, and its name differs from that of another blob by one slip of the hand.  Most often a "
    "layer should work in place and makes a blob of its own, which nobody reads.",
    _DATA + _LABEL + _CONV % "true" + 'layer { name: "relu" type: "ReLU" bottom: "conv" top: "Conv" }\n' + _END,
    _DATA + _LABEL + _CONV % "true" + _RELU + _END,
)
BATCH_NORM_WITHOUT_SCALE = Code(
    "batch-norm-without-scale",
    "warning",
    "BatchNorm without Scale",
    "BVLC's BatchNorm only takes the mean off and divides by the deviation.  The scale and the shift that the method "
    "learns for each channel are in a Scale layer of their own; without it a ReLU behind always cuts half of the "
    "values.  NVIDIA's `batch_norm_param { scale_bias: true }` has both in one layer.",
    _DATA + _LABEL + _CONV % "false" + _BN + _RELU + _END,
    _DATA + _LABEL + _CONV % "false" + _BN + _SCALE + _RELU + _END,
)
BIAS_BEFORE_NORM = Code(
    "bias-before-norm",
    "warning",
    "A bias that is normalised away",
    "Batch normalisation takes the mean off each channel, and with it whatever a bias has added.  The bias costs time "
    "and memory and learns nothing; the shift of the Scale layer does its work.",
    _DATA + _LABEL + _CONV % "true" + _BN + _SCALE + _RELU + _END,
    _DATA + _LABEL + _CONV % "false" + _BN + _SCALE + _RELU + _END,
)
TRAINED_STATISTICS = Code(
    "trained-statistics",
    "warning",
    "Statistics that the solver would change",
    "The stored mean and variance of batch normalisation follow the batches.  A learning rate for them would add "
    "weight decay and momentum to that.  netdef never trains them; BVLC's Caffe refuses such a file, and forks do as "
    "they are told.",
    _DATA + _LABEL + _CONV % "false" + _BN.replace(" }", " param { lr_mult: 1 } }") + _SCALE + _RELU + _END,
    _DATA + _LABEL + _CONV % "false" + _BN.replace(" }", " param { lr_mult: 0 } }") + _SCALE + _RELU + _END,
)
ACTIVATION_TWICE = Code(
    "activation-twice",
    "warning",
    "The loss applies this itself",
    "SoftmaxWithLoss is a Softmax and its loss in one, SigmoidCrossEntropyLoss a Sigmoid and its loss.  With another "
    "one before it, scores are bent twice: the loss stays high, and its gradient is nearly flat.",
    _DATA + _LABEL + _IP % "x" + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }\n' + _LOSS % "prob",
    _NET,
)
ACTIVATION_BEFORE_LOSS = Code(
    "activation-before-loss",
    "warning",
    "An activation before the loss",
    "The loss takes scores of any size and either sign.  A ReLU, Sigmoid or TanH on them takes away what they could "
    "say: behind a ReLU no class can be told less likely than one of score 0, and no gradient comes from there.",
    _DATA + _LABEL + _IP % "x" + 'layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }\n' + _LOSS % "ip",
    _NET,
)
ZERO_WEIGHTS = Code(
    "zero-weights",
    "warning",
    "Weights that begin at 0",
    'Without a filler weights are 0, as in Caffe (`type: "constant"`).  Where two layers or more are so, no gradient '
    "comes through and nothing is ever learned.  It is right only if all of them are loaded from a file.",
    _DATA
    + _LABEL
    + 'layer { name: "fc1" type: "InnerProduct" bottom: "x" top: "fc1" inner_product_param { num_output: 5 } }\n'
    + 'layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2" inner_product_param { num_output: 2 } }\n'
    + _LOSS % "fc2",
    _NET,
)
DROPS_EVERYTHING = Code(
    "drops-everything",
    "warning",
    "A dropout of everything",
    "`dropout_ratio` is the part that is dropped, not the part that is kept: at 1 the layer gives zeros in training, "
    "and no gradient comes through it.",
    _DATA + 'layer { name: "drop" type: "Dropout" bottom: "x" top: "x" dropout_param { dropout_ratio: 1 } }\n',
    _DATA + 'layer { name: "drop" type: "Dropout" bottom: "x" top: "x" dropout_param { dropout_ratio: 0.5 } }\n',
)
STEP_AFTER_END = Code(
    "step-after-end",
    "warning",
    "A step that is never reached",
    "The learning rate falls at this iteration, and the run ends before.  One of both numbers is not what was meant.",
    _NET + 'solver { base_lr: 0.1 lr_policy: "multistep" gamma: 0.1 stepvalue: [400, 8000] max_iter: 1000 }\n',
    _NET + 'solver { base_lr: 0.1 lr_policy: "multistep" gamma: 0.1 stepvalue: [400, 800] max_iter: 1000 }\n',
)
TEST_SIZE = Code(
    "test-size",
    "warning",
    "Tests that do not fit the test set",
    "A test takes `test_iter` batches, whatever the size of the test set.  With too few of them some records are never "
    "seen (and each test sees others), with too many some count twice.  `test_iter` times the batch size should be the "
    "number of records.",
    _IMAGES + 'solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 10 test_iter: 4 test_interval: 5 }  # of 20 images\n',
    _IMAGES + 'solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 10 test_iter: 2 test_interval: 5 }  # of 20 images\n',
)
NO_ACCURACY = Code(
    "no-accuracy",
    "warning",
    "Tests tell the loss alone",
    "The solver tests a net that tells classes apart, and no layer in phase TEST says how often it is right.",
    _NET + 'solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 10 test_iter: 2 test_interval: 5 }\n',
    _NET
    + 'layer { name: "right" type: "Accuracy" bottom: "ip" bottom: "y" top: "right" include { phase: TEST } }\n'
    + 'solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 10 test_iter: 2 test_interval: 5 }\n',
)
