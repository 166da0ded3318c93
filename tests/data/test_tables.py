"""TableData: the columns of tables as tops."""

from __future__ import annotations

import json

import numpy as np
import pytest
from data_sets import layer, numbered, write_images

import netdef
from netdef.cli import main
from netdef.data.feed import Feed
from netdef.files import locator
from netdef.language.errors import NetdefError
from netdef.layers.base import Phase

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

HOUSES = """area,rooms,town,garden,price
10,2,Ulm,yes,1.5
20,,Bonn,no,2
30,3,Ulm,yes,2.5
40,4,Aalen,no,NA
"""


def table(tops: str, own: str = "", source: str = "t.csv", batch: int = 4, beside: str = "") -> str:
    return layer("TableData", f'table_data_param {{ source: "{source}" batch_size: {batch} {own} }}', tops, beside)


def write(folder, text: str = HOUSES, name: str = "t.csv"):
    (folder / name).write_text(text, encoding="utf-8")


def error_of(text: str, folder) -> str:
    """The error of a net's data, which has one line and no traceback."""
    with pytest.raises(NetdefError) as caught:
        net = netdef.load(text, phase="TRAIN")
        with Feed(net, root=folder) as feed:
            next(feed)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_columns_are_tops(tmp_path, batches):
    write(tmp_path)
    first, second = batches(table("area town garden", batch=3), 2)
    assert first["area"].tolist() == [10, 20, 30] and first["area"].dtype == np.float32
    assert first["town"].tolist() == [2, 1, 2]  # Aalen, Bonn, Ulm
    assert second["garden"].tolist() == [0, 1, 0]  # no, yes; it begins with the last row


def test_several_columns_form_a_row_and_a_star_means_the_others(tmp_path, batches, monkeypatch):
    write(tmp_path, "id,a,b,,kind\n0,1,2,9,x\n1,3,4,9,y\n")
    text = table("x kind", 'column { top: "x" name: "*" }', batch=2)
    np.testing.assert_array_equal(batches(text, 1)[0]["x"], [[0, 1, 2], [1, 3, 4]])  # a column without a name is none
    one = table("kind x", 'column { top: "x" name: "b" name: "a" }', batch=2)
    np.testing.assert_array_equal(batches(one, 1)[0]["x"], [[2, 1], [4, 3]])
    monkeypatch.chdir(tmp_path)
    net = netdef.load(text)
    assert net.blobs["x"].shape == (2, 3) and net.blobs["kind"].shape == (2,)


def test_categories_as_rows_beside_normalized_numbers(tmp_path, batches, monkeypatch):
    write(tmp_path)
    own = 'column { top: "x" name: "area" name: "town" one_hot: true normalize: true }'
    made = batches(table("x", own), 1)[0]["x"]
    scaled = (np.array([10, 20, 30, 40]) - 25) / np.std([10, 20, 30, 40])
    np.testing.assert_allclose(made, np.column_stack([scaled, np.eye(3)[[2, 1, 2, 0]]]), rtol=1e-6)
    monkeypatch.chdir(tmp_path)
    assert netdef.load(table("x", own)).blobs["x"].shape == (4, 4)  # known without training


def test_large_numbers_are_normalized_before_they_are_rounded(tmp_path, batches):
    seconds = 1_700_000_000 + np.arange(4) * 10
    write(tmp_path, "\n".join(["t", *map(str, seconds)]))
    made = batches(table("t", 'column { top: "t" normalize: true }'), 1)[0]["t"]
    np.testing.assert_allclose(made, (np.arange(4) - 1.5) / np.std(np.arange(4)), rtol=1e-6)


def test_missing_numbers_are_filled(tmp_path, batches):
    write(tmp_path)
    own = 'column { top: "rooms" fill: MEAN } column { top: "price" fill: -1 }'
    made = batches(table("rooms price", own), 1)[0]
    assert made["rooms"].tolist() == [2, 3, 3, 4] and made["price"].tolist() == [1.5, 2, 2.5, -1]


def test_missing_categories_are_filled(tmp_path, batches):
    write(tmp_path, "a,b\n1,x\n2,\n3,y\n")
    made = batches(table("b", 'column { top: "b" fill_category: "y" }', batch=3), 1)[0]
    assert made["b"].tolist() == [0, 1, 1]


