"""Requirements for every layer type, checked with its own examples: shapes, gradients, documentation, decoding.

`layers/test_contract.py` checks all types of the package, `layers/test_user_layers.py` types of users.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contexts import Alone

import netdef
from netdef.forward import forward
from netdef.graph import Net
from netdef.language.diagnostics import Report
from netdef.language.parsing.parser import parse
from netdef.language.printer import print_message
from netdef.language.source import Source
from netdef.language.syntax import Message
from netdef.layers.base import Example, Layer
from netdef.passes.decode import decode_layer
from netdef.passes.encode import NOWHERE, encode_layer


def net_of(example: Example, phase: str = "TRAIN") -> Net:
    """Returns the net of an example, with an Input layer for each of its inputs."""
    dims = {name: " ".join(f"dim: {d}" for d in shape) for name, shape in example.inputs.items()}
    inputs = [
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dim} }} }} }}\n'
        for name, dim in dims.items()
    ]
    return netdef.load("force_backward: true\n" + "".join(inputs) + example.text, phase=phase, trust_python=True)


def arrays_of(example: Example) -> dict[str, jax.Array]:
    random = np.random.default_rng(0)
    return {
        name: jnp.asarray(
            random.integers(0, example.integers[name], shape)
            if name in example.integers
            else random.normal(size=shape),
            jnp.float32,
        )
        for name, shape in example.inputs.items()
    }


def filled(net: Net) -> dict[Any, jax.Array]:
    """Returns weights that differ from defaults: trained parameters are random, statistics are those of the fillers."""
    random = np.random.default_rng(1)
    model = netdef.compile(net)
    return {
        owner: jnp.asarray(random.normal(size=weight.shape, scale=0.5), jnp.float32)
        if weight.kind == "param"
        else model.array(owner)
        for owner, weight in net.owned
    }


def hold_documentation(cls: type[Layer]) -> None:
    """There is a docstring with all sections, a sentence for each field, and an example."""
    text = cls.__doc__ or ""
    for word in ("Bottoms:", "Tops:", "Source:", "Differs:"):
        assert word in text, f"the docstring of {cls.type} has no section {word}"
    for field, spec in cls.params().items():
        assert spec.doc.endswith("."), f"{cls.type}.{field} has no sentence of documentation"
    assert cls.examples or cls.is_input, f"{cls.type} has no example"


def hold_decoding(example: Example) -> None:
    """A layer that is printed and parsed is equal to the original."""
    for node in net_of(example).layers:
        text = print_message(Message((encode_layer(node.layer),), NOWHERE))
        report = Report()
        document = parse(Source("printed", text), report)
        assert document is not None
        again = decode_layer(document.body.fields[0], report)
        assert not report.diagnostics, text
        assert again == node.layer, text


def hold_shapes(example: Example) -> None:
    """Inferred shapes are those that jax computes, in both phases."""
    for phase in ("TRAIN", "TEST"):
        net = net_of(example, phase)
        inputs, weights = arrays_of(example), filled(net)
        outcome = jax.eval_shape(
            lambda w, x, k, net=net: forward(net, w, x, k).blobs, weights, inputs, jax.random.key(0)
        )
        for name, blob in net.blobs.items():
            assert outcome[name].shape == blob.shape, f"{name}: computed {outcome[name].shape}, inferred {blob.shape}"
            assert outcome[name].dtype in (jnp.float32, inputs.get(name, outcome[name]).dtype)


def hold_gradients(example: Example) -> None:
    """The compiled gradient is finite and, if the layer is differentiable everywhere, agrees with finite differences
    along a random direction of parameters and inputs."""
    net = net_of(example)
    inputs, weights = arrays_of(example), filled(net)
    trained = {owner: weights[owner] for owner, weight in net.owned if weight.kind == "param"}
    moving = {name: value for name, value in inputs.items() if name not in example.integers}
    random = np.random.default_rng(2)
    ways = {name: jnp.asarray(random.normal(size=net.blobs[name].shape), jnp.float32) for name in net.outputs}

    @jax.jit
    def objective(trained: dict, moving: dict) -> jax.Array:
        blobs = forward(net, weights | trained, inputs | moving, jax.random.key(0)).blobs
        return sum((jnp.vdot(blobs[name], way) for name, way in ways.items()), jnp.zeros(()))

    point = (trained, moving)
    gradient = jax.jit(jax.grad(objective, (0, 1)))(*point)
    for leaf in jax.tree.leaves(gradient):
        assert jnp.isfinite(leaf).all()
    if not example.differentiable or not jax.tree.leaves(point):
        return
    step = 1e-2
    direction = jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape), jnp.float32), point)
    moved = lambda by: objective(*jax.tree.map(lambda x, d: x + by * d, point, direction))
    measured = float((8 * (moved(step) - moved(-step)) - (moved(2 * step) - moved(-2 * step))) / (12 * step))
    computed = sum(
        float(jnp.vdot(g, d)) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
    )
    size = sum(float(jnp.linalg.norm(g)) for g in jax.tree.leaves(gradient)) + 1e-2
    assert abs(measured - computed) < 2e-2 * size, f"measured {measured}, computed {computed}"


def hold_channels_last(example: Example) -> None:
    """A layer that accepts images with the channels last computes the same of them, and the same gradients."""
    for phase in ("TRAIN", "TEST"):
        net = net_of(example, phase)
        node = net.layers[-1]
        shapes = [net.shapes[v] or () for v in node.bottoms]
        if any(len(shape) < 3 for shape in shapes) or not node.layer.channels_last(*shapes):
            continue
        inputs, weights = arrays_of(example), filled(net)
        own = tuple(weights[owner].reshape(w.shape) for owner, w in zip(node.owners, node.weights or (), strict=True))
        bottoms = [inputs[v.name] for v in node.bottoms]
        results = []
        for last in (False, True):
            tops, back, updates = jax.vjp(_applied(node.layer, phase == "TRAIN", last), own, bottoms, has_aux=True)
            random = np.random.default_rng(3)
            ways = [jnp.asarray(random.normal(size=top.shape), jnp.float32) for top in tops]
            results.append(jax.tree.leaves((tops, updates, back(ways))))
        for one, other in zip(*results, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def _applied(layer: Layer, train: bool, last: bool) -> Any:
    """Returns the layer as a function of weights and bottoms (n, c, ...), which runs with the channels last or not."""

    def run(own: tuple, bottoms: list) -> tuple[list, dict]:
        context = Alone(train, channels_last=last)
        made = layer.apply(own, *(jnp.moveaxis(b, 1, -1) if last else b for b in bottoms), ctx=context)
        tops = list(made) if isinstance(made, (list, tuple)) else [made]
        return [jnp.moveaxis(top, -1, 1) if last and top.ndim > 2 else top for top in tops], context.updates

    return run
