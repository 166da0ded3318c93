"""The order of records: shuffled by blocks, divided among processes, and resumed, for every source."""

from __future__ import annotations

import json

import numpy as np
import pytest
from data_sets import layer, numbered, write_images
from data_sources import SOURCES, write_source

import netdef
from netdef.data.records import block_edges, blockwise

SIZE = 50
BLOCKS = "shuffle_block: 4 shuffle_window: 16"
AUGMENTED = """transform_param { crop_size: 3 mirror: true mean_value: 3 }
               augment_param { area_lower: 0.5 brightness: 0.3 noise: 2 cutout: 1 mixup: 0.4 num_labels: 50 }"""


@pytest.fixture
def source(request, tmp_path):
    """The source of a test's parameter, written to its folder."""
    if request.param == "leveldb":
        pytest.importorskip("plyvel")
    write_source(request.param, tmp_path, numbered(SIZE))
    return SOURCES[request.param]


every_source = pytest.mark.parametrize("source", SOURCES, indirect=True)


def taken(feed, n: int) -> list[dict[str, np.ndarray]]:
    return [next(feed) for _ in range(n)]


def equal(a, b) -> bool:
    return set(a) == set(b) and all(np.array_equal(a[top], b[top]) for top in a)


@every_source
@pytest.mark.parametrize("order", ["in order", "shuffled", "by blocks", "augmented"])
def test_processes_read_the_rows_of_one(source, order, feed):
    beside = AUGMENTED if order == "augmented" and source.kind != "HDF5Data" else ""
    text = source.text(6, order != "in order", BLOCKS if order == "by blocks" else "", beside)
    batches = taken(feed(text, seed=5), 19)  # over the end of two epochs
    for count in (2, 3, 6):
        shares = [taken(feed(text, seed=5, process=(i, count)), 19) for i in range(count)]
        for batch, *parts in zip(batches, *shares, strict=True):
            assert all(len(part["data"]) == 6 // count for part in parts)
            assert equal(batch, {top: np.concatenate([part[top] for part in parts]) for top in batch})


@every_source
def test_processes_can_have_every_second_or_third_row(source, feed):
    beside = AUGMENTED if source.kind != "HDF5Data" else ""
    text = source.text(6, True, beside=beside)
    batches = taken(feed(text, seed=5), 19)
    for count in (2, 3):
        for i in range(count):
            dealt = taken(feed(text, seed=5, process=(i, count, True)), 19)
            assert all(
                equal({t: a[i::count] for t, a in whole.items()}, own)
                for whole, own in zip(batches, dealt, strict=True)
            )


def shares_are(feed, text: str, batch_size: int, **options) -> bool:
    whole = taken(feed(text, seed=5, **options), 9)
    parts = [taken(feed(text, seed=5, process=(i, 3), **options), 9) for i in range(3)]
    joined = [{top: np.concatenate([part[top] for part in row]) for top in row[0]} for row in zip(*parts, strict=True)]
    return all(len(batch["data"]) == batch_size and equal(batch, one) for batch, one in zip(whole, joined, strict=True))


def test_processes_skip_the_same_records(tmp_path, feed):
    write_source("list", tmp_path, numbered(10))
    for broken in (2, 3, 9):
        (tmp_path / f"{broken:02d}.png").write_bytes(b"no image")
    assert shares_are(feed, SOURCES["list"].text(6, True, "skip_corrupt: true"), 6)
    assert shares_are(feed, SOURCES["list"].text(3, False, "skip_corrupt: true limit: 10"), 3)
    text = SOURCES["list"].text(6, True, "skip_corrupt: true")
    whole, dealt = taken(feed(text, seed=5), 9), taken(feed(text, seed=5, process=(1, 3, True)), 9)
    assert all(np.array_equal(a["data"][1::3], b["data"]) for a, b in zip(whole, dealt, strict=True))


def test_processes_share_windows_and_arrays(tmp_path, feed):
    write_images(tmp_path, numbered(1, 3, 12, 10))
    (tmp_path / "w.txt").write_text("# 0\n00.png\n3 12 10\n3\n2 0.9 1 2 4 5\n1 0.1 5 6 8 9\n1 0.2 6 6 9 9\n")
    beside = "transform_param { crop_size: 4 mirror: true }"
    assert shares_are(
        feed, layer("WindowData", 'window_data_param { source: "w.txt" batch_size: 6 }', beside=beside), 6
    )
    text = layer("MemoryData", "memory_data_param { batch_size: 6 channels: 1 height: 4 width: 5 }")
    assert shares_are(feed, text, 6, arrays={"m": (numbered(10), np.arange(10))})


@every_source
def test_a_batch_that_processes_cannot_share(source, feed):
    with pytest.raises(netdef.NetdefError, match="layer `x`: `batch_size` is 6, which 4 processes cannot share evenly"):
        feed(source.text(6), process=(0, 4))
    with pytest.raises(netdef.NetdefError, match="layer `x`: process 2 of 2 does not exist"):
        feed(source.text(6), process=(2, 2))


@pytest.mark.parametrize("source", ["lmdb", "leveldb", "list", "folder", "table", "tar"], indirect=True)
@pytest.mark.parametrize("order", [{}, {"shuffle": True}, {"shuffle": True, "sampling": BLOCKS}], ids=str)
def test_a_process_reads_no_other_rows(source, order, feed, monkeypatch):
    one = feed(source.text(6, **order), process=(1, 3))
    reader = one.readers["x"]
    records, read = reader.records, []
    original = records.read
    monkeypatch.setattr(records, "read", lambda numbers: read.extend(map(int, numbers)) or original(numbers))
    positions = range(0, 60, 6)
    for position in positions:
        reader.batch(position)
    assert read == [int(n) for p in positions for n in reader.order.at(p, 6)[2:4]]


@every_source
def test_blocks_hold_each_record_once_an_epoch(source, feed):
    labels = np.concatenate([b["label"] for b in taken(feed(source.text(5, True, BLOCKS)), 30)]).astype(int)
    epochs = labels.reshape(3, SIZE)
    assert all(sorted(epoch) == list(range(SIZE)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3


@every_source
@pytest.mark.parametrize("batches", [1, 4, 11])
def test_blocks_resume_at_any_position(source, batches, feed):
    text = source.text(6, True, BLOCKS)
    unbroken = feed(text, seed=2)
    taken(unbroken, batches)
    state = json.loads(json.dumps(unbroken.state()))
    resumed = feed(text, seed=2, workers=3)
    resumed.restore(state)
    assert all(equal(next(unbroken), next(resumed)) for _ in range(12))


def test_a_window_has_the_records_of_a_few_blocks():
    edges = block_edges(np.array([0, 1000]), 20)
    order = blockwise(edges, 200, 10, np.random.default_rng(0))
    assert sorted(order) == list(range(1000)) and len(edges) == 51
    for at in range(0, 1000, 200):
        window = order[at : at + 200]
        assert len(set(window // 20)) == 10
        for row in range(10):  # each row of the batches has its own part of the window, here one block
            assert len(set(window[row::10] // 20)) == 1
        assert any(np.any(np.diff(window[row::10]) < 0) for row in range(10))
    others = blockwise(edges, 200, 10, np.random.default_rng(1))
    assert not np.array_equal(order[:200] // 20, others[:200] // 20)


@pytest.mark.parametrize(
    ("size", "block", "window", "batch"), [(1, 1, 1, 1), (7, 3, 2, 4), (10, 99, 4, 3), (9, 2, 99, 20)]
)
def test_odd_sizes_of_blocks(size, block, window, batch):
    order = blockwise(block_edges(np.array([0, size]), block), window, batch, np.random.default_rng(0))
    assert sorted(order) == list(range(size))


def test_blocks_do_not_cross_shards():
    assert block_edges(np.array([0, 5, 5, 6, 10]), 2).tolist() == [0, 2, 4, 5, 6, 8, 10]
    assert block_edges(np.array([0, 5, 5, 6, 10]), 99).tolist() == [0, 5, 6, 10]


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_a_process_reads_a_contiguous_part_of_a_window(count):
    edges = block_edges(np.array([0, 4096]), 64)
    order = blockwise(edges, 1024, 8, np.random.default_rng(3)).reshape(-1, 8)  # batches
    blocks = [len(set((order[:128, i * 8 // count : (i + 1) * 8 // count] // 64).ravel())) for i in range(count)]
    assert blocks == [16 // count] * count


@pytest.mark.parametrize("source", ["lmdb", "folder", "tar"], indirect=True)
def test_blocks_of_a_part_of_the_records(source, feed):
    one = feed(source.text(5, True, f"{BLOCKS} limit: 25"))
    assert one.size == 25
    labels = np.concatenate([b["label"] for b in taken(one, 10)]).reshape(2, 25)
    assert sorted(labels[0]) == sorted(labels[1]) and len(set(labels[0])) == 25


def test_the_blocks_of_a_file_are_read_one_by_one(tmp_path, feed, monkeypatch):
    """At most the rows of two windows of an HDF5 file are in memory."""
    write_source("hdf5", tmp_path, numbered(SIZE))
    one = feed(SOURCES["hdf5"].text(4, True, BLOCKS), process=(1, 2))
    reader = one.readers["x"]
    read, original = [], reader.read_part
    monkeypatch.setattr(reader, "read_part", lambda part: read.append(part) or original(part))
    for position in range(0, 16, 4):
        reader.batch(position)
    assert len(read) == len(set(read)) <= 3  # of 4 in the window, and of 13 in all
    assert all(len(rows["label"]) <= 4 for rows in map(original, read))


def test_blocks_without_effect_are_reported(tmp_path, feed):
    write_source("lmdb", tmp_path, numbered(4))
    write_source("hdf5", tmp_path, numbered(4))
    write_images(tmp_path / "folder" / "a", numbered(2))
    words = "layer `x`: `shuffle_block` is 4, but the records are not shuffled; set `shuffle: true`"
    for name in ("lmdb", "hdf5", "folder"):
        with pytest.raises(netdef.NetdefError, match=words):
            feed(SOURCES[name].text(2, False, BLOCKS))
    feed(SOURCES["folder"].text(2, True, BLOCKS), phase="TEST")  # which is never shuffled
    words = "`balance` draws from the whole source, but `shuffle_block` is 4; remove one of them"
    with pytest.raises(netdef.NetdefError, match=words):
        feed(SOURCES["folder"].text(2, True, BLOCKS + " balance: true"))


def test_the_mean_of_balanced_records(tmp_path, feed):
    write_source("folder", tmp_path, numbered(6))
    beside = 'transform_param { mean_file: "AUTO" }'
    batch = next(feed(SOURCES["folder"].text(6, True, "balance: true", beside)))
    assert abs(batch["data"].mean()) < 1e-3
