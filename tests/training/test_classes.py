"""Class weights that several devices divide: the result of one device, what the devices exchange, and the memory."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import netdef
from netdef.inspect.collectives import collectives
from netdef.interop import snapshot
from netdef.training.placement import placement_of
from netdef.training.prefetch import Batches
from netdef.training.prepare import make_setup, make_work
from netdef.training.resume import start_from
from netdef.training.solver_nets import nets_of

BATCH, FEATURES, CLASSES = 16, 8, 4096
TRUNK = """
layer { name: "d" type: "ArrayData" top: "x" top: "label" array_data_param { source: "faces.npz" batch_size: 16 } }
layer { name: "trunk" type: "InnerProduct" bottom: "x" top: "trunk"
        inner_product_param { num_output: 8 weight_filler { type: "xavier" } } }
"""
UNIT = 'layer { name: "unit" type: "Normalize" bottom: "trunk" top: "unit" }\n'
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "%s" top: "loss" }\n'
SOLVER = """
solver { base_lr: 0.5 momentum: 0.9 weight_decay: 0.001 max_iter: 3 display: 1 test_interval: 0 snapshot: 2
         snapshot_after_train: false ema: 0.9 }
"""
PLAIN = """
layer { name: "ip" type: "InnerProduct" bottom: "trunk" top: "scores"
        inner_product_param { num_output: 4096 shard: true weight_filler { type: "xavier" } } }
"""
COSINES = """
layer { name: "ip" type: "InnerProduct" bottom: "unit" top: "cosines"
        inner_product_param { num_output: %d shard: true normalize: true bias_term: false
                              weight_filler { type: "msra" } } }
"""
SAMPLED = """
layer { name: "ip" type: "SampledInnerProduct" bottom: "unit" bottom: "label" top: "cosines" top: "own"
        sampled_inner_product_param { num_output: %d sample_rate: 0.1 shard: true normalize: true
                                      weight_filler { type: "msra" } } }
"""
ARC = 'layer { name: "arc" type: "ArcFace" bottom: "cosines" bottom: "%s" top: "scores" }\n'
ADDITIVE = """
layer { name: "margin" type: "LabelSpecificAdd" bottom: "cosines" bottom: "label" top: "margin"
        label_specific_add_param { bias: -0.35 } }
