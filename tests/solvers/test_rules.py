"""The update rules, compared step by step with Caffe's formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest

from netdef.solvers.adadelta import AdaDelta
from netdef.solvers.adagrad import AdaGrad
from netdef.solvers.adam import Adam
from netdef.solvers.adamw import AdamW
from netdef.solvers.base import Numbers
from netdef.solvers.lamb import LAMB
from netdef.solvers.lion import Lion
from netdef.solvers.nesterov import Nesterov
from netdef.solvers.rmsprop import RMSProp
from netdef.solvers.sgd import SGD

RATES = [
    0.1,
    0.1,
    0.01,
    0.05,
]  # not constant, because only then a history that includes the learning rate differs from one that does not


def sgd(w, grads, m=0.9):
    v = 0
    for rate, g in zip(RATES, grads, strict=True):
        v = m * v + rate * g
        w = w - v
    return w


def nesterov(w, grads, m=0.9):
    v = 0
    for rate, g in zip(RATES, grads, strict=True):
        before, v = v, m * v + rate * g
        w = w - ((1 + m) * v - m * before)
    return w


def adagrad(w, grads, delta=1e-3):
    h = 0
    for rate, g in zip(RATES, grads, strict=True):
        h = h + g * g
        w = w - rate * g / (np.sqrt(h) + delta)
    return w


def rmsprop(w, grads, decay=0.9, delta=1e-3):
    h = 0
    for rate, g in zip(RATES, grads, strict=True):
        h = decay * h + (1 - decay) * g * g
        w = w - rate * g / (np.sqrt(h) + delta)
    return w


def adadelta(w, grads, m=0.9, delta=1e-3):
    seen = steps = 0
    for rate, g in zip(RATES, grads, strict=True):
        seen = m * seen + (1 - m) * g * g
        step = g * np.sqrt((steps + delta) / (seen + delta))
        steps = m * steps + (1 - m) * step * step
        w = w - rate * step
    return w


def adam(w, grads, b1=0.9, b2=0.99, delta=0.1):
    m = v = 0
    for t, (rate, g) in enumerate(zip(RATES, grads, strict=True), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - rate * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + delta)
    return w


def adamw(w, grads, b1=0.9, b2=0.99, delta=1e-3, decay=0.1):
    m = v = 0
    for t, (rate, g) in enumerate(zip(RATES, grads, strict=True), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - rate * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + delta) + decay * w)
    return w


def lion(w, grads, b1=0.9, b2=0.99, decay=0.1):
    m = 0
    for rate, g in zip(RATES, grads, strict=True):
        w = w - rate * (np.sign(b1 * m + (1 - b1) * g) + decay * w)
        m = b2 * m + (1 - b2) * g
    return w


def lamb(w, grads, b1=0.9, b2=0.99, delta=1e-3, decay=0.1):
    m = v = 0
    for t, (rate, g) in enumerate(zip(RATES, grads, strict=True), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + delta) + decay * w
        w = w - rate * np.linalg.norm(w) / np.linalg.norm(u) * u
    return w


CASES = {
    "SGD": (SGD(base_lr=0.1, momentum=0.9), sgd),
    "Nesterov": (Nesterov(base_lr=0.1, momentum=0.9), nesterov),
    "AdaGrad": (AdaGrad(base_lr=0.1, delta=1e-3), adagrad),
    "RMSProp": (RMSProp(base_lr=0.1, rms_decay=0.9, delta=1e-3), rmsprop),
    "AdaDelta": (AdaDelta(base_lr=0.1, momentum=0.9, delta=1e-3), adadelta),
    "Adam": (Adam(base_lr=0.1, momentum=0.9, momentum2=0.99, delta=0.1), adam),
    "AdamW": (AdamW(base_lr=0.1, momentum2=0.99, delta=1e-3), adamw),
    "Lion": (Lion(base_lr=0.1), lion),
    "LAMB": (LAMB(base_lr=0.1, momentum2=0.99, delta=1e-3), lamb),
}


@pytest.mark.parametrize("name", CASES)
def test_rule(name):
    solver, reference = CASES[name]
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=(3, 4)), rng.normal(size=(4, 3, 4))
    w = np.asarray(start, np.float32)
    history = solver.init(w)
    for t, (rate, g) in enumerate(zip(RATES, grads, strict=True)):
        momentum = np.float32(getattr(solver, "momentum", 0.0))
        numbers = Numbers(np.float32(rate), momentum, np.float32(0.1), np.int32(t))
        delta, history = solver.update(np.asarray(g, np.float32), w, history, numbers)
        w = np.asarray(w - delta)
    np.testing.assert_allclose(w, reference(start, grads), rtol=2e-5, atol=2e-6)
