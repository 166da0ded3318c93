"""Decoding of a solver file: the class, the fields, and the diagnostics for fields of other solvers and policies."""

from __future__ import annotations

import pytest

from netdef.language.diagnostics import Report
from netdef.language.parsing.parser import parse
from netdef.language.source import Source
from netdef.policies.exp import Exp
from netdef.policies.multistep import MultiStep
from netdef.policies.step import Step
from netdef.solvers.decode import decode_solver


def decoded(text):
    report = Report()
    document = parse(Source("s.prototxt", text), report)
    assert document is not None
    return decode_solver(document.body, report), report.in_order()


def test_fields_of_the_type_and_the_policy_are_in_one_block():
    solver, found = decoded(
        'net: "x.prototxt" base_lr: 0.1 lr_policy: "step" gamma: 0.5 stepsize: 7 type: "Adam" '
        "momentum2: 0.9 test_iter: 3 test_iter: 4"
    )
    assert found == ()
    assert (solver.type, solver.momentum2, solver.test_iter, solver.momentum) == ("Adam", 0.9, (3, 4), 0.0)
    assert solver.policy == Step(gamma=0.5, stepsize=7)


@pytest.mark.parametrize(
    ("text", "type"),
    [
        ("", "SGD"),
        ("solver_type: ADAGRAD", "AdaGrad"),
        ("solver_type: 1", "Nesterov"),
        ("solver_type: 5", "Adam"),
        ('type: "RMSProp"', "RMSProp"),
        ("type: ADADELTA", "AdaDelta"),
    ],
)
def test_type(text, type):
    solver, found = decoded(f"base_lr: 0.1 {text}")
    assert (solver.type, found) == (type, ())


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('type: "Adan"', "unknown-solver", ["Adan", "Adam"]),
        ('lr_policy: "steps"', "unknown-policy", ["steps", "multistep"]),
        ("lr_policy: step gamma: 0.1 stepsize: 1", "wrong-type", ["quoted string"]),
        ('lr_policy: "step" gamma: 0.1', "missing-field", ["stepsize"]),
        ("momentom: 0.9", "unknown-field", ["momentom", "momentum"]),
        ("stepvalue: 3", "no-effect", ["multistep", "fixed"]),
        ("rms_decay: 0.9", "no-effect", ["RMSProp", "SGD"]),
        ('solver_type: ADAM type: "Adam"', "given-twice", ["solver_type"]),
        ('regularization_type: "L3"', "wrong-enum", ["L1", "L3"]),
        ("iter_size: 0", "out-of-range", ["iter_size", "0", "1"]),
        ("until: 3", "no-effect", ["piece"]),
    ],
)
def test_errors_are_reported_at_their_place(text, code, words):
    _, found = decoded(f"base_lr: 0.1 {text}")
    assert [d.code for d in found] == [code]
    assert all(word in found[0].message for word in words), found[0].message
    assert found[0].column is not None and found[0].column > 13


def test_a_solver_without_a_learning_rate_is_reported():
    _, found = decoded('lr_policy: "fixed" max_iter: 10')
    assert [(d.code, "base_lr" in d.detail) for d in found] == [("missing-field", True)]
    assert decoded('lr_policy: "multifixed" stagelr: 0.1 stageiter: 10')[1] == ()


def test_pieces_of_a_joined_schedule():
    solver, found = decoded(
        'base_lr: 0.1 lr_policy: "join" piece { lr_policy: "exp" gamma: 0.99 until: 100 } '
        'piece { lr_policy: "multistep" gamma: 0.1 stepvalue: [10, 20] }'
    )
    assert found == ()
    assert solver.policy.piece == (Exp(gamma=0.99, until=100), MultiStep(gamma=0.1, stepvalue=(10, 20)))


@pytest.mark.parametrize("field", ["regularization_type", "weight_decay_policy", "momentum_policy", "larc_policy"])
def test_a_word_that_is_not_among_the_choices_leaves_the_default(field):
    solver, found = decoded(f'base_lr: 0.1 {field}: "neither"')
    choices = solver.params()[field].choices
    words = " or ".join(f'"{word}"' for word in choices)
    assert [(d.code, d.detail) for d in found] == [("wrong-enum", f'`{field}` must be {words}, not "neither".')]
    assert getattr(solver, field) == choices[0]
    for word in choices:
        solver, found = decoded(f'base_lr: 0.1 {field}: "{word}"')
        assert (getattr(solver, field), found) == (word, ())
