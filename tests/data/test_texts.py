"""TableData with `text`: tokens by a vocabulary or a tokenizer file, padding, and what belongs to them."""

from __future__ import annotations

import numpy as np
import pytest
from data_sets import layer

import netdef
from netdef.data.feed import Feed
from netdef.language.errors import NetdefError, printable
from netdef.training.evaluation import Evaluator

pytest.importorskip("pyarrow")

VECTORS = {"v": [np.random.RandomState(0).randn(8, 2), np.zeros(2)]}  # the weights of an Embed layer
WORDS = "<pad>\n<unk>\nthe\nsoup\nwas\ngood\n!\ndon't\n"
REVIEWS = 'text,good\n"The soup was good!",yes\nBad soup,no\n'


def text_of(
    own: str = "", tops: str = "text", source: str = "t.csv", coder: str = 'vocabulary: "v.txt"', more: str = ""
) -> str:
    block = (
        f'table_data_param {{ source: "{source}" batch_size: 2 text {{ top: "text" {coder} length: 6 {own} }} {more} }}'
    )
    return layer("TableData", block, tops)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Writes a table and a vocabulary, and returns a function that writes others."""

    def write(table: str = REVIEWS, words: str = WORDS, name: str = "t.csv") -> None:
        (tmp_path / name).write_text(table, encoding="utf-8")
        (tmp_path / "v.txt").write_text(words, encoding="utf-8")

    write()
    monkeypatch.chdir(tmp_path)
    return write


def error_of(text: str) -> str:
    with pytest.raises(NetdefError) as caught, Feed(netdef.load(text, phase="TEST")) as feed:
        next(feed)
    return str(caught.value)


def test_words_become_indices_padded_at_the_front(files, batches):
    made = batches(text_of(tops="text good"), 1)[0]
    assert made["text"].tolist() == [[0, 2, 3, 4, 5, 6], [0, 0, 0, 0, 1, 3]]  # the, soup, was, good, !; unknown, soup
    assert made["text"].dtype == np.float32 and made["good"].tolist() == [1, 0]


def test_padding_at_the_back_and_what_belongs_to_it(files, batches):
    own = 'pad: BACK cont: "cont" mask: "mask" next: "next" lengths: "n"'
    made = batches(text_of(own, "n mask text cont next"), 1)[0]
    assert made["text"].tolist() == [[2, 3, 4, 5, 6, 0], [1, 3, 0, 0, 0, 0]]
    assert made["cont"].tolist() == [[0, 1, 1, 1, 1, 0], [0, 1, 0, 0, 0, 0]]
    assert made["mask"].tolist() == [[1, 1, 1, 1, 1, 0], [1, 1, 0, 0, 0, 0]]
    assert made["next"].tolist() == [[3, 4, 5, 6, -1, -1], [3, -1, -1, -1, -1, -1]]
    assert made["n"].tolist() == [5, 2]


def test_time_first_is_the_transpose(files, batches):
    own = 'cont: "cont" lengths: "n"'
    plain, turned = (batches(text_of(f"{own} {more}", "text cont n"), 1)[0] for more in ("", "time_first: true"))
    assert turned["cont"].shape == (6, 2) and turned["n"].shape == (2,)
    for top in ("text", "cont"):
        np.testing.assert_array_equal(plain[top].T, turned[top])
    assert plain["cont"].tolist() == [[0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1]]  # 0 in the padding and at the first token
    net = netdef.load(text_of(f"{own} time_first: true", "text cont n"))
    assert [net.blobs[top].shape for top in ("text", "cont", "n")] == [(6, 2), (6, 2), (2,)]


@pytest.mark.parametrize("time_first", ["true", "false"])
def test_the_device_makes_the_same_batches(files, time_first):
    own = f'cont: "cont" mask: "mask" next: "next" lengths: "n" time_first: {time_first}'
    with Feed(netdef.load(text_of(own, "text cont mask next n good"), phase="TRAIN")) as feed:
        resident = netdef.data.on_device(feed, 1 << 20)
        made = resident.make(resident.table, next(resident))
        feed.restore({"t": {"position": 0}})
        for top, rows in next(feed).items():
            np.testing.assert_array_equal(rows, made[top])
            assert made[top].dtype == np.float32


@pytest.mark.parametrize(
    ("split", "text", "expected"),
    [
        ("WORDS", "DON'T! the soup.", [7, 6, 2, 3, 1]),
        ("SPACES", "don't! the soup", [1, 2, 3]),
        ("CHARACTERS", "!a", [6, 1]),
    ],
)
def test_ways_to_split(split, text, expected, files, batches):
    files(f'text\n"{text}"\n')
    made = batches(text_of(f"split: {split} pad: BACK"), 1)[0]["text"][0]
    assert made.tolist() == expected + [0] * (6 - len(expected))


def test_the_lines_of_a_text_file(files, batches):
    files("the soup\n\nwas good\n", name="t.txt")
    made = batches(text_of(source="t.txt"), 1)[0]["text"]
    assert made[:, -2:].tolist() == [[2, 3], [4, 5]]


def test_long_texts_are_errors_or_cut(files, batches):
    files("text\nsoup\nthe soup was good and good !\n")
    assert "t.csv:3: the text has 7 tokens, but `length` is 6; increase it, or set `truncate: true`" in error_of(
        text_of()
    )
    assert batches(text_of("truncate: true"), 1)[0]["text"][1].tolist() == [2, 3, 4, 5, 1, 5]


def test_capital_letters_of_a_vocabulary(files, batches):
    files("text\nThe the\n", "[PAD]\n[UNK]\nThe\nthe\n")
    assert batches(text_of("lower: false"), 1)[0]["text"][0].tolist() == [0, 0, 0, 0, 2, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "the vocabulary v.txt is empty; write one token per line"),
        ("the\nsoup\n", "the vocabulary v.txt has no `<pad>`"),
        ("<pad>\nthe\nsoup\nthe\n", "v.txt:4: `the` is also on line 2"),
        ("<pad>\nthe\nsoup\n", "t.csv:2: the vocabulary v.txt has neither `was` nor `<unk>`; add one of them"),
        ('{"model": {}}', "the vocabulary v.txt is JSON; give a tokenizer.json as `tokenizer`"),
    ],
)
def test_wrong_vocabularies(words, message, files, tmp_path):
    files(words=words)
    assert message in error_of(text_of()).replace(f"{printable(str(tmp_path))}/", "")


def test_vocabularies_that_cannot_be_read(files, tmp_path):
    (tmp_path / "v.txt").write_bytes(b"<pad>\n\xff\n")
    assert "v.txt is not UTF-8, so it is no vocabulary" in error_of(text_of())
    (tmp_path / "v.txt").unlink()
    assert "the vocabulary v.txt does not exist" in error_of(text_of())
    net = netdef.load(text_of())
    assert "the vocabulary v.txt does not exist" in net.diagnostics[0].message and net.blobs["text"].shape == (2, 6)


def test_missing_texts(files):
    files("text,good\nsoup,yes\n,no\n")
    assert "t.csv:3: no text in column `text`" in error_of(text_of())
    files("text,good\n1,yes\n")
    assert "has no column `txt`; it has text, good. Did you mean `text`?" in error_of(text_of('name: "txt"'))


def test_indices_beyond_the_vectors_name_the_line(files):
    net = text_of("time_first: true") + (
        'layer { name: "v" type: "Embed" bottom: "text" top: "v" embed_param { num_output: 3 input_dim: 2 } }'
    )
    files("text\nunknown\nsoup\n")
    assert "t.csv:3 has the index 3, but layer `v` has 2 vectors" in error_of(net)
    with pytest.raises(NetdefError, match=r"t.csv:3 has the index 3"), Feed(netdef.load(net)) as feed:
        netdef.data.on_device(feed, 1 << 20)


@pytest.fixture
def tokenizer(tmp_path):
    """A small tokenizer of Hugging Face's library, saved as tokenizer.json."""
    module = pytest.importorskip("tokenizers")
    index = {"[UNK]": 0, "[PAD]": 1, "the": 2, "soup": 3, "good": 4}
    made = module.Tokenizer(module.models.WordLevel(index, unk_token="[UNK]"))
    made.normalizer = module.normalizers.Lowercase()
    made.pre_tokenizer = module.pre_tokenizers.Whitespace()
    made.enable_truncation(2)  # netdef's own `length` holds
    made.save(str(tmp_path / "tokenizer.json"))


