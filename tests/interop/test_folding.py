"""Folded nets: fewer layers, the same outputs, and layers that cannot be folded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from used_nets import IMAGE, inputs_of, layer, random_model

import netdef
from netdef.cli import main
from netdef.interop import fold, read_weights

EXAMPLES = Path(__file__).parents[2] / "examples"
CONV = layer("Convolution", "convolution_param { num_output: 6 kernel_size: 3 pad: 1 bias_term: false }", top="c")
BIASED = layer("Convolution", "convolution_param { num_output: 6 kernel_size: 3 group: 2 }", top="c")
DEPTHWISE = layer("ConvolutionDepthwise", "convolution_param { num_output: 8 kernel_size: 3 }", top="c")
UP = layer("Deconvolution", "convolution_param { num_output: 6 kernel_size: 2 stride: 2 group: 2 }", top="c")
IP = layer("InnerProduct", "inner_product_param { num_output: 6 }", top="c")
TURNED = layer("InnerProduct", "inner_product_param { num_output: 6 transpose: true bias_term: false }", top="c")
SCALE = "scale_param { bias_term: true }"
RELU = layer("ReLU", "", "c", "c", "relu")


def norm(fields: str = "", bottom: str = "c", top: str = "c") -> str:
    return layer("BatchNorm", f"batch_norm_param {{ {fields} }}", bottom, top, "norm")


def scale(bottom: str = "c", top: str = "c", fields: str = SCALE) -> str:
    return layer("Scale", fields, bottom, top, "scale")


def folded(text: str) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Folds a net and compares the outputs. Returns (layer types before, layer types after, notes)."""
    model = random_model(netdef.load(text, phase="TEST"))
    made = fold(model.net, model.get_weights())
    short = netdef.compile(made.net, weights=made.weights)
    assert set(made.weights) == set(made.net.params)
    inputs = inputs_of(model.net)
    before, after = model(**inputs), short(**inputs)
    assert before.keys() == after.keys()
    for name, array in before.items():
        largest = np.abs(array).max()
        assert largest > 0.1
        np.testing.assert_allclose(after[name], array, rtol=0, atol=1e-5 * largest)
    types = lambda net: [node.type for node in net.layers[1:]]
    return types(model.net), types(made.net), made.notes


@pytest.mark.parametrize("product", [CONV, BIASED, DEPTHWISE, UP, IP, TURNED])
@pytest.mark.parametrize(
    "lines",
    [norm() + scale(), norm("scale_bias: true eps: 0.01"), layer("BN", "bn_param { eps: 0.01 }", "c", "c", "bn")],
    ids=["BVLC", "NVIDIA", "happynear"],
)
def test_three_dialects_behind_every_product(product: str, lines: str):
    before, after, notes = folded(IMAGE + product + lines + RELU)
    assert after == [before[0], "ReLU"]
    assert notes[0].startswith("layer `c`: folded `")


@pytest.mark.parametrize(
    "lines",
    [
        norm("use_weight_bias: true eps: 0.1"),  # Intel
        layer("BN", "bn_param { dialect: YJXIONG }", "c", "c", "bn"),
        layer("BN", "bn_param { decay: 0.9 }", "c", "c", "bn"),
        layer("BN", "bn_param { bn_mode: INFERENCE }", "c", "c", "bn"),  # SegNet
        scale(),
        scale(fields="scale_param { min_value: 0.2 max_value: 0.5 }"),
        layer("Bias", "", "c", "c", "bias"),
        scale() + norm() + layer("Bias", "", "c", "c", "bias"),
        norm(top="n") + scale("n", "s") + layer("ReLU", "", "s", "r"),  # not in place: the last name stays
        norm("use_global_stats: true"),
    ],
)
def test_other_lines(lines: str):
    before, after, _ = folded(IMAGE + CONV + lines)
    assert after == ["Convolution", *(["ReLU"] if "ReLU" in before else [])]


