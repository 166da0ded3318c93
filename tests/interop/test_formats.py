"""Reading and writing of every format: equal bit for bit, matched by layer name, and written atomically."""

from __future__ import annotations

import subprocess
import sys

import h5py
import numpy as np
import pytest
from weight_files import FORMATS, NET, assert_same, changed

import netdef
from netdef.interop import load_weights, read_weights, save_weights
from netdef.language.errors import printable


@pytest.mark.parametrize("ending", FORMATS)
def test_round_trip(ending, small, written):
    other = changed(small)
    loaded = load_weights(other, written[ending])
    assert_same(other.get_weights(), small.get_weights())
    assert loaded.untouched == loaded.unused == ()
    assert_same(netdef.compile(NET, weights=written[ending]).get_weights(), small.get_weights())


@pytest.mark.parametrize("ending", FORMATS)
def test_what_was_there_stays_until_the_new_file_is_whole(ending, small, tmp_path, monkeypatch):
    path = tmp_path / f"w.{ending}"
    save_weights(small, path)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(netdef.NetdefError, match="cannot be written: No space left"):
            save_weights(changed(small), path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    other = changed(small)
    load_weights(other, path)
    assert_same(other.get_weights(), small.get_weights())


def full(*_):
    raise OSError(28, "No space left on device")


def test_shared_arrays_stand_once_in_hdf5(written):
    with h5py.File(written["caffemodel.h5"]) as file:
        assert set(file["data/ip1"]) == {"0", "1"} and set(file["data/ip2"]) == {"1"}
        assert set(file["data/block/conv"]) == {"0", "1"}


def test_npz_is_what_numpy_reads(small, written):
    with np.load(written["npz"], allow_pickle=False) as arrays:
        assert (arrays["block/conv/0"] == small.get_weights()["block/conv"][0]).all()


@pytest.mark.parametrize(
    ("ending", "dtype", "limit"),
    [
        ("caffemodel", "float16", 1e-3),
        ("npz", "float16", 1e-3),
        ("safetensors", "bfloat16", 8e-3),
        ("orbax", "bfloat16", 8e-3),
    ],
)
def test_fewer_bits(ending, dtype, limit, small, tmp_path):
    path = tmp_path / f"w.{ending}"
    save_weights(small, path, dtype)
    for layer, arrays in read_weights(path).items():
        for got, wanted in zip(arrays, small.get_weights()[layer], strict=True):
            assert got.dtype == np.float32 and 0 < np.abs(got - wanted).max() <= limit * np.abs(wanted).max()


def test_bfloat16_is_read_where_nothing_has_imported_jax(small, tmp_path):
    save_weights(small, tmp_path / "w.safetensors", "bfloat16")
    code = "import sys; from netdef.interop import read_weights; print(len(read_weights(sys.argv[1])), 'jax' in sys.modules)"
    command = [sys.executable, "-c", code, str(tmp_path / "w.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("5 False\n", "")


def test_numbers_that_a_format_does_not_hold(small, tmp_path):
    for ending in ("npz", "caffemodel", "caffemodel.h5"):
        with pytest.raises(netdef.NetdefError, match=r"not bfloat16; use \.orbax or \.safetensors$"):
            save_weights(small, tmp_path / f"w.{ending}", "bfloat16")


def test_a_later_file_wins_and_both_are_used(small, tmp_path):
    all_, some = small.get_weights(), {"ip1": [a + 1 for a in small.get_weights()["ip1"]]}
    np.savez(tmp_path / "a.npz", **{f"{k}/{i}": a for k, v in all_.items() if k != "ip2" for i, a in enumerate(v)})
    np.savez(tmp_path / "b.npz", **{f"{k}/{i}": a for k, v in some.items() for i, a in enumerate(v)})
    for both in (f"{tmp_path}/a.npz,{tmp_path}/b.npz", [tmp_path / "a.npz", str(tmp_path / "b.npz")]):
        other = changed(small)
        loaded = load_weights(other, both)
        assert loaded.untouched == ("ip2",)
        got = other.get_weights()
        assert (got["ip1"][0] == some["ip1"][0]).all() and (got["scale"][1] == all_["scale"][1]).all()
        assert (got["ip2"][0] == some["ip1"][0]).all() and (got["ip2"][1] == 7).all()  # the shared array, its own bias


def message(path, model):
    with pytest.raises(netdef.NetdefError) as caught:
        load_weights(model, path)
    assert "\n" not in str(caught.value) and printable(str(path)) in str(caught.value)
    return str(caught.value)


def save(path, **arrays):
    np.savez(path, **{name.replace("__", "/"): a for name, a in arrays.items()})
    return path


def test_shapes_that_differ_are_shown_and_nothing_is_changed(small, tmp_path):
    other = changed(small)
    path = save(
        tmp_path / "w.npz", scale__0=np.ones(4), scale__1=np.ones(4), ip1__0=np.ones((6, 64)), ip1__1=np.ones(5)
    )
    told = message(path, other)
    assert "`ip1`" in told and "6x64" in told and "5x64" in told
    assert (other.get_weights()["scale"][0] == 7).all()


def test_another_number_of_parameters(small, tmp_path):
    told = message(save(tmp_path / "w.npz", scale__0=np.ones(4)), changed(small))
    assert "`scale` has 1 parameter (4) in the file and 2 parameters (4, 4) in the net" in told


def test_a_file_of_another_net(small, tmp_path):
    told = message(save(tmp_path / "w.npz", scael__0=np.ones(4), fc7__0=np.ones(4)), changed(small))
    assert "scael, fc7" in told and "is `scael` in the file the layer `scale` of the net?" in told


def test_only_in_one_of_both_is_told(small, tmp_path):
    path = save(tmp_path / "w.npz", scale__0=np.ones(4), scale__1=np.ones(4), fc9__0=np.ones(3))
    loaded = load_weights(changed(small), path)
    assert loaded.copied == ("scale",) and loaded.unused == ("fc9",)
    assert str(loaded) == (
        "weights loaded for 1 layer; initial values kept in 4 layers: block/conv, bn, ip1, ip2; "
        "1 layer of the file not in the net: fc9"
    )


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.caffemodel", b"", "the file is empty"),
        ("a.caffemodel", b'layer { name: "a" }', "the definition of a net"),
        ("a.caffemodel", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        ("a.caffemodel", b"<!DOCTYPE html><html>404", "a web page"),
        ("a.caffemodel.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "not a .caffemodel.h5"),
        ("a.npz", b"PK\x03\x04" + b"\0" * 99, "not an .npz"),
        ("a.safetensors", b"\xff" * 64, "not a .safetensors"),
        ("a.pth", b"PK\x03\x04" + b"\0" * 26 + b"archive/data.pkl", "a PyTorch file"),
        ("a.pkl", b"\x80\x02}q\x00", "a pickle"),
        ("a.solverstate", b"\x08\x01", "a solver state contains no weights"),
    ],
)
def test_foreign_files(name, content, told, small, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert told in message(tmp_path / name, small)


def test_missing_files_and_endings(small, tmp_path):
    assert "weight file not found" in message(tmp_path / "none.caffemodel", small)
    (tmp_path / "empty").mkdir()
    assert "orbax" in message(tmp_path / "empty", small)
    with pytest.raises(netdef.NetdefError, match=r"\.caffemodel, \.caffemodel\.h5, \.npz"):
        save_weights(small, tmp_path / "w.bin")
    with pytest.raises(netdef.NetdefError, match="float32 or float16, not bfloat16"):
        save_weights(small, tmp_path / "w.npz", "bfloat16")


def test_pickled_arrays_are_refused(small, tmp_path):
    np.savez(tmp_path / "w.npz", **{"scale/0": np.array([object()])})
    assert "of type object, which is not numeric" in message(tmp_path / "w.npz", small)
