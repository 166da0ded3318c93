"""Data sets on the device: a compiled function makes the batches of the feed, bit for bit."""

from __future__ import annotations

import h5py
import jax
import numpy as np
import pytest
from data_sets import datum, layer, numbered, write_lmdb

from netdef.data.device import on_device


@pytest.fixture(autouse=True)
def images(tmp_path):
    made = numbered(10, 3, 6, 8)
    write_lmdb(tmp_path / "db", [datum(image, i) for i, image in enumerate(made)])
    return made


def data(beside=""):
    return layer("Data", 'data_param { source: "db" batch_size: 4 backend: LMDB shuffle: true }', beside=beside)


BESIDES = [
    "",
    "sample_param { shuffle_block: 2 shuffle_window: 6 }",
    "transform_param { crop_size: 4 mirror: true mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.017 }",
    'transform_param { mean_file: "AUTO" crop_h: 3 crop_w: 5 squash: 2 } augment_param { flip_vertical: true }',
]


@pytest.mark.parametrize("beside", BESIDES)
def test_same_batches_as_the_feed(feed, beside):
    plain, resident = feed(data(beside), seed=2), on_device(feed(data(beside), seed=2), 1 << 20)
    assert resident is not None and resident.table["d"]["data"].dtype == np.uint8
    make = jax.jit(resident.make)
    for _ in range(6):
        batch, made = next(plain), make(resident.table, next(resident))
        assert batch.keys() == made.keys()
        exact = "squash" not in beside  # tanh differs on the device
        for top, wanted in batch.items():
            np.testing.assert_allclose(made[top], wanted, rtol=0 if exact else 1e-5, atol=0 if exact else 1e-6)
    assert resident.state() == plain.state()


def test_continues_at_the_position_of_the_feed(feed):
    plain, moved = feed(data()), feed(data())
    next(plain), next(moved)
    resident = on_device(moved, 1 << 20)
    assert resident is not None
    state = resident.state()
    first = resident.make(resident.table, next(resident))
    np.testing.assert_array_equal(first["data"], next(plain)["data"])
    resident.restore(state)
    np.testing.assert_array_equal(resident.make(resident.table, next(resident))["data"], first["data"])


def test_mean_image(tmp_path, feed, images):
    from netdef.interop.caffe_proto import messages

    mean = images.astype(np.float32).mean(0)
    blob = messages().BlobProto(data=mean.ravel().tolist(), num=1, channels=3, height=6, width=8)
    (tmp_path / "mean").write_bytes(blob.SerializeToString())
    text = data('transform_param { mean_file: "mean" crop_size: 4 mirror: true }')
    resident = on_device(feed(text), 1 << 20)
    assert resident is not None
    np.testing.assert_array_equal(resident.make(resident.table, next(resident))["data"], next(feed(text))["data"])


def test_hdf5_and_memory_in_one_net(tmp_path, feed):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"], file["y"] = np.arange(14.0).reshape(7, 2), np.arange(7)
    (tmp_path / "list.txt").write_text("x.h5")
    text = layer("HDF5Data", 'hdf5_data_param { source: "list.txt" batch_size: 3 shuffle: true }', "x y")
    text += layer("MemoryData", "memory_data_param { batch_size: 3 channels: 1 height: 1 width: 1 }", "u v")
    arrays = {"m": (np.arange(5.0).reshape(5, 1, 1, 1), np.arange(5.0))}
    plain, resident = feed(text, arrays=arrays), on_device(feed(text, arrays=arrays), 1 << 20)
    assert resident is not None and resident.size == 7
    for _ in range(4):
        batch, made = next(plain), resident.make(resident.table, next(resident))
        assert all(np.array_equal(made[top], batch[top]) for top in ("x", "y", "u", "v"))


@pytest.mark.parametrize(
    "beside", ["augment_param { rotate: 9 }", "transform_param { resize_param { height: 3 width: 3 } }"]
)
def test_what_needs_the_host_stays_there(feed, beside):
    assert on_device(feed(data(beside)), 1 << 20) is None


def test_what_does_not_fit_stays_on_the_host(tmp_path, feed):
    assert on_device(feed(data()), 10 * 3 * 6 * 8 - 1) is None
    write_lmdb(tmp_path / "two", [datum(numbered(1, 1, 5, 5)[0], 0), datum(numbered(1, 1, 6, 5)[0], 0)])
    text = layer("Data", 'data_param { source: "two" batch_size: 1 backend: LMDB }')
    assert on_device(feed(text), 1 << 20) is None
