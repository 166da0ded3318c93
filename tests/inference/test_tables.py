"""Predictions for the rows of tables, with what was measured on the training table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from data_sets import layer

import netdef
from netdef.cli import main
from netdef.data import table_parts
from netdef.data.layers.table import TableData
from netdef.inference import preprocessing
from netdef.language.errors import NetdefError, printable

pytest.importorskip("pyarrow")

OWN = """column { top: "x" name: "area" name: "town" one_hot: true normalize: true }
         text { top: "words" name: "note" vocabulary: "v.txt" length: 3 time_first: true cont: "cont" }"""
NET = (
    layer("TableData", f'table_data_param {{ source: "t.csv" batch_size: 2 {OWN} }}', "x words cont kind")
    + """
    layer { name: "v" type: "Embed" bottom: "words" top: "v" embed_param { input_dim: 4 num_output: 2
            weight_filler { type: "gaussian" std: 1 } } }
    layer { name: "lstm" type: "LSTM" bottom: "v" bottom: "cont" top: "h" recurrent_param { num_output: 2
            return_sequences: false stateful: false weight_filler { type: "xavier" } } }
    layer { name: "all" type: "Concat" bottom: "x" bottom: "h" top: "all" }
    layer { name: "score" type: "InnerProduct" bottom: "all" top: "score"
            inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 1 } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "kind" top: "loss" }
    solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 1 random_seed: 1 }
"""
)
TABLE = "area,town,note,kind\n10,Ulm,good,big\n20,Bonn,bad good,small\n36,Ulm,none,big\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a net that was trained, whose table and vocabulary are gone."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "t.csv").write_text(TABLE)
    (folder / "v.txt").write_text("<pad>\n<unk>\ngood\nbad\n")
    (folder / "net.net").write_text(NET)
    netdef.train(folder / "net.net", output=folder / "run")
    scores = [row.scores for row in netdef.predict(folder / "net.net", str(folder / "t.csv"), weights=folder / "run")]
    np.save(folder / "scores.npy", scores)
    with Path(folder / "deploy.prototxt").open("w") as file:
        file.write(netdef.deploy(folder / "net.net").text)
    (folder / "t.csv").unlink()
    (folder / "v.txt").unlink()
    return folder


def predicted(run: Path, table: Path) -> list[netdef.Prediction]:
    return netdef.predict(run / "deploy.prototxt", str(table), weights=run / "run")


def test_rows_are_read_as_in_training_without_the_training_data(run, tmp_path):
    scores = np.load(run / "scores.npy")
    one = tmp_path / "one.csv"
    one.write_text("note;town;extra;area\nnone;Ulm;1;36\ngood;Ulm;2;10\n")  # other columns, order and delimiter
    found = predicted(run, one)
    np.testing.assert_allclose([row.scores for row in found], scores[[2, 0]], rtol=1e-5)
    assert found[0].input == f"{one}[0]" and {name for name, _ in found[0].best()} == {"big", "small"}


def test_a_large_table_is_read_in_parts(run, tmp_path, monkeypatch):
    scores = np.load(run / "scores.npy")
    table = tmp_path / "many.csv"
    table.write_text("note,town,area\n" + "none,Ulm,36\ngood,Ulm,10\n\n" * 40)
    monkeypatch.setattr(TableData, "is_large", lambda self, table, names: True)
    monkeypatch.setattr(table_parts, "PART", 100)
    found = predicted(run, table)
    np.testing.assert_allclose([row.scores for row in found], np.tile(scores[[2, 0]], (40, 1)), rtol=1e-5)


def test_the_net_of_training_predicts_without_its_data(run, tmp_path):
    one = tmp_path / "one.csv"
    one.write_text("note,town,area\nnone,Ulm,36\n")
    found = netdef.predict(run / "net.net", str(one), weights=run / "run")
    np.testing.assert_allclose(found[0].scores, np.load(run / "scores.npy")[2], rtol=1e-5)
    assert main(["predict", "--run", str(run / "run"), str(one)]) == 0


def test_the_command(run, tmp_path, capsys):
    one = tmp_path / "one.csv"
    one.write_text("note,town,area\nnone,Ulm,36\n")
    words = ["predict", str(run / "deploy.prototxt"), str(one), "--weights", str(run / "run"), "--json"]
    assert main(words) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["input"].endswith("one.csv[0]") and len(found["classes"]) == 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("town,note\nUlm,good\n", "one.csv has no column `area`; it has town, note"),
        ("town,note,area\nKoeln,good,1\n", "one.csv:2: `town` is `Koeln`, which is not one of its 2 categories"),
        ("town,note,area\nUlm,good,\n", "one.csv:2: no value in column `area`"),
        ("town,note,area\nUlm,good bad good bad,1\n", "one.csv:2: the text has 4 tokens, but `length` is 3"),
        ("town,note,area\n", "one.csv has no rows"),
    ],
)
def test_wrong_tables(table, message, run, tmp_path):
    one = tmp_path / "one.csv"
    one.write_text(table)
    with pytest.raises(NetdefError) as caught:
        predicted(run, one)
    assert message in str(caught.value)


def test_missing_tables_and_nets_without_tables(run, tmp_path):
    with pytest.raises(NetdefError, match="does not exist"):
        predicted(run, tmp_path / "no.csv")
    (tmp_path / "a.csv").write_text("a\n1\n")
    plain = layer("Input", "input_param { shape { dim: 1 dim: 3 } }", "x") + layer("Softmax", 'bottom: "x"', "p")
    with pytest.raises(NetdefError, match="the net reads no table"):
        netdef.predict(plain, str(tmp_path / "a.csv"), weights={})


def test_damaged_files_of_preprocessing(run, tmp_path):
    given = json.loads((run / "run" / preprocessing.NAME).read_text())
    assert given["columns"]["x"]["codes"][0]["mean"] == 22 and given["tokens"]["words"].startswith("<pad>")
    again = preprocessing.load(run / "run" / preprocessing.NAME)
    again.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == given
    for change in ({"table": "layer {"}, {"columns": {"x": 1}}, {"names": {}}, {"tokens": {}}, {"estimates": None}):
        (tmp_path / "bad.json").write_text(json.dumps(given | change))
        with pytest.raises(NetdefError, match="not a preprocessing file of netdef, or it is damaged"):
            preprocessing.load(tmp_path / "bad.json")


def test_an_estimate_is_in_the_units_of_its_column(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("a,price\n" + "".join(f"{i},{1000 + 50 * i}\n" for i in range(40)))
    own = 'column { top: "x" name: "*" normalize: true } column { top: "price" normalize: true }'
    net = (
        layer("TableData", f'table_data_param {{ source: "t.csv" batch_size: 40 {own} }}', "x price")
        + """
        layer { name: "ip" type: "InnerProduct" bottom: "x" top: "estimate" inner_product_param { num_output: 1 } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "estimate" bottom: "price" top: "loss" }
        solver { base_lr: 1 lr_policy: "fixed" max_iter: 3 }
    """
    )
    (tmp_path / "net.net").write_text(net)
    netdef.train(tmp_path / "net.net", output=tmp_path / "run", progress=False)
    (tmp_path / "new.csv").write_text("a\n3\n")
    np.save(tmp_path / "new.npy", np.array([[3.0]]))
    for name in ("new.csv", "new.npy"):
        assert main(["predict", str(tmp_path / "net.net"), str(tmp_path / name), "--run", str(tmp_path / "run")]) == 0
        said, shown = capsys.readouterr().out, printable(f"{tmp_path / name}[0]")
        assert said.startswith(shown) and said.removeprefix(shown).split() == ["estimate", "1150"]
