"""The smaller modules of pycaffe: coordinate maps, diagrams, windowed detection, messages, logs and timers."""

from __future__ import annotations

import re

import numpy as np
import pytest

import netdef
import netdef.pycaffe as caffe
from netdef.pycaffe import layers as L
from netdef.pycaffe import params as P
from netdef.pycaffe.coord_map import AxisMismatchException, UndefinedMapException, coord_map_from_to, crop
from netdef.pycaffe.proto import caffe_pb2

text_format = pytest.importorskip("google.protobuf.text_format")


def upsampled(ks=3, pool=2, up=2, pad=0) -> caffe.NetSpec:
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 1, 40, 40]))
    n.conv = L.Convolution(n.data, num_output=2, kernel_size=ks, pad=pad)
    n.relu = L.ReLU(n.conv, in_place=True)
    n.pool = L.Pooling(n.relu, kernel_size=pool, stride=pool)
    n.score = L.Convolution(n.pool, num_output=2, kernel_size=1)
    n.up = L.Deconvolution(n.score, convolution_param=dict(num_output=2, kernel_size=2 * up, stride=up))
    return n


def test_positions_through_layers():
    n = upsampled()
    axis, scale, shift = coord_map_from_to(n.up, n.data)
    assert (axis, scale.item(), shift.item()) == (1, 1, 0)
    assert n.up.fn.type_name == "Deconvolution" and n.up.fn.params["convolution_param"]["stride"] == 2
    _, scale, shift = coord_map_from_to(n.pool, n.data)
    assert (scale.item(), shift.item()) == (2, 1.5)  # the first output depends on positions 0 to 3


def test_a_crop_aligns_with_the_image():
    """As in FCN: the scores are padded generously, upsampled, and cropped to the image."""
    n = upsampled(pad=10, up=2)
    n.crop = crop(n.up, n.data)
    layer = n.to_proto().layer[-1]
    assert layer.type == "Crop" and layer.crop_param.axis == 2 and layer.crop_param.offset == [10]
    net = caffe.Net(str(n.to_proto()), caffe.TEST)
    assert net.blobs["crop"].shape == (1, 2, 40, 40)


@pytest.mark.parametrize(
    ("make", "kind", "told"),
    [
        (lambda n: crop(upsampled(up=4).up, n.data), RuntimeError, "Could not compute map between tops"),
        (lambda n: crop(n.pool, n.data), AssertionError, "scale mismatch on crop"),
        (
            lambda n: crop(L.Convolution(n.data, kernel_size=4, pad=3, num_output=1), n.data),
            AssertionError,
            "noninteger",
        ),
        (lambda n: crop(L.Convolution(n.data, kernel_size=5, num_output=1), n.data), AssertionError, "negative offset"),
        (lambda n: crop(L.Pooling(n.data, kernel_h=3), n.data), AssertionError, "`kernel_h`"),
        (lambda n: crop(L.Pooling(n.data, global_pooling=True), n.data), AssertionError, "no `kernel_size`"),
        (
            lambda n: crop(L.Convolution(L.Im2col(n.data, kernel_size=1, axis=2), kernel_size=1), n.data),
            AxisMismatchException,
            "axis",
        ),
        (lambda n: caffe.coord_map.coord_map(L.InnerProduct(n.data).fn), UndefinedMapException, "InnerProduct"),
    ],
)
def test_what_cannot_be_cropped(make, kind, told):
    with pytest.raises(kind, match=re.escape(told)) as caught:
        make(upsampled())
    assert isinstance(caught.value, netdef.NetdefError)


