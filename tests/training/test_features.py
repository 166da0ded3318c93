"""Cached frozen features: the same training result, without recomputing constant outputs."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_net import variant

import netdef
from netdef.passes.freeze import frozen
from netdef.training import events as ev
from netdef.training import features
from netdef.training.solver_nets import nets_of

FREEZE = 'freeze: "ip1|bn|relu" '


@pytest.fixture(autouse=True)
def small_work(monkeypatch):
    monkeypatch.setattr(features, "WORTH", 1)


def written(tiny, name, *changes):
    return variant(tiny, name, ("solver { ", f"solver {{ {FREEZE}"), *changes)


def prefix(path):
    nets = nets_of(path)
    found = features.prefix_of(frozen(nets.train, nets.solver.freeze))
    return found and ([node.name for node in found.prefix], [str(v) for v in found.crossing])


def test_the_prefix_ends_below_the_first_layer_that_changes(tiny):
    assert prefix(written(tiny, "prefix")) == (["ip1", "bn", "relu"], ["ip1''", "label"])
    moving = written(tiny, "moving", (FREEZE, 'freeze: "ip1" '))  # its BatchNorm still updates its statistics
    assert prefix(moving) == (["ip1"], ["ip1", "label"])
    assert prefix(tiny) is None


def test_training_from_features_is_the_same_training(tiny, tmp_path):
    path = written(tiny, "cached")
    events = []
    with_cache = netdef.train(path, output=tmp_path / "with", on_event=events.append)
    without = netdef.train(path, output=tmp_path / "without", set={"solver.cache_frozen": False})
    notices = [e.text for e in events if isinstance(e, ev.Notice)]
    assert notices == ["layers `ip1` to `relu` are frozen: outputs cached for 60 records (0.0 MB)"]
    one, other = with_cache.model.get_weights(), without.model.get_weights()
    for layer in one:
        for a, b in zip(one[layer], other[layer], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # dropout uses the same random numbers
    losses = [[row["loss"] for row in run.history] for run in (with_cache, without)]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_a_run_from_features_is_resumed_bit_for_bit(tiny, tmp_path):
    path = written(tiny, "resumed")
    whole = netdef.train(path, output=tmp_path / "whole").model.get_weights()
    netdef.train(path, output=tmp_path / "parts", max_iter=7)
    parts = netdef.train(path, output=tmp_path / "parts", resume=True).model.get_weights()
    assert all(np.array_equal(a, b) for k in whole for a, b in zip(whole[k], parts[k], strict=True))


def test_layers_that_mix_records_are_not_cached(tiny, tmp_path):
    mixing = 'layer { name: "relu" type: "Reverse" bottom: "ip1" top: "ip1" reverse_param { axis: 0 } }'
    relu = 'layer { name: "relu" type: "ReLU" bottom: "ip1" top: "ip1" }'
    events = []
    netdef.train(written(tiny, "mixing", (relu, mixing)), output=tmp_path / "run", max_iter=1, on_event=events.append)
    assert not any(isinstance(e, ev.Notice) for e in events)