def test_a_tokenizer_file(files, tokenizer, batches):
    made = batches(text_of(coder='tokenizer: "tokenizer.json"'), 1)[0]["text"]
    assert made.tolist() == [[1, 2, 3, 0, 4, 0], [1, 1, 1, 1, 0, 3]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("the\nsoup\n", "t.json is not a tokenizer.json, which is JSON; give a list of tokens as `vocabulary`"),
        ('{"a": 1}', "t.json is not a tokenizer.json of Hugging Face"),
    ],
)
def test_other_files_as_tokenizers(content, message, files, tmp_path):
    pytest.importorskip("tokenizers")
    (tmp_path / "t.json").write_text(content)
    assert message in error_of(text_of(coder='tokenizer: "t.json"')).replace(f"{printable(str(tmp_path))}/", "")


def test_without_the_package_the_error_names_it(files, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    (tmp_path / "t.json").write_text("{}")
    assert "requires the package tokenizers" in error_of(text_of(coder='tokenizer: "t.json"'))


def test_a_net_with_the_time_first_is_tested_exactly_and_deployed(files, tmp_path):
    """The last batch of a test has fewer records, along the second axis; each record counts once."""
    files("text,good\n" + "".join(f"soup {'good' if i % 3 else 'was'},{'yes' if i % 3 else 'no'}\n" for i in range(5)))
    net = (
        text_of("time_first: true", "text good")
        + """
        layer { name: "v" type: "Embed" bottom: "text" top: "v" embed_param { input_dim: 8 num_output: 2
                weight_filler { type: "gaussian" std: 1 } } }
        layer { name: "sum" type: "Reduction" bottom: "v" top: "sum" reduction_param { axis: 2 } }
        layer { name: "turn" type: "Permute" bottom: "sum" top: "turn" permute_param { order: [1, 0] } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "turn" bottom: "good" top: "loss" }
        solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 1 test_interval: 1 random_seed: 1 }
    """
    )
    shapes = [blob.shape for blob in netdef.deploy(net).blobs.values()]
    assert shapes[0] == (6, 1) and shapes[-1] == (1, 6)
    losses = []
    for size in (2, 5):
        loaded = netdef.load(net.replace("batch_size: 2", f"batch_size: {size}"), phase="TEST")
        evaluator = Evaluator(loaded, 0, 0, loaded)
        losses.append(evaluator.test(netdef.compile(loaded, weights=VECTORS).arrays(), 0).loss)
        assert evaluator.notes == ()
        evaluator.close()
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("resident", [False, True])
def test_the_labels_of_a_language_model_need_ignore_label(resident, files):
    net = (
        text_of('time_first: true next: "next"', "text next")
        + """
        layer { name: "v" type: "Embed" bottom: "text" top: "v" embed_param { input_dim: 8 num_output: 8 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "v" bottom: "next" top: "loss" softmax_param { axis: 2 } }
    """
    )
    with pytest.raises(NetdefError, match=r"t.csv:2 has the label -1, but layer `loss`"):
        with Feed(netdef.load(net, phase="TEST")) as feed:
            netdef.data.on_device(feed, 1 << 20) if resident else next(feed)
    ignoring = netdef.load(net.replace("softmax_param", "loss_param { ignore_label: -1 } softmax_param"), phase="TEST")
    with Feed(ignoring) as feed:
        assert netdef.data.on_device(feed, 1 << 20) is not None and next(feed)["next"].shape == (6, 2)


def test_tests_are_read_as_the_training(files, tmp_path):
    """Two layers with files of their own would have other indices: an error says how to write it."""
    layers = [
        text_of(tops="text good", source=f"{name}.csv").replace("layer {", f"layer {{ include {{ phase: {phase} }}")
        for name, phase in (("t", "TRAIN"), ("u", "TEST"))
    ]
    rest = """
        layer { name: "ip" type: "InnerProduct" bottom: "text" top: "ip" inner_product_param { num_output: 2 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "good" top: "loss" }
        solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 1 test_interval: 1 }
    """
    files("text,good\nsoup,maybe\nsoup,no\n", name="u.csv")
    with pytest.raises(NetdefError) as caught:
        netdef.train("".join(layers) + rest, output=tmp_path / "run")
    assert str(caught.value) == (
        "layer `t` in phase TEST reads `good` with the categories `maybe`, `no`, but phase TRAIN has `no`, `yes`; use the "
        "`source` of phase TRAIN, and name the table of the tests with `test_source`."
    )
