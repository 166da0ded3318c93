"""Export to ONNX with jax2onnx: onnxruntime returns the same results as netdef."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from used_nets import IMAGE, inputs_of, layer, random_model

import netdef
from netdef.cli import main

HERE = all(importlib.util.find_spec(name) for name in ("jax2onnx", "onnxruntime"))
needed = pytest.mark.skipif(not HERE, reason="jax2onnx is not installed; pip install jax2onnx onnxruntime")
POOLED = "pooling_param { kernel_size: 3 stride: 2 }"


def session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def export(model: netdef.Model, path: Path, **options: Any) -> None:
    """Exports without the deprecation warnings of jax2onnx and its dependencies."""
    import warnings

    from netdef.interop import export_onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_onnx(model, path, **options)


@needed
@pytest.mark.parametrize(
    "text",
    [
        layer("Convolution", "convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 }")
        + layer("BatchNorm", "", "y", "y", "n")
        + layer("Scale", "scale_param { bias_term: true }", "y", "y", "s")
        + layer("ReLU", "", "y", "y", "r"),
        layer("ConvolutionDepthwise", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }"),
        layer("Convolution", "convolution_param { num_output: 4 kernel_size: 1 }")
        + layer("PReLU", "", "y", "p")
        + layer("Eltwise", "", "y p", "sum")
        + layer("Concat", "", "y sum", "both"),
        layer("Deconvolution", "convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 }"),
        layer("Pooling", POOLED) + layer("Pooling", POOLED.replace("{", "{ pool: AVE pad: 1"), top="z"),
        layer("LRN", "lrn_param { local_size: 3 }") + layer("LRN", "lrn_param { norm_region: WITHIN_CHANNEL }", top="z"),
        layer("InnerProduct", "inner_product_param { num_output: 3 }") + layer("Softmax", "", "y", "prob"),
        layer("Flatten") + layer("Slice", "slice_param { slice_point: 100 }", "y", "a b", "cut") + layer("Sigmoid", "", "a", "z"),
    ],
    ids=["convolution", "depthwise", "joined", "deconvolution", "pooling", "lrn", "softmax", "slices"],
)  # fmt: skip
def test_layers(text: str, tmp_path: Path):
    model = random_model(netdef.load(IMAGE + text, phase="TEST"))
    export(model, tmp_path / "net.onnx")
    run = session(tmp_path / "net.onnx")
    assert [tuple(i.shape) for i in run.get_inputs()] == [("batch", 4, 9, 8)]
    assert [o.name for o in run.get_outputs()] == list(model.net.outputs)
    for batch in (1, 3):
        inputs = inputs_of(model.net, batch)
        wanted = model(**inputs)
        for name, got in zip(model.net.outputs, run.run(None, inputs), strict=True):
            np.testing.assert_allclose(got, wanted[name], rtol=1e-4, atol=1e-4)


BLOCK = (
    layer("Convolution", "convolution_param { num_output: 6 kernel_size: 3 pad: 1 }", top="c1")
    + layer("BatchNorm", "", "c1", "c1", "n1")
    + layer("Scale", "scale_param { bias_term: true }", "c1", "c1", "s1")
    + layer("ReLU", "", "c1", "c1", "r1")
    + layer("Convolution", "convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 6 }", "c1", "c2")
    + layer("Convolution", "convolution_param { num_output: 6 kernel_size: 1 bias_term: false }", "c2", "c3")
    + layer("BatchNorm", "", "c3", "c3", "n3")
    + layer("Eltwise", "", "c1 c3", "sum")
    + layer("Pooling", POOLED, "sum", "pooled")
    + layer("InnerProduct", "inner_product_param { num_output: 3 }", "pooled")
)


def operations(path: Path) -> Counter[str]:
    import onnx

    return Counter(node.op_type for node in onnx.load(str(path)).graph.node)


@needed
def test_convolutions_are_plain_ones_without_transpositions_between_them(tmp_path: Path):
    model = random_model(netdef.load(IMAGE + BLOCK, phase="TEST"))
    inputs = inputs_of(model.net, 3)
    for fold in (True, False):
        export(model, tmp_path / "net.onnx", fold=fold)
        found = operations(tmp_path / "net.onnx")
        assert (found["Conv"], found["Gemm"]) == (3, 1) and found["Transpose"] <= 1, found  # one of Gemm's weights
        assert (found["Mul"] + found["Div"] + found["Sqrt"] > 1) is not fold  # one computes the shape for the pooling
        (got,) = session(tmp_path / "net.onnx").run(None, inputs)
        np.testing.assert_allclose(got, model(**inputs)["y"], rtol=1e-4, atol=1e-4)


@needed
def test_a_folded_net_keeps_shared_arrays(tmp_path: Path):
    text = IMAGE + layer("InnerProduct", 'param { name: "w" } inner_product_param { num_output: 4 bias_term: false }')
    text += layer("InnerProduct", 'param { name: "w" } inner_product_param { num_output: 4 bias_term: false }', top="z")
    model = random_model(netdef.load(text, phase="TEST"))
    export(model, tmp_path / "net.onnx")
    inputs = inputs_of(model.net)
    for name, got in zip(model.net.outputs, session(tmp_path / "net.onnx").run(None, inputs), strict=True):
        np.testing.assert_allclose(got, model(**inputs)[name], rtol=1e-4, atol=1e-4)


@needed
def test_no_fold_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture, recwarn: pytest.WarningsRecorder):
    model = random_model(netdef.load(IMAGE + BLOCK, phase="TEST"))
    (tmp_path / "net.net").write_text(IMAGE + BLOCK)
    model.save_weights(tmp_path / "w.npz")
    words = ["convert", str(tmp_path / "net.net"), "--weights", str(tmp_path / "w.npz"), "-o", str(tmp_path / "n.onnx")]
    assert main(words) == 0
    folded = operations(tmp_path / "n.onnx")
    assert main([*words, "--no-fold"]) == 0
    assert operations(tmp_path / "n.onnx")["Mul"] > folded["Mul"] <= 1  # which computes the shape for the pooling


def test_no_fold_is_for_onnx_only(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "net.net").write_text(IMAGE + layer("ReLU"))
    assert main(["convert", str(tmp_path / "net.net"), "-o", str(tmp_path / "n.stablehlo"), "--no-fold"]) == 2
    assert "--no-fold is for ONNX: -o FILE.onnx, not" in capsys.readouterr().err


@needed
def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture, recwarn: pytest.WarningsRecorder):
    text = IMAGE + layer("InnerProduct", "inner_product_param { num_output: 3 }")
    model = random_model(netdef.load(text, phase="TEST"))
    (tmp_path / "net.net").write_text(text)
    model.save_weights(tmp_path / "w.npz")
    words = ["convert", str(tmp_path / "net.net"), "--weights", str(tmp_path / "w.npz"), "-o", str(tmp_path / "n.onnx")]
    for more, shape in ([], ("batch", 4, 9, 8)), (["--batch", "2"], (2, 4, 9, 8)):
        assert main([*words, *more]) == 0
        run = session(tmp_path / "n.onnx")
        assert tuple(run.get_inputs()[0].shape) == shape
        inputs = inputs_of(model.net, 2)
        np.testing.assert_allclose(run.run(None, inputs)[0], model(**inputs)["y"], rtol=1e-4, atol=1e-4)


@needed
def test_what_jax2onnx_cannot_do_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(*args: Any, **options: Any) -> None:
        raise NotImplementedError("no such\nlayout")

    monkeypatch.setattr("jax2onnx.to_onnx", fails)
    model = random_model(netdef.load(IMAGE + layer("ReLU"), phase="TEST"))
    with pytest.raises(netdef.NetdefError, match="jax2onnx cannot convert this net: no such layout$"):
        export(model, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_without_jax2onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    (tmp_path / "net.net").write_text(IMAGE + layer("ReLU"))
    assert main(["convert", str(tmp_path / "net.net"), "-o", str(tmp_path / "net.onnx")]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(
        "net.onnx: writing ONNX requires the package jax2onnx, which is not installed; run `pip install jax2onnx`."
    )
    assert not (tmp_path / "net.onnx").exists()


DETECTOR = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 24, 24] } } }
layer { name: "x" type: "Convolution" bottom: "data" top: "x" convolution_param { num_output: 6 kernel_size: 4 stride: 4 } }
layer { name: "l" type: "Convolution" bottom: "x" top: "l" convolution_param { num_output: %d kernel_size: 1 } }
layer { name: "lp" type: "Permute" bottom: "l" top: "lp" permute_param { order: [0, 2, 3, 1] } }
layer { name: "loc" type: "Flatten" bottom: "lp" top: "loc" }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 8 kernel_size: 1 } }
layer { name: "cp" type: "Permute" bottom: "c" top: "cp" permute_param { order: [0, 2, 3, 1] } }
layer { name: "cr" type: "Reshape" bottom: "cp" top: "cr" reshape_param { shape { dim: [0, -1, 4] } } }
layer { name: "cs" type: "Softmax" bottom: "cr" top: "cs" softmax_param { axis: 2 } }
layer { name: "conf" type: "Flatten" bottom: "cs" top: "conf" }
layer { name: "priors" type: "PriorBox" bottom: "x" bottom: "data" top: "priors"
        prior_box_param { min_size: 6 max_size: 12 variance: [0.1, 0.1, 0.2, 0.2] } }
layer { name: "found" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "found"
        detection_output_param { num_classes: 4 code_type: CENTER_SIZE %s } }
"""
LIMITS = "confidence_threshold: 0.2 nms_param { nms_threshold: 0.3 top_k: 20 } keep_top_k: 7"