layer { name: "scores" type: "Power" bottom: "margin" top: "scores" power_param { scale: 30 } }
"""
HEADS = {
    "plain": PLAIN + LOSS % "label",
    "arc": UNIT + COSINES % CLASSES + ARC % "label" + LOSS % "label",
    "cos": UNIT + COSINES % CLASSES + ADDITIVE + LOSS % "label",
    "sampled": UNIT + SAMPLED % CLASSES + ARC % "own" + LOSS % "own",
}

ODD = ("plain-odd", "arc-odd", "sampled-odd")  # with a number of classes that is prime


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """A folder with a net for each head, and its data."""
    folder = tmp_path_factory.mktemp("faces")
    random = np.random.default_rng(0)
    label = random.integers(0, CLASSES, 64)
    np.savez(folder / "faces.npz", x=random.normal(size=(64, 200)).astype(np.float32), label=label)
    for name, head in HEADS.items():
        (folder / f"{name}.net").write_text(TRUNK + head + SOLVER)
        (folder / f"{name}-odd.net").write_text(TRUNK + head.replace("4096", "4099") + SOLVER)
    return folder


def trained(path, folder, devices=None, resume=None, weights=None, **fields):
    """(losses, weights of the classes, the first event, the losses of tests) of a short run."""
    seen = []
    options = {f"solver.{name}": value for name, value in fields.items()}
    result = netdef.train(
        path, weights, resume, output=Path(folder) / "run", devices=devices, set=options, on_event=seen.append
    )
    losses, tests = ([r["loss"] for r in result.history if r["phase"] == phase] for phase in ("train", "test"))
    return np.asarray(losses), [np.asarray(a) for a in result.model.get_weights()["ip"]], seen[0], tests


def program(path, folder, devices):
    """Facts of the compiled step on several devices."""
    nets = nets_of(path)
    with closing(make_setup(nets, 0, Path(folder), (), placement_of(devices, nets.solver))) as setup:
        start = start_from(setup, None)
        state = setup.placement.put_state(start.state, setup.partition)
        work, _ = make_work(setup, replace(start, state=state), 2, 1)
        with closing(Batches(work.source, iter([(0, 1)]), 1, 1, setup.placement)) as batches:
            items = next(batches).items
        made = work.stages[0].dispatch.lower(state, (), items, np.int32(1), work.records).compile()
    text, shardings = made.as_text(), [a.sharding for a in jax.tree.leaves(state)]
    of_classes = [a for a in jax.tree.leaves(state) if a.size > 2048]
    return {
        "exchanged": [(c.kind, c.bytes) for line in text.splitlines() for c in collectives(line)],
        "same": shardings == jax.tree.leaves(made.output_shardings[0]) == jax.tree.leaves(made.input_shardings[0][0]),
        "classes": sum(a.nbytes for a in of_classes),
        "on_one": sum(a.addressable_shards[0].data.nbytes for a in of_classes),
        "batch": sum(a.nbytes for a in jax.tree.leaves(items)),
        "batch_on_one": sum(a.addressable_shards[0].data.nbytes for a in jax.tree.leaves(items)),
        "batch_same": [a.sharding for a in jax.tree.leaves(items)] == jax.tree.leaves(made.input_shardings[0][2]),
        "flop": made.cost_analysis()["flops"],
        "arguments": made.memory_analysis().argument_size_in_bytes,
        "rest": sum(a.nbytes for a in jax.tree.leaves((state, items))) - sum(a.nbytes for a in of_classes),
    }


@pytest.mark.parametrize("head", [*HEADS, *ODD])
def test_the_result_is_that_of_one_device(eight, faces, tmp_path, head):
    one, several = (eight(trained, faces / f"{head}.net", tmp_path / str(n), n) for n in (None, 8))
    np.testing.assert_allclose(several[0], one[0], rtol=2e-6)
    for a, b in zip(one[1], several[1], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
    assert several[2].divided == "batch 16 divided among 8 devices: 2 on each; they divide the classes of `ip`"
    assert several[2].parameters == one[2].parameters


def test_other_numbers_of_devices_draw_the_same_classes(eight, faces, tmp_path):
    """In training; a test has all classes."""
    fields = {"test_iter": 2, "test_interval": 2}
    one, two = (eight(trained, faces / "sampled-odd.net", tmp_path / str(n), n, **fields) for n in (1, 2))
    np.testing.assert_allclose(two[0], one[0], rtol=2e-6)
    assert len(two[3]) == 2
    np.testing.assert_allclose(two[3], one[3], rtol=2e-6)


@pytest.mark.parametrize(("head", "classes"), [("arc", CLASSES), ("arc-odd", 4099)])
def test_given_weights_are_divided(eight, faces, tmp_path, head, classes):
    weights = np.random.default_rng(1).normal(size=(classes, FEATURES)).astype(np.float32)
    given = {"weights": {"ip": [weights]}, "base_lr": 0.0, "max_iter": 1, "ema": 0.0, "snapshot": 0}
    _, found, *_ = eight(trained, faces / f"{head}.net", tmp_path, 8, **given)
    np.testing.assert_array_equal(found[0], weights)


def test_a_run_goes_on_with_another_number_of_devices(eight, faces, tmp_path):
    path = faces / "arc.net"
    whole = eight(trained, path, tmp_path / "whole", 2, max_iter=4)
    eight(trained, path, tmp_path / "run", 8, max_iter=2)
    rest = eight(trained, path, tmp_path / "run", 2, resume=True, max_iter=4)
    np.testing.assert_allclose(rest[0][-2:], whole[0][-2:], rtol=2e-6)


@pytest.mark.parametrize("head", [*HEADS, *ODD])
def test_devices_exchange_and_hold_little(eight, faces, tmp_path, head):
    """Nothing of the size of the class weights or of their scores is exchanged, and each device has its own rows."""
    facts = eight(program, faces / f"{head}.net", tmp_path, 8)
    gradients = 4 * (200 * FEATURES + FEATURES)
    assert sum(size for kind, size in facts["exchanged"] if kind == "all-reduce") >= gradients
    assert max(size for _, size in facts["exchanged"]) < 1.1 * gradients  # XLA adds small sums to the large one
    assert 1.1 * gradients < 4 * BATCH * CLASSES // 8
    assert facts["same"]  # the next step gets the state where it expects it
    assert facts["on_one"] == facts["classes"] / 8
    assert facts["batch_same"] and facts["batch_on_one"] == facts["batch"] / 8
    one = eight(program, faces / f"{head}.net", tmp_path, 1)
    assert facts["flop"] < one["flop"] / 4  # no device computes what another one does; XLA pads products of one row
    assert facts["arguments"] <= facts["rest"] + facts["classes"] * (1 / 8 + 0.01)


# Numbers of classes that the devices do not divide: rows of zeros pad the arrays, which nobody sees


def held(path, folder, devices, **fields):
    """(losses, shapes of the arrays of the classes, the largest value in rows that pad them, the saved shapes)."""
    result = netdef.train(
        path, output=Path(folder) / "run", devices=devices, set={f"solver.{n}": v for n, v in fields.items()}
    )
    whole = [np.asarray(a) for a in result.model.arrays().values() if a.shape[0] > 4000]
    read = snapshot.load(result.snapshot)
    saved = {name: array.shape for name, array in read.arrays.items() if name.startswith("ip.")}
    shapes = [a.shape for a in result.model.get_weights()["ip"]] + [a.shape for a in snapshot.weights(read.path)["ip"]]
    losses = np.asarray([r["loss"] for r in result.history])
    return losses, [a.shape for a in whole], max(float(np.abs(a[4099:]).max()) for a in whole), saved, shapes


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "LAMB", "clip_gradients": 0.5, "base_lr": 0.05},
        {"larc": "true", "clip_adaptive": 0.1, "regularization_type": "L1", "iter_size": 2},
        {"type": "AdamW", "base_lr": 0.05, "debug_info": "true"},
    ],
    ids=["norms", "ratios", "decoupled"],
)
def test_rows_that_pad_the_classes_change_nothing(eight, faces, tmp_path, fields):
    path = faces / "arc-odd.net"
    one, *_ = eight(trained, path, tmp_path / "one", None, **fields)
    losses, shapes, padding, saved, weights = eight(held, path, tmp_path / "eight", 8, **fields)
    np.testing.assert_allclose(losses, one, rtol=2e-6)
    assert shapes == [(4104, FEATURES)] and padding == 0
    assert set(saved.values()) - {()} == {(4099, FEATURES)} == set(weights)
    assert {"ip.0", "ip.0/ema"} < set(saved)


def test_a_run_of_four_devices_goes_on_with_others(eight, faces, tmp_path):
    path = faces / "arc-odd.net"
    fields = {"max_iter": 4, "test_iter": 1, "test_interval": 4, "test_initialization": "false"}
    whole = eight(trained, path, tmp_path / "whole", None, **fields)
    eight(trained, path, tmp_path / "run", 4, max_iter=2)
    for devices in (1, 2, 8):
        from_4 = {"resume": tmp_path / "run" / "run" / "iter_000002", **fields}
        rest = eight(trained, path, tmp_path / str(devices), devices, **from_4)
        np.testing.assert_allclose(rest[0], whole[0][-2:], rtol=2e-6)
        np.testing.assert_allclose(rest[3], whole[3], rtol=2e-6)
        assert [a.shape for a in rest[1]] == [(4099, FEATURES)]


def test_a_snapshot_of_another_number_of_classes(eight, faces, tmp_path):
    eight(trained, faces / "arc.net", tmp_path / "run", 8, max_iter=2)
    words = "parameter 0 of layer `ip` is 4096x8 in the snapshot and 4099x8 in this run"
    with pytest.raises(netdef.NetdefError, match=words):
        eight(trained, faces / "arc-odd.net", tmp_path / "other", 8, resume=tmp_path / "run" / "run")


# What is said


@pytest.mark.parametrize(
    ("head", "changes", "devices", "words"),
    [
        ("arc", ("ema", "mesh { statistics: DEVICE } ema"), 8, "layer `ip`: devices that compute apart each need the "
         "weights of all classes, but `shard` is true; use `mesh { statistics: GLOBAL }`, or remove `shard`."),
        ("sampled", ("0.1", "0.1 groups: 12"), 8, "layer `ip`: 8 devices cannot divide 12 groups of classes evenly; set "
         "`groups` to 16, or use another number of devices."),
    ],
)  # fmt: skip
def test_classes_that_devices_cannot_divide(eight, faces, tmp_path, head, changes, devices, words):
    (tmp_path / "wrong.net").write_text((faces / f"{head}.net").read_text().replace(*changes))
    (tmp_path / "faces.npz").symlink_to(faces / "faces.npz")
    with pytest.raises(netdef.NetdefError, match=re.escape(words)):
        eight(trained, tmp_path / "wrong.net", tmp_path, devices)


def test_weights_are_large_from_1_gib_on():
    parts = lambda classes, fields="": (
        netdef.load(
            'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 512 } } }\n'
            'layer { name: "y" type: "InnerProduct" bottom: "x" top: "y"\n'
            f"        inner_product_param {{ num_output: {classes} {fields} }} }}"
        )
        .layers[1]
        .weights
    )
    assert [w.parts for w in parts(1 << 19)] == [0, 0]
    assert [w.parts for w in parts((1 << 19) + 1)] == [1, 1]
    assert [w.parts for w in parts((1 << 19) + 1, "shard: false")] == [0, 0]
    assert [w.parts for w in parts(8, "shard: true")] == [1, 1]
