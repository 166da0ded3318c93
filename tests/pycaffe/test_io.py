"""Images as arrays, and their preprocessing by a Transformer."""

from __future__ import annotations

import numpy as np
import pytest

import netdef
import netdef.pycaffe as caffe

pillow = pytest.importorskip("PIL.Image")
io = caffe.io


def test_load_image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    pillow.fromarray(pixels).save(tmp_path / "c.png")
    image = io.load_image(tmp_path / "c.png")
    assert image.dtype == np.float32 and np.allclose(image, pixels / 255)
    gray = io.load_image(str(tmp_path / "c.png"), color=False)
    assert gray.shape == (4, 5, 1) and np.allclose(gray[..., 0], image @ [0.299, 0.587, 0.114], atol=0.01)
    pillow.fromarray(pixels[..., 0]).save(tmp_path / "g.png")
    assert np.allclose(io.load_image(tmp_path / "g.png"), np.repeat(pixels[..., :1], 3, 2) / 255)
    (tmp_path / "bad.png").write_bytes(b"no")
    for name in ("bad.png", "none.png"):
        with pytest.raises(netdef.NetdefError, match=f"{name}: cannot be read as an image"):
            io.load_image(tmp_path / name)


def test_resize_image():
    image = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    assert (io.resize_image(image, (3, 4)) == image).all()
    twice = io.resize_image(image, (6, 8))
    assert twice.shape == (6, 8, 1) and twice[0, 0] == 0 and twice[-1, -1] == 11
    assert twice[1, 1, 0] == pytest.approx(0.25 * 4 + 0.25)  # a quarter of the way down and to the right
    assert np.allclose(io.resize_image(twice, (3, 4))[1, 1:3], image[1, 1:3])  # the mean of four, but for the border
    assert io.resize_image(image, (1, 1), interp_order=0)[0, 0] in image
    smooth = np.fromfunction(lambda y, x: (y + 0.5) ** 2 + x, (8, 9))
    cubic = io.resize_image(smooth, (16, 9), interp_order=3)
    assert cubic.shape == (16, 9) and np.allclose(
        cubic[6:10, 4], [((y + 0.5) / 2) ** 2 + 4 for y in range(6, 10)], atol=0.1
    )
    assert io.resize_image(smooth[:, :, None].repeat(4, 2), (5, 3), interp_order=5).shape == (5, 3, 4)
    with pytest.raises(ValueError, match="interp_order"):
        io.resize_image(image, (2, 2), interp_order=6)


def test_oversample():
    image = np.random.default_rng(0).random((5, 6, 2))
    cuts = io.oversample([image, image[::-1]], (3, 4))
    assert cuts.shape == (20, 3, 4, 2) and cuts.dtype == np.float32
    assert np.allclose(cuts[0], image[:3, :4]) and np.allclose(cuts[3], image[2:, 2:])
    assert np.allclose(cuts[4], image[1:4, 1:5]) and np.allclose(cuts[5:10], cuts[:5, :, ::-1])
    with pytest.raises(netdef.NetdefError, match="larger than the image of 5x6"):
        io.oversample([image], (6, 6))


def test_there_and_back():
    t = io.Transformer({"data": (1, 3, 4, 5)})
    t.set_transpose("data", (2, 0, 1))
    t.set_channel_swap("data", (2, 0, 1))
    t.set_raw_scale("data", 255)
    t.set_mean("data", np.arange(60.0).reshape(3, 4, 5))
    t.set_input_scale("data", 0.5)
    image = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    made = t.preprocess("data", image)
    assert made[0, 1, 2] == pytest.approx((image[1, 2, 2] * 255 - 7) / 2, abs=1e-4)
    assert np.allclose(t.deprocess("data", made[None]), image, atol=1e-5)


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (lambda t: t.set_mean("dta", 1), "the net has no input `dta`. Did you mean `data`?"),
        (lambda t: t.set_transpose("data", (2, 1)), "must be a permutation of 0 to 2, not"),
        (lambda t: t.set_channel_swap("data", (2, 1, 3)), "permutation of 0 to 2, not"),
        (lambda t: t.set_mean("data", np.zeros(4)), "a mean of 4 does not match `data`, which is 1x3x4x5"),
        (lambda t: t.set_mean("data", np.zeros((2, 9, 9))), "a mean of 2x9x9 does not match"),
        (lambda t: t.preprocess("data", np.zeros((4, 5))), "expects images of 3 axes, but this one is 4x5"),
        (lambda t: t.preprocess("data", np.zeros((4, 5, 3))), "set_transpose"),
    ],
)
def test_what_does_not_fit(work, told):
    with pytest.raises(netdef.NetdefError) as caught:
        work(io.Transformer({"data": (1, 3, 4, 5)}))
    assert told in str(caught.value)


