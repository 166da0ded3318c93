"""The codes of warnings about a whole net and its solver: what is allowed but probably not intended."""

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
_PRIORS = (
    'layer { name: "boxes" type: "PriorBox" bottom: "x" bottom: "x" top: "boxes" prior_box_param { min_size: %s } }\n'
)
_IMAGES = (
    'layer { name: "faces" type: "ImageData" top: "x" top: "y" image_data_param { source: "faces.txt" '
    "batch_size: 10 } }\n"
    + _IP % "x"
    + _LOSS % "ip"
    + 'layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "y" top: "accuracy" include { phase: TEST } }\n'
)

UNUSED_TOP = Code(
    "unused-top",
    "warning",
    "Unused blob",
    "In a net with a loss, a blob that no layer uses is computed for nothing. Most often its name is misspelled "
    "in a later layer. If it is intended, add a Silence layer that uses the blob.",
    _NET + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }\n',
    _NET + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" include { phase: TEST } }\n'
    'layer { name: "silence" type: "Silence" bottom: "prob" include { phase: TEST } }\n',
)
ALIKE_NAMES = Code(
    "alike-names",
    "warning",
    "Possibly misspelled blob name",
    "No layer uses this blob, and its name is one typing error away from the name of another blob. Most often a "
    "layer was meant to work in place, but outputs a new blob that no layer uses.",
    _DATA + _LABEL + _CONV % "true" + 'layer { name: "relu" type: "ReLU" bottom: "conv" top: "Conv" }\n' + _END,
    _DATA + _LABEL + _CONV % "true" + _RELU + _END,
)
BATCH_NORM_WITHOUT_SCALE = Code(
    "batch-norm-without-scale",
    "warning",
    "BatchNorm without Scale",
    "BVLC's BatchNorm only subtracts the mean and divides by the standard deviation. The learned scale and shift "
    "of each channel are in a separate Scale layer; without it, a ReLU that follows always sets about half of the "
    "values to 0. NVIDIA's `batch_norm_param { scale_bias: true }` does both in one layer.",
    _DATA + _LABEL + _CONV % "false" + _BN + _RELU + _END,
    _DATA + _LABEL + _CONV % "false" + _BN + _SCALE + _RELU + _END,
)
BIAS_BEFORE_NORM = Code(
    "bias-before-norm",
    "warning",
    "Bias removed by batch normalization",
    "Batch normalization subtracts the mean of each channel, and with it any bias that was added before. Such a "
    "bias costs time and memory and learns nothing; the shift of the Scale layer replaces it.",
    _DATA + _LABEL + _CONV % "true" + _BN + _SCALE + _RELU + _END,
    _DATA + _LABEL + _CONV % "false" + _BN + _SCALE + _RELU + _END,
)
TRAINED_STATISTICS = Code(
    "trained-statistics",
    "warning",
    "Learning rate for stored statistics",
    "The stored mean and variance of batch normalization are averages over the batches. With a learning rate, the "
    "solver would also apply weight decay and momentum to them. netdef never trains them; BVLC's Caffe rejects "
    "such a file, and some forks apply the learning rate.",
    _DATA + _LABEL + _CONV % "false" + _BN.replace(" }", " param { lr_mult: 1 } }") + _SCALE + _RELU + _END,
    _DATA + _LABEL + _CONV % "false" + _BN.replace(" }", " param { lr_mult: 0 } }") + _SCALE + _RELU + _END,
)
ACTIVATION_TWICE = Code(
    "activation-twice",
    "warning",
    "Activation applied twice",
    "SoftmaxWithLoss includes the Softmax, and SigmoidCrossEntropyLoss the Sigmoid. If another one precedes the "
    "loss, the activation is applied twice: the loss stays high, and its gradient is almost zero.",
    _DATA + _LABEL + _IP % "x" + 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }\n' + _LOSS % "prob",
    _NET,
)
ACTIVATION_BEFORE_LOSS = Code(
    "activation-before-loss",
    "warning",
    "An activation before the loss",
    "The loss expects scores of any size and sign. A ReLU, Sigmoid or TanH restricts them: after a ReLU, no class "
    "can score below 0, and a score of 0 receives no gradient.",
    _DATA + _LABEL + _IP % "x" + 'layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }\n' + _LOSS % "ip",
    _NET,
)
ZERO_WEIGHTS = Code(
    "zero-weights",
    "warning",
    "Weights initialized to 0",
    'Without a filler, weights are 0, as in Caffe (`type: "constant"`). If two or more layers start this way, no '
    "gradient passes through them and nothing is learned. This is correct only if all of them are loaded from a "
    "file.",
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
    "Dropout of all values",
    "`dropout_ratio` is the fraction that is dropped, not the fraction that is kept. At 1, the layer outputs "
    "zeros in training, and no gradient passes through it.",
    _DATA + 'layer { name: "drop" type: "Dropout" bottom: "x" top: "x" dropout_param { dropout_ratio: 1 } }\n',
    _DATA + 'layer { name: "drop" type: "Dropout" bottom: "x" top: "x" dropout_param { dropout_ratio: 0.5 } }\n',
)
AS_IN_FORK = Code(
    "as-in-fork",
    "warning",
    "A field that does not do what it says",
    "The fork of Caffe that introduced this layer computes something else than the field says. netdef computes the "
    "same as the fork, because the weights of trained nets depend on it.",
    _DATA + _PRIORS % "30.5",
    _DATA + _PRIORS % "30",
)
STEP_AFTER_END = Code(
    "step-after-end",
    "warning",
    "A step that is never reached",
    "The learning rate would change at this iteration, but the run ends before it. One of the two numbers is "
    "probably wrong.",
    _NET + 'solver { base_lr: 0.1 lr_policy: "multistep" gamma: 0.1 stepvalue: [400, 8000] max_iter: 1000 }\n',
    _NET + 'solver { base_lr: 0.1 lr_policy: "multistep" gamma: 0.1 stepvalue: [400, 800] max_iter: 1000 }\n',
)
TEST_SIZE = Code(
    "test-size",
    "warning",
    "Tests do not match the test set",
    "A test runs `test_iter` batches, whatever the size of the test set. With too few batches, each test misses "
    "some records (and not always the same ones); with too many, some records count twice. `test_iter` times the "
    "batch size should be the number of records. Without `test_iter`, each record counts exactly once.",
    _IMAGES + 'solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 10 test_iter: 4 test_interval: 5 }  # of 20 images\n',
    _IMAGES + 'solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 10 test_iter: 2 test_interval: 5 }  # of 20 images\n',
)
RANDOM_TEST = Code(
    "random-test",
    "warning",
    "Tests on images that are changed at random",
    "The data layers of Caffe mirror images in phase TEST, too, if `transform_param` says so, and those of its forks "
    "resize or crop them at random; scores then depend on chance. Give each phase a data layer of its own, the one of "
    "TEST without these fields. netdef's own data layers change images at random in phase TRAIN only.",
    _IMAGES.replace("batch_size: 10 }", "batch_size: 10 }\n        transform_param { mirror: true }"),
    _IMAGES.splitlines()[0].replace("batch_size: 10 }", "batch_size: 10 } include { phase: TEST }")
    + "\n"
    + _IMAGES.replace(
        "batch_size: 10 }", "batch_size: 10 }\n        transform_param { mirror: true } include { phase: TRAIN }"
    ),
)
NO_LOSS = Code(
    "no-loss",
    "warning",
    "No loss",
    "A solver minimizes the sum of the losses of the net of phase TRAIN: the tops of its loss layers, and other tops "
    "with a `loss_weight`. Without any, all gradients are 0 and nothing is learned, so `netdef train` refuses it.",
    _DATA + _LABEL + _IP % "x" + 'solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 10 }\n',
    _NET + 'solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 10 }\n',
)
NO_ACCURACY = Code(
    "no-accuracy",
    "warning",
    "Tests report only the loss",
    "The solver tests a classifier, but no layer in phase TEST measures how often it is correct.",
    _NET + 'solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 10 test_iter: 2 test_interval: 5 }\n',
    _NET
    + 'layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "y" top: "accuracy" include { phase: TEST } }\n'
    + 'solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 10 test_iter: 2 test_interval: 5 }\n',
)
_PEOPLE = (
    'layer { name: "people" type: "ImageFolder" top: "x" top: "y" image_folder_param { source: "people" '
    "batch_size: 10 } }\n"
    'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"\n'
    '        inner_product_param { num_output: %s weight_filler { type: "xavier" } } }\n' + _LOSS % "ip"
)
CLASS_COUNT = Code(
    "class-count",
    "warning",
    "Another number of classes than the data",
    "The data layer counts the subfolders of its folder, which are the classes. With fewer scores than classes, a "
    "run ends "
    "at the first label that has no score; with more than twice as many, the number is probably that of other data. "
    "In a "
    'net that follows the data, write `let people: classes("people")` and `num_output: ${people}`.',
    _PEOPLE % "10",
    _PEOPLE % '${classes("people")}',
)