WEIGHT = 'param { name: "w" }'
SHARED = CONV.replace("convolution_param", f"{WEIGHT} convolution_param")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (CONV + norm(top="n") + layer("TanH", "", "c", "t"), "other layers use the output of `c` too"),
        (CONV + norm("use_global_stats: false"), "it uses the statistics of the batch"),
        (CONV + layer("BN", "bn_param { bn_mode: LEARN }", "c", "c", "norm"), "it uses the statistics of the batch"),
        (CONV + RELU + norm(), "it follows `relu`, of type ReLU"),
        (norm(bottom="data"), "it follows `data`, of type Input"),
        (SHARED + SHARED.replace('"c"', '"d"') + norm(), "`c` shares parameters with another layer"),
        (
            CONV + norm("scale_filler { } filler { }") + norm("relu: true").replace('"norm"', '"n"'),
            "it includes a ReLU",
        ),
        (CONV + scale(fields="scale_param { axis: 2 num_axes: 1 }"), "it does not have one value for each channel"),
        (CONV + scale(fields="scale_param { num_axes: 0 }"), "it does not have one value for each channel"),
        (layer("InnerProduct", "inner_product_param { num_output: 5 axis: 2 }", top="c") + norm(), "it follows `c`"),
        (layer("InnerProduct", "inner_product_param { num_output: 5 normalize: true }", top="c") + norm(), "follows"),
    ],
)
def test_what_stays(text: str, why: str):
    before, after, notes = folded(IMAGE + text)
    kept = [kind for kind in before if kind in ("BatchNorm", "BN", "Scale")]
    assert kept[-1:] == [kind for kind in after if kind in ("BatchNorm", "BN", "Scale")][-1:]
    assert [note for note in notes if " is not folded: " in note and why in note], notes


def test_a_factor_of_zero_is_a_variance_of_zero():
    model = random_model(netdef.load(IMAGE + CONV + norm("eps: 0.5"), phase="TEST"))
    weights = {**model.get_weights(), "norm": [np.array(a) for a in model.get_weights()["norm"]]}
    weights["norm"][2] *= 0
    model.set_weights(weights)
    made = fold(model.net, weights)
    inputs = inputs_of(model.net)
    got = netdef.compile(made.net, weights=made.weights)(**inputs)
    np.testing.assert_allclose(got["c"], model(**inputs)["c"], rtol=1e-5, atol=1e-5)


FOLDED = """name: "Net"
layer {
  name: "data"
  type: "Input"
  top: "data"
  input_param {
    shape { dim: 2 dim: 4 dim: 9 dim: 8 }
  }
}
layer {
  name: "c"
  type: "Convolution"
  bottom: "data"
  top: "c"
  convolution_param { kernel_size: 3 pad: 1 num_output: 6 }
}
layer {
  name: "relu"
  type: "ReLU"
  bottom: "c"
  top: "c"
}
layer {
  name: "p"
  type: "Pooling"
  bottom: "c"
  top: "p"
  pooling_param { kernel_size: 2 }
}
"""


def test_everything_else_stays_as_it_was():
    text = IMAGE + CONV + norm() + scale() + RELU + layer("Pooling", "pooling_param { kernel_size: 2 }", "c", "p")
    net = netdef.load(text, phase="TEST")
    weights = random_model(net).get_weights()
    made = fold(net, weights)
    assert made.net.text == FOLDED
    assert (made.net.inputs, made.net.outputs) == (net.inputs, net.outputs)
    assert netdef.load(made.net.text, phase="TEST").params == {"c": [(6, 4, 3, 3), (6,)]}
    again = fold(made.net, made.weights)
    assert again.net.text == made.net.text and again.notes == ()


def test_wrong_input():
    text = "force_backward: true " + IMAGE + CONV + norm()
    with pytest.raises(netdef.NetdefError, match="is of phase TRAIN, but only a net of phase TEST can be folded"):
        fold(netdef.load(text), {})
    with pytest.raises(netdef.NetdefError, match="folding needs the weights of layer `norm`"):
        fold(netdef.load(text, phase="TEST"), {"c": [np.zeros((6, 4, 3, 3))]})


