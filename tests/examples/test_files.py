"""The files of examples/: nets, data and scripts."""

from __future__ import annotations

import gzip
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netdef
from netdef.data.sources import open_source
from netdef.inspect.summary import summarize

EXAMPLES = Path(__file__).parents[2] / "examples"
NETS = sorted(EXAMPLES.glob("*.net"))
FACES = ["face", "face_bn"]
TABLES = ["houses", "reviews_text"]  # which need a package that reads tables


@pytest.mark.parametrize("path", NETS, ids=lambda p: p.stem)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_examples_have_no_diagnostics(path: Path, phase: str):
    if path.stem in TABLES:
        pytest.importorskip("pyarrow")
    net = netdef.load(path, phase=phase)
    # MNIST is not shipped, so its files may be missing.
    assert {d.code for d in net.diagnostics} <= ({"unavailable"} if path.stem == "lenet" else set())
    assert net.solver is not None and net.solver.max_iter > 0


@pytest.mark.parametrize("name", FACES)
def test_summaries_of_the_face_nets(name: str, golden):
    golden(f"{name}.txt", f"{summarize(netdef.load(EXAMPLES / f'{name}.net'))}\n")


@pytest.mark.parametrize(("name", "convolutions"), [("face", 8), ("face_bn", 7)])
def test_face_nets_have_the_layers_and_shapes_of_the_originals(name: str, convolutions: int):
    net = netdef.load(EXAMPLES / f"{name}.net")
    kinds = [node.type for node in net.layers]
    assert kinds.count("Convolution") == convolutions
    assert kinds.count("Pooling") == 4
    assert kinds.count("BatchNorm") == (4 if name == "face_bn" else 0)
    assert ("Dropout" in kinds) == (name == "face")
    assert net.blobs["data"].shape == (64, 1, 50, 50)
    assert net.blobs["pool4"].shape == (64, 320, 1, 1)
    assert net.blobs["person"].shape == (64, 14700)


def rates(solver, iterations) -> list[float]:
    return [float(solver.rate(iteration, {})) for iteration in iterations]


def test_the_learning_rate_of_the_face_net_drops_at_150000_and_300000_of_420000():
    solver = netdef.load(EXAMPLES / "face.net").solver
    assert solver.max_iter == 420000
    found = rates(solver, (0, 149999, 150001, 299999, 300001, 419999))
    assert found == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001], rel=1e-5)


@pytest.mark.parametrize("length", [420000, 4200])
def test_the_learning_rate_of_face_bn_falls_smoothly_and_then_in_steps(length: int):
    solver = netdef.load(EXAMPLES / "face_bn.net", set={"iterations": length}).solver
    assert solver.max_iter == length
    smooth = rates(solver, (0, length // 4, length // 2 - 1))
    assert smooth == pytest.approx([0.1, 0.1 * 0.1**0.5, 0.01], rel=2e-3)
    jumps = rates(solver, (n * length // 14 + side for n in (10, 12) for side in (-1, 1)))
    assert jumps == pytest.approx([0.01, 0.001, 0.001, 0.0001], rel=1e-3)


@pytest.mark.parametrize("name", FACES)
def test_face_nets_train_on_random_images(name: str, tmp_path: Path):
    text = (
        (EXAMPLES / f"{name}.net")
        .read_text()
        .replace("dim: 64", "dim: 2")
        .replace("14700", "30")
        .replace("14699", "29")
    )
    result = netdef.train(
        text, max_iter=2, output=tmp_path / "run", set={"solver.display": 1, "solver.test_interval": 0}
    )
    losses = [row["loss"] for row in result.history]
    assert len(losses) == 2 and np.isfinite(losses).all()
    assert losses[0] == pytest.approx(np.log(30), rel=0.8)  # chance level of 30 classes


def test_the_digits_are_as_documented():
    h5py = pytest.importorskip("h5py")
    count = {}
    for name in ("train", "test"):
        with h5py.File(EXAMPLES / "data" / f"digits_{name}.h5") as file:
            data, label = file["data"][:].astype(np.float32), file["label"][:]
        assert data.shape[1:] == (1, 8, 8) and label.shape == data.shape[:1]
        assert set(np.unique(label)) == set(range(10))
        assert set(np.unique(data * 16)) == set(range(17))
        count[name] = {image.tobytes() for image in data}
        assert len(count[name]) == {"train": 1397, "test": 400}[name]
    assert not count["train"] & count["test"]
    assert sum(path.stat().st_size for path in (EXAMPLES / "data").glob("*.h5")) < 70_000


def script(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, EXAMPLES / name, *map(str, words)], capture_output=True, text=True)


def test_the_canvases_are_as_documented_and_the_script_makes_them_again(tmp_path: Path):
    done = script("make_canvases.py", tmp_path)
    assert done.returncode == 0, done.stderr
    seen = {}
    for name, count in (("train", 600), ("test", 200)):
        shipped, made = (open_source(folder / f"canvases_{name}.lmdb") for folder in (EXAMPLES / "data", tmp_path))
        assert shipped.size == made.size == count and set(shipped.counts()) == {1, 2, 3, 4}
        found = [[r.decode(raw) for raw in r.read(range(r.size))] for r in (shipped, made)]
        for one, other in zip(*found, strict=True):
            assert one.image.shape == (1, 64, 64)
            np.testing.assert_array_equal(one.labels[0].rows, other.labels[0].rows)
            np.testing.assert_array_equal(one.image, other.image)
        seen[name] = {one.image.tobytes() for one in found[0]}
        assert set(np.concatenate([one.labels[0].rows[:, 0] for one in found[0]])) == set(range(1, 11))
    assert not seen["train"] & seen["test"]
    assert sum(path.stat().st_size for path in (EXAMPLES / "data").glob("canvases_*/*")) < 700_000


def test_mnist_files_are_converted_for_lenet(tmp_path: Path):
    random = np.random.RandomState(0)
    for name, count in (("train", 70), ("t10k", 5)):
        images = random.randint(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        packed = struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes()
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(packed))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels.tobytes())
    done = script("mnist_to_hdf5.py", tmp_path, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    shutil.copy(EXAMPLES / "lenet.net", tmp_path)
    net = netdef.load(tmp_path / "lenet.net")
    assert not net.diagnostics
    # the parameters of Caffe's LeNet: 20 x 1 x 5 x 5 + 20, 50 x 20 x 5 x 5 + 50, 800 x 500 + 500, 500 x 10 + 10
    assert summarize(net).parameters == 520 + 25_050 + 400_500 + 5_010
    batch = next(netdef.data.batches(tmp_path / "lenet.net", phase="TEST"))
    assert batch["data"].shape == (100, 1, 28, 28)
    np.testing.assert_array_equal(batch["data"][:5] * 256, images[:, None])
    np.testing.assert_array_equal(batch["label"][:5], labels)


def test_the_error_names_missing_mnist_files(tmp_path: Path):
    done = script("mnist_to_hdf5.py", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("neither train-images-idx3-ubyte nor")
    assert script("mnist_to_hdf5.py").stderr.startswith("usage:")