def test_messages_have_caffes_numbers():
    numbers = {f.name: f.number for f in caffe_pb2.LayerParameter.DESCRIPTOR.fields}
    assert (numbers["convolution_param"], numbers["python_param"], numbers["clip_param"]) == (106, 130, 148)
    assert (numbers["prior_box_param"], numbers["roi_pooling_param"]) == (203, 8266711)
    assert caffe_pb2.SolverParameter.DESCRIPTOR.fields_by_name["solver_mode"].number == 17
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST, caffe_pb2.Phase.Value("TEST")) == (0, 1, 1)
    assert caffe_pb2.V1LayerParameter.CONVOLUTION == 4 and caffe_pb2.PriorBoxParameter.CENTER_SIZE == 2
    assert P.Pooling.MAX == 0 and P.Pooling.AVE == 1 and P.Data.LMDB == 1 and P.MultiBoxLoss.SOFTMAX == 0
    assert (
        caffe_pb2.ConvolutionParameter().bias_term is True
        and caffe_pb2.SolverParameter().momentum2 == pytest.approx(0.999)
    )
    with pytest.raises(AttributeError, match="Did you mean"):
        _ = caffe_pb2.NetParmeter
    with pytest.raises(netdef.NetdefError, match="no word `MAXIMUM`"):
        _ = P.Pooling.MAXIMUM


def test_every_layer_of_netdef_has_a_message():
    made = L.TripletLoss(L.Input(shape=dict(dim=[3, 4])), ntop=1)
    assert made.to_proto().layer[1].type == "TripletLoss"
    net = caffe_pb2.NetParameter()
    text = 'layer { name: "a" type: "ArcFace" bottom: "x" bottom: "y" top: "z" arc_face_param { scale: 4 } }'
    text_format.Merge(text, net)
    again = caffe_pb2.NetParameter.FromString(net.SerializeToString())
    assert again == net and again.layer[0].arc_face_param.scale == 4
    labels = caffe_pb2.LabelMap()
    text_format.Merge('item { name: "cat" label: 3 display_name: "Cat" }', labels)
    assert labels.item[0].label == 3


def test_weights_are_read_as_a_message(tmp_path):
    net = caffe.Net('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }\n'
                    'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 3 } }',
                    caffe.TEST)  # fmt: skip
    net.params["ip"][1].data[...] = [1, 2, 3]
    net.save(str(tmp_path / "w.caffemodel"))
    message = caffe_pb2.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    layer = next(layer for layer in message.layer if layer.name == "ip")
    assert caffe.io.blobproto_to_array(layer.blobs[1]).tolist() == [1, 2, 3]
    layer.blobs[1].data[0] = 7
    (tmp_path / "w2.caffemodel").write_bytes(message.SerializeToString())
    net.copy_from(tmp_path / "w2.caffemodel")
    assert net.params["ip"][1].data.tolist() == [7, 2, 3]


def test_diagrams(tmp_path, monkeypatch):
    pillow = pytest.importorskip("PIL.Image")
    monkeypatch.setenv("PATH", "")  # without Graphviz
    net = upsampled().to_proto()
    net.layer[1].include.add(phase=caffe.TRAIN)
    caffe.draw.draw_net_to_file(net, str(tmp_path / "net.png"), "TB")
    with pillow.open(tmp_path / "net.png") as image:
        assert min(image.size) >= 100
    source = caffe.draw.draw_net(net, "LR", "raw", display_lrm=True).decode()
    assert (
        '"conv_Convolution" [label="conv\\n(Convolution)\\nkernel size: 3\\nstride: 1\\npad: 0\\nlr mult: 1.0, 1.0"'
        in source
    )
    assert '"pool_Pooling" -> "pool_blob"' in source and "(Pooling MAX)" in source
    assert "conv_Convolution" not in caffe.draw.draw_net(net, "LR", "raw", phase=caffe.TEST).decode()
    with pytest.raises(netdef.NetdefError, match="a diagram as svg requires Graphviz"):
        caffe.draw.draw_net(net, "LR", "svg")


