"""`netdef convert`: weights, states, mean files, and old nets in the current format."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from weight_files import FORMATS, NET, assert_same

import netdef
from netdef.cli import main
from netdef.interop import read_weights
from netdef.interop.modernize import modernized
from netdef.interop.solver_state import read_state
from netdef.language.diagnostics import Report
from netdef.language.errors import NetdefError
from netdef.language.parsing.parser import parse
from netdef.language.printer import print_message
from netdef.language.source import Source
from netdef.passes.upgrade import upgrade

GOLDEN = Path(__file__).parents[1] / "golden" / "solvers"

OLD = """# the old LeNet
name: "old"   # its name
input: "data"
input_dim: 1 input_dim: 1 input_dim: 12 input_dim: 12

layers {
  # folded into the next
  layer { name: "pad1" type: "padding" pad: 2 }
  bottom: "data" top: "pad1" }
layers {
  layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 5  # five
    weight_filler { type: "xavier" }
    blobs_lr: 1. blobs_lr: 2. weight_decay: 1 weight_decay: 0 }
  bottom: "pad1" top: "conv1" }
# the second
layers { name: "ip" type: INNER_PRODUCT bottom: "conv1" top: "ip" blobs_lr: 1 blobs_lr: 2 # both
  inner_product_param { num_output: 10 } }
layer { name: "bn" type: "BatchNorm" bottom: "ip" top: "bn"
  param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 decay_mult: 0 } }
# the end
"""
NEW = """# the old LeNet
name: "old"  # its name
layer {
  name: "input"
  type: "Input"
  top: "data"
  input_param {
    shape { dim: 1 dim: 1 dim: 12 dim: 12 }
  }
}