def test_categories_in_a_given_order_and_of_numbers(tmp_path, batches):
    write(tmp_path, "size,code\nS,10\nL,9\nM,10\n")
    own = 'column { top: "size" category: ["S", "M", "L"] } column { top: "code" kind: CATEGORY }'
    made = batches(table("size code", own, batch=3), 1)[0]
    assert made["size"].tolist() == [0, 2, 1] and made["code"].tolist() == [1, 0, 1]  # 9 before 10


@pytest.mark.parametrize(
    ("name", "delimiter"), [("t.csv", ";"), ("t.tsv", "\t"), ("t.csv", "|"), ("T.CSV", ","), ("t.csv", "\t")]
)
def test_delimiters(name, delimiter, tmp_path, batches):
    text = HOUSES.replace(",", delimiter)
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert batches(table("town", source=name), 1)[0]["town"].tolist() == [2, 1, 2, 0]


def test_spaces_quotes_blank_lines_and_words_for_numbers(tmp_path, batches):
    write(tmp_path, 'name , a\n\n"Ulm, south", 1\n"two\nlines" , 2.5\nx,true\n')
    made = batches(table("name a", batch=3), 1)[0]
    assert made["a"].tolist() == [1, 2.5, 1] and made["name"].tolist() == [0, 1, 2]


def test_parquet_has_the_same_values_as_csv(tmp_path, batches):
    write(tmp_path)
    columns = {
        "area": pa.array([10, 20, 30, 40], pa.int16()),
        "rooms": pa.array([2, None, 3, 4], pa.float64()),
        "town": pa.array(["Ulm", "Bonn", "Ulm", "Aalen"]).dictionary_encode(),
        "garden": pa.array([True, False, True, False]),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    own = 'column { top: "x" name: "area" name: "rooms" fill: MEAN normalize: true }'
    csv, parquet = (batches(table("x town garden", own, source=f"t.{end}"), 1)[0] for end in ("csv", "parquet"))
    for top in csv:
        np.testing.assert_array_equal(csv[top], parquet[top])


def test_means_are_those_of_the_training_rows(tmp_path, batches):
    write(tmp_path, "\n".join(["a,k", *(f"{i * i},{'xy'[i % 2]}" for i in range(20))]))
    own = 'column { top: "a" normalize: true }'
    text = table("a k", own, batch=10, beside="sample_param { split: 0.5 }")
    train, test = batches(text, 1, phase="TRAIN")[0], batches(text, 1)[0]
    assert abs(train["a"].mean()) < 1e-6 and train["a"].std() == pytest.approx(1)
    assert abs(test["a"].mean()) > 1e-3
    assert sorted(train["k"]) == sorted(test["k"]) == [0] * 5 + [1] * 5  # the split keeps the proportions


def test_a_table_of_tests_is_read_as_the_training_table(tmp_path, batches):
    write(tmp_path)
    write(tmp_path, "town,extra,area\nUlm,1,25\n", "test.csv")
    own = 'test_source: "test.csv" column { top: "area" normalize: true }'
    made = batches(table("area town", own, batch=1), 1)[0]
    assert made["town"].tolist() == [2] and made["area"].tolist() == [0]
    write(tmp_path, "town,area\nUlm,1\nKoeln,2\n", "test.csv")
    with pytest.raises(
        NetdefError, match=r"test\.csv:3: `town` is `Koeln`, which is not one of its 3 categories: `Aalen`, `Bonn`"
    ):
        batches(table("area town", own, batch=1), 1)


def test_shuffled_epochs_resume_and_the_device_agrees(tmp_path):
    write(tmp_path, "\n".join(["a,b,k", *(f"{i},{i / 7},{'xyz'[i % 3]}" for i in range(11))]))
    own = 'column { top: "x" name: "a" name: "b" normalize: true }'
    net = netdef.load(table("x k", own, batch=4), phase="TRAIN")
    with Feed(net, root=tmp_path, seed=3) as feed, Feed(net, root=tmp_path, seed=3) as other:
        seen = [next(feed) for _ in range(6)]
        resident = netdef.data.on_device(other, 1 << 20)
        for batch in seen:
            made = resident.make(resident.table, next(resident))
            for top in batch:
                np.testing.assert_array_equal(batch[top], made[top])
                assert batch[top].dtype == made[top].dtype == np.float32
    epochs = np.concatenate([batch["k"] for batch in seen])[:22].reshape(2, 11)
    assert sorted(epochs[0]) == sorted(epochs[1]) and not np.array_equal(*epochs)
    with Feed(net, root=tmp_path, seed=3) as again:
        again.restore({"t": {"position": 8}})
        np.testing.assert_array_equal(next(again)["x"], seen[2]["x"])
    assert netdef.data.on_device(Feed(net, root=tmp_path), 8) is None


def test_each_process_has_its_rows_of_a_batch(tmp_path):
    write(tmp_path)
    source = netdef.load(table("area"), phase="TRAIN").layers[0].layer
    opened = [source.open(locator(tmp_path), phase=Phase.TRAIN, process=(i, 2)) for i in range(2)]
    whole = source.open(locator(tmp_path), phase=Phase.TRAIN).batch(4)["area"]
    np.testing.assert_array_equal(np.concatenate([reader.batch(4)["area"] for reader in opened]), whole)


def test_balance_and_class_weights(tmp_path, batches):
    write(tmp_path, "\n".join(["a,k", *(f"{i},{'x' if i < 9 else 'y'}" for i in range(12))]))
    made = batches(table("a k", batch=12, beside="sample_param { balance: true }"), 1, phase="TRAIN")[0]
    assert sorted(made["k"]) == [0] * 6 + [1] * 6
    weighted = batches(table("a k w", batch=12, beside="sample_param { class_weights: true }"), 1)[0]
    assert weighted["w"].tolist() == pytest.approx([12 / 18] * 9 + [2] * 3)
    assert "`class_weights` requires" in error_of(table("a w", beside="sample_param { class_weights: true }"), tmp_path)


def test_labels_are_checked_against_the_net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # because the number of classes depends on shapes
    write(tmp_path, "a,k\n1,0\n2,7\n")
    net = table("a k", batch=2, own='shuffle: false column { top: "a" name: "a" one_hot: true }') + (
        'layer { name: "ip" type: "InnerProduct" bottom: "a" top: "ip" inner_product_param { num_output: 3 } }\n'
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "k" top: "loss" }'
    )
    assert "t.csv:3 has the label 7, but layer `loss` has 3 classes" in error_of(net, tmp_path)


