"""Caffe's data layers, beyond the recordings: order, randomness in TRAIN, several tops, rare layers."""

from __future__ import annotations

import h5py
import jax
import numpy as np
import pytest
from data_sets import datum, layer, numbered, write_images, write_lmdb

import netdef
from netdef.data.feed import Feed


def write_hdf5(folder, sizes):
    start, names = 0, []
    for i, size in enumerate(sizes):
        with h5py.File(folder / f"{i}.h5", "w") as file:
            rows = np.arange(start, start + size)
            file["data"] = rows[:, None] * [1.0, 10.0]
            file["label"] = rows
            file["weight"] = (rows / 2).astype(np.float64)
        start += size
        names.append(f"{i}.h5")
    (folder / "list.txt").write_text("\n".join(names))


HDF5 = """layer {{ name: "h" type: "HDF5Data" top: "data" top: "label" top: "weight"
          hdf5_data_param {{ source: "list.txt" batch_size: {batch} {more} }} }}"""


def test_hdf5_continues_over_the_ends_of_files(tmp_path, batches):
    write_hdf5(tmp_path, [3, 2])
    made = batches(HDF5.format(batch=4, more=""), 3)
    assert [b["label"].tolist() for b in made] == [[0, 1, 2, 3], [4, 0, 1, 2], [3, 4, 0, 1]]
    np.testing.assert_array_equal(made[0]["data"], [[0, 0], [1, 10], [2, 20], [3, 30]])
    np.testing.assert_array_equal(made[1]["weight"], [2, 0, 0.5, 1])


def test_hdf5_shuffle_mixes_within_files_only(tmp_path, batches):
    write_hdf5(tmp_path, [4, 6])
    made = [b["label"].astype(int).tolist() for b in batches(HDF5.format(batch=10, more="shuffle: true"), 6)]
    for epoch in made:
        files = [epoch[:4], epoch[4:]] if min(epoch[:4]) < 4 and max(epoch[:4]) < 4 else [epoch[6:], epoch[:6]]
        assert [sorted(rows) for rows in files] == [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9]]
    assert len({tuple(epoch) for epoch in made}) == 6
    assert {epoch[0] < 4 for epoch in made} == {True, False}  # the files change places too


def data_layer(more="", transform="", phase=""):
    return (
        f'layer {{ name: "d" type: "Data" top: "data" top: "label" {phase} transform_param {{ {transform} }}'
        f' data_param {{ source: "db" batch_size: 4 backend: LMDB {more} }} }}'
    )


@pytest.fixture
def images(tmp_path):
    made = numbered(10, 3, 6, 8)
    write_lmdb(tmp_path / "db", [datum(image, i) for i, image in enumerate(made)])
    return made


def test_float_data(tmp_path, batches):
    image = np.random.RandomState(0).randn(2, 3, 4).astype(np.float32)
    write_lmdb(tmp_path / "db", [datum(image, 1)])
    np.testing.assert_array_equal(batches(data_layer(transform="scale: 2"), 1)[0]["data"][0], image * 2)


def test_random_crops_are_parts_of_the_image(images, batches):
    made = batches(data_layer(transform="crop_size: 4 mirror: true mean_value: 10 scale: 0.5"), 40, "TRAIN")
    seen = set()
    for batch in made:
        for x, label in zip(batch["data"], batch["label"].astype(int), strict=True):
            whole = (images[label].astype(np.float32) - 10) * np.float32(0.5)
            places = [
                (top, left, turned)
                for top in range(3)
                for left in range(5)
                for turned in (False, True)
                if np.array_equal(x, whole[:, top : top + 4, left : left + 4][..., :: -1 if turned else 1])
            ]
            assert len(places) == 1
            seen.add(places[0])
    assert len(seen) == 3 * 5 * 2  # every place, mirrored or not


def test_random_numbers_depend_on_the_seed_alone(images, batches):
    text = data_layer(transform="crop_size: 4 mirror: true")
    one, same, other = (batches(text, 3, "TRAIN", seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a["data"], b["data"]) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a["data"], b["data"]) for a, b in zip(one, other, strict=True))


