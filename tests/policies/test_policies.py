"""Every learning-rate policy, compared with its formula in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from netdef.policies import POLICIES
from netdef.policies.base import Monitor, Policy
from netdef.policies.cosine import Cosine
from netdef.policies.exp import Exp
from netdef.policies.fixed import Fixed
from netdef.policies.inv import Inv
from netdef.policies.join import Join
from netdef.policies.multifixed import MultiFixed
from netdef.policies.multistep import MultiStep
from netdef.policies.plateau import Plateau
from netdef.policies.poly import Poly
from netdef.policies.sigmoid import Sigmoid
from netdef.policies.step import Step
from netdef.solvers.base import Momentum
from netdef.solvers.sgd import SGD

BASE, MAX = 0.1, 40


def rates(policy: Policy, **fields) -> np.ndarray:
    solver = SGD(policy=policy, base_lr=BASE, max_iter=MAX, **fields)
    return np.array([float(solver.rate(np.int32(t), {})) for t in range(MAX + 3)])


def multistep(stepvalue, gamma):
    """Caffe's loop: at most one step per iteration."""
    made, step = [], 0
    for t in range(MAX + 3):
        if step < len(stepvalue) and t >= stepvalue[step]:
            step += 1
        made.append(BASE * gamma**step)
    return made