@needed
@pytest.mark.parametrize(
    ("values", "fields"),
    [
        (8, LIMITS),
        (8, "nms_param { nms_threshold: 0.45 }"),
        (32, "share_location: false background_label_id: 2 nms_param { nms_threshold: 0.45 top_k: 9 } keep_top_k: 30"),
        (8, "confidence_threshold: 2"),
        (8, f"variance_encoded_in_target: true {LIMITS}"),
    ],
    ids=["limits", "all", "per class", "none", "scaled"],
)
def test_detections(tmp_path: Path, values: int, fields: str):
    model = random_model(netdef.load(DETECTOR % (values, fields), phase="TEST"))
    export(model, tmp_path / "ssd.onnx")
    for rows in (1, 2, 3):
        inputs = {"data": np.random.default_rng(rows).normal(0, 0.2, (rows, 3, 24, 24)).astype(np.float32)}
        made = session(tmp_path / "ssd.onnx").run(["found"], inputs)[0]
        wanted = np.asarray(model(**inputs)["found"])
        assert made.shape == wanted.shape and (wanted[0, 0, 0, 1] == -1) == ("threshold: 2" in fields)
        np.testing.assert_allclose(made, wanted, rtol=1e-3, atol=1e-5)


@needed
@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ("nms_param { eta: 0.9 }", "`eta` is 0.9, but the threshold"),
        ("nms_param { nms_threshold: 1.5 }", "`nms_threshold` is 1.5"),
        ("code_type: CORNER", "boxes of `code_type` CORNER may be inverted"),
    ],
)
def test_detections_that_onnx_cannot_select(tmp_path: Path, fields: str, why: str):
    text = DETECTOR % (8, fields)
    text = text.replace("code_type: CENTER_SIZE code_type", "code_type")
    with pytest.raises(netdef.NetdefError, match=f"layer `found` cannot be written as ONNX: {why}") as caught:
        export(random_model(netdef.load(text, phase="TEST")), tmp_path / "ssd.onnx")
    assert "--output loc --output conf" in str(caught.value)


