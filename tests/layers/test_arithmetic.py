"""Element-wise arithmetic beyond its recorded cases: zeros, limits, invalid bases."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contexts import PLAIN

from netdef.layers.arithmetic import Clip, Exp, Log, Power, Threshold
from netdef.shape import ShapeError


def value_and_slope(layer, at):
    f = lambda x: layer.apply((), x, ctx=PLAIN)[0]
    y, slope = jax.value_and_grad(f)(jnp.array([at], jnp.float32))
    return float(y), float(slope[0])


@pytest.mark.parametrize(
    ("layer", "at", "value", "slope"),
    [
        (Power(power=3), 0.0, 0.0, 0.0),  # Caffe: 0 / 0
        (Power(power=2, scale=2, shift=1), -1.0, 1.0, -4.0),
        (Power(power=0), 0.0, 1.0, 0.0),
        (Power(power=2, scale=0, shift=3), np.inf, 9.0, 0.0),
        (Exp(base=2, shift=1), 2.0, 8.0, 8 * np.log(2)),
        (Log(base=2, scale=2), 4.0, 3.0, 1 / (4 * np.log(2))),
        (Clip(min=-1, max=1), 1.0, 1.0, 1.0),
        (Clip(min=-1, max=1), -1.0, -1.0, 1.0),
        (Clip(min=-1, max=1), 1.5, 1.0, 0.0),
        (Threshold(threshold=2), 2.0, 0.0, 0.0),
        (Threshold(threshold=2), 2.5, 1.0, 0.0),
    ],
)
def test_values_and_derivatives(layer, at, value, slope):
    np.testing.assert_allclose(value_and_slope(layer, at), (value, slope), rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "field", "words"),
    [
        (Exp(base=-2), "base", ["-2", "above 0", "-1"]),
        (Log(base=0), "base", ["`base` is 0"]),
        (Log(base=1), "base", ["`base` is 1"]),
        (Exp(base=np.inf), "base", ["inf"]),
        (Clip(min=2, max=1), "min", ["2", "`max`, which is 1"]),
    ],
)
def test_fields_that_make_no_function(layer, field, words):
    with pytest.raises(ShapeError) as caught:
        layer.infer((2, 3))
    assert caught.value.field == field
    assert [w for w in words if w not in caught.value.detail] == []
