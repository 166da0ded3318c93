"""TarData: shards of WebDataset, written by the standard library; each error names the shard and the record."""

from __future__ import annotations

import gzip
import tarfile

import numpy as np
import pytest
from data_sets import numbered
from data_sources import members, png, write_tar

import netdef
from netdef.cli import main
from netdef.data import tar_file
from netdef.data.feed import Feed
from netdef.language.errors import printable

WORDS = 'layer {{ name: "t" type: "TarData" {tops} {beside} tar_data_param {{ source: "{source}" batch_size: {batch} {more} }} }}'


def net(source: str = "train.tar", batch: int = 4, more: str = "", tops: str = "data label", beside: str = "") -> str:
    named = " ".join(f'top: "{top}"' for top in tops.split())
    return WORDS.format(source=source, batch=batch, more=more, tops=named, beside=beside)


@pytest.fixture
def shards(tmp_path):
    """Three shards of 4, 1 and 5 color images, whose labels are their indices."""
    images = numbered(10, 3)
    for name, first, end in (("train-000008", 0, 4), ("train-000009", 4, 5), ("train-000010", 5, 10)):
        write_tar(tmp_path / f"{name}.tar", [members(images[i], i) for i in range(first, end)], first)
    return images


@pytest.fixture
def fails(tmp_path):
    """fails(text, words): reading the first batches is an error of one line with these words."""

    def check(text: str, *words: str, phase: str = "TRAIN") -> None:
        with pytest.raises(netdef.NetdefError) as caught, Feed(netdef.load(text, phase=phase), root=tmp_path) as feed:
            for _ in range(4):
                next(feed)
        line = str(caught.value)
        assert line.startswith("layer `t`: ") and "\n" not in line and line.isprintable()
        for part in words:
            assert part in line, line

    return check


@pytest.mark.parametrize(
    "source", ["train-{000008..000010}.tar", "train-*.tar", "train-0000??.tar", ".", "train-0000{8..8}.tar"]
)
def test_shards_in_order(shards, batches, source, tmp_path):
    if source == "train-0000{8..8}.tar":
        for path in sorted(tmp_path.glob("*.tar"))[1:]:
            path.unlink()
        (tmp_path / "train-000008.tar").rename(tmp_path / "train-00008.tar")
    n = len(list(tmp_path.glob("*.tar"))) * 10 // 3 + (0 if source != "train-0000{8..8}.tar" else 1)
    batch = batches(net(source, batch=n), 1)[0]
    np.testing.assert_array_equal(batch["data"], shards[:n])
    assert batch["label"].tolist() == list(range(n))


