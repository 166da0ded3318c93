"""Regression losses: weights, sigma, gradients of ties."""

from __future__ import annotations

import numpy as np
import pytest
from one_layer import loss_and_gradients

rng = np.random.RandomState(1)  # weights of both signs; their sum is not close to 0


def test_smooth_l1_with_weights_and_sigma():
    a, b, u, v = (rng.randn(3, 4).astype(np.float32) * 2 for _ in range(4))
    layer = (
        'layer { name: "l" type: "SmoothL1Loss" bottom: "a" bottom: "b" bottom: "u" bottom: "v" top: "loss"\n'
        "        smooth_l1_loss_param { sigma: 2 } }"
    )
    d = u * (a - b)
    small = np.abs(d) < 0.25
    loss, gradients = loss_and_gradients(layer, a=a, b=b, u=u, v=v)
    assert small.any()
    assert not small.all()
    assert loss == pytest.approx((v * np.where(small, 2 * d * d, np.abs(d) - 0.125)).sum() / 3, rel=1e-5)
    np.testing.assert_allclose(gradients["a"], v * u * np.where(small, 4 * d, np.sign(d)) / 3, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradients["b"], -gradients["a"])


def test_l1_loss():
    a, b = rng.randn(2, 3, 4).astype(np.float32)
    b[0, 0] = a[0, 0]
    layer = 'layer { name: "l" type: "L1Loss" bottom: "a" bottom: "b" top: "loss" }'
    loss, gradients = loss_and_gradients(layer, a=a, b=b)
    assert loss == pytest.approx(np.abs(a - b).sum() / 3, rel=1e-5)
    np.testing.assert_allclose(gradients["a"], np.sign(a - b) / 3, rtol=1e-6)