# folded into the next
layer {
  name: "conv1"
  type: "Convolution"  # five
  bottom: "data"
  top: "conv1"
  convolution_param {
    num_output: 4
    kernel_size: 5
    weight_filler { type: "xavier" }
    pad: 2
  }
  param { lr_mult: 1. decay_mult: 1 }
  param { lr_mult: 2. decay_mult: 0 }
}
# the second
layer {
  name: "ip"
  type: "InnerProduct"
  bottom: "conv1"
  top: "ip"  # both
  inner_product_param { num_output: 10 }
  param { lr_mult: 1 }
  param { lr_mult: 2 }
}
layer {
  name: "bn"
  type: "BatchNorm"
  bottom: "ip"
  top: "bn"
}
# the end
"""


def test_old_text_today(tmp_path, capsys):
    (tmp_path / "old.prototxt").write_text(OLD)
    assert main(["convert", str(tmp_path / "old.prototxt"), "-o", str(tmp_path / "new.net")]) == 0
    assert (tmp_path / "new.net").read_text() == NEW
    said = capsys.readouterr().err
    assert "layers in an old format (2 of V0 and 1 of V1) converted to" in said and "BatchNorm (1 times)" in said
    assert main(["convert", str(tmp_path / "new.net")]) == 0
    done = capsys.readouterr()
    assert done.out == NEW and "the file is in the current format already" in done.err


def test_the_new_text_means_the_same():
    before, after = netdef.load(OLD), netdef.load(NEW)
    assert str(before) == str(after)
    assert [n.layer.param for n in before.layers][:3] == [n.layer.param for n in after.layers][:3]


@pytest.mark.parametrize(("word", "today"), [("ADAM", "Adam"), ("1", "Nesterov"), ("RMSPROP", "RMSProp")])
def test_old_solvers(word, today):
    text, notes = modernized(Source("s", f"base_lr: 0.1  # fast\nsolver_type: {word}\nmax_iter: 5\n"))
    assert text == f'base_lr: 0.1  # fast\ntype: "{today}"\nmax_iter: 5\n' and len(notes) == 1


def test_real_files_mean_the_same_today(corpus_rows, corpus):
    """The new source is the upgraded tree with all comments, and a second conversion changes nothing."""
    changed = 0
    for row in corpus_rows[::4]:
        source, report = Source.read(corpus / row["file"]), Report()
        document = parse(source, report)
        if document is None or not document.body.get("layers"):
            continue
        try:
            text, notes = modernized(source)
        except netdef.CompileError:  # layers with enum numbers that no version of Caffe has
            continue
        again = parse(Source("again", text), Report())
        assert again is not None and notes
        ordered = lambda body: sorted(print_message(body).split())
        if not (document.body.get("input") or document.body.get("input_dim")):
            assert ordered(again.body) == ordered(upgrade(document.body, report)), row["file"]
        assert [c.text for c in again.comments] == [c.text.rstrip() for c in document.comments], row["file"]
        assert modernized(again.source) == (text, [])
        changed += 1
    assert changed >= 5


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("source", ["npz", "caffemodel.h5"])
def test_weights(source, to, small, written, tmp_path, capsys):
    if source.endswith("h5"):  # it does not store which layers share parameters
        (tmp_path / "small.net").write_text(NET)
        more = ["--net", str(tmp_path / "small.net")]
    else:
        more = []
    assert main(["convert", str(written[source]), "-o", str(tmp_path / f"out.{to}"), *more]) == 0
    model = netdef.compile(NET, weights=tmp_path / f"out.{to}")
    assert_same(model.get_weights(), small.get_weights())


def test_states_and_snapshots(tmp_path, monkeypatch, capsys):
    shutil.copytree(GOLDEN, tmp_path / "s")
    monkeypatch.chdir(tmp_path / "s")
    monkeypatch.setenv("NETDEF_CACHE", str(tmp_path / "cache"))
    result = netdef.train("sgd_multistep.solver.prototxt", max_iter=12, output="run")
    assert main(["convert", "run", "--net", "sgd_multistep.solver.prototxt", "-o", "m.solverstate"]) == 0
    steps = [v for v in result.model.net.solver.policy.stepvalue if v < 12] if result.model.net.solver else []
    state = read_state("m.solverstate")
    assert (state.iteration, state.current_step, state.learned_net) == (12, len(steps), "m.caffemodel")
    assert_same(read_weights("m.caffemodel"), result.model.get_weights())
    assert main(["convert", "adam_iter_15.solverstate", "-o", "a.solverstate.h5"]) == 0
    a, b = read_state("a.solverstate.h5"), read_state("adam_iter_15.solverstate")
    assert a.iteration == 15 and a.learned_net == b.learned_net
    assert all((x.read() == y.read()).all() for x, y in zip(a.history, b.history, strict=True))


def test_means(tmp_path):
    np.save(tmp_path / "m.npy", np.arange(12, dtype=np.float32).reshape(3, 2, 2))
    assert main(["convert", str(tmp_path / "m.npy"), "-o", str(tmp_path / "m.binaryproto")]) == 0
    assert main(["convert", str(tmp_path / "m.binaryproto"), "-o", str(tmp_path / "n.npy")]) == 0
    assert (np.load(tmp_path / "n.npy")[0] == np.load(tmp_path / "m.npy")).all()


def test_what_cannot_be(written, tmp_path, capsys):
    refused = [
        (["convert", str(tmp_path / "none.npz"), "-o", "x.npz"], 2, "the file or folder"),
        (["convert", str(written["npz"])], 2, "-o FILE is missing"),
        (["convert", str(written["npz"]), "-o", str(tmp_path / "x.bin")], 1, "the name of a weight file must end in"),
        (["convert", str(written["caffemodel.h5"]), "-o", str(tmp_path / "x.npz")], 1, "specify the net with --net"),
        (["convert", str(written["npz"]), "-o", str(tmp_path / "x.solverstate")], 2, "converted from a snapshot"),
    ]
    for words, code, told in refused:
        assert main(words) == code
        said = capsys.readouterr().err
        assert told in said and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "statement",
    ["if x { }", "for i in [1] { }", 'import "std/conv.net"', "template t() { }"],
    ids=lambda t: t.split()[0],
)
def test_old_layers_beside_statements(statement: str):
    old = 'layers { name: "r" type: RELU bottom: "a" top: "a" }\n'
    text, notes = modernized(Source("old.net", f"let x: true\n{statement}\n{old}"))
    assert notes == ["layers in an old format (1 of V1) converted to `layer`"]
    assert 'type: "ReLU"' in text and statement.split()[0] in text and "let x: true" in text
    assert modernized(Source("new.net", f"let x: true\n{statement}\n"))[1] == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("if true { layers { type: RELU } }", "if"),
        ("if true { } else if true { layers { type: RELU } }", "if"),
        ("for i in [1] { layers { type: RELU } }", "for"),
        ("template t() { layers { type: RELU } }", "template"),
        ("layers { type: RELU if true { } }", "if"),
        ('layers { layer { for i in [1] { name: "a" } } }', "for"),
    ],
)
def test_old_layers_with_statements_are_refused(text: str, word: str):
    with pytest.raises(
        NetdefError, match=f"`layers` block together with `{word}` cannot be converted; write"
    ) as caught:
        modernized(Source("old.net", text))
    assert "\n" not in str(caught.value) and str(caught.value).startswith("old.net:1:")


PYTHON_NET = """
layer { name: "x" type: "Data" top: "x" data_param { source: "gone" batch_size: 2 backend: LMDB } transform_param { crop_size: 8 } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "p" type: "Python" bottom: "c" top: "p" python_param { module: "gone" layer: "Gone" } }
"""
AFTER = 'layer { name: "d" type: "InnerProduct" bottom: "p" top: "d" inner_product_param { num_output: 2 } }\n'


def test_weights_are_matched_without_data_and_without_python_modules(tmp_path, capsys):
    net, source, to = tmp_path / "net.prototxt", tmp_path / "a.npz", tmp_path / "b.caffemodel"
    net.write_text(PYTHON_NET)
    arrays = {"c/0": np.ones((2, 3, 3, 3), np.float32), "c/1": np.zeros(2, np.float32)}
    np.savez(source, **arrays)
    assert main(["convert", str(source), "--net", str(net), "-o", str(to)]) == 0, capsys.readouterr().err
    assert read_weights(to)["c"][0].shape == (2, 3, 3, 3)
    net.write_text(PYTHON_NET + AFTER)
    assert main(["convert", str(source), "--net", str(net), "-o", str(to)]) == 0
    np.savez(source, **arrays, **{"d/0": np.ones((2, 72), np.float32)})
    capsys.readouterr()
    assert main(["convert", str(source), "--net", str(net), "-o", str(to)]) == 1
    assert "parameters of layer `d` cannot be compared with the net" in capsys.readouterr().err
    np.savez(source, e=np.ones(1), **{"c/1": np.zeros(2, np.float32)})
    assert main(["convert", str(source), "--net", str(net), "-o", str(to)]) == 1
