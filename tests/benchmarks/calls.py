"""The time of `model(x)` of small nets at batch 1, compared with a bare jitted forward pass of the same arrays.

usage: python tests/benchmarks/calls.py

Both run in turns; the times are those of the fastest tenth of the calls, with the wait for the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import netdef
from netdef.forward import forward, jit

EXAMPLES = Path(__file__).parents[2] / "examples"
ROUNDS, CALLS = 10, 200
PERCEPTRON = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 64 } } }
layer { name: "hidden" type: "InnerProduct" bottom: "data" top: "hidden" inner_product_param { num_output: 64 } }
layer { name: "relu" type: "ReLU" bottom: "hidden" top: "hidden" }
layer { name: "scores" type: "InnerProduct" bottom: "hidden" top: "scores" inner_product_param { num_output: 10 } }
"""


def bare(model: netdef.Model) -> Callable[[Any], Any]:
    """Returns the jitted forward pass with its arrays."""
    net, key = model.net, jax.random.key(0)
    owners, arrays = list(model.arrays()), list(model.arrays().values())

    @jit
    def run(arrays: list[jax.Array], x: jax.Array) -> dict[str, jax.Array]:
        blobs = forward(net, dict(zip(owners, arrays, strict=True)), {"data": x}, key).blobs
        return {name: blobs[name] for name in net.outputs}

    return lambda x: run(arrays, x)


def times(run: Callable[[Any], Any], x: np.ndarray) -> list[float]:
    """Returns the milliseconds of each call."""
    found = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        jax.block_until_ready(run(x))
        found.append(1e3 * (time.perf_counter() - begun))
    return found


def main() -> None:
    lenet = netdef.deploy(EXAMPLES / "lenet.net", shapes={"data": (1, 1, 28, 28)}, fillers=True)
    for name, net in {"LeNet": lenet, "perceptron": netdef.load(PERCEPTRON, phase="TEST")}.items():
        model = netdef.compile(net)
        x = np.random.default_rng(0).normal(size=net.blobs["data"].shape or ()).astype(np.float32)
        forms = {"model(x)": lambda x, model=model: model(data=x), "bare": bare(model)}
        rounds = [{form: times(run, x) for form, run in forms.items()} for _ in range(ROUNDS)]
        whole, alone = (float(np.quantile([t for r in rounds for t in r[form]], 0.1)) for form in forms)
        print(f"{name}: model(x) {whole:.3f} ms, bare {alone:.3f} ms: {whole / alone:.2f} x, {whole - alone:+.3f} ms")


if __name__ == "__main__":
    main()
