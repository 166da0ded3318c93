"""The nets of a solver: test nets with `test_iter: 0` are not tested."""

from __future__ import annotations

import netdef
from netdef.training.solver_nets import nets_of

NET = """name: "%s"
layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } data_filler { value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "ip" top: "loss" }
"""
RULE = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 2 test_interval: 1'


def written(folder, fields):
    for name in "abc":
        (folder / f"{name}.prototxt").write_text(NET % name)
    path = folder / "solver.prototxt"
    path.write_text(f'train_net: "a.prototxt" test_net: ["b.prototxt", "c.prototxt"] {fields} {RULE}')
    return path


def test_a_test_net_of_0_batches_is_left_out(tmp_path):
    nets = nets_of(written(tmp_path, "test_iter: [0, 3]"))
    assert [net.name for net in nets.tests] == ["c"]
    assert nets.solver.test_iter == (3,) and nets.solver.test_interval == 1


def test_a_solver_of_only_such_nets_tests_nothing(tmp_path):
    path = written(tmp_path, "test_iter: 0 test_iter: 0")
    nets = nets_of(path)
    assert nets.tests == () and nets.solver.test_iter == ()
    result = netdef.train(path, output=tmp_path / "run")
    assert result.iteration == 2 and not [row for row in result.history if row["phase"] == "test"]
