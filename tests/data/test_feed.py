"""The feed: exact resumption, shares of several processes, and errors that never hang."""

from __future__ import annotations

import json
import multiprocessing
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from data_sets import datum, layer, numbered, write_images, write_lmdb

import netdef
from netdef.data.feed import Feed

TEXT = """
layer { name: "d" type: "Data" top: "data" top: "label"
        transform_param { crop_size: 3 mirror: true } augment_param { brightness: 0.5 noise: 2 cutout: 2 }
        data_param { source: "db" batch_size: 4 backend: LMDB shuffle: true } }
layer { name: "e" type: "Data" top: "more" transform_param { crop_size: 2 }
        data_param { source: "db" batch_size: 3 backend: LMDB } }
"""


@pytest.fixture(autouse=True)
def images(tmp_path):
    made = numbered(10, 3)
    write_lmdb(tmp_path / "db", [datum(image, i) for i, image in enumerate(made)])
    return made


def equal(a, b):
    return set(a) == set(b) and all(np.array_equal(a[top], b[top]) for top in a)


@pytest.mark.parametrize("taken", [0, 1, 7])
def test_resumes_bit_for_bit_in_mid_epoch(feed, taken):
    unbroken = feed(TEXT, seed=3)
    for _ in range(taken):
        next(unbroken)
    state = json.loads(json.dumps(unbroken.state()))
    rest = [next(unbroken) for _ in range(6)]
    resumed = feed(TEXT, seed=3)
    next(resumed)  # discarded by restore
    resumed.restore(state)
    assert resumed.state() == state
    assert all(equal(a, next(resumed)) for a in rest)


def test_the_number_of_workers_changes_nothing(feed):
    one, many = feed(TEXT, workers=1, ahead=1), feed(TEXT, workers=5, ahead=9)
    assert all(equal(next(one), next(many)) for _ in range(12))


def test_processes_share_each_batch(feed):
    text = TEXT.split("\n")[1:4]
    whole = feed("\n".join(text), seed=1)
    parts = [feed("\n".join(text), seed=1, process=(i, 2)) for i in range(2)]
    for _ in range(7):
        batch, shares = next(whole), [next(part) for part in parts]
        assert all(np.array_equal(np.concatenate([s[top] for s in shares]), batch[top]) for top in batch)
    with pytest.raises(netdef.NetdefError, match="`batch_size` is 4, which 3 processes cannot share evenly"):
        feed("\n".join(text), process=(0, 3))


def test_size_and_batch_size(feed):
    one = feed(TEXT)
    assert (one.size, one.batch_size) == (10, 4)


def test_place_is_applied_ahead(feed):
    one = feed(TEXT, place=lambda batch: (threading.current_thread().name, batch))
    name, batch = next(one)
    assert name.startswith("netdef-data") and set(batch) == {"data", "label", "more"}


def test_a_feed_whose_last_reference_is_that_of_its_own_thread(tmp_path, monkeypatch):
    failed, threads, dropped = [], [], threading.Event()
    monkeypatch.setattr(sys, "unraisablehook", failed.append)

    def place(batch):
        if threads:
            assert dropped.wait(60)
        threads.append(threading.current_thread())

    feed = Feed(netdef.load(TEXT), root=tmp_path, workers=1, ahead=2, place=place)
    next(feed)
    del feed
    dropped.set()
    threads[0].join(60)
    assert not threads[0].is_alive() and not failed


def test_a_corrupt_record_ends_the_feed_with_its_error(tmp_path, feed):
    names = write_images(tmp_path / "faces", numbered(6, 3))
    (tmp_path / "faces" / names[4]).write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    (tmp_path / "list.txt").write_text("".join(f"faces/{name} 0\n" for name in names))
    text = layer("ImageData", 'image_data_param { source: "list.txt" batch_size: 2 }')
    before = set(threading.enumerate())
    broken = feed(text)
    next(broken), next(broken)
    begin = time.monotonic()
    with pytest.raises(netdef.NetdefError, match=r"layer `i`: .*04\.png cannot be decoded as an image"):
        next(broken)
    with pytest.raises(netdef.NetdefError, match="closed"):
        next(broken)
    assert time.monotonic() - begin < 20
    assert not [t for t in set(threading.enumerate()) - before if t.name.startswith("netdef-data")]


