"""The data layers and options that netdef adds: folders, tables, arrays, sampling, augmentation, AUTO means."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
from data_sets import datum, layer, numbered, write_images, write_lmdb

import netdef
from netdef.data import augment


@pytest.fixture
def people(tmp_path):
    """Three folders with 8, 4 and 2 gray images."""
    for name, n in (("bob", 8), ("anna", 4), ("cleo", 2)):
        write_images(tmp_path / "people" / name, numbered(n))
    return tmp_path / "people"


def folder(more="", transform="", batch=14):
    return f"""layer {{ name: "f" type: "ImageFolder" top: "data" top: "label" transform_param {{ {transform} }} {more}
               image_folder_param {{ source: "people" batch_size: {batch} is_color: false }} }}"""


def test_a_folder_for_each_class(people, batches, tmp_path):
    batch = batches(folder(), 1)[0]
    assert batch["data"].shape == (14, 1, 4, 5)
    assert batch["label"].tolist() == [0] * 4 + [1] * 8 + [2] * 2  # anna, bob, cleo
    found = netdef.load(folder()).layers[0].layer
    assert found.class_names(lambda name: tmp_path / name) == ["anna", "bob", "cleo"]
    epochs = batches(folder(), 3, phase="TRAIN")
    assert len({tuple(e["label"]) for e in epochs}) > 1
    assert all(sorted(e["label"]) == sorted(batch["label"]) for e in epochs)


def test_a_split_keeps_the_proportions_and_has_no_overlap(people, feed):
    text = folder("sample_param { split: 0.5 split_seed: 4 }", batch=7)
    train, test = feed(text, "TRAIN"), feed(text, "TEST")
    assert train.size == test.size == 7
    a, b = next(train), next(test)
    assert sorted(a["label"]) == sorted(b["label"]) == [0, 0, 1, 1, 1, 1, 2]
    names = lambda batch: {(int(k), int(x[0, 0, 0])) for x, k in zip(batch["data"], batch["label"], strict=True)}
    assert len(names(a) | names(b)) == 14
    other = feed(folder("sample_param { split: 0.5 split_seed: 5 }", batch=7), "TEST")
    assert names(next(other)) != names(b)


def test_balanced_classes(people, batches):
    labels = np.concatenate([b["label"] for b in batches(folder("sample_param { balance: true }"), 6, phase="TRAIN")])
    counts = np.bincount(labels.astype(int))
    assert counts.max() - counts.min() <= 6
    assert np.bincount(batches(folder("sample_param { balance: true }"), 1)[0]["label"].astype(int)).tolist() == [
        4,
        8,
        2,
    ]


def test_class_weights_make_classes_weigh_the_same(people, batches):
    text = folder("sample_param { class_weights: true }").replace('top: "label"', 'top: "label" top: "weight"')
    batch = batches(text, 1)[0]
    total = [batch["weight"][batch["label"] == k].sum() for k in range(3)]
    np.testing.assert_allclose(total, 14 / 3, rtol=1e-6)
    assert netdef.load(text).blobs["weight"].shape == (14,)


def test_limit(people, feed):
    assert feed(folder("sample_param { limit: 5 }", batch=5)).size == 5


def test_table_with_several_named_tops(tmp_path, batches):
    images = numbered(3, 3)
    write_images(tmp_path, images)
    (tmp_path / "t.csv").write_text(
        "file,age,who,smile,glasses\n00.png,31.5,bo,1,0\n01.png,7,al,0,0\n02.png,64,bo,1,1\n", encoding="utf-8-sig"
    )
    column = 'column { top: "looks" name: "smile" name: "glasses" }'
    text = layer("ImageTable", f'image_table_param {{ source: "t.csv" batch_size: 3 {column} }}', "data who age looks")
    batch = batches(text, 1)[0]
    np.testing.assert_array_equal(batch["data"], images)
    assert batch["who"].tolist() == [1, 0, 1] and batch["age"].tolist() == [31.5, 7, 64]
    assert batch["looks"].tolist() == [[1, 0], [0, 0], [1, 1]]


def test_shapes_of_a_table(tmp_path, monkeypatch):
    write_images(tmp_path, numbered(1, 3))
    (tmp_path / "t.csv").write_text("file,a,b\n00.png,1,2\n")
    monkeypatch.chdir(tmp_path)
    block = 'image_table_param { source: "t.csv" batch_size: 3 column { top: "ab" name: "a" name: "b" } }'
    text = layer("ImageTable", block, "data ab")
    assert netdef.load(text).blobs["ab"].shape == (3, 2)


def arrays(tops, source, own="", more=""):
    return layer("ArrayData", f'array_data_param {{ source: "{source}" batch_size: 4 {own} }}', tops, more)


def test_npz(tmp_path, batches, monkeypatch):
    images = numbered(6)[:, 0]
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(6), boxes=np.ones((6, 2, 3)))
    text = arrays(
        "data label box",
        "x.npz",
        'array: "images" array: "labels" array: "boxes"',
        "transform_param { scale: 0.5 crop_size: 2 }",
    )
    batch = batches(text, 2)[1]
    np.testing.assert_array_equal(batch["data"][:, 0], images[[4, 5, 0, 1], 1:3, 1:3] * 0.5)
    assert batch["label"].tolist() == [4, 5, 0, 1] and batch["box"].shape == (4, 2, 3)
    monkeypatch.chdir(tmp_path)
    net = netdef.load(text)
    assert [net.blobs[b].shape for b in ("data", "label", "box")] == [(4, 1, 2, 2), (4,), (4, 2, 3)]


def test_plain_rows_keep_their_shape(tmp_path, batches, monkeypatch):
    np.save(tmp_path / "x.npy", np.arange(20.0).reshape(5, 4))
    text = arrays("x", "x.npy", more="transform_param { mean_value: 1 }")
    np.testing.assert_array_equal(batches(text, 1)[0]["x"], np.arange(16.0).reshape(4, 4) - 1)
    monkeypatch.chdir(tmp_path)
    assert netdef.load(text).blobs["x"].shape == (4, 4)


def test_hdf5_files_are_read_as_arrays(tmp_path, batches, feed, monkeypatch):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"], file["labels"] = numbered(6)[:, 0], np.arange(6)
        file["words"] = np.array([b"a"] * 6)
        file["short"] = np.arange(5)
    text = arrays("data label", "x.h5", 'array: "images" array: "labels"', "transform_param { scale: 0.5 }")
    made = batches(text, 2)
    np.testing.assert_array_equal(made[0]["data"], numbered(6)[:4] * 0.5)
    assert made[1]["label"].tolist() == [4, 5, 0, 1]
    assert feed(text.replace("scale: 0.5 }", "scale: 0.5 } sample_param { limit: 3 }"), phase="TEST").size == 3
    monkeypatch.chdir(tmp_path)
    assert netdef.load(text).blobs["data"].shape == (4, 1, 4, 5)
    for name, words in (("none", "no array `none`"), ("words", "not an array of numbers"), ("short", "`short` (5,)")):
        with pytest.raises(netdef.NetdefError, match=re.escape(words)):
            batches(text.replace('"labels"', f'"{name}"'), 1)


def test_folders_of_arrays(tmp_path, batches):
    images = numbered(6, 3)
    (tmp_path / "npy").mkdir(), (tmp_path / "npz").mkdir()
    np.save(tmp_path / "npy" / "data.npy", images.transpose(0, 2, 3, 1))
    np.save(tmp_path / "npy" / "label.npy", np.arange(6))
    for i in range(3):
        np.savez(tmp_path / "npz" / f"{i}.npz", data=images[2 * i : 2 * i + 2], label=np.arange(2 * i, 2 * i + 2))
    for source, own in (("npy", "channels_last: true"), ("npz", "")):
        made = batches(arrays("data label", source, own), 2)
        np.testing.assert_array_equal(np.concatenate([b["data"] for b in made])[:6], images)
        assert made[1]["label"].tolist() == [4, 5, 0, 1]


def test_auto_mean_normalizes_by_the_training_records_and_is_cached(people, tmp_path, batches, monkeypatch):
    text = folder("sample_param { split: 0.5 }", 'mean_file: "AUTO"', batch=7)
    train = batches(text, 1, phase="TRAIN")[0]["data"]
    assert abs(train.mean()) < 1e-4 and abs(train.std() - 1) < 1e-4
    test = batches(text, 1)[0]["data"]
    assert 1e-4 < abs(test.mean()) < 0.5  # normalized by the mean of TRAIN, not its own
    kept = list((tmp_path / "cache").glob("mean-*.json"))
    assert len(kept) == 1
    kept[0].write_text('{"mean": [0], "deviation": [2]}')
    assert batches(text, 1)[0]["data"].max() > 100  # read from the cache, not measured again
    write_images(people / "dora", numbered(2))
    assert abs(batches(text, 1, phase="TRAIN")[0]["data"].mean()) < 0.2  # the folder has changed: measured again


def test_squash(people, batches):
    plain, squashed = (
        batches(folder(transform=t), 1)[0]["data"] for t in ("mean_value: 100", "mean_value: 100 squash: 50")
    )
    np.testing.assert_allclose(squashed, np.tanh(plain / 50), rtol=1e-6)


@pytest.fixture
def colors(tmp_path):
    images = numbered(8, 3, 12, 10)
    write_lmdb(tmp_path / "db", [datum(image, i % 4) for i, image in enumerate(images)])
    return images


def data(augment="", transform=""):
    return f"""layer {{ name: "d" type: "Data" top: "data" top: "label" augment_param {{ {augment} }}
               transform_param {{ {transform} }} data_param {{ source: "db" batch_size: 8 backend: LMDB }} }}"""


@pytest.mark.parametrize(
    "fields",
    [
        "area_lower: 0.3",
        "rotate: 30",
        "flip_vertical: true",
        "brightness: 0.5",
        "contrast: 0.5",
        "saturation: 0.9",
        "hue: 0.3",
        "noise: 5",
        "cutout: 4",
        "mixup: 1 num_labels: 4",
    ],
)
def test_augmentation_varies_in_train_only(colors, batches, fields):
    plain = colors.astype(np.float32)
    one, two = batches(data(fields), 2, phase="TRAIN")
    assert one["data"].shape == plain.shape
    assert not np.array_equal(one["data"], plain) and not np.array_equal(one["data"], two["data"])
    again = batches(data(fields), 2, phase="TRAIN")[1]
    np.testing.assert_array_equal(again["data"], two["data"])
    np.testing.assert_array_equal(batches(data(fields), 1)[0]["data"], plain)


def test_augmentations_do_what_they_say(colors, batches):
    plain = colors.astype(np.float32)
    flipped = batches(data("flip_vertical: true"), 1, phase="TRAIN")[0]["data"]
    upright = [np.array_equal(a, b) for a, b in zip(flipped, plain, strict=True)]
    over = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, plain, strict=True)]
    assert [a or b for a, b in zip(upright, over, strict=True)] == [True] * 8 and 0 < sum(upright) < 8
    holes = batches(data("cutout: 4", "mean_value: -1"), 1, phase="TRAIN")[0]["data"]
    assert all(4 <= (x[0] == 0).sum() <= 16 and np.array_equal(x == 0, np.stack([x[0] == 0] * 3)) for x in holes)
    noisy = batches(data("noise: 5"), 1, phase="TRAIN")[0]["data"] - plain
    assert abs(noisy.std() - 5) < 0.3 and abs(noisy.mean()) < 0.4
    parts = batches(data("area_lower: 0.3", "crop_size: 6"), 1, phase="TRAIN")[0]["data"]
    assert parts.shape == (8, 3, 6, 6)


class Extremes:
    """A random generator that always returns the lower or the upper bound."""

    def __init__(self, upper: bool):
        self.upper = upper

    def uniform(self, low, high, size=None):
        return np.full(size, high if self.upper else low) if size else high if self.upper else low


def test_hue_and_saturation_keep_brightness():
    image = np.random.default_rng(0).uniform(60, 200, (3, 4, 5)).astype(np.float32)
    luma = lambda image: np.tensordot([0.114, 0.587, 0.299], image, 1)
    varied = lambda upper=True, **fields: augment.reshape(image, augment.Augment(**fields), (0, 0), Extremes(upper))
    turned = varied(saturation=0.4, hue=0.2)
    np.testing.assert_allclose(luma(turned), luma(image), rtol=1e-4)
    assert np.abs(turned - image).max() > 5
    np.testing.assert_allclose(varied(hue=1e-9), image, rtol=1e-5)
    gray = varied(upper=False, saturation=1.0)  # no color is left
    np.testing.assert_allclose(gray, np.broadcast_to(luma(image), image.shape), rtol=2e-3)


def test_soft_labels(colors, batches, tmp_path, monkeypatch):
    smooth = batches(data("label_smoothing: 0.1 num_labels: 4"), 1, phase="TRAIN")[0]["label"]
    np.testing.assert_allclose(smooth[1], [0.025, 0.925, 0.025, 0.025], rtol=1e-6)
    hard = batches(data("label_smoothing: 0.1 num_labels: 4"), 1)[0]["label"]
    np.testing.assert_array_equal(hard, np.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3]])
    mixed = batches(data("mixup: 0.5 num_labels: 4"), 1, phase="TRAIN")[0]
    np.testing.assert_allclose(mixed["label"].sum(1), 1, rtol=1e-6)
    part = mixed["label"][0, 0]
    wanted = part * colors[0].astype(np.float32) + (1 - part) * colors[1]
    np.testing.assert_allclose(mixed["data"][0], wanted, rtol=1e-4, atol=1e-3)
    monkeypatch.chdir(tmp_path)
    assert netdef.load(data("mixup: 0.5 num_labels: 4")).blobs["label"].shape == (8, 4)


@pytest.mark.parametrize(
    "transform",
    [
        "mirror: true",
        "crop_size: 4 random_aspect_ratio_param { min_area_ratio: 0.2 }",
        "crop_size: 3 random_resize_param { min_size: 4 max_size: 8 }",
        "resize_param { height: 7 width: 6 interp_mode: [LINEAR, CUBIC, AREA] }",
    ],
)
def test_nothing_is_random_in_tests(people, feed, transform):
    """Every pass over the data of phase TEST has the same images; those of TRAIN differ."""
    seen = {}
    for phase in ("TRAIN", "TEST"):
        source = feed(folder(transform=transform, more=""), phase)
        seen[phase] = [next(source) for _ in range(4)]
    passes = [batch["data"] for batch in seen["TEST"]]
    assert all(np.array_equal(passes[0], other) for other in passes[1:])
    ordered = [np.sort(batch["data"].sum((1, 2, 3))) for batch in seen["TRAIN"]]
    other = [np.sort(batch["data"][..., 0].sum((1, 2))) for batch in seen["TRAIN"]]
    assert not all(np.allclose(a, ordered[0]) for a in ordered) or not all(np.allclose(a, other[0]) for a in other)
