"""What is traced and compiled for a run: nothing twice, nothing that is not used, and no program for each shape."""

from __future__ import annotations

import re
from collections import Counter

import jax
import numpy as np
import pytest
from tiny_net import variant

import netdef
from netdef.layers.inner_product import InnerProduct
from netdef.model import Model
from netdef.solvers.base import SOLVERS
from netdef.training.params import arrays_of, partition_of
from netdef.training.prepare import first_state
from netdef.training.solver_nets import nets_of
from netdef.training.step import loops_well, make_run, make_step

NET = """
layer {{ name: "d" type: "DummyData" top: "x" top: "y"
        dummy_data_param {{ shape {{ dim: 4 dim: 1 dim: 8 dim: 8 }} shape {{ dim: 4 }} }} }}
{layers}
layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param {{ num_output: {outputs} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }}
solver {{ type: "{solver}" base_lr: 0.1 lr_policy: "fixed" max_iter: 1 ema: 0.9 }}
"""
CONV = 'layer { name: "c" type: "Convolution" bottom: "x" top: "x" convolution_param { num_output: 2 kernel_size: 3 } }'


def nets(solver: str = "SGD", outputs: int = 3, layers: str = ""):
    return nets_of(NET.format(solver=solver, outputs=outputs, layers=layers))


@pytest.mark.parametrize("solver", SOLVERS.names())
def test_the_first_state_needs_no_program_for_each_shape(solver):
    programs = lambda: len(jax.devices()[0].client.live_executables())

    def state(outputs: int):
        loaded = nets(solver, outputs)
        return first_state(loaded.solver, Model(loaded.train, 0), partition_of(loaded.train))

    state(5)
    before = programs()
    for outputs in (211, 223, 227):
        made = state(outputs)
    assert programs() <= before
    assert all(isinstance(leaf, jax.Array) and not leaf.weak_type for leaf in jax.tree.leaves(made))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(made.history))
    assert {a.unsafe_buffer_pointer() for a in made.trained}.isdisjoint(a.unsafe_buffer_pointer() for a in made.ema)


def test_a_loop_of_steps_traces_the_step_once(monkeypatch):
    loaded = nets()
    model, parts = Model(loaded.train, 0), partition_of(loaded.train)
    state, calls, plain = first_state(loaded.solver, model, parts), [], InnerProduct.apply

    def counted(*given, **context):
        calls.append(1)
        return plain(*given, **context)

    monkeypatch.setattr(InnerProduct, "apply", counted)
    step = make_run(make_step(loaded.train, loaded.solver, parts, jax.random.key(0)))
    items = {"x": np.zeros((2, 1, 4, 1, 8, 8), np.float32), "y": np.zeros((2, 1, 4), np.float32)}
    after, _ = step(state, arrays_of(model, parts.fixed), items, np.int32(2), None)
    assert int(after.iteration) == 2 and len(calls) == 1


def test_a_step_with_a_convolution_is_not_looped_on_a_cpu():
    if jax.default_backend() != "cpu":
        pytest.skip("steps are looped on accelerators")
    assert loops_well(nets().train) and not loops_well(nets(layers=CONV).train)


def compilations(caplog, path, **options):
    """The number of programs of a run that were compiled, by name; only those that contain layers."""
    caplog.clear()
    with jax.log_compiles():
        netdef.train(path, progress=False, **options)
    names = re.findall(r"Finished XLA compilation of jit\((\w+)\)", caplog.text)
    return Counter(name for name in names if name in ("run", "_one"))


def test_a_run_compiles_its_step_once_and_its_test_once_for_each_size_of_a_batch(tiny, tmp_path, caplog):
    """Pieces of 1 to 5 iterations share a step; tests of 15 records in batches of 4 end with one of 3."""
    path = variant(
        tiny, "ragged", ("batch_size: 5", "batch_size: 4"), ("test_iter: 2", ""), ("max_iter: 20", "max_iter: 9")
    )
    made = compilations(caplog, path, output=tmp_path / "run", set={"solver.test_interval": 3, "solver.display": 2})
    assert made == {"run": 1, "_one": 2}
    whole = variant(tiny, "whole", ("test_iter: 2", ""), ("max_iter: 20", "max_iter: 9"))
    made = compilations(caplog, whole, output=tmp_path / "whole")
    assert made == {"run": 1, "_one": 1}


def test_a_run_without_tests_compiles_no_test(tiny, tmp_path, caplog):
    settings = {"solver.test_interval": 0, "solver.max_iter": 3}
    assert compilations(caplog, tiny, output=tmp_path / "run", set=settings) == {"run": 1}
