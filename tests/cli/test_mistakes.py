"""Mistakes of new users: each gets one clear message, or does what was meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netdef as library
from netdef.language.diagnostics import CompileError

BN = """
layer { name: "d" type: "ImageData" top: "x" top: "y" image_data_param { source: "missing.txt" batch_size: 4 } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 bias_term: false weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { scale_bias: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
"""


def test_options_may_be_between_the_net_and_its_inputs(netdef, good):
    done = netdef("predict", good, "--top", 1, "a.png")
    assert "no complete snapshot" in done.err  # and not that INPUT is missing


def test_resume_before_the_net(netdef, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert netdef("train", good).code == 0
    done = netdef("train", "--max-iter", 4, "--resume", good)
    assert done.code == 0 and "resuming at iteration 2" in done.out
    assert "FILE is missing" in netdef("train", "--resume", "iter_000001").err or "snapshot" in done.err


def test_a_net_without_a_loss_is_not_trained(netdef, good, good_text, tmp_path):
    good.write_text(good_text.replace('top: "loss" }', 'top: "loss" include { phase: TEST } }'))
    done = netdef("check", good)
    assert done.code == 0 and "[no-loss]" in done.out and "Add one that uses `ip`" in done.out
    done = netdef("train", good, "--output", tmp_path / "run")
    assert done.code == 2 and "error: No loss" in done.err and "nothing to minimize" in done.err
    assert not (tmp_path / "run/metrics.jsonl").exists()
    with pytest.raises(CompileError, match="No loss"):
        library.train(good, output=tmp_path / "run")


def test_a_misspelled_file_is_suggested(netdef, good):
    done = netdef("train", good.with_suffix(".nte"))
    assert done.code == 2 and done.err.endswith("good.nte does not exist; did you mean good.net?\n")
    assert netdef("train", good.with_name("goood.net")).err.endswith("; did you mean good.net?\n")
    assert netdef("train", good.with_name("other.net")).err.endswith("other.net does not exist\n")


@pytest.mark.parametrize(("option", "words"), [("--lr", "solver.base_lr=0.01"), ("--epochs", "--max-iter N")])
def test_options_of_other_programs(netdef, good, option, words):
    done = netdef("train", good, option, 1)
    assert done.code == 2 and f"unrecognized arguments: {option} 1 (write " in done.err and words in done.err


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_data_in_place_of_a_net(netdef, tmp_path, kind):
    np.save(tmp_path / "file.npy", np.zeros(3))
    (tmp_path / "folder").mkdir()
    done = netdef("train", tmp_path / ("file.npy" if kind == "file" else "folder"))
    assert done.code == 2 and f"`netdef init` writes a net for a {kind} of" in done.err


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n"])
def test_an_empty_file(netdef, tmp_path, text):
    (tmp_path / "a.net").write_text(text)
    done = netdef("check", tmp_path / "a.net")
    assert done.code == 2 and "[empty-file]" in done.out


@pytest.mark.parametrize(
    ("old", "new"), [("base_lr: 0.1", "base_lr: 0.1 momentum: 9"), ("batch_size: 4", "batch_size: 0")]
)
def test_numbers_that_cannot_be_meant(netdef, tmp_path, old, new):
    text = BN + 'solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 2 }'
    (tmp_path / "a.net").write_text(text.replace(old, new))
    done = netdef("check", tmp_path / "a.net")
    assert done.code == 2 and "[out-of-range]" in done.out


def test_missing_data_causes_no_warnings_about_normalization(netdef, tmp_path):
    (tmp_path / "a.net").write_text(BN)
    done = netdef("check", tmp_path / "a.net")
    assert "missing.txt" in done.out and "batch-norm-without-scale" not in done.out


def test_a_label_that_is_not_a_class_names_its_record(netdef, tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((6, 3), np.float32), y=np.array([0, 1, 0, 1, 0.7, 0]))
    text = """
    layer { name: "d" type: "ArrayData" top: "x" top: "y" array_data_param { source: "d.npz" batch_size: 6 } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
    solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 2 }
    """
    (tmp_path / "a.net").write_text(text)
    done = netdef("train", tmp_path / "a.net", "--output", tmp_path / "run")
    assert done.code == 1 and "has the label 0.7" in done.err and "4" in done.err and "`loss`" in done.err


def test_training_in_python_returns_the_last_loss_and_prints_the_progress(good, tmp_path, capsys):
    result = library.train(good, output=tmp_path / "run")
    assert result.loss == pytest.approx(result.history[-1]["loss"])
    assert "done: 2 iterations" in capsys.readouterr().out
    assert len(repr(result)) < 400


def test_a_net_is_one_line_in_a_notebook():
    net = library.load(Path(__file__).parents[2] / "examples/digits.net")
    assert repr(net).startswith("<Net Digits, phase TRAIN: 1") and len(repr(net)) < 120


@pytest.mark.parametrize("words", [["data", "stats"], ["data", "convert"], ["data", "mean"]])
def test_arrays_of_strings(netdef, tmp_path, words):
    np.savez(tmp_path / "s.npz", data=np.array([["a", "b"]] * 4), label=np.zeros(4))
    to = (
        [tmp_path / "out"]
        if words[1] == "convert"
        else ["-o", tmp_path / "m.binaryproto"]
        if words[1] == "mean"
        else []
    )
    done = netdef(*words, tmp_path / "s.npz", *to)
    assert done.code in (1, 2) and "numbers are required" in done.err
    assert done.err.startswith(f"netdef: error: {tmp_path}/s.npz: array `data` has")  # there is no layer to name


def test_a_run_that_cannot_begin_leaves_no_folder(netdef, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("d.npz", x=np.zeros((4, 3)), y=np.array(["cat", "dog"] * 2))
    Path("a.net").write_text("""
    layer { name: "d" type: "ArrayData" top: "x" top: "y" array_data_param { source: "d.npz" batch_size: 4 } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
    solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 2 }
    """)
    Path("mine").mkdir()
    for more in ([], ["--output", "new"], ["--output", "mine"]):
        done = netdef("train", "a.net", *more)
        assert done.code == 1 and "numbers are required" in done.err
    assert not list(Path("runs").glob("*")) and not Path("new").exists() and Path("mine").is_dir()


def test_a_row_of_another_size_has_the_shape_of_the_file(netdef, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("d.npz", x=np.zeros((6, 3), np.float32), y=np.array([0, 1, 0, 1, 1, 0]))
    np.save("few.npy", np.zeros((2, 5), np.float32))
    Path("a.net").write_text("""
    layer { name: "d" type: "ArrayData" top: "x" top: "y" array_data_param { source: "d.npz" batch_size: 6 } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
    """)
    library.compile("a.net", "TEST").save_weights("w.npz")
    done = netdef("predict", "a.net", "few.npy", "--weights", "w.npz")
    assert done.code == 1 and "few.npy: a row has the shape 5, but the net's input `x` expects 3." in done.err
    Path("d.npz").unlink()
    done = netdef("predict", "a.net", "few.npy", "--weights", "w.npz")
    assert done.code == 1 and "unknown: layer `d`: the array file d.npz does not exist" in done.err.lower()
