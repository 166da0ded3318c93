"""Segments that the backward pass computes again: which layers are in them, without jax."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import netdef
from netdef.graph import Net
from netdef.passes.freeze import frozen
from netdef.passes.recompute import crossing, recomputed, segments_of
from netdef.training.solver_nets import nets_of

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = """
layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: 8 dim: 16 } shape { dim: 8 } } }
"""
FC = """
layer { name: "%s" type: "InnerProduct" bottom: "%s" top: "%s"
        inner_product_param { num_output: 16 weight_filler { type: "xavier" } } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "%s" bottom: "y" top: "loss" }'
BLOCKS = (
    """
template block(id, bottom) {
  fc { name: "fc${id}" bottom: ${bottom} }
  for i in range(2) { fc { name: "fc${id}_${i}" bottom: ${"fc" + str(id) + ("" if i == 0 else "_0")} } }
}
template fc(name, bottom) {
  layer { name: ${name} type: "InnerProduct" bottom: ${bottom} top: ${name}
          inner_product_param { num_output: 16 weight_filler { type: "xavier" } } }
  layer { name: "${name}/relu" type: "ReLU" bottom: ${name} top: ${name} }
}
"""
    + DATA
    + """
for i in range(3) { block { id: ${i} bottom: ${"x" if i == 0 else "fc" + str(i - 1) + "_1"} } }
layer { name: "accuracy" type: "Accuracy" bottom: "fc2_1" bottom: "y" top: "accuracy" }
"""
    + LOSS % "fc2_1"
)


def names(net: Net, *wanted: str) -> list[list[str]]:
    """The names of the layers in each segment."""
    return [[node.name for node in nodes] for nodes in segments_of(recomputed(net, wanted))]


def chain(n: int) -> Net:
    """A net of `n` equal layers."""
    layers = [FC % (f"fc{i}", f"fc{i - 1}" if i else "x", f"fc{i}") for i in range(n)]
    return netdef.load(DATA + "".join(layers) + LOSS % f"fc{n - 1}")


def test_each_use_of_a_template_is_a_segment():
    net = netdef.load(BLOCKS)
    block = lambda i: [f"fc{i}{end}{relu}" for end in ("", "_0", "_1") for relu in ("", "/relu")]
    assert names(net, "block") == [block(0), block(1), block(2)]  # though a loop uses it at one place of the file
    assert names(net, "fc")[:2] == [["fc0", "fc0/relu"], ["fc0_0", "fc0_0/relu"]] and len(names(net, "fc")) == 9
    assert names(net, "block|fc") == names(net, "block")  # the outermost use
    assert names(net) == []


@pytest.mark.parametrize("wanted", [("block",), ("fc1_0", "fc"), ("fc1.*", "block"), ("f.*",), ("AUTO",)])
def test_the_file_without_templates_has_equal_segments(wanted):
    fields = [f"recompute: {pattern}" if pattern == "AUTO" else f'recompute: "{pattern}"' for pattern in wanted]
    nets = nets_of(BLOCKS + f"solver {{ base_lr: 0.1 {' '.join(fields)} }}")
    expanded = nets_of(nets.text)
    assert "template" not in nets.text
    assert names(expanded.train, *expanded.solver.recompute) == names(nets.train, *wanted)
    assert expanded.text == nets.text


def test_consecutive_layers_with_matching_names_are_a_segment():
    net = netdef.load(BLOCKS)
    assert names(net, "fc1.*", "fc0") == [["fc0"], [f"fc1{e}{r}" for e in ("", "_0", "_1") for r in ("", "/relu")]]
    assert [len(found) for found in names(net, "fc[0-2].*")] == [18]
    assert [len(found) for found in names(net, "fc([0-2]).*")] == [6, 6, 6]  # one for each value of the group
    assert names(net, "fc0/relu", "fc[01]/relu") == [["fc0/relu"], ["fc1/relu"]]  # not consecutive


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["blok"], 'no layer and no template of the net matches `recompute: "blok"`. Did you mean `block`?'),
        (["fc1", "res4*"], 'matches `recompute: "res4*"`'),
        (["("], '`recompute: "("` is not a regular expression'),
        (["d"], '`recompute: "d"` matches only layers that cannot be recomputed, such as `d`'),
        (["accuracy"], "such as `accuracy`: data, metrics, layers without a top, or Python layers"),
        (["AUTO", "fc"], '`recompute` is AUTO and also "fc"; give either AUTO alone, or patterns'),
    ],
)
def test_errors(wanted, message):
    with pytest.raises(netdef.NetdefError) as failure:
        recomputed(netdef.load(BLOCKS), wanted)
    assert message in str(failure.value)


