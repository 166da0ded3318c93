"""GlobalLSEMargin compared with a loop written from the fork's source."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import Alone
from one_layer import fault, model

from netdef.layers.lse_margin import GlobalLSEMargin

rng = np.random.default_rng(4)  # with margins near their mean, as the loop below requires
X = rng.uniform(-1, 1, (16, 6)).astype(np.float32)
LABEL = rng.integers(0, 6, 16)
OWN = X[np.arange(16), LABEL]
OTHERS = np.array([np.delete(row, label) for row, label in zip(X, LABEL, strict=True)])


def center(margins, mu, loops):
    """The mean shift of the fork."""
    last = mu
    while loops:
        loops -= 1
        near = margins[np.abs(margins - mu) < 0.1]
        if not len(near):
            mu = last = margins.mean()
            loops += 1
            continue
        mu = near.mean()
        if abs(last - mu) < 0.001:
            break
        last = mu
    return mu


def run(before, s=8.0, train=True, **fields):
    context = Alone(train)
    layer = GlobalLSEMargin(top=("y", "facts"), **fields)
    weights = (jnp.array([s]), jnp.array([before], jnp.float32))
    y, facts = layer.apply(weights, jnp.asarray(X), jnp.asarray(LABEL), ctx=context)
    return np.asarray(y), np.asarray(facts), context.updates


@pytest.mark.parametrize("before", [0.0, -0.4, 0.3, 40.0])
def test_the_margin_moves_toward_the_densest_part_of_the_margins(before):
    soft = np.log(np.exp(8.0 * OTHERS.astype(float)).sum(1)) / 8
    margins = OWN - soft
    new = center(margins, before, 1) * 0.1 + before * 0.9 if before else center(margins, margins.mean(), 20)
    y, facts, updates = run(before)
    wanted = [8, OWN.mean(), soft.mean(), OTHERS.max(1).mean(), new]
    np.testing.assert_allclose(facts, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(updates[1], [new], rtol=1e-4, atol=1e-5)
    lowered = X.copy()
    lowered[np.arange(16), LABEL] -= max(new, 0)
    np.testing.assert_allclose(y, 8 * lowered, rtol=1e-4, atol=1e-4)


def test_phase_test_uses_the_margin_and_keeps_it():
    y, facts, updates = run(0.3, train=False)
    assert facts[4] == pytest.approx(0.3) and not updates
    np.testing.assert_allclose(y[np.arange(16), LABEL], 8 * (OWN - 0.3), rtol=1e-4, atol=1e-5)


def test_the_scale_is_learned_within_its_limits_or_is_the_norm_of_each_item():
    assert run(0.3, s=90.0, max_value=64.0)[1][0] == 64
    norms = jnp.arange(1.0, 17)
    layer = GlobalLSEMargin(top=("y",))
    w = (jnp.array([30.0]), jnp.array([0.3]))
    objective = lambda norms: layer.apply(w, jnp.asarray(X), jnp.asarray(LABEL), norms, ctx=Alone(False))[0].sum()
    lowered = X.sum(1) - np.float32(0.3)
    np.testing.assert_allclose(jax.grad(objective)(norms), lowered, rtol=1e-4, atol=1e-5)
    learned = lambda s: layer.apply((s, w[1]), jnp.asarray(X), jnp.asarray(LABEL), ctx=Alone(False))[0].sum()
    np.testing.assert_allclose(jax.grad(learned)(w[0]), [lowered.sum()], rtol=1e-4)


def test_in_a_net():
    layer = 'layer { name: "l" type: "GlobalLSEMargin" bottom: "x" bottom: "label" top: "y" }'
    net = model(layer, x=X, label=LABEL)
    assert [w.tolist() for w in net.get_weights()["l"]] == [[30.0], [0.0]]
    layer = layer.replace('bottom: "label"', 'bottom: "label" bottom: "s"')
    assert "give one for each of the 16 items" in fault(layer, x=(16, 6), label=(16,), s=(4,))[1]