def test_blobs_as_messages():
    array = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    blob = io.array_to_blobproto(array, diff=-array)
    sent = caffe.proto.caffe_pb2.BlobProto()
    sent.ParseFromString(blob.SerializeToString())
    assert (io.blobproto_to_array(sent) == array).all() and (io.blobproto_to_array(sent, True) == -array).all()
    old = caffe.proto.caffe_pb2.BlobProto(num=1, channels=1, height=2, width=3, data=range(6))
    assert io.blobproto_to_array(old).shape == (1, 1, 2, 3)
    old.width = 4
    with pytest.raises(netdef.NetdefError, match="1x1x2x4, but 6 values"):
        io.blobproto_to_array(old)
    with pytest.raises(netdef.NetdefError, match="caffe_pb2 has no `NetParam`. Did you mean"):
        _ = caffe.proto.caffe_pb2.NetParam


def test_blobs_without_a_shape_are_single_numbers():
    blob = caffe.proto.caffe_pb2.BlobProto(data=[3])
    assert io.blobproto_to_array(blob) == 3 and io.blobproto_to_array(blob).shape == ()
    with pytest.raises(ValueError, match="but 2 values"):
        io.blobproto_to_array(caffe.proto.caffe_pb2.BlobProto(data=[3, 4]))
    several = [np.ones((2, 3), np.float32), np.zeros(4, np.float32)]
    back = io.blobprotovector_str_to_arraylist(io.arraylist_to_blobprotovector_str(several))
    assert all((a == b).all() and a.shape == b.shape for a, b in zip(back, several, strict=True))


def test_records():
    image = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for array in (image, image / 2):
        datum = io.array_to_datum(array, label=7)
        sent = io.caffe_pb2.Datum.FromString(datum.SerializeToString())
        made = io.datum_to_array(sent)
        assert sent.label == 7 and (made == array).all() and made.dtype == array.dtype
    assert not io.array_to_datum(image).HasField("label")
    with pytest.raises(ValueError, match="the array is 3x4"):
        io.array_to_datum(image[0])
    with pytest.raises(ValueError, match="compressed image"):
        io.datum_to_array(io.caffe_pb2.Datum(encoded=True, data=b"x"))
    with pytest.raises(ValueError, match="the Datum is 2x3x5, but has 24 values"):
        io.datum_to_array(io.caffe_pb2.Datum(channels=2, height=3, width=5, data=image.tobytes()))


def test_a_mean_of_another_size_is_resized():
    t = io.Transformer({"data": (1, 3, 4, 5)})
    mean = np.random.default_rng(0).random((3, 8, 10)).astype(np.float32)
    t.set_mean("data", mean)
    assert np.allclose(t.mean["data"], mean.reshape(3, 4, 2, 5, 2).mean((2, 4)), atol=1e-6)
    t.set_mean("data", mean[0])
    assert t.mean["data"].shape == (1, 4, 5)


def test_gray_images():
    image = np.random.default_rng(0).random((4, 5)).astype(np.float32)
    t = io.Transformer({"data": (10, 1, 4, 5)})
    assert (t.preprocess("data", image) == image[None]).all()
    t.set_transpose("data", (2, 0, 1))
    t.set_raw_scale("data", 2)
    assert (t.preprocess("data", image) == 2 * image[None]).all()
    assert np.allclose(t.deprocess("data", 2 * image[None, None])[:, :, 0], image)
    t = io.Transformer({"data": (10, 1, 8, 10)})
    assert t.preprocess("data", image).shape == (1, 8, 10)


def test_an_open_file(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
    pillow.fromarray(pixels).save(tmp_path / "x.png")
    with open(tmp_path / "x.png", "rb") as file:
        assert np.allclose(io.load_image(file) * 255, pixels, atol=1e-3)
    with (
        open(__file__, "rb") as file,
        pytest.raises(netdef.NetdefError, match="test_io.py: cannot be read as an image"),
    ):
        io.load_image(file)