def test_an_example():
    """face_bn with statistics of one training batch."""
    net = netdef.deploy(EXAMPLES / "face_bn.net", shapes={"data": (4, 1, 24, 24)}, outputs=["conv4b"], fillers=True)
    learning = netdef.compile("force_backward: true\n" + net.text, phase="TRAIN", seed=1)
    learning(**inputs_of(net, 4))
    model = netdef.compile(net, weights=learning.get_weights())
    made = fold(net, model.get_weights())
    assert (len(net.layers), len(made.net.layers)) == (22, 18)
    inputs = inputs_of(net, 4)
    before, after = model(**inputs)["conv4b"], netdef.compile(made.net, weights=made.weights)(**inputs)["conv4b"]
    assert before.max() > 0.1
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-5)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    text = IMAGE + CONV + norm() + scale() + RELU
    model = random_model(netdef.load(text, phase="TEST"))
    (tmp_path / "net.prototxt").write_text(text)
    model.save_weights(tmp_path / "w.caffemodel")
    net, weights = tmp_path / "folded.net", tmp_path / "folded.caffemodel"
    words = ["deploy", str(tmp_path / "net.prototxt"), "--weights", str(tmp_path / "w.caffemodel"), "--fold"]
    assert main([*words, "-o", str(net), "--save-weights", str(weights)]) == 0
    said = capsys.readouterr().err
    assert "layer `c`: folded `norm`, `scale` into it" in said and "5 layers became 3" in said
    short = netdef.compile(net, weights=weights)
    inputs = inputs_of(model.net)
    np.testing.assert_allclose(short(**inputs)["c"], model(**inputs)["c"], rtol=1e-4, atol=1e-4)
    assert main([*words, "-o", str(net), "--save-weights", str(tmp_path / "f.safetensors"), "--dtype", "bf16"]) == 0
    halved = read_weights(tmp_path / "f.safetensors")["c"][0]
    exact = read_weights(weights)["c"][0]
    assert 0 < np.abs(halved - exact).max() <= 2**-8 * np.abs(exact).max()
    for more, code, why in [
        ([], 2, "--save-weights FILE"),
        (["--save-weights", "f.txt"], 2, "f.txt: the name of a weight file must end in one of"),
        (["--save-weights", str(tmp_path / "f.npz"), "--dtype", "bf16"], 1, "not bfloat16"),
        (["--save-weights", str(tmp_path / "w.caffemodel" / "f.npz")], 1, "cannot be written"),
    ]:
        assert main([*words, "-o", str(tmp_path / "none.net"), *more]) == code
        assert why in capsys.readouterr().err
    assert not (tmp_path / "none.net").exists()
    assert main(["deploy", str(tmp_path / "net.prototxt"), "--fold", "--save-weights", "f.npz"]) == 2
    assert "this net has no runs" in capsys.readouterr().err


SSD = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 24, 24] } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
        convolution_param { num_output: 6 kernel_size: 4 stride: 4 bias_term: false } }
layer { name: "norm" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "scale" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "l" type: "Convolution" bottom: "c" top: "l" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "lp" type: "Permute" bottom: "l" top: "lp" permute_param { order: [0, 2, 3, 1] } }
layer { name: "loc" type: "Flatten" bottom: "lp" top: "loc" }
layer { name: "s" type: "Convolution" bottom: "c" top: "s" convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "s_norm" type: "BatchNorm" bottom: "s" top: "s" batch_norm_param { scale_bias: true } }
layer { name: "sp" type: "Permute" bottom: "s" top: "sp" permute_param { order: [0, 2, 3, 1] } }
layer { name: "sr" type: "Reshape" bottom: "sp" top: "sr" reshape_param { shape { dim: [0, -1, 3] } } }
layer { name: "ss" type: "Softmax" bottom: "sr" top: "ss" softmax_param { axis: 2 } }
layer { name: "conf" type: "Flatten" bottom: "ss" top: "conf" }
layer { name: "priors" type: "PriorBox" bottom: "c" bottom: "data" top: "priors" prior_box_param { min_size: 6 } }
layer { name: "found" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "found"
        detection_output_param { num_classes: 3 code_type: CENTER_SIZE confidence_threshold: 0.2 keep_top_k: 9
                                 nms_param { nms_threshold: 0.3 top_k: 20 } } }
"""


def test_a_detector():
    """PriorBox reads only the shape of a folded layer, so it does not keep it from being folded."""
    before, after, notes = folded(SSD)
    assert len(notes) == 2 and [kind for kind in before if kind not in ("BatchNorm", "Scale")] == after