def test_mirror_in_test_phase_as_in_caffe(images, batches):
    made = np.concatenate([b["data"] for b in batches(data_layer(transform="mirror: true"), 10)])
    straight = [np.array_equal(x, images[i % 10]) for i, x in enumerate(made)]
    assert 5 < sum(straight) < 35


def test_rand_skip_starts_elsewhere(images, batches):
    starts = {batches(data_layer("rand_skip: 10"), 1, seed=seed)[0]["label"][0] for seed in range(12)}
    assert len(starts) > 3 and max(starts) < 10


def test_a_shuffled_database_delivers_each_record_once_an_epoch(images, batches):
    labels = np.concatenate([b["label"] for b in batches(data_layer("shuffle: true"), 10)]).astype(int)
    epochs = labels.reshape(4, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 4


def test_two_layers_read_one_database(images, batches):
    text = data_layer() + data_layer(phase="").replace('"d"', '"e"').replace('"data"', '"x"').replace('"label"', '"y"')
    batch = batches(text, 2)[1]
    np.testing.assert_array_equal(batch["data"], batch["x"])
    assert batch["y"].tolist() == [4, 5, 6, 7]


def test_leveldb(tmp_path, batches):
    plyvel = pytest.importorskip("plyvel")
    with_db = plyvel.DB(str(tmp_path / "db"), create_if_missing=True)
    made = numbered(5)
    for i, image in enumerate(made):
        with_db.put(f"{i:03d}".encode(), datum(image, i))
    with_db.close()
    before = sorted(p.name for p in (tmp_path / "db").iterdir())
    first, second = batches(data_layer("shuffle: true"), 2)
    assert np.array_equal(first["data"][:, 0, 0, 0], first["label"])
    assert len(set(first["label"]) | set(second["label"][:1])) == 5
    assert sorted(p.name for p in (tmp_path / "db").iterdir()) == before  # reading changes nothing


def test_image_list_with_blanks_in_names(tmp_path, batches):
    made = numbered(2, 3)
    write_images(tmp_path, made)
    (tmp_path / "00.png").rename(tmp_path / "a photograph.png")
    (tmp_path / "list.txt").write_text("a photograph.png 5\n01.png 7\n")
    text = layer("ImageData", 'image_data_param { source: "list.txt" batch_size: 2 }')
    batch = batches(text, 1)[0]
    np.testing.assert_array_equal(batch["data"], made)
    assert batch["label"].tolist() == [5, 7]


def test_images_of_many_kinds_decode(tmp_path, batches):
    from PIL import Image

    gray = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
    Image.fromarray(gray).save(tmp_path / "gray.bmp")
    Image.fromarray(gray > 100).save(tmp_path / "bits.png")
    Image.fromarray(gray).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(np.dstack([gray] * 4)).save(tmp_path / "alpha.png")
    Image.fromarray(gray.astype(np.uint16) * 256 + 3).save(tmp_path / "deep.png")
    names = ["gray.bmp", "bits.png", "palette.png", "alpha.png", "deep.png"]
    (tmp_path / "list.txt").write_text("".join(f"{name} 0\n" for name in names))
    text = 'image_data_param {{ source: "list.txt" batch_size: 5 is_color: {} }}'
    for color, channels in (("true", 3), ("false", 1)):
        data = batches(layer("ImageData", text.format(color)), 1)[0]["data"]
        assert data.shape == (5, channels, 4, 5)
        for i in (0, 2, 3, 4):
            np.testing.assert_array_equal(data[i], np.broadcast_to(gray, (channels, 4, 5)))
        np.testing.assert_array_equal(data[1, 0], np.where(gray > 100, 255, 0))


def windows(more=""):
    block = f'window_data_param {{ source: "windows.txt" batch_size: 4 fg_fraction: 0.25 {more} }}'
    return layer("WindowData", block, beside="transform_param { crop_size: 4 }")


@pytest.fixture
def window_image(tmp_path):
    image = numbered(1, 3, 12, 10)
    write_images(tmp_path, image)
    (tmp_path / "windows.txt").write_text("# 0\n00.png\n3 12 10\n3\n2 0.9 1 2 4 5\n1 0.1 5 6 8 9\n1 0.2 6 6 9 9\n")
    return image[0].astype(np.float32)


def test_windows(window_image, batches):
    batch = batches(windows(), 1)[0]
    assert batch["label"].tolist() == [0, 0, 0, 2]
    np.testing.assert_array_equal(batch["data"][3], window_image[:, 2:6, 1:5])
    for x in batch["data"][:3]:
        assert any(np.array_equal(x, window_image[:, 6:10, left : left + 4]) for left in (5, 6))


def test_windows_with_context_leave_zeros_outside_of_the_image(tmp_path, window_image, batches):
    (tmp_path / "windows.txt").write_text("# 0\n00.png\n3 12 10\n2\n2 0.9 0 0 1 1\n1 0.1 4 4 5 5\n")
    batch = batches(windows("context_pad: 1 scale: 2"), 1)[0]
    # 2 pixels with 1 around them warp to 4: the corner window has one row and column of padding, by round() in C
    assert np.all(batch["data"][3][:, 0] == 0) and np.all(batch["data"][3][:, :, 0] == 0)
    assert np.any(batch["data"][3][:, 1:, 1:] != 0)


def test_memory_data(feed):
    text = layer("MemoryData", "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 2 }", "x y")
    data, labels = np.arange(6).reshape(3, 1, 1, 2), np.arange(3)
    one = feed(text, arrays={"m": (data, labels)})
    assert [next(one)["y"].tolist() for _ in range(3)] == [[0, 1], [2, 0], [1, 2]]
    assert one.size == 3
    with pytest.raises(netdef.NetdefError, match=r"layer `m`: MemoryData has no file.*arrays="):
        feed(text)
    with pytest.raises(netdef.NetdefError, match=r"rows of `x` must have the shape \(1, 1, 2\).*\(1, 2, 2\)"):
        feed(text, arrays={"m": (np.zeros((3, 1, 2, 2)), labels)})


def test_memory_data_without_labels_that_no_layer_uses(feed):
    text = layer("MemoryData", "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 2 }", "x y")
    data = np.arange(6).reshape(3, 1, 1, 2)
    assert next(feed(text, arrays={"m": (data,)}))["y"].tolist() == [0, 0]
    model = netdef.compile(text + 'layer { name: "r" type: "ReLU" bottom: "x" top: "r" }')
    assert model(x=data[:2])["r"].shape == (2, 1, 1, 2) and model(x=data)["y"].shape == (3,)
    used = text + 'layer { name: "r" type: "ReLU" bottom: "y" top: "r" }'
    with pytest.raises(netdef.NetdefError, match="expected 2 arrays"):
        feed(used, arrays={"m": (data,)})
    with pytest.raises(netdef.NetdefError, match="input `y` is missing"):
        netdef.compile(used)(x=data[:2])


def test_dummy_data_is_computed_by_the_model():
    text = """layer { name: "d" type: "DummyData" top: "a" top: "b" dummy_data_param { shape { dim: 2 dim: 3 }
              data_filler { type: "constant" value: 5 } data_filler { type: "gaussian" } } }"""
    net = netdef.load(text)
    assert net.blobs["b"].shape == (2, 3) and net.inputs == ()
    model = netdef.compile(text, phase="TRAIN")
    first, second = model.blobs(), model.blobs()
    assert np.all(first["a"] == 5)
    assert not np.array_equal(first["b"], second["b"])  # refilled in each pass
    assert isinstance(first["b"], jax.Array)
    with Feed(net) as feed:
        assert next(feed) == {}


def test_old_dummy_shapes_and_their_errors():
    text = 'layer {{ name: "d" type: "DummyData" top: "a" top: "b" dummy_data_param {{ {} }} }}'
    net = netdef.load(text.format("num: 2 channels: 3 channels: 4 height: 5 width: 6"))
    assert [net.blobs[b].shape for b in "ab"] == [(2, 3, 5, 6), (2, 4, 5, 6)]
    for fields, words in (
        ("num: 2 channels: 3 height: 5", "`width` is given 0 times for 2 tops"),
        ("shape { dim: 1 } num: 2", "are both given"),
        ("shape { dim: 1 } shape { dim: 1 } shape { dim: 1 }", "`shape` is given 3 times for 2 tops"),
    ):
        with pytest.raises(netdef.CompileError, match=words):
            netdef.load(text.format(fields))