def test_indices_are_checked_against_the_vectors(tmp_path):
    write(tmp_path)
    net = table("town") + (
        'layer { name: "place" type: "Embed" bottom: "town" top: "place" embed_param { num_output: 3 input_dim: 2 } }'
    )
    assert "has the index 2, but layer `place` has 2 vectors, 0 to 1; increase its `input_dim`" in error_of(
        net, tmp_path
    )


@pytest.mark.parametrize(
    ("content", "own", "message"),
    [
        ("", "", "t.csv is empty; a table has the names of its columns on the first line"),
        ("a,b\n", "", "t.csv has no rows"),
        ("a,b,a\n1,2,3\n", "", "t.csv has two columns with the name `a`"),
        ("a,b\n1,2\n3\n", "", "t.csv:3: the row has 1 cells, but the header has 2; a cell that contains a comma must"),
        ("a,b\n1,2\n3,4,5\n", "", "t.csv:3: the row has 3 cells, but the header has 2"),
        ("a,b\n1,x\n,y\n", "", "t.csv:3: no value in column `a`, and in 0 other rows; set `fill`"),
        ("a,b\n1,x\n2,\n", "", "t.csv:3: no value in column `b`, and in 0 other rows; set `fill_category`"),
        ("a,b\n1,2\n2,4\n3,5O\n", "", "t.csv:4: `b` is `5O`, but most cells of the column are numbers; correct it, or"),
        ("a,b\n1,2\n2,x\n", 'column { top: "b" kind: NUMBER }', "t.csv:3: `b` is `x`, which is not a number"),
        ("a,b\n1,2\n2,inf\n", "", "t.csv:3: `b` is infinite"),
        ("a,b\n1,x\n", 'column { top: "a" name: "a" name: "b" }', "`b`, a column of top `a`, contains categories: `x`"),
        (
            "a,b\n1,x\n2,z\n",
            'column { top: "b" category: "x" }',
            "t.csv:3: `b` is `z`, which is not one of its 1 categ",
        ),
        (
            "a,b\n1,x\n2,y\n",
            'column { top: "b" fill_category: "z" }',
            "`fill_category` is `z`, which is not one of the",
        ),
        ("a,b\n,1\n,2\n", 'column { top: "a" normalize: true fill: 0 }', "column `a` has no values in phase TRAIN"),
        ('a,b\n1,x\n1,"x\n2,y\n', "", "t.csv: the row after line 2 is not one of a table (unexpected end of data)"),
        ('a,b\n1,"x"y\n2,"y\n', "", "t.csv: the row after line 1 is not one of a table"),
    ],
)
def test_wrong_tables_have_one_clear_error(content, own, message, tmp_path):
    write(tmp_path, content)
    assert message in error_of(table("a b", own, batch=1), tmp_path)