def test_a_worker_that_dies_by_any_error_ends_the_feed(feed):
    def place(batch):
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        next(feed(TEXT, place=place))


def test_broken_records_are_skipped_and_counted_if_requested(tmp_path, feed):
    names = write_images(tmp_path / "faces", numbered(4, 3))
    (tmp_path / "faces" / names[1]).write_bytes(b"no image")
    (tmp_path / "list.txt").write_text("".join(f"faces/{name} {i}\n" for i, name in enumerate(names)))
    text = """layer { name: "i" type: "ImageData" top: "data" top: "label" sample_param { skip_corrupt: true }
              image_data_param { source: "list.txt" batch_size: 4 } }"""
    one = feed(text)
    assert [next(one)["label"].tolist() for _ in range(2)] == [[0, 2, 2, 3]] * 2
    assert [name for reader in one.readers.values() for name in reader.skipped if "01.png" in name]
    assert one.skipped == {"i": 1}
    for name in names:
        (tmp_path / "faces" / name).write_bytes(b"no image")
    with pytest.raises(netdef.NetdefError, match="cannot be decoded"):
        next(feed(text))


def test_processes_make_the_same_batches(feed):
    threads, processes = feed(TEXT, seed=5), feed(TEXT, seed=5, processes=2)
    for _ in range(4):
        assert equal(next(threads), next(processes))
    assert processes.state() == threads.state()


def test_a_process_that_is_killed_ends_the_feed_with_its_error(feed):
    before = set(multiprocessing.active_children())
    one = feed(TEXT, processes=1)
    next(one)
    started = set(multiprocessing.active_children()) - before
    assert len(started) == 1
    for process in started:
        process.kill()
    begin = time.monotonic()
    with pytest.raises(netdef.NetdefError, match="a process that makes batches has died"):
        for _ in range(20):
            next(one)
    assert time.monotonic() - begin < 30


def test_an_error_in_a_process_ends_the_feed(tmp_path, feed):
    names = write_images(tmp_path / "faces", numbered(4, 3))
    (tmp_path / "faces" / names[1]).write_bytes(b"no image")
    (tmp_path / "list.txt").write_text("".join(f"faces/{name} 0\n" for name in names))
    block = 'image_data_param { source: "list.txt" batch_size: 4 }'
    with pytest.raises(netdef.NetdefError, match=r"01\.png cannot be decoded"):
        next(feed(layer("ImageData", block), processes=1))
    skipping = feed(layer("ImageData", block, beside="sample_param { skip_corrupt: true }"), processes=1)
    next(skipping)
    assert skipping.skipped == {"i": 1}


def test_a_state_of_another_net_is_refused(feed):
    with pytest.raises(netdef.NetdefError, match=r"of the layers \['x'\], but this net has \['d', 'e'\]"):
        feed(TEXT).restore({"x": {"position": 0}})


def test_memory_stays_flat(feed):
    """The number of prefetched batches is bounded, and a batch is freed after it was returned."""
    made = []
    one = feed(TEXT, workers=2, ahead=3, place=lambda batch: made.append(weakref.ref(batch["data"])) or batch)
    for taken in range(1, 51):
        next(one)
        assert len(made) <= taken + 3
    assert len([ref for ref in made if ref() is not None]) <= 3


def test_a_net_without_data_layers_has_no_batches():
    text = 'name: "N" layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }'
    with pytest.raises(netdef.NetdefError, match="net N has no data layer in phase TEST"):
        next(netdef.data.batches(text))