CASES = {
    "fixed": (Fixed(), lambda t: BASE),
    "step": (Step(gamma=0.5, stepsize=7), lambda t: BASE * 0.5 ** (t // 7)),
    "exp": (Exp(gamma=0.95), lambda t: BASE * 0.95**t),
    "inv": (Inv(gamma=0.1, power=0.75), lambda t: BASE * (1 + 0.1 * t) ** -0.75),
    "poly": (Poly(power=2), lambda t: BASE * max(1 - t / MAX, 0) ** 2),
    "sigmoid": (Sigmoid(gamma=-0.3, stepsize=15), lambda t: BASE / (1 + math.exp(0.3 * (t - 15)))),
    "cosine": (Cosine(), lambda t: BASE * 0.5 * (1 + math.cos(math.pi * min(t / MAX, 1)))),
    "multifixed": (
        MultiFixed(stagelr=(0.3, 0.2, 0.05), stageiter=(5, 12, 30)),
        lambda t: 0.3 if t <= 5 else 0.2 if t <= 12 else 0.05,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_formula(name):
    policy, formula = CASES[name]
    np.testing.assert_allclose(rates(policy), [formula(t) for t in range(MAX + 3)], rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("stepvalue", [(5, 12, 20), (0, 0, 3), (10, 4, 4), ()])
def test_multistep_reaches_at_most_one_value_per_iteration(stepvalue):
    np.testing.assert_allclose(rates(MultiStep(gamma=0.3, stepvalue=stepvalue)), multistep(stepvalue, 0.3), rtol=2e-6)


def test_join_counts_each_piece_from_its_own_start_and_continues_with_the_last_learning_rate():
    smooth, jumps = Exp(gamma=0.9, until=10), MultiStep(gamma=0.1, stepvalue=(5, 15))
    got = rates(Join(piece=(smooth, jumps)))
    reached = BASE * 0.9**10
    wanted = [BASE * 0.9**t if t < 10 else reached * 0.1 ** ((t - 10 >= 5) + (t - 10 >= 15)) for t in range(MAX + 3)]
    np.testing.assert_allclose(got, wanted, rtol=3e-6)


def test_a_piece_of_join_has_its_own_length_and_learning_rate():
    got = rates(Join(piece=(Poly(power=1, until=8), Cosine(base_lr=0.5))))
    np.testing.assert_allclose(got[:8], [BASE * (1 - t / 8) for t in range(8)], rtol=2e-6)
    np.testing.assert_allclose(
        got[8:MAX], [0.25 * (1 + math.cos(math.pi * (t - 8) / 32)) for t in range(8, MAX)], rtol=1e-5, atol=1e-7
    )


def test_rampup_is_quadratic_and_min_lr_is_a_lower_bound():
    got = rates(Fixed(), rampup_interval=10, rampup_lr=0.02)
    np.testing.assert_allclose(
        got[:12], [0.02 + 0.08 * (t / 10) ** 2 if t < 10 else BASE for t in range(12)], rtol=2e-6
    )
    floor = rates(Poly(power=2), min_lr=0.04)
    np.testing.assert_allclose(floor, [0.06 * max(1 - t / MAX, 0) ** 2 + 0.04 for t in range(MAX + 3)], rtol=2e-6)
    assert rates(Step(gamma=0.1, stepsize=5), min_lr=0.03)[20] == np.float32(0.03)


def test_warmup_is_linear_and_corrects_the_momentum():
    solver = SGD(policy=Fixed(), base_lr=0.1, max_iter=MAX, momentum=0.9, warmup_iter=10, warmup_start_lr=0.02)
    rate = [float(solver.rate(np.int32(t), {})) for t in range(12)]
    np.testing.assert_allclose(rate, [min(0.02 + 0.008 * t, 0.1) for t in range(12)], rtol=2e-6)
    momentum = [float(solver.momentum_at(np.int32(t), np.float32(rate[t]))) for t in range(12)]
    wanted = [0.9, *(0.9 * rate[t] / rate[t - 1] for t in range(1, 10)), 0.9, 0.9]
    np.testing.assert_allclose(momentum, wanted, rtol=2e-6)


def test_momentum_and_decay_policies():
    poly = SGD(base_lr=0.1, max_iter=MAX, momentum=0.5, momentum_policy="poly", max_momentum=0.9, momentum_power=2)
    np.testing.assert_allclose(float(poly.momentum_at(np.int32(20), np.float32(0.1))), 0.5 + 0.4 * 0.25, rtol=1e-6)
    opt = SGD(base_lr=0.04, max_iter=MAX, momentum_policy="opt")
    np.testing.assert_allclose(float(opt.momentum_at(np.int32(0), np.float32(0.04))), 0.9**2, rtol=1e-6)
    decay = SGD(base_lr=0.1, max_iter=MAX, weight_decay=0.1, weight_decay_policy="poly", max_weight_decay=0.3)
    np.testing.assert_allclose(float(decay.decay_at(np.int32(10))), 0.1 + 0.2 * 0.25, rtol=1e-6)
    assert issubclass(SGD, Momentum)


def test_every_policy_is_registered_under_its_name():
    assert {
        "fixed",
        "step",
        "exp",
        "inv",
        "multistep",
        "poly",
        "sigmoid",
        "multifixed",
        "cosine",
        "join",
        "plateau",
    } <= {*POLICIES.names()}
    assert all(cls.name == name for name, cls in POLICIES)


def test_plateau_on_the_training_loss_as_intel_computes_it():
    policy = Plateau(gamma=0.5, plateau_winsize=(4, 3))
    losses = [5, 4, 3, 3, 3, 3, 3, 2, 3, 3, 3, 3, 3, 3, 3]
    best, last, step, wanted = float("inf"), 0, 0, []
    for t, loss in enumerate(losses):
        if loss < best:
            best, last = loss, t
        if step < 2 and t >= last + (4, 3)[step]:
            step, last = step + 1, t
        wanted.append(0.1 * 0.5**step)
    state, got = policy.initial(), []
    for t, loss in enumerate(losses):
        state = policy.observe(state, np.int32(t), np.float32(loss))
        got.append(float(SGD(policy=policy, base_lr=0.1).rate(np.int32(t), state)))
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert wanted[-1] == 0.025


def test_plateau_on_a_test_metric():
    policy = Plateau(gamma=0.1, plateau=Monitor(monitor="accuracy", patience=2, min_delta=0.01))
    state, steps = policy.initial(), []
    for value in [0.5, 0.6, 0.605, 0.6, 0.7, 0.1, 0.2, 0.3, 0.3]:
        state = policy.tested(state, 0, {"accuracy": value})
        steps.append(int(state["step"]))
    assert steps == [0, 0, 0, 1, 1, 1, 2, 2, 3]


def test_what_counts_as_better():
    assert Monitor(monitor="accuracy").upwards and not Monitor(monitor="loss").upwards
    assert Monitor(monitor="loss", mode="max").upwards
    least = Monitor(monitor="loss", min_delta=0.1, target=0.2)
    assert least.better(5.0, None) and least.better(0.8, 1.0) and not least.better(0.95, 1.0)
    assert not least.better(float("nan"), None)
    assert least.reached(0.2) and not least.reached(0.3)