def test_the_shapes_need_one_record(shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train-000010.tar").write_bytes(b"not a tar file")
    found = netdef.load(net("train-{000008..000010}.tar"))
    assert not found.diagnostics and [found.blobs[name].shape for name in ("data", "label")] == [(4, 3, 4, 5), (4,)]


def test_shards_are_shuffled_in_train_only(shards, feed):
    def order(text: str, phase: str = "TRAIN", seed: int = 0) -> list[int]:
        one = feed(text, phase, seed=seed)
        return np.concatenate([next(one)["label"] for _ in range(4)]).astype(int).tolist()

    whole = "train-{000008..000010}.tar"
    assert order(net(whole, 5), "TEST") == [*range(10)] * 2
    epochs = order(net(whole, 5))
    assert sorted(epochs[:10]) == sorted(epochs[10:]) == list(range(10)) and epochs[:10] != epochs[10:]
    narrow = net(whole, 5, beside="sample_param { shuffle_block: 99 shuffle_window: 2 }")
    files = np.array([0] * 4 + [1] + [2] * 5)
    runs = {len(np.flatnonzero(np.diff(files[order(narrow, seed=seed)[:10]]))) for seed in range(8)}
    assert max(runs) <= 5  # one file after the other, except within a window of two records


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_formats_of_tar(tmp_path, form):
    """Members are found where the standard library finds them; with long names, dates of pax, and other kinds."""
    path = tmp_path / "x.tar"
    write_tar(path, [members(image, 0) for image in numbered(3)], form=form, folder="a/" * 20 + "b" * 60 + "/")
    with tarfile.open(path, "a", format=form) as file:
        for name, kind in (("folder", tarfile.DIRTYPE), ("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "c" * (120 if form != tarfile.USTAR_FORMAT else 9)
            file.addfile(info)
        info = tarfile.TarInfo("last.txt")
        info.mtime = 0.5
        file.addfile(info)
    with tarfile.open(path) as file:
        expected = [(m.name.encode(), m.offset_data, m.size) for m in file if m.isreg()]
    found = tar_file.TarFile(path)
    assert list(found.members()) == expected and len(expected) == 7
    found.close()


def test_what_is_no_record_is_left_out(tmp_path, batches):
    image = numbered(1, 3)[0]
    write_tar(tmp_path / "train.tar", [members(image, 7)], folder="./a.b/")
    with tarfile.open(tmp_path / "train.tar", "a") as file:
        for name in ("a", "README", "._000000.png", ".DS_Store"):
            file.addfile(tarfile.TarInfo(name))
    batch = batches(net(batch=2), 1)[0]
    assert batch["label"].tolist() == [7, 7]


def test_labels_of_many_kinds(tmp_path, batches):
    image = numbered(1, 3)[0]
    fields = {"label": 3, "age": 41.5, "box": [1, 2, 3, 4], "of": {"it": True}}
    first = {"jpeg": png(image), "seg.png": b"not used", "json": members(image, fields)["json"], "TXT": b" -2.5\n"}
    write_tar(tmp_path / "train.tar", [first])
    assert batches(net(batch=1), 1)[0]["label"].tolist() == [3]  # of JSON, because there is no `cls`
    words = 'label: "json/age" label: "json/box" label: "json/of/it" label: "txt"'
    batch = batches(net(batch=1, more=words, tops="data age box it text"), 1)[0]
    assert [batch[top].tolist() for top in ("age", "box", "it", "text")] == [[41.5], [[1, 2, 3, 4]], [1], [-2.5]]
    assert list(batches(net(batch=1, tops="data"), 1)[0]) == ["data"]


def test_an_extension_of_images(tmp_path, batches):
    images = numbered(2, 3)
    write_tar(tmp_path / "train.tar", [{"png": png(images[0]), "right.png": png(images[1]), "cls": b"1"}])
    batch = batches(net(batch=1, more='image: "right.png"'), 1)[0]
    np.testing.assert_array_equal(batch["data"][0], images[1])


def test_balanced_classes_and_weights(tmp_path, batches):
    write_tar(tmp_path / "train.tar", [members(image, int(i > 5)) for i, image in enumerate(numbered(8, 3))])
    balanced = batches(net(batch=8, beside="sample_param { balance: true }"), 1, phase="TRAIN")[0]
    assert balanced["label"].sum() == 4
    weighted = net(batch=8, tops="data label weight", beside="sample_param { class_weights: true }")
    batch = batches(weighted, 1)[0]
    np.testing.assert_allclose(batch["weight"], [8 / 12] * 6 + [2.0] * 2, rtol=1e-6)


def test_measured_means_depend_on_the_shards(shards, batches, tmp_path):
    text = net("train-{000008..000010}.tar", 10, beside='transform_param { mean_file: "AUTO" }')
    assert abs(batches(text, 1)[0]["data"].mean()) < 1e-3
    write_tar(tmp_path / "train-000009.tar", [members(np.full((3, 4, 5), 255, np.uint8), 4)] * 30)
    assert abs(batches(text.replace("size: 10", "size: 39"), 1)[0]["data"].mean()) < 1e-3


def test_the_index_is_cached(shards, batches, tmp_path, monkeypatch):
    text = net("train-{000008..000010}.tar", 10)
    expected = batches(text, 1)[0]
    cached = sorted((tmp_path / "cache").glob("tar-*.index"))
    assert len(cached) == 3
    with monkeypatch.context() as patch:
        patch.setattr(tar_file.TarFile, "members", lambda self: 1 / 0)
        assert batches(text, 1)[0]["label"].tolist() == expected["label"].tolist()
    for path, left in zip(cached, (b"", b"{}\n", cached[2].read_bytes()[:-9]), strict=True):
        path.write_bytes(left)  # a damaged one is written again
    np.testing.assert_array_equal(batches(text, 1)[0]["data"], expected["data"])
    images = numbered(10, 3)[::-1]
    write_tar(tmp_path / "train-000009.tar", [members(images[0], 99)])
    assert batches(text, 1)[0]["label"].tolist() == [0, 1, 2, 3, 99, 5, 6, 7, 8, 9]


def test_cached_indices_are_read_by_many_threads(tmp_path, batches):
    for i in range(40):
        write_tar(tmp_path / f"{i:03d}.tar", [members(numbered(1)[0], i)] * 40)
    for _ in range(5):
        assert batches(net("{000..039}.tar", 1600), 1)[0]["label"].sum() == 40 * sum(range(40))


def test_many_shards(tmp_path, batches, monkeypatch):
    """More shards than files that stay open."""
    for i in range(90):
        write_tar(tmp_path / f"{i:03d}.tar", [members(numbered(1)[0], i)])
    one = batches(net("{000..089}.tar", 90), 2, phase="TRAIN")
    assert all(sorted(batch["label"]) == list(range(90)) for batch in one)
    write_tar(tmp_path / "050.tar", [])
    assert len(set(batches(net("{000..089}.tar", 89), 1)[0]["label"])) == 89


def test_missing_shards(shards, fails, tmp_path):
    (tmp_path / "empty").mkdir()
    for source, words in (
        ("", "`source` is not given; set it to the path of the tar file"),
        ("train-{000008..000011}.tar", "train-000011.tar does not exist"),
        ("train-{000009..000008}.tar", "`source`: {000009..000008} has 0 values"),
        ("{0..99999}{0..99999}.tar", "at most 100,000 files are possible"),
        ("test-*.tar", "test-*.tar"),
        ("empty", "empty contains no .tar files"),
        ("none.tar", "none.tar does not exist"),
    ):
        fails(net(source), words)
    write_tar(tmp_path / "train.tar", [])
    fails(net(), "train.tar has no records")


def test_damaged_shards(tmp_path, fails):
    path = tmp_path / "train.tar"
    write_tar(path, [members(image, i) for i, image in enumerate(numbered(6, 3, 40, 40))])
    whole = path.read_bytes()
    with tarfile.open(path) as file:
        last = file.getmembers()[-2]
    path.write_bytes(whole[: last.offset_data + 100])
    fails(net(), "train.tar is truncated: its member `000005.png` has 100 of ", "copy or write it again")
    for cut in (last.offset, last.offset + 99):
        path.write_bytes(whole[:cut])
        fails(net(), f"train.tar is truncated: it ends after {cut} bytes, without the mark of its end")
    path.write_bytes(whole[: last.offset] + b"x" + whole[last.offset + 1 :])
    fails(net(), f"train.tar is not a readable tar file: there is no header at byte {last.offset}")
    path.write_bytes(gzip.compress(whole))
    fails(net(), "train.tar is compressed", "decompress it with `gunzip`")
    path.write_bytes(b"")
    fails(net(), "train.tar is truncated: it ends after 0 bytes")


def test_a_shard_that_changes(tmp_path, feed):
    path = tmp_path / "train.tar"
    write_tar(path, [members(image, i) for i, image in enumerate(numbered(50, 3, 40, 40))])
    one = feed(net(batch=1), "TEST", workers=1, ahead=1)
    next(one)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(netdef.NetdefError, match="layer `t`: .*train.tar has changed while it was in use; run again"):
        for _ in range(50):
            next(one)


def test_broken_records(tmp_path, fails, feed):
    good = [members(image, i) for i, image in enumerate(numbered(3, 3))]
    for broken, more, *words in (
        ({"cls": b"1"}, "", "has no image, but cls"),
        ({"png": good[0]["png"]}, "", "has no member `cls`, but png"),
        ({"png": good[0]["png"][:60], "cls": b"1"}, "", "contains an image that cannot be decoded"),
        ({"png": b"", "cls": b"1"}, "", "contains an image that cannot be decoded"),
        ({"png": good[0]["png"], "cls": b"a cat\n"}, "", "has `cls` `a cat`, not a number"),
        ({"png": good[0]["png"], "cls": b"nan"}, "", "has `cls` `nan`, not a number"),
        ({"png": good[0]["png"], "cls": b"\xff\n\0"}, "", "not a number"),
    ):
        write_tar(tmp_path / "train.tar", [*good, broken])
        fails(net(more=more), "record `000003` of ", "train.tar", *words, "or set `skip_corrupt`")
        one = feed(net(beside="sample_param { skip_corrupt: true }"), "TEST")
        assert next(one)["label"].tolist() == [0, 1, 2, 0] and one.skipped == {"t": 1}


def test_broken_json(tmp_path, fails):
    good = members(numbered(1, 3)[0], {"label": 1, "box": [1, 2]})
    for value, words in (
        (b'{"label": 1}', "not a number or a list of numbers"),
        (b'{"box": "12"}', "has `json/box` `"),
        (b'{"box": [1, "2"]}', "not a number or a list of numbers"),
        (b'{"box": [[1, 2]]}', "not a number or a list of numbers"),
        (b'{"box": [1, NaN]}', "not a number or a list of numbers"),
        (b'{"box": [1', "not a number or a list of numbers"),
        (b"[" * 9999, "not a number or a list of numbers"),
        (b'{"box": [1, 2, 3]}', "has 3 numbers in `json/box`, but the first record has 2 numbers"),
        (b'{"box": 1}', "has one number in `json/box`, but the first record has 2 numbers"),
    ):
        write_tar(tmp_path / "train.tar", [good, good | {"json": value}])
        fails(net(more='label: "json/box"'), "record `000001` of ", words)


def test_labels_that_are_not_given(tmp_path, fails):
    write_tar(tmp_path / "train.tar", [{"png": png(numbered(1, 3)[0])}])
    fails(net(), "record `000000` of ", "has the members png; give `label` for each of the 1 tops after the image")
    fails(net(tops="data a b"), "give `label` for each of the 2 tops")
    fails(net(more='label: "cls"', tops="data a b"), "`label` is given 1 times, but 2 tops follow the image")


def test_a_label_out_of_range(tmp_path, fails):
    write_tar(tmp_path / "train.tar", [members(image, i) for i, image in enumerate(numbered(4, 3))], first=20)
    loss = """layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
              layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }"""
    text = net(tops="data label").replace("train.tar", printable(str(tmp_path / "train.tar")))
    fails(text + loss, "record `000023` of ", "train.tar has the label 3, but layer `loss` has 3 classes, 0 to 2")


def test_explained(capsys):
    assert main(["explain", "TarData"]) == 0
    said = capsys.readouterr().out
    assert "tar_data_param" in said and "train-{000000..000146}.tar" in said and "shuffle_window" in said
