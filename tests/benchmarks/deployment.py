"""Exported whole nets: ejected source, ONNX, StableHLO and folding, compared with netdef on the same images.

usage: python tests/benchmarks/deployment.py [NET ...]      (default: the five below; ONNX requires jax2onnx)

Parameters are those of the fillers, with the statistics of one training batch.  The scores before the softmax, which
are of the order of 1, are compared on 2 and on 3 images.  The ejected source runs in a Python process that cannot
import netdef.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jax import export

import netdef
from netdef.interop import eject, export_onnx, export_stablehlo, fold

EXAMPLES = Path(__file__).parents[2] / "examples"
NETS = {"lenet": (1, 28, 28), "googlenet": (3, 224, 224), "resnet50": (3, 224, 224), "mobilenet": (3, 224, 224)}
NETS["face_bn"] = (1, 50, 50)
ALONE = """
import sys

class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "netdef":
            raise ImportError("netdef is not available")

sys.meta_path.insert(0, Nowhere())
sys.path.insert(0, sys.argv[1])
import numpy as np
import ejected
np.savez(sys.argv[1] + "/out.npz", **ejected.load()(**np.load(sys.argv[1] + "/in.npz")))
assert "netdef" not in sys.modules
"""


def used(name: str) -> netdef.Model:
    """Returns the inference net up to its scores."""
    shapes = {"data": (2, *NETS[name])}
    scores = netdef.deploy(EXAMPLES / f"{name}.net", shapes=shapes).layers[-1].bottoms[0].name
    net = netdef.deploy(EXAMPLES / f"{name}.net", shapes=shapes, outputs=[scores], fillers=True)
    learning = netdef.compile(f"force_backward: true\n{net.text}", phase="TRAIN", seed=1)
    learning(data=images(name, 4))
    return netdef.compile(net, weights=learning.get_weights())


def images(name: str, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *NETS[name])).astype(np.float32)


def alone(model: netdef.Model, folder: Path, x: np.ndarray) -> np.ndarray:
    """Returns the outputs of the ejected source."""
    eject(model, folder / "ejected.py")
    np.savez(folder / "in.npz", data=x)
    subprocess.run([sys.executable, "-I", "-c", ALONE, str(folder)], check=True)
    with np.load(folder / "out.npz") as arrays:
        return arrays[arrays.files[0]]


def by_onnx(model: netdef.Model, folder: Path) -> Any:
    if not importlib.util.find_spec("jax2onnx"):
        return None
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_onnx(model, folder / "net.onnx")
    session = onnxruntime.InferenceSession(folder / "net.onnx", providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"data": x})[0]


def by_stablehlo(model: netdef.Model, folder: Path) -> Any:
    export_stablehlo(model, folder / "net.stablehlo")
    exported = export.deserialize(bytearray((folder / "net.stablehlo").read_bytes()))
    return lambda x: next(iter(exported.call({"data": x}).values()))


def held(name: str) -> None:
    """Compares all formats of a net and prints a line for each."""
    model, begin = used(name), time.perf_counter()
    (output,) = model.net.outputs
    short = fold(model.net, model.get_weights())
    folded = netdef.compile(short.net, weights=short.weights)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        forms = {"StableHLO": by_stablehlo(model, folder), "ONNX": by_onnx(model, folder)}
        forms["folded"] = lambda x: folded(data=x)[output]
        for count in (2, 3):
            x = images(name, count, seed=7)
            wanted = np.asarray(model(data=x)[output])
            same = np.array_equal(alone(model, folder, x), wanted)
            scores = f"{name}, {count} images, scores up to {np.abs(wanted).max():.3g}"
            print(f"{scores}: ejected source equal bit for bit: {same}")
            for form, run in forms.items():
                far = "not installed"
                if run is not None:
                    far = f"largest difference {np.abs(np.asarray(run(x)) - wanted).max():.2e}"
                print(f"  {form}: {far}")
    layers = f"{len(model.net.layers)} layers, {len(short.net.layers)} after folding"
    print(f"  {layers}; {time.perf_counter() - begin:.0f} s in total", flush=True)


if __name__ == "__main__":
    for given in sys.argv[1:] or NETS:
        held(given)
