"""Recorded single-layer cases: reading them, and comparing a model with one."""

from __future__ import annotations

import collections
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import netdef
from netdef.forward import without_padding

GOLDEN = Path(__file__).parents[1] / "golden"
LOOSE = {"LRN", "Exp", "Log", "net_in_place", "Power", "MVN", "BatchNorm", "BN"}  # exp, log and rsqrt differ by library


@functools.cache
def rows(folder: str) -> dict[str, list[dict[str, Any]]]:
    """Returns the cases of a folder by kind."""
    found = collections.defaultdict(list)
    for line in (GOLDEN / folder / "index.jsonl").read_text().splitlines():
        row = json.loads(line)
        found[row["kind"]].append(row)
    return dict(found)


def arrays(folder: str, kind: str) -> dict[str, dict[str, np.ndarray]]:
    """Returns {case: {name: array}} of one kind."""
    found: dict[str, dict[str, np.ndarray]] = collections.defaultdict(dict)
    with np.load(GOLDEN / folder / f"{kind}.npz") as pack:
        for key in pack.files:
            case, what = key.split(":", 1)
            found[case][what] = pack[key]
    return found


def named(case: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key[len(prefix) + 1 :]: value for key, value in case.items() if key.startswith(prefix + "/")}


def by_layer(case: dict[str, np.ndarray], prefix: str) -> dict[str, list[np.ndarray]]:
    found: dict[str, dict[int, np.ndarray]] = collections.defaultdict(dict)
    for key, value in named(case, prefix).items():
        layer, i = key.rsplit("/", 1)
        found[layer][int(i)] = value
    return {layer: [blobs[i] for i in sorted(blobs)] for layer, blobs in found.items()}


def assert_close(got: Any, want: np.ndarray, kind: str, what: str) -> None:
    """The arrays are equal up to float32 rounding."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, f"{what}: shape {got.shape} is not {want.shape}"
    if want.size:
        allowed = 1e-5 + (1e-3 if kind in LOOSE else 2e-4) * np.abs(want) + 1e-5 * np.abs(want).max()
        worst = np.abs(got - want) - allowed
        assert (worst <= 0).all(), (
            f"{what}: off by {np.abs(got - want).max():.3g} at values up to {np.abs(want).max():.3g}"
        )


def hold(row: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    """Outputs, gradients and statistics agree with a recorded case; the model is compiled once."""
    model = netdef.compile(row["net"], phase=row["phase"])
    if given := by_layer(case, "blob"):
        model.set_weights(given)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    inputs = {name: jnp.asarray(value) for name, value in named(case, "in").items()}
    wanted = sorted(named(case, "din"))
    d_outputs = named(case, "dout")

    def objective(params: nnx.State, some: dict[str, Any], rest: nnx.State) -> tuple[Any, Any]:
        merged = nnx.merge(graph, params, rest, copy=True)  # a copy, because the call may update its variables
        blobs = merged.blobs(**{**inputs, **some})
        after = nnx.state(merged)
        if row["loss"]:
            return nnx.merge(graph, params, rest, copy=True).loss(**{**inputs, **some}), (blobs, after)
        return sum(jnp.vdot(blobs[name], d) for name, d in d_outputs.items()) + 0.0, (blobs, after)

    gradient = jax.jit(jax.grad(objective, (0, 1), has_aux=True))
    (d_params, d_inputs), (blobs, after) = gradient(params, {name: inputs[name] for name in wanted}, rest)
    blobs = without_padding(model.net, blobs)
    for name, want in named(case, "out").items():
        assert_close(blobs[name], want, row["kind"], f"{row['id']} blob {name}")
    for name, want in named(case, "din").items():
        assert_close(d_inputs[name], want, row["kind"], f"{row['id']} gradient on {name}")
    for prefix, state in (("dblob", d_params), ("blob_after", after)):
        shown = model.get_weights(state)
        for layer, wants in by_layer(case, prefix).items():
            for i, want in enumerate(wants):
                assert_close(shown[layer][i], want, row["kind"], f"{row['id']} {prefix} {layer}[{i}]")
