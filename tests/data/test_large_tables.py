"""TableData with tables that are read part by part: the same rows as in memory, in an order that mixes parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from data_sets import layer

from netdef.compiler import load
from netdef.data import table_parts
from netdef.data.feed import Feed
from netdef.data.layers.table import TableReader
from netdef.files import locator
from netdef.language.errors import NetdefError
from netdef.layers.base import Phase

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ROWS = 300
COLUMNS = """
    column { top: "x" name: "size" name: "price" normalize: true fill: MEAN }
    column { top: "code" kind: CATEGORY } text { top: "words" vocabulary: "words.txt" length: 4 truncate: true }
"""


def columns() -> dict[str, list]:
    where = np.random.default_rng(1)
    return {
        "size": [round(float(v), 3) for v in where.normal(50, 9, ROWS)],
        "price": [None if i % 50 == 7 else i * 10 for i in range(ROWS)],
        "kind": [("north", "south", 'a "wall"', "line\nend")[i % 4] for i in range(ROWS)],
        "code": [str(i // 60) if i < 290 else "x" for i in range(ROWS)],  # most parts have only numbers
        "words": ["one, two", "three one", "two"] * (ROWS // 3),
    }


def cell(value: object) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text


@pytest.fixture(autouse=True)
def small_parts(monkeypatch, tmp_path):
    monkeypatch.setattr(table_parts, "PART", 1000)
    monkeypatch.setattr(table_parts, "READ", 777)
    monkeypatch.setenv("NETDEF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "words.txt").write_text("<pad>\n<unk>\none\ntwo\n")


@pytest.fixture(params=["csv", "crlf.csv", "parquet"])
def source(request, tmp_path) -> str:
    name = f"t.{request.param}"
    if name.endswith("parquet"):
        pq.write_table(pa.table(columns()), tmp_path / name, row_group_size=17)
        return name
    end = "\r\n" if "crlf" in name else "\n"
    rows = [",".join(map(cell, row)) for row in zip(*columns().values(), strict=True)]
    rows.insert(40, "")  # a blank line
    (tmp_path / name).write_bytes(("\ufeff" + end.join([",".join(columns()), *rows, "", ""])).encode())
    return name


def reader(folder, source: str, limit: int, own: str = COLUMNS, phase: Phase = Phase.TRAIN, **more) -> TableReader:
    tops = more.pop("tops", "x kind code words")
    beside, batch = more.pop("beside", ""), more.pop("batch", 8)
    own += f'source: "{source}" batch_size: {batch} memory_limit: {limit}'
    net = load(layer("TableData", f"table_data_param {{ {own} }}", tops, beside))
    found = net.layers[0].layer.open(locator(folder), phase=phase, seed=5, **more)
    assert isinstance(found, TableReader)
    return found


def parts_in(found: Any) -> table_parts.Parts:
    return found.records.parts


def test_the_rows_are_those_of_a_table_in_memory(tmp_path, source):
    split = "sample_param { split: 0.7 }"
    for own, phase, beside in (
        (COLUMNS + "shuffle: false ", Phase.TRAIN, ""),
        (COLUMNS, Phase.TEST, split),
        (COLUMNS, Phase.TEST, "sample_param { split: 0.7 limit: 50 }"),
    ):
        whole, parts = (reader(tmp_path, source, limit, own, phase, beside=beside) for limit in (256, 0))
        assert whole.size == parts.size and whole.resident(1 << 30) is not None and parts.resident(1 << 30) is None
        assert parts.records.size == ROWS and len(parts_in(parts)) > 5
        for (top, ours), (other, theirs) in zip(
            parts.measured.columns.items(), whole.measured.columns.items(), strict=True
        ):
            assert top == other and ours.categories == theirs.categories
            np.testing.assert_allclose([c.mean for c in ours.codes], [c.mean for c in theirs.codes], rtol=1e-12)
            np.testing.assert_allclose(
                [c.deviation for c in ours.codes], [c.deviation for c in theirs.codes], rtol=1e-12
            )
        for position in (0, 96, 8 * (ROWS - 1), 33):
            ours, theirs = parts.batch(position), whole.batch(position)
            assert ours.keys() == theirs.keys()
            for top in theirs:
                assert ours[top].dtype == theirs[top].dtype
                np.testing.assert_allclose(ours[top], theirs[top], rtol=1e-6)


def test_shuffled_parts_are_mixed_and_every_row_is_used_once(tmp_path, source):
    found = reader(tmp_path, source, 0, batch=10)
    epochs = [np.concatenate([found.numbers(e * ROWS + i) for i in range(0, ROWS, 10)]) for e in (0, 1)]
    assert all(sorted(epoch) == list(range(ROWS)) for epoch in epochs) and (epochs[0] != epochs[1]).any()
    of = np.searchsorted(parts_in(found).starts, epochs[0], side="right")
    assert np.mean([len(set(of[i : i + 10])) for i in range(0, ROWS, 10)]) > 3  # parts in a batch
    again, first = reader(tmp_path, source, 0, batch=10), found.batch(70)
    for top, array in again.batch(70).items():  # whatever was read before
        np.testing.assert_array_equal(array, first[top])
    halves = [reader(tmp_path, source, 0, batch=10, process=(i, 2)).batch(70) for i in (0, 1)]
    for top, array in first.items():
        np.testing.assert_array_equal(np.concatenate([half[top] for half in halves]), array)


def test_few_parts_are_in_memory(tmp_path, source, monkeypatch):
    found = reader(tmp_path, source, 0, batch=10, beside="sample_param { shuffle_block: 5 shuffle_window: 10 }")
    read = []
    columns_of = table_parts.Parts.columns
    monkeypatch.setattr(
        table_parts.Parts, "columns", lambda parts, *args: (read.append(args[0]), columns_of(parts, *args))[1]
    )
    for position in range(0, 5 * ROWS, 10):
        found.batch(position)
    assert len(read) > 6 * len(parts_in(found))
    found = reader(tmp_path, source, 0, "shuffle: false " + COLUMNS)
    read.clear()
    for position in range(0, ROWS, 8):
        found.batch(position)
    assert read == [*range(len(parts_in(found)))]


def test_classes_of_a_large_table(tmp_path, source):
    weights = {"own": "", "tops": "size kind weight", "beside": "sample_param { class_weights: true split: 0.5 }"}
    whole, parts = (reader(tmp_path, source, limit, phase=Phase.TEST, **weights) for limit in (256, 0))
    for top, array in whole.batch(0).items():
        np.testing.assert_array_equal(parts.batch(0)[top], array)
    with pytest.raises(NetdefError, match="`balance` draws from the whole table.*memory_limit"):
        reader(tmp_path, source, 0, beside="sample_param { balance: true }")


def test_lines_of_text_in_parts(tmp_path):
    lines = [f"one two {i} é" for i in range(400)]
    (tmp_path / "t.txt").write_bytes("\n\n".join(lines).encode())
    own = 'text { top: "words" vocabulary: "words.txt" length: 4 } shuffle: false '
    whole, parts = (reader(tmp_path, "t.txt", limit, own, tops="words") for limit in (256, 0))
    assert parts.size == whole.size == 400 and len(parts_in(parts)) > 3
    np.testing.assert_array_equal(parts.batch(80)["words"], whole.batch(80)["words"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("\n1299,", "\n1299,9,"), r"t.csv:202: the row has 3 cells, but the header has 2"),
        (("\n1299,", "\n?,"), r"t.csv:202: `a` is `\?`, but most cells of the column are numbers"),
        (("\n1299,", "\n,"), r"t.csv:202: no value in column `a`, and in 0 other rows; set `fill`"),
        (("\n1299,", "\ninf,"), r"t.csv:202: `a` is infinite"),
        (("\n1299,", '\n"1299,'), r"double quotes"),
        (("\n1299,", "\n1299\xff,"), r"t.csv:202: the line is not UTF-8"),
    ],
)
def test_mistakes_are_found_before_training_begins(tmp_path, change, message):
    text = "a,b\n" + "".join(f"{1099 + i},{i % 3}\n" for i in range(400))
    (tmp_path / "t.csv").write_bytes(text.replace(*change).encode("latin-1"))
    with pytest.raises(NetdefError, match=message) as caught:
        reader(tmp_path, "t.csv", 0, "", tops="a b")
    assert "\n" not in str(caught.value)


def test_a_table_that_changes_is_noticed(tmp_path):
    text = "a\n" + "".join(f"{i}\n" for i in range(900))
    (tmp_path / "t.csv").write_text(text)
    found = reader(tmp_path, "t.csv", 0, "shuffle: false ", tops="a")
    found.batch(0)
    (tmp_path / "t.csv").write_text(text + "900\n")
    with pytest.raises(NetdefError, match="has changed while it was in use"):
        found.batch(800)


def test_a_feed_of_a_large_table_resumes(tmp_path, source):
    own = COLUMNS + f'source: "{source}" batch_size: 8 memory_limit: 0'
    net = load(layer("TableData", f"table_data_param {{ {own} }}", "x kind code words"))
    with Feed(net, root=tmp_path, seed=3) as feed:
        for _ in range(7):
            next(feed)
        state = feed.state()
        expected = [next(feed) for _ in range(40)]
    with Feed(net, root=tmp_path, seed=3) as feed:
        feed.restore(state)
        for batch in expected:
            for top, array in next(feed).items():
                np.testing.assert_array_equal(array, batch[top])


def test_a_row_with_one_value_for_each_category_has_a_known_width(tmp_path, source, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = f'column {{ top: "kind" one_hot: true }} source: "{source}" memory_limit: 0'
    assert load(layer("TableData", f"table_data_param {{ {own} }}", "kind")).blobs["kind"].shape == (32, 4)
