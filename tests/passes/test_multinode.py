"""Intel's `multinode`: which layers the devices divide, and warnings where it has no effect."""

from __future__ import annotations

import pytest

import netdef

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" %s
        convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "fc6" type: "InnerProduct" bottom: "conv" top: "fc6" %s inner_product_param { num_output: 6 } }
layer { name: "relu" type: "ReLU" bottom: "fc6" top: "fc6" }
layer { name: "fc7" type: "InnerProduct" bottom: "fc6" top: "fc7" inner_product_param { num_output: 7 } }
layer { name: "fc8" type: "InnerProduct" bottom: "fc7" top: "fc8" inner_product_param { num_output: 8 %s } }
layer { name: "side" type: "InnerProduct" bottom: "x" top: "side" inner_product_param { num_output: 9 } }
"""


def divided(text: str) -> list[str]:
    """The layers whose weights the devices divide."""
    return [node.name for node in netdef.load(text).layers if any(w.parts for w in node.weights or ())]


def warnings(text: str) -> list[str]:
    return [f"{d.span.text}: {d.detail}" for d in netdef.load(text).diagnostics]


def net(conv: str = "", fc6: str = "", fc8: str = "", top: str = "") -> str:
    return top + NET % (conv, fc6, fc8)


@pytest.mark.parametrize(
    ("fields", "layers"),
    [
        ('layer_from: "fc6" layer_to: "fc8" num_nodes: 0 model_parts: 0', ["fc6", "fc7", "fc8"]),
        ('layer_from: "fc6" layer_to: "fc7" num_nodes: 4 model_parts: 2', ["fc6", "fc7"]),
        ('layer_from: "fc7"', ["fc7", "fc8"]),
        ('layer_from: "conv" layer_to: "fc6"', ["fc6"]),
        ('layer_from: "fc8" layer_to: "fc8"', ["fc8"]),
        ('layer_from: "fc6" layer_to: "fc8" model_parts: 1', []),
        ('layer_from: "fc6" layer_to: "fc8" num_nodes: 1', []),
    ],
)
def test_a_net_names_the_first_and_the_last_layer(fields, layers):
    text = net(top=f"multinode {{ model_parallel {{ {fields} }} }}")
    assert divided(text) == layers and warnings(text) == []


def test_several_blocks_and_compression():
    text = net(
        top='multinode { model_parallel { layer_from: "fc6" layer_to: "fc6" } '
        'model_parallel { layer_from: "side" layer_to: "side" } '
        'compress_layer_type_list { layer_type: "Convolution" } }'
    )
    assert divided(text) == ["fc6", "side"]


@pytest.mark.parametrize(
    ("fields", "layers"),
    [
        ("model_parts: 0", ["fc6"]),
        ("num_nodes: 2 model_parts: 2", ["fc6"]),
        ("num_nodes: 2", []),
        ("model_parts: 1", []),
    ],
)
def test_a_layer(fields, layers):
    assert divided(net(fc6=f"multinode {{ {fields} }}")) == layers


def test_the_block_of_the_net_replaces_that_of_a_layer_and_shard_both():
    top = 'multinode { model_parallel { layer_from: "fc6" layer_to: "fc8" model_parts: %d } }'
    assert divided(net(fc6="multinode { model_parts: 0 }", top=top % 1)) == []
    assert divided(net(fc8="shard: false", top=top % 0)) == ["fc6", "fc7"]
    assert divided(net(fc8="shard: true", top=top % 1)) == ["fc8"]


def test_layers_that_do_not_need_it():
    assert warnings(net(conv="multinode { model_parts: 0 }")) == [
        "multinode: `multinode` is a field of InnerDistance, InnerProduct, LargeMarginInnerProduct and others; a layer "
        "of type Convolution does not need it."
    ]
    found = warnings(net(top='multinode { model_parallel { layer_from: "conv" layer_to: "conv" } }'))
    assert found == [
        '"conv": `model_parallel` is not needed for `conv`: devices divide only weights with a row for each class, as '
        "those of InnerProduct; each has a copy of all others."
    ]


def test_layers_that_do_not_exist():
    found = warnings(net(top='multinode { model_parallel { layer_from: "fc66" layer_to: "fc9" } }'))
    assert found == [
        '"fc66": the net has no layer `fc66`. Did you mean `fc6`?',
        '"fc9": the net has no layer `fc9`. Did you mean `fc6`?',
    ]


def test_errors():
    with pytest.raises(netdef.CompileError, match="`layer_from` is required"):
        netdef.load(net(top="multinode { model_parallel { } }"))
    with pytest.raises(netdef.CompileError, match="there is no field `model_part` here"):
        netdef.load(net(fc6="multinode { model_part: 2 }"))
    text = net(fc6="multinode { model_parts: 0 }").replace("num_output: 6", "num_output: 6 transpose: true")
    with pytest.raises(netdef.CompileError, match="`multinode` divides rows, one for each class, but with `transpose`"):
        netdef.load(text)
