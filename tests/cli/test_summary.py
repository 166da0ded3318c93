"""`netdef summary`: values that can be verified by hand."""

from __future__ import annotations

import json
import re

from netdef.inspect.summary import size


def test_table(netdef, good):
    done = netdef("summary", good)
    assert done.code == 0
    rows = {line.split()[0]: line.split() for line in done.out.splitlines() if line.strip()}
    # 3 inputs to 2 outputs, 4 examples: 3 x 2 + 2 parameters, 4 x 3 x 2 multiply-adds, 4 x 2 floats
    assert rows["ip"] == ["ip", "InnerProduct", "4x2", "8", "24", "32", "bytes"]
    assert "24 multiply-adds per forward pass, 6 for each of 4 items" in done.out
    assert "8 parameters (32 bytes)" in done.out
    assert done.out.endswith("phase TEST is the same\n")


def test_json(netdef, good):
    train, test = json.loads(netdef("summary", good, "--json").out)
    assert (train["phase"], test["phase"]) == ("TRAIN", "TEST")
    assert train["parameters"] == 8 and train["multiply_adds"] == 24 and train["complete"] is True
    inner = train["layers"][1]
    assert inner["weights"] == [[2, 3], [2]]
    assert inner["tops"] == [{"name": "ip", "shape": [4, 2]}]
    # x 4x3, y 4, ip 4x2, loss 1, all float32
    assert train["activation_bytes"] == 4 * (12 + 4 + 8 + 1)


def test_one_phase(netdef, good):
    assert [s["phase"] for s in json.loads(netdef("summary", good, "--phase", "test", "--json").out)] == ["TEST"]


def test_blobs_in_place_and_shared_parameters_count_once(netdef, tmp_path):
    path = tmp_path / "n.net"
    ip = (
        'layer {{ name: "{0}" type: "InnerProduct" bottom: "{1}" top: "{0}" param {{ name: "w" }}\n'
        "  inner_product_param {{ num_output: 3 bias_term: false }} }}\n"
    )
    path.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }\n'
        + ip.format("a", "x")
        + 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }\n'
        + ip.format("b", "a")
    )
    train = json.loads(netdef("summary", path, "--json").out)[0]
    assert train["parameters"] == 9
    assert [layer["activation_bytes"] for layer in train["layers"]] == [12, 12, 0, 12]


def test_parameters_that_are_not_learned_are_counted_apart(netdef, tmp_path):
    """So that the number is also the one that a run states."""
    path = tmp_path / "n.net"
    path.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }\n'
        'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "bn" batch_norm_param { scale_bias: true } }\n'
    )
    # mean, variance and the factor of both; scale and shift
    assert "13 parameters (52 bytes), 6 of them learned" in netdef("summary", path).out
    found = json.loads(netdef("summary", path, "--json").out)[0]
    assert (found["parameters"], found["statistics"]) == (13, 7)


def test_unknown_shapes_are_reported(netdef, tmp_path):
    path = tmp_path / "n.net"
    path.write_text(
        'layer { name: "h" type: "HDF5Data" top: "x" hdf5_data_param { source: "none.txt" batch_size: 2 } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 3 } }\n'
    )
    done = netdef("summary", path)
    assert done.code == 0
    assert "none.txt" in done.err
    assert "at least 0 parameters" in done.out
    assert json.loads(netdef("summary", path, "--json").out)[0]["complete"] is False


def test_errors_are_shown_instead(netdef, bad):
    done = netdef("summary", bad)
    assert (done.code, done.out) == (2, "")
    assert "[unknown-field]" in done.err and "netdef: 2 errors" in done.err


def test_missing_file(netdef):
    done = netdef("summary", "none.net")
    assert done == (2, "", "netdef: error: the file none.net does not exist\n")


def test_two_names_for_two_files(netdef, good, bad):
    done = netdef("summary", good, "--model", bad)
    assert done.code == 2 and "expected one file" in done.err
    assert netdef("summary", "--model", good).code == 0


def test_size():
    assert [size(n) for n in (0, 1023, 1024, 1536 * 1024, 3 * 2**30)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "1.5 MiB",
        "3.0 GiB",
    ]


def test_types_have_the_colors_of_diagrams(netdef, good, monkeypatch):
    plain = netdef("summary", good).out
    layers = json.loads(netdef("summary", good, "--json").out)[0]["layers"]
    assert {layer["type"]: layer["family"] for layer in layers}.items() >= {("InnerProduct", "product")}
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = netdef("summary", good).out
    assert "\x1b[30;48;2;178;223;138mInnerProduct\x1b[0m" in shown  # #b2df8a, as in `netdef draw`
    assert re.sub(r"\x1b\[[\d;]*m", "", shown) == plain


def test_half_precision_shows_dtypes_and_reasons(netdef, good):
    half = good.parent / "half.net"
    half.write_text(good.read_text().replace("solver {", "solver { precision: BF16"))
    done = netdef("summary", half)
    rows = {line.split()[0]: line.split() for line in done.out.splitlines() if line.strip()}
    assert rows["ip"] == ["ip", "InnerProduct", "4x2", "8", "24", "32", "bytes", "float32"]  # 4 x 2 values of 4 bytes
    assert rows["loss"][-1] == "float32"
    assert "computed in float32, because losses and metrics are means over the batch: loss\n" in done.out
    layers = {layer["name"]: layer for layer in json.loads(netdef("summary", half, "--json").out)[0]["layers"]}
    assert (layers["ip"]["dtype"], layers["ip"]["float32_because"]) == ("float32", "its tops are read in float32 only")
    assert layers["loss"]["float32_because"] == "losses and metrics are means over the batch"