CLASSIFIER = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { pool: AVE global_pooling: true } }
"""


def test_windows_of_images(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    text = CLASSIFIER + 'layer { name: "scale" type: "Scale" bottom: "pool" top: "pool" }'
    (tmp_path / "net.prototxt").write_text(text)
    netdef.compile(text).save_weights(tmp_path / "w.npz")
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:10, :15], pixels[10:, 15:] = (255, 0, 0), (0, 0, 255)
    pillow.fromarray(pixels).save(tmp_path / "x.png")
    files = (tmp_path / "net.prototxt", tmp_path / "w.npz")
    detector = caffe.Detector(*files, mean=np.float32([1, 2, 3]), raw_scale=255, channel_swap=(2, 1, 0))
    found = detector.detect_windows([(tmp_path / "x.png", [(0, 0, 10, 15), (10, 15, 20, 30), (0, 0, 20, 15)])])
    scores = np.stack([each["prediction"][:, 0, 0] for each in found])
    np.testing.assert_allclose(scores, [[-1, -2, 252], [254, -2, -3], [-1, -2, 124.5]], atol=0.6)
    assert found[1]["window"] == (10, 15, 20, 30) and found[1]["filename"] == tmp_path / "x.png"
    assert detector.detect_windows([]) == []
    padded = caffe.Detector(*files, mean=np.float32([1, 2, 3]), raw_scale=255, channel_swap=(2, 1, 0), context_pad=2)
    image = caffe.io.load_image(tmp_path / "x.png")
    made = padded.crop(image, np.array((0, 0, 9, 14)))
    assert made.shape == (8, 8, 3)
    np.testing.assert_allclose(made[0, 0] * 255, [3, 2, 1], atol=1e-4)  # beyond the image: the mean
    assert made[4, 4, 0] > 0.9
    with pytest.raises(netdef.NetdefError, match="only 8 columns"):
        caffe.Detector(*files, context_pad=4)
    with pytest.raises(netdef.NetdefError, match="selective_search_ijcv_with_python"):
        padded.detect_selective_search(["x.png"])


def test_rows_in_both_directions():
    net = caffe.Net("force_backward: true\n" + CLASSIFIER, caffe.TEST)
    x = np.random.default_rng(0).random((5, 3, 8, 8)).astype(np.float32)
    data, diffs = net.forward_backward_all(data=x, pool=np.ones((5, 3, 1, 1), np.float32), blobs=["data"])
    np.testing.assert_allclose(data["pool"][:, :, 0, 0], x.mean((2, 3)), rtol=1e-5)
    assert data["data"].shape == diffs["data"].shape == x.shape and np.allclose(diffs["data"], 1 / 64)


def test_names_with_underscores():
    net = caffe.Net(CLASSIFIER, caffe.TEST)
    assert net._inputs == [0] and net._outputs == [1] and net._blobs[1] is net.blobs["pool"]
    assert net._bottom_ids(1) == [0] and net._top_ids(1) == [1]


def test_log_lines_are_those_of_glog(capsys):
    caffe.init_log(0, True)
    caffe.log("a line")
    line = capsys.readouterr().err
    assert re.fullmatch(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ test_helpers\.py:\d+\] a line\n", line)
    caffe.init_log(2)
    caffe.log("another line")
    caffe.init_log(0, False)
    caffe.log("and another")
    assert capsys.readouterr().err == ""


def test_a_timer():
    timer = caffe.Timer()
    timer.start()
    timer.stop()
    assert 0 <= timer.ms < 10_000 and caffe.has_nccl() is False


def test_errors_are_of_the_types_that_pycaffe_raises():
    net = caffe.Net(CLASSIFIER, caffe.TEST)
    for kind, work in [
        (RuntimeError, lambda: caffe.Net("missing.prototxt", caffe.TEST)),
        (RuntimeError, lambda: caffe.Net(CLASSIFIER, caffe.TEST, weights="missing.caffemodel")),
        (KeyError, lambda: net.blobs["x"]),
        (ValueError, lambda: net.forward(start="x")),
        (ValueError, lambda: net.blobs["data"].reshape(-1, 3)),
        (TypeError, lambda: caffe.Net(CLASSIFIER)),
        (KeyError, lambda: caffe.NetSpec().x),
        (AttributeError, lambda: L.Convolutional()),
    ]:
        with pytest.raises(kind) as caught:
            work()
        assert isinstance(caught.value, netdef.NetdefError)
