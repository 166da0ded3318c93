"""Fillers: their distributions, `variance_norm`, and shapes that they cannot fill."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from netdef.fillers import Constant, Filler
from netdef.fillers.base import BLOCK, FILLERS, JaxRandom, NumpyRandom, VarianceNorm, fill_rows
from netdef.fillers.bilinear import Bilinear
from netdef.fillers.gaussian import Gaussian
from netdef.fillers.gaussian_unitball import GaussianUnitball
from netdef.fillers.identity import Identity
from netdef.fillers.msra import Msra
from netdef.fillers.positive_unitball import PositiveUnitball
from netdef.fillers.uniform import Uniform
from netdef.fillers.xavier import Xavier
from netdef.language import codes
from netdef.language.diagnostics import Report
from netdef.language.parsing.parser import parse
from netdef.language.source import Source
from netdef.schema import decode
from netdef.shape import UNKNOWN, ShapeError

SHAPE = (40, 30, 5, 5)  # fan-in 750, fan-out 1000
FAN_OUT, AVERAGE = VarianceNorm.FAN_OUT, VarianceNorm.AVERAGE


def fill(filler, shape=SHAPE):
    values = np.asarray(filler.fill(NumpyRandom(7), shape))
    assert (values.dtype, values.shape) == (np.float32, shape)
    return values.astype(np.float64)


@pytest.mark.parametrize(
    ("filler", "low", "high"),
    [
        (Uniform(), 0, 1),
        (Uniform(min=-3, max=-1), -3, -1),
        (Xavier(), -((3 / 750) ** 0.5), (3 / 750) ** 0.5),
        (Xavier(variance_norm=FAN_OUT), -((3 / 1000) ** 0.5), (3 / 1000) ** 0.5),
        (Xavier(variance_norm=AVERAGE), -((3 / 875) ** 0.5), (3 / 875) ** 0.5),
    ],
)
def test_uniform_ones(filler, low, high):
    values = (fill(filler) - low) / (high - low)  # 30000 of them
    assert -1e-6 <= values.min() < 1e-3 and 1 - 1e-3 < values.max() <= 1 + 1e-6
    assert np.abs(np.histogram(values, 10, (0, 1))[0] - 3000).max() < 250  # 5 deviations
    assert abs(values.mean() - 0.5) < 0.008


@pytest.mark.parametrize(
    ("filler", "mean", "std"),
    [
        (Gaussian(), 0, 1),
        (Gaussian(mean=2, std=0.1), 2, 0.1),
        (Msra(), 0, (2 / 750) ** 0.5),
        (Msra(variance_norm=FAN_OUT), 0, (2 / 1000) ** 0.5),
        (Msra(variance_norm=AVERAGE), 0, (2 / 875) ** 0.5),
        (Msra(alpha=0.5), 0, (2 / 750 / 1.25) ** 0.5),
        (Msra(scale=3), 0, 3 * (2 / 750) ** 0.5),
    ],
)
def test_normal_ones(filler, mean, std):
    z = (fill(filler) - mean) / std
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.02
    assert abs((np.abs(z) < 1).mean() - 0.6827) < 0.014 and 3 < np.abs(z).max() < 6


def test_draws_of_a_compiled_net_have_the_same_distributions():
    @jax.jit
    def drawn(key):
        draw = JaxRandom(key)
        return Uniform(min=2, max=4).fill(draw, (9000,)), Gaussian(sparse=2250).fill(draw, (9000,))

    uniform, normal = map(np.asarray, drawn(jax.random.key(7)))
    assert uniform.min() >= 2 and uniform.max() <= 4
    assert abs(uniform.mean() - 3) < 0.03 and abs(uniform.std() - 3**-0.5) < 0.02
    kept = normal[normal != 0]
    assert abs(kept.size / 9000 - 0.25) < 0.02 and abs(kept.mean()) < 0.1 and abs(kept.std() - 1) < 0.07


def test_fan_in_and_out_of_a_vector():
    assert [Xavier(variance_norm=n).connections((7,)) for n in VarianceNorm] == [1, 7, 4]


def test_constant_and_zero_deviation():
    assert (fill(Constant(value=0.25), (2, 3)) == 0.25).all() and fill(Constant(), ()) == 0
    assert (fill(Gaussian(mean=3, std=0), (4,)) == 3).all()
    assert (fill(Uniform(min=2, max=2), (4,)) == 2).all()


def test_sparse_keeps_some_weights_of_each_output():
    values = fill(Gaussian(sparse=15), (100, 400))
    assert abs((values != 0).mean() - 0.15) < 0.01
    assert abs(values[values != 0].std() - 1) < 0.05
    assert (fill(Gaussian(sparse=0), (5, 4)) == 0).all() and (fill(Gaussian(sparse=5), (5, 4)) != 0).all()


def test_unit_balls():
    positive, normal = fill(PositiveUnitball(), (6, 4, 5)), fill(GaussianUnitball(), (6, 4, 5))
    np.testing.assert_allclose(positive.sum((1, 2)), 1, rtol=1e-5)
    assert positive.min() >= 0 and positive.max() < 0.2
    np.testing.assert_allclose((normal**2).sum((1, 2)), 1, rtol=1e-5)
    assert abs((normal < 0).mean() - 0.5) < 0.2


@pytest.mark.parametrize(
    ("side", "row"),
    [  # 1 - |x / f - c| with f = ceil(k / 2), c = (k - 1) / (2 f)
        (4, [0.25, 0.75, 0.75, 0.25]),
        (3, [0.5, 1.0, 0.5]),
        (2, [0.5, 0.5]),
        (1, [1.0]),
        (6, [1 / 6, 0.5, 5 / 6, 5 / 6, 0.5, 1 / 6]),
    ],
)
def test_bilinear_kernels(side, row):
    values = fill(Bilinear(), (2, 3, side, side))
    np.testing.assert_allclose(values, np.broadcast_to(np.outer(row, row), values.shape), atol=1e-6)


def test_identity_returns_the_input():
    assert (fill(Identity(), (3, 3)) == np.eye(3)).all()
    x = jnp.arange(50.0).reshape(1, 2, 5, 5)
    kernel = jnp.asarray(fill(Identity(), (2, 2, 3, 3)), jnp.float32)
    assert (jax.lax.conv(x, kernel, (1, 1), "SAME") == x).all()


def test_a_draw_depends_on_its_key_and_advances():
    draw = NumpyRandom(1, 2)
    first, second = draw.normal((5,)), draw.normal((5,))
    assert (first == NumpyRandom(1, 2).normal((5,))).all()
    assert (first != second).all() and (first != NumpyRandom(2, 1).normal((5,))).all()


@pytest.mark.parametrize(
    ("filler", "shape", "field", "words"),
    [
        (Uniform(min=2, max=1), (3,), "min", ["2", "`max`, which is 1"]),
        (Gaussian(sparse=4), (3, 9), "sparse", ["is 4", "at most 3", "3x9"]),
        (Gaussian(sparse=4), (), "sparse", ["scalar", "remove"]),
        (Bilinear(), (4, 1, 3, 5), None, ["4x1x3x5", "square"]),
        (Bilinear(), (4, 3), None, ["4x3"]),
        (Identity(), (4, 3), None, ["4x3"]),
        (Xavier(), (), None, ['"xavier"', "scalar"]),
        (PositiveUnitball(), (0, 3), None, ['"positive_unitball"', "0x3"]),
    ],
)
def test_what_cannot_be_filled(filler, shape, field, words):
    with pytest.raises(ShapeError) as caught:
        filler.check(shape)
    assert caught.value.field == field
    assert [w for w in words if w not in caught.value.detail] == []


def test_shapes_that_can_be_filled_pass_unknown_dimensions_too():
    for name, filler in FILLERS:
        square = (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
        assert filler().check(square) is None, name
        assert filler().check((4, 4, 3, 3)) is None, name


def read(text):
    report = Report()
    document = parse(Source("net", text), report)
    assert document is not None
    return decode(Filler, document.body, report), report


def test_the_type_chooses_the_class():
    assert read('type: "msra" variance_norm: AVERAGE')[0] == Msra(variance_norm=AVERAGE)
    assert read("value: 3")[0] == Constant(value=3.0)
    _, report = read('type: "xavier" value: 3')
    assert [d.kind for d in report.diagnostics] == [codes.NO_EFFECT]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('type: "xavierr"', codes.UNKNOWN_FILLER, ["xavierr", "msra"]),
        ("type: xavier", codes.WRONG_TYPE, ["quoted string"]),
        ("type { }", codes.WRONG_TYPE, ["quoted string"]),
        ('type: "gaussian" std: -1', codes.OUT_OF_RANGE, ["-1", "at least 0"]),
        ('type: "gaussian" sdt: 1', codes.UNKNOWN_FIELD, ["sdt", "std"]),
        ('type: "uniform" min: "a"', codes.WRONG_TYPE, ["min"]),
    ],
)
def test_errors_in_a_filler(text, code, words):
    _, report = read(text)
    (problem,) = report.diagnostics
    assert problem.kind is code
    assert [w for w in words if w not in problem.message] == []


def test_a_misspelled_filler_is_guessed():
    _, report = read('type: "xavierr"')
    assert report.diagnostics[0].hint == '"xavier"'


@pytest.mark.parametrize("name", FILLERS.names())
def test_rows_are_the_same_however_a_parameter_is_divided(name):
    filler, count = FILLERS.get(name)(), 2 * BLOCK + 8
    shape = {"bilinear": (count, 1, 2, 2), "identity": (count, count)}.get(name, (count, 3))
    whole = fill_rows(filler, (7, 1), shape, 0, count)
    assert (whole.shape, whole.dtype) == (shape, np.float32)
    for first, last in ((0, 1), (BLOCK - 1, BLOCK + 1), (count // 2, count), (1, count - 1)):
        np.testing.assert_array_equal(fill_rows(filler, (7, 1), shape, first, last), whole[first:last])
    if name not in ("bilinear", "identity", "constant"):
        assert filler.by_rows and len(np.unique(whole, axis=0)) == count  # no block repeats another
        assert whole.std() == pytest.approx(fill(filler, shape).std(), rel=0.02)


def test_a_filler_of_rows_has_only_a_block_in_memory_at_once():
    seen = []

    class Watched(Gaussian):
        def fill(self, draw, shape):
            seen.append(super().fill(draw, shape))
            return seen[-1]

    fill_rows(Watched(), (0,), (10 * BLOCK, 2), BLOCK, 3 * BLOCK)
    assert [len(values) for values in seen] == [BLOCK, BLOCK]
