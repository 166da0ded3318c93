"""Batch normalization as each fork stores it, loaded into the layers of each fork: the same outputs."""

from __future__ import annotations

import numpy as np
import pytest

import netdef
from netdef.interop import load_weights, read_weights, save_weights
from netdef.interop.dialects import in_memory
from netdef.interop.entries import Entry
from netdef.interop.weights import write_weights

C = 3
RNG = np.random.default_rng(1)
MEAN, VAR, SCALE, SHIFT = (RNG.random(C).astype(np.float32) + 0.2 for _ in range(4))
X = RNG.normal(size=(4, C, 2, 2)).astype(np.float32)
EPS = 1e-5
INPUT = f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 4 dim: {C} dim: 2 dim: 2 }} }} }}'
NETS = {
    "BVLC": INPUT + 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "b" }'
    'layer { name: "scale" type: "Scale" bottom: "b" top: "y" scale_param { bias_term: true } }',
    "NVIDIA": INPUT
    + 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" batch_norm_param { scale_bias: true } }',
    "INTEL": INPUT
    + 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" batch_norm_param { use_weight_bias: true } }',
    "HAPPYNEAR": INPUT + 'layer { name: "bn" type: "BN" bottom: "x" top: "y" }',
    "YJXIONG": INPUT + 'layer { name: "bn" type: "BN" bottom: "x" top: "y" bn_param { dialect: YJXIONG } }',
}
ONE = np.ones(1, np.float32)
INVERSE = 1 / np.sqrt(VAR + EPS)
FOUR = lambda a: a.reshape(1, -1, 1, 1)
FILES = {  # what each implementation writes for the same statistics
    "BVLC": [MEAN * 4, VAR * 4, ONE * 4],
    "NVIDIA": [MEAN, VAR, ONE, SCALE, SHIFT],
    "INTEL": [MEAN * 4, VAR * 4, ONE * 4, SCALE, SHIFT],
    "NVIDIA 0.15": [SCALE, SHIFT, MEAN, VAR, ONE],
    "NVIDIA 0.14": [*map(FOUR, (SCALE, SHIFT, ONE, MEAN, VAR))],
    "HAPPYNEAR": [a[None] for a in (SCALE, SHIFT, MEAN, INVERSE)],
    "YJXIONG": [a[None] for a in (SCALE, SHIFT, MEAN, VAR)],
}
WANTED = ((X.transpose(0, 2, 3, 1) - MEAN) / np.sqrt(VAR + EPS) * SCALE + SHIFT).transpose(0, 3, 1, 2)


def entries(written_by):
    made = [Entry("bn", tuple(map(in_memory, FILES[written_by])), "BatchNorm", ("x",), ("b",))]
    if written_by == "BVLC":
        made.append(Entry("bn_scale", tuple(map(in_memory, (SCALE, SHIFT))), "Scale", ("b",), ("b",)))
    return made


@pytest.mark.parametrize("into", NETS)
@pytest.mark.parametrize("written_by", FILES)
def test_every_dialect_into_every_other(written_by, into, tmp_path):
    path, model = tmp_path / "w.caffemodel", netdef.compile(NETS[into])
    write_weights(path, entries(written_by))
    dialect = written_by if written_by in ("HAPPYNEAR", "YJXIONG") else None
    if written_by == "BVLC" and into == "BVLC":
        model.set_weights({"scale": [SCALE, SHIFT]})  # because the Scale layers have different names
    load_weights(model, path, bn_dialect=dialect)
    np.testing.assert_allclose(model(x=X)["y"], WANTED, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("into", NETS)
def test_its_own_files_are_taken_bit_for_bit(into, tmp_path):
    model, path = netdef.compile(NETS[into]), tmp_path / "w.caffemodel"
    weights = {k: [RNG.random(a.shape, np.float32) + 0.5 for a in v] for k, v in model.get_weights().items()}
    if into == "NVIDIA":
        weights["bn"][2] = ONE  # the fork uses no factor; another value would mean another fork
    model.set_weights(weights)
    save_weights(model, path)
    other = netdef.compile(NETS[into], weights=path)
    for layer, arrays in read_weights(path).items():
        for a, b, c in zip(arrays, other.get_weights()[layer], weights[layer], strict=True):
            assert (a == b).all() and (a == c).all()


def test_a_factor_of_zero_beside_true_values_is_one(tmp_path):
    write_weights(tmp_path / "w.npz", [Entry("bn", tuple(map(in_memory, (MEAN, VAR, 0 * ONE))))])
    model = netdef.compile(NETS["BVLC"], weights=tmp_path / "w.npz")
    assert (model.get_weights()["bn"][2] == 1).all()
    write_weights(tmp_path / "z.npz", [Entry("bn", tuple(map(in_memory, (0 * MEAN, 0 * VAR, 0 * ONE))))])
    model = netdef.compile(NETS["BVLC"], weights=tmp_path / "z.npz")
    assert (model.get_weights()["bn"][2] == 0).all()  # a net that was never trained


def test_what_cannot_be_known_is_asked(tmp_path):
    write_weights(tmp_path / "w.npz", entries("YJXIONG"))
    with pytest.raises(netdef.NetdefError, match="--bn-dialect: HAPPYNEAR, HAPPYNEAR_CUDNN, YJXIONG"):
        netdef.compile(NETS["NVIDIA"], weights=tmp_path / "w.npz")
    with pytest.raises(netdef.NetdefError, match="unknown BN dialect CAFFE"):
        load_weights(netdef.compile(NETS["NVIDIA"]), tmp_path / "w.npz", bn_dialect="CAFFE")


def test_a_scale_that_has_no_place_is_told(tmp_path):
    write_weights(tmp_path / "w.npz", entries("NVIDIA"))
    alone = INPUT + 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }'
    with pytest.raises(netdef.NetdefError, match="a scale and a shift for this layer, but the net does not"):
        netdef.compile(alone, weights=tmp_path / "w.npz")