def test_layers_that_must_run_once_divide_a_segment():
    net = netdef.load(
        DATA
        + FC % ("a", "x", "a")
        + 'layer { name: "seen" type: "Silence" bottom: "a" }'
        + FC % ("b", "a", "b")
        + 'layer { name: "user" type: "Python" bottom: "b" top: "p" python_param { module: "m" layer: "L" } }'
        + FC % ("c", "b", "c")
        + 'layer { name: "accuracy" type: "Accuracy" bottom: "c" bottom: "y" top: "accuracy" }'
        + LOSS % "c"
    )
    assert names(net, ".*") == [["a"], ["b"], ["c"], ["loss"]]


def test_layers_without_a_gradient_are_in_no_segment():
    net = frozen(netdef.load(BLOCKS), ["fc0.*"])
    assert [found[0] for found in names(net, "block")] == ["fc1", "fc2"]
    assert not any(name.startswith("fc0") for found in names(net, "AUTO") for name in found)


def test_the_crossing_values_are_those_that_others_use():
    net = recomputed(netdef.load(BLOCKS), ["block"])
    entering, leaving = crossing(net, segments_of(net)[1])
    assert [str(v) for v in entering] == ["fc0_1'"]
    assert [str(v) for v in leaving] == ["fc1_1'"]


# Automatic


def test_a_chain_is_divided_into_about_the_square_root_of_its_layers():
    found = names(chain(64), "AUTO")
    assert 6 <= len(found) <= 12
    assert max(map(len, found)) <= 10
    assert "fc63" not in sum(found, [])  # the last segment is needed at once


@pytest.mark.parametrize("file", ["resnet50.net", "googlenet.net", "mobilenet.net", "vgg16.net"])
def test_automatic_segments_of_known_nets(file):
    net = netdef.load(EXAMPLES / file)
    found = names(net, "AUTO")
    assert found == names(net, "AUTO") and found
    at = {node.name: i for i, node in enumerate(net.layers)}
    for segment in found:
        assert all(at[b] == at[a] + 1 for a, b in pairwise(segment))
    begins = [net.layers[at[segment[0]]] for segment in found]
    assert all({v.name for v in node.tops}.isdisjoint(v.name for v in node.bottoms) for node in begins)  # not in place


def test_automatic_segments_of_a_residual_net_end_with_its_blocks():
    ends = [segment[-1] for segment in names(netdef.load(EXAMPLES / "resnet152.net"), "AUTO")]
    assert sum(end.startswith("res") and end.endswith("_relu") and "branch" not in end for end in ends) >= 0.9 * len(
        ends
    )


def test_a_net_with_nothing_to_save_has_no_automatic_segments():
    assert names(chain(1), "AUTO") == []
    assert names(netdef.load(DATA + 'layer { name: "r" type: "ReLU" bottom: "x" top: "r" }'), "AUTO") == []


# The field of the solver


@pytest.mark.parametrize("written", ["AUTO", '"AUTO"'])
def test_the_field_is_a_word_or_strings(written):
    assert netdef.load(f"{BLOCKS} solver {{ base_lr: 1 recompute: {written} }}").solver.recompute == ("AUTO",)
    net = netdef.load(BLOCKS + 'solver { base_lr: 1 recompute: ["a", "b"] }')
    assert net.solver.recompute == ("a", "b")
    assert netdef.load(BLOCKS + "solver { base_lr: 1 }", set={"solver.recompute": "AUTO"}).solver.recompute == ("AUTO",)


def test_another_word_is_an_error():
    with pytest.raises(netdef.CompileError) as failure:
        netdef.load(BLOCKS + "solver { base_lr: 1 recompute: ALL }")
    assert "`recompute` expects AUTO or a quoted string, not ALL" in str(failure.value)