YOLO = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 12, 16] } } }
layer { name: "x" type: "Convolution" bottom: "data" top: "x" convolution_param { num_output: %d kernel_size: 4 stride: 4 } }
layer { name: "y" type: "Convolution" bottom: "data" top: "y" convolution_param { num_output: %d kernel_size: 2 stride: 2 } }
layer { name: "found" type: "%s" bottom: "x" bottom: "y" top: "found" %s }
"""
V2 = (
    "yolo_detection_output_param { num_classes: 3 num_box: 2 biases: [1, 1.5, 2, 1] nms_threshold: 0.4 "
    "confidence_threshold: %g }"
)
V3 = (
    "yolov3_detection_output_param { num_classes: 3 num_box: 2 biases: [4, 6, 8, 5, 9, 9, 3, 2] mask: [2, 1, 0, 3] "
    "anchors_scale: [4, 2] nms_threshold: 0.4 confidence_threshold: %g %s }"
)


@needed
@pytest.mark.parametrize(
    ("kind", "values", "block"),
    [
        ("YoloDetectionOutput", 16, V2 % 0.25),
        ("YoloDetectionOutput", 16, V2 % 1),
        ("Yolov3DetectionOutput", 16, V3 % (0.3, "")),
        ("Yolov3DetectionOutput", 24, V3 % (0.1, "gaussian_box: true")),
    ],
    ids=["v2", "none", "v3", "variances"],
)
def test_detections_of_yolo(tmp_path: Path, kind: str, values: int, block: str):
    model = random_model(netdef.load(YOLO % (values, values, kind, block), phase="TEST"))
    export(model, tmp_path / "yolo.onnx")
    for rows in (1, 3):
        inputs = {"data": np.random.default_rng(rows).normal(0, 0.3, (rows, 3, 12, 16)).astype(np.float32)}
        made = session(tmp_path / "yolo.onnx").run(["found"], inputs)[0]
        wanted = np.asarray(model(**inputs)["found"])
        assert made.shape == wanted.shape and (wanted[0, 0, 0, 1] == -1) == (block == V2 % 1)
        np.testing.assert_allclose(made, wanted, rtol=1e-3, atol=1e-5)


@needed
def test_boxes_of_yolo_that_onnx_would_turn_round(tmp_path: Path):
    net = netdef.load(YOLO % (16, 16, "YoloDetectionOutput", (V2 % 0.2).replace("1.5", "-1.5")), phase="TEST")
    with pytest.raises(netdef.NetdefError, match="`biases` contains -1.5, which inverts boxes") as caught:
        export(random_model(net), tmp_path / "yolo.onnx")
    assert "--output x --output y" in str(caught.value)