def test_names_of_parquet_columns(tmp_path, batches):
    pq.write_table(
        pa.table({" a.b ": [1, 2], "c": [3, 4], "d": pa.array([1, 2], pa.decimal128(9, 2))}), tmp_path / "t.pq"
    )
    made = batches(table("x", 'column { top: "x" name: "d" name: "a.b" }', source="t.pq", batch=2), 1)[0]["x"]
    assert made.tolist() == [[1, 1], [2, 2]]


def test_lines_are_counted_as_an_editor_does(tmp_path):
    write(tmp_path, 'a,b\n\n1,"two\nlines"\n2,x\n,y\n')
    assert "t.csv:6: no value in column `a`" in error_of(table("a b", batch=1), tmp_path)


def test_files_that_are_no_tables(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,x\n2,\xfc\n")
    assert "t.csv:3: the line is not UTF-8" in error_of(table("a b"), tmp_path)
    (tmp_path / "t.csv").write_bytes(b"PK\x03\x04\x00\xff\xfe")
    assert "not UTF-8" in error_of(table("a b"), tmp_path)
    (tmp_path / "t.parquet").write_bytes(b"PAR1nothingPAR1")
    assert "t.parquet is not a readable Parquet file" in error_of(table("a", source="t.parquet"), tmp_path)
    pq.write_table(pa.table({"a": [[1], [2]]}), tmp_path / "t.parquet")
    assert "column `a` has values of type list" in error_of(table("a", source="t.parquet"), tmp_path)
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[: len(whole) // 2])
    assert "t.parquet is not a readable Parquet file" in error_of(table("a", source="t.parquet"), tmp_path)
    (tmp_path / "t.parquet").unlink()
    assert "t.parquet does not exist" in error_of(table("a", source="t.parquet"), tmp_path)
    assert "`source` is not given" in error_of(table("a", source=""), tmp_path)
    assert "cannot be read" in error_of(table("a", source="."), tmp_path)


@pytest.mark.parametrize(
    ("tops", "own", "message"),
    [
        ("area twon", "", "t.csv has no column `twon`; it has area, rooms, town, garden, price. Did you mean `town`?"),
        ("x", 'column { top: "x" name: "aera" }', "no column `aera`; it has area, rooms, town, garden, price. Did you"),
        ("area", 'column { top: "aera" }', "`aera` is none of the tops of the layer, `area`. Did you mean `area`?"),
        ("area", 'column { top: "area" } column { top: "area" }', "top `area` is described twice"),
        ("area", 'test_source: "t.csv" } sample_param { split: 0.5', "`split` and `test_source` are both given"),
        ("area", "} sample_param { skip_corrupt: true", "`skip_corrupt` has no effect on tables; set `fill`"),
        ("town", 'column { top: "town" kind: CATEGORY fill: 0 }', "`fill` is for numbers, but `kind` is CATEGORY"),
        ("area", 'column { top: "area" kind: NUMBER category: "x" }', "`category` is for categories, but `kind` is"),
        ("town", 'column { top: "town" category: ["x", "y", "x"] }', "`category` has `x` twice"),
        ("area", 'delimiter: "::"', "`delimiter` is `::`; it must be one character"),
        ("area", 'text { top: "area" length: 3 }', "`vocabulary` and `tokenizer` of the text `area` are not given"),
    ],
)
def test_wrong_fields_are_errors_before_training(tops, own, message, tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(netdef.CompileError) as caught:
        netdef.load(table(tops, own))
    assert message in str(caught.value)


def test_shapes_without_the_file():
    net = netdef.load(table("a b", 'column { top: "a" name: "x" name: "y" }'))
    assert net.blobs["a"].shape == (4, 2) and net.blobs["b"].shape == (4,)
    assert [d.code for d in net.diagnostics] == ["unavailable"]


def test_the_files_are_known_to_snapshots(tmp_path):
    write(tmp_path)
    write(tmp_path, HOUSES, "test.csv")
    with Feed(netdef.load(table("area", 'test_source: "test.csv"')), root=tmp_path) as feed:
        assert [file[0] for file in feed.sources["t"]["files"]] == [str(tmp_path / n) for n in ("t.csv", "test.csv")]
        assert feed.sources["t"]["records"] == 4


@pytest.fixture
def data(tmp_path, monkeypatch, capsys):
    """data(words...) runs `netdef data` in the folder of the test: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        return main(["data", *words]), *capsys.readouterr()

    return call


def test_the_columns_of_a_table_are_shown(data, tmp_path):
    write(tmp_path, "a,k,note\n" + "".join(f"{i if i else ''},{'xy'[i % 2]},note {i} here\n" for i in range(6)))
    code, out, _ = data("stats", "t.csv")
    assert code == 0
    assert out.splitlines() == [
        "rows     6",
        "columns  3",
        "  a     number    1 to 5, mean 3, deviation 1.414; 1 missing",
        "  k     category  2: x 3, y 3",
        "  note  text      6 different, at most 3 words",
    ]
    found = json.loads(data("stats", "t.csv", "--json")[1])
    assert found["columns"][1] == {"name": "k", "kind": "CATEGORY", "missing": 0, "categories": {"x": 3, "y": 3}}
    (tmp_path / "n.net").write_text(table("k"))
    assert data("stats", "n.net")[1] == out
    assert data("check", "t.csv")[:2] == (0, "t.csv: 3 columns, 0 with mistakes\n")
    assert "--sheet shows images" in data("stats", "t.csv", "--sheet", "x.png")[2]


def test_the_mistakes_of_a_table_are_listed(data, tmp_path):
    write(tmp_path, "a,b,c\n1,2,x\n2,3,y\n3,4x,x\n4x,5,y\n")
    code, out, _ = data("check", "t.csv")
    assert code == 1 and len(out.splitlines()) == 3
    assert "t.csv:5: `a` is `4x`, but most cells" in out and "t.csv:4: `b` is `4x`" in out
    code, out, _ = data("stats", "t.csv")
    assert code == 0 and "  a  mistake   t.csv:5: `a` is `4x`" in out and "  c  category  2: x 2, y 2" in out
    assert "error" in json.loads(data("stats", "t.csv", "--json")[1])["columns"][0]


def test_a_table_of_images_is_still_one(data, tmp_path):
    write_images(tmp_path, numbered(2, 3))
    write(tmp_path, "file,label\n00.png,x\n01.png,y\n")
    code, out, _ = data("stats", "t.csv")
    assert code == 0 and "shapes     3x4x5" in out


def test_a_vocabulary_is_written(data, tmp_path):
    write(tmp_path, 'k,note\nx,"The soup, the bread"\nx,The soup!\ny,a cake\n')
    assert data("vocabulary", "t.csv", "--output", "v.txt")[:2] == (0, "v.txt: 9 lines\n")
    assert (tmp_path / "v.txt").read_text() == "<pad>\n<unk>\nthe\nsoup\n!\n,\na\nbread\ncake\n"
    data("vocabulary", "t.csv", "--column", "note", "--size", "4", "--case", "--split", "SPACES", "--output", "v.txt")
    assert (tmp_path / "v.txt").read_text() == "<pad>\n<unk>\nThe\na\n"
    assert (
        "has no column `nte`; it has k, note. Did" in data("vocabulary", "t.csv", "--column", "nte", "-o", "v.txt")[2]
    )
    assert "--size is 2; it must be at least 3" in data("vocabulary", "t.csv", "--size", "2", "-o", "v.txt")[2]
    (tmp_path / "v").write_text("a")
    assert "v is not a table: a .csv" in data("vocabulary", "v", "-o", "x")[2]
