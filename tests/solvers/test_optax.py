"""Names and arguments of optax in a solver: what is accepted, what is refused and why, and what is explained."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from netdef.inspect import explain
from netdef.language.diagnostics import Report
from netdef.language.parsing.parser import parse
from netdef.language.source import Source
from netdef.policies import optax_schedules
from netdef.policies.base import Setting
from netdef.registry import Refusal
from netdef.solvers import optax_optimizers
from netdef.solvers.base import SOLVERS, Moving, Numbers, Objective
from netdef.solvers.decode import decode_solver

COSINE = 'lr_policy: "optax.cosine_decay_schedule"'


def decoded(text):
    report = Report()
    document = parse(Source("s.prototxt", text), report)
    assert document is not None
    return decode_solver(document.body, report), report.in_order()


def test_arguments_have_the_types_of_the_signature():
    solver, found = decoded(
        'type: "optax.contrib.muon" base_lr: 1 optax_param { ns_steps: 2 nesterov: false preconditioning: "aol" '
        'beta: 1 mu_dtype: "bfloat16" ns_coeffs: "standard" }'
    )
    assert found == () and solver.type == "optax.contrib.muon"
    assert solver.optax_param.values() == {
        "ns_steps": 2,
        "nesterov": False,
        "preconditioning": "aol",
        "beta": 1.0,
        "mu_dtype": "bfloat16",
        "ns_coeffs": "standard",
    }
    assert decoded('type: "optax.contrib.muon" base_lr: 1')[0].optax_param.values() == {}


@pytest.mark.parametrize(
    ("text", "code", "place", "words"),
    [
        ('type: "optax.lino"', "unknown-solver", '"optax.lino"', ['"optax.lion"', "netdef explain optax"]),
        ('type: "optax.muon"', "unknown-solver", '"optax.muon"', ['"optax.contrib.muon"']),
        ('type: "optax.os.system"', "unknown-solver", '"optax.os.system"', ["no optimizer"]),
        ('type: "optax.contrib._muon.muon"', "unknown-solver", '"optax.contrib._muon.muon"', ["no optimizer"]),
        ('type: "optax.__file__"', "unknown-solver", '"optax.__file__"', ["no optimizer"]),
        ('type: "optax."', "unknown-solver", '"optax."', ["no optimizer"]),
        ('type: "optax.l2_loss"', "unknown-solver", '"optax.l2_loss"', ["is not an optimizer"]),
        ('type: "optax.apply_if_finite"', "unknown-solver", '"optax.apply_if_finite"', ["part", "learning_rate"]),
        ('type: "optax.add_noise"', "unknown-solver", '"optax.add_noise"', ["no argument `learning_rate`"]),
        ('type: "optax.lookahead"', "unknown-solver", '"optax.lookahead"', ["part of an optimizer"]),
        ('type: "optax.prodigy"', "unknown-solver", '"optax.prodigy"', ["no optimizer", '"optax.contrib.prodigy"']),
        ('type: "optax.contrib.dpsgd"', "unknown-solver", '"optax.contrib.dpsgd"', ["gradient of each record"]),
        ('type: "optax.prodgy"', "unknown-solver", '"optax.prodgy"', ['"optax.contrib.prodigy"']),
        ('type: "optax.contrib.schedule_free"', "unknown-solver", "schedule_free", ["`base_optimizer`"]),
        ('type: "optax.noisy_sgd" optax_param { key: 3 }', "unknown-field", "key", ["`random_seed`"]),
        ('type: "optax.polyak_sgd" optax_param { scaling: 3 }', "unknown-field", "scaling", ["`base_lr`"]),
        ('type: "optax.polyak_sgd" optax_param { variant: "x" }', "out-of-range", "variant", ["accept", "variant='x'"]),
        ('type: "optax.lbfgs" optax_param { linesearch: 1 }', "unknown-field", "linesearch", ["not a number"]),
        ('type: "optax.lbfgs" optax_param { memory_size: 0 }', "out-of-range", "memory", ["accept", "memory_size"]),
        ('type: "optax.contrib.prodigy" optax_param { betas: 0.9 }', "out-of-range", "{ betas", ["accept", "got 1"]),
        ('type: "optax.contrib.schedule_free_sgd" optax_param { b1: 0 }', "out-of-range", "{ b1", ["`b1` must be"]),
        ('type: "optax.contrib.prodigy" larc: true', "no-effect", "true", ["all arrays together"]),
        ('type: "optax.contrib.dog" optax_param { init_step: 1 }', "unknown-field", "init_step", ["not a number"]),
        ('type: "optax.lion" optax_param { b3: 1 }', "unknown-field", "b3", ["b3", "`b1`"]),
        ('type: "optax.lion" optax_param { b1: "x" }', "wrong-type", '"x"', ["`b1` expects a number", '"x"']),
        ('type: "optax.adam" optax_param { nesterov: 3 }', "wrong-type", "3", ["nesterov", "true or false", "3"]),
        ('type: "optax.adafactor" optax_param { min_dim_size_to_factor: 0.5 }', "wrong-type", "0.5", ["integer"]),
        ('type: "optax.adam" optax_param { mu_dtype: "int8" }', "wrong-enum", '"int8"', ["bfloat16", "int8"]),
        ('type: "optax.adam" optax_param { learning_rate: 1 }', "unknown-field", "learning_rate", ["base_lr"]),
        ('type: "optax.adamw" optax_param { mask: true }', "unknown-field", "mask", ["decay_mult"]),
        ('type: "optax.contrib.muon" optax_param { adam_learning_rate: 1 }', "unknown-field", "adam_l", ["lr_mult"]),
        ('type: "optax.contrib.muon" optax_param { ns_coeffs: "x" }', "out-of-range", "ns_coeffs", ["accept", "ns_coeff preset"]),
        ('type: "optax.lion" weight_decay: 1 optax_param { weight_decay: 2 }', "given-twice", "2", ["is 2", "is 1"]),
        ('type: "optax.lion" b1: 0.8', "unknown-field", "b1", ["belongs inside `optax_param { }`"]),
        ('type: "optax.lion" momentum: 0.8', "no-effect", "momentum", ["optax.lion"]),
        ("optax_param { b1: 0.8 }", "no-effect", "optax_param", ["optimizers of optax", "not to SGD"]),
        ("optax_schedule_param { }", "no-effect", "optax_schedule_param", ["schedules of optax", "not to fixed"]),
        (COSINE, "missing-field", "lr_policy", ["optax_schedule_param"]),
        (f"{COSINE} optax_schedule_param {{ init_value: 1 }}", "missing-field", "init_value", ["decay_steps"]),
        (f"{COSINE} decay_steps: 9 optax_schedule_param {{ init_value: 1 decay_steps: 9 }}", "unknown-field", "decay",
         ["belongs inside `optax_schedule_param { }`"]),
        (f"{COSINE} optax_schedule_param {{ init_value: 1 decay_steps: 0 }}", "out-of-range", "{ init_value",
         ["does not accept", "positive decay_steps", "0"]),
        ('lr_policy: "optax.cosine_schedule"', "unknown-policy", '"optax.cosine_schedule"', ["no schedule"]),
        ('lr_policy: "optax.adam"', "unknown-policy", '"optax.adam"', ["not a schedule"]),
        ('lr_policy: "optax.join_schedules"', "unknown-policy", '"optax.join_schedules"', ["`schedules`", '"join"']),
        ('lr_policy: "optax.piecewise_constant_schedule"', "unknown-policy", "piecewise", ["boundaries_and_scales"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_place(text, code, place, words):
    _, (first, *_) = decoded(f"base_lr: 0.1 {text}")
    told = f"{first.message} {first.hint}"
    assert first.code == code and first.span.text.find(place.split()[0]) >= 0 and all(word in told for word in words)


def test_weight_decay_of_the_optimizer_is_that_of_the_solver():
    decays = lambda text: decoded(f'type: "optax.{text}')[0].weight_decay
    assert decays('lion" base_lr: 1') == 0.001  # the default of optax
    assert decays('lion" base_lr: 1 optax_param { weight_decay: 0.5 }') == 0.5
    assert decays('lion" base_lr: 1 weight_decay: 0.25') == 0.25
    assert decays('adafactor" base_lr: 1') == decays('adam" base_lr: 1') == 0
    assert SOLVERS.get("optax.lion").decoupled and not SOLVERS.get("optax.adam").decoupled


def test_a_schedule_is_multiplied_by_base_lr():
    given = f"{COSINE} optax_schedule_param {{ init_value: 0.5 decay_steps: 8 }}"
    alone, twice = decoded(given)[0], decoded(f"base_lr: 2 {given}")[0]
    right = [0.5 * 0.5 * (1 + np.cos(np.pi * t / 8)) for t in range(9)]
    np.testing.assert_allclose([alone.rate(t, {}) for t in range(9)], right, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose([twice.rate(t, {}) for t in range(9)], 2 * np.asarray(right), rtol=1e-6, atol=1e-8)
    joined, found = decoded(f'base_lr: 3 lr_policy: "join" piece {{ lr_policy: "fixed" until: 4 }} piece {{ {given} }}')
    assert found == ()
    np.testing.assert_allclose([joined.rate(t, {}) for t in (3, 4, 12)], [3, 0.5, 0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", optax_schedules.names())
def test_every_schedule_is_that_of_optax(name):
    cls = optax_schedules.make(name)
    block = cls.params()["optax_schedule_param"].type
    usual = {int: 7, float: 0.25} | {"warmup_steps_": 2}
    given = {attribute: usual.get(attribute, usual[spec.type]) for attribute, spec in block.params().required.items()}
    function = getattr(optax, name.removeprefix("optax."))
    right = function(**{block.params()[attribute].name: value for attribute, value in given.items()})
    policy = cls(optax_schedule_param=block(**given))
    rate = jax.jit(lambda t: (policy.rate(t, Setting(1.0, 10), {}), right(t)))
    for t in (0, 3, 9):
        np.testing.assert_allclose(*rate(jnp.int32(t)), rtol=1e-6)


# Updates

CASES = {  # arguments other than the defaults; those of optax are the same
    "lamb": {"weight_decay": 0.1},
    "novograd": {"b2": 0.5},
    "rmsprop": {"centered": True, "momentum": 0.5},
    "contrib.muon": {"ns_steps": 3, "preconditioning": "aol", "weight_decay": 0.1},
    "contrib.prodigy": {"betas": [0.8, 0.9], "estim_lr0": 0.01, "weight_decay": 0.1},
    "contrib.schedule_free_sgd": {"warmup_steps": 2, "weight_decay": 0.1},
    "polyak_sgd": {"variant": "sps+", "f_min": 0.1},
}
RATE = 0.0625
SHAPES = {"a.0": (4, 3), "a.1": (4,), "b.0": ()}


def loss_of(arrays, x):
    """A loss that is not convex; `x` has the shapes of the arrays."""
    near = {name: jnp.sum((jnp.sin(w) - x[name]) ** 2) for name, w in arrays.items()}
    return sum(near.values()) + jnp.tanh(jnp.sum(arrays["a.0"]) * jnp.sum(arrays["a.1"]) * arrays["b.0"].reshape(()))


def moving(solver, gradients, weights, histories, mults):
    number = jnp.float32
    at = lambda mult: Numbers(
        number(RATE * mult), number(0), number(solver.weight_decay), jnp.int32(0), lr_mult=mult, base=number(RATE)
    )
    return {name: Moving(gradients[name], w, histories[name], at(mults[name])) for name, w in weights.items()}


RUN = {"lbfgs", "noisy_sgd", "contrib.sophia"}  # those whose runs are compared, because an update takes long to compile
UPDATED = {name.removeprefix("optax.") for name in optax_optimizers.names()} - RUN


@pytest.mark.parametrize("full", sorted(UPDATED))
def test_updates_are_those_of_optax(full):
    """Those of a loop with optax; `lr_mult` scales a step if one optimizer updates all arrays. The state keeps its
    structure, and each of its arrays has a name. `test_optax.py` in `tests/training` compares whole runs."""
    words = " ".join(f"{n}: {json.dumps(value)}" for n, value in CASES.get(full, {}).items())
    solver, found = decoded(f'type: "optax.{full}" base_lr: {RATE} random_seed: 3 optax_param {{ {words} }}')
    assert found == ()
    factory = getattr(optax.contrib if "contrib." in full else optax, full.removeprefix("contrib."))
    given = CASES.get(full, {})
    with warnings.catch_warnings():  # of what optax itself is going to remove
        warnings.simplefilter("ignore")
        rate = {"scaling" if full == "polyak_sgd" else "learning_rate": RATE}
        right = optax.with_extra_args_support(factory(**rate, **given))
    mults = {name: 0.5 if name == "b.0" and solver.traits.together else 1.0 for name in SHAPES}
    random = np.random.default_rng(0)
    draw = lambda: {name: jnp.asarray(random.normal(size=shape or 1), jnp.float32) for name, shape in SHAPES.items()}

    def both(state, x):
        mine, histories, shared, theirs, of_right = state
        loss, gradients = jax.value_and_grad(loss_of)(mine, x)
        objective = Objective(loss) if solver.needs else None
        updates, shared = solver.update_all(moving(solver, gradients, mine, histories, mults), shared, objective)
        mine = {name: w - updates[name][0] for name, w in mine.items()}
        loss, gradients = jax.value_and_grad(loss_of)(theirs, x)
        more = {name: {"value": loss}[name] for name in solver.traits.further}
        steps, of_right = right.update(gradients, of_right, theirs, **more)
        theirs = {name: w + mults[name] * steps[name] for name, w in theirs.items()}
        return mine, {name: history for name, (_, history) in updates.items()}, shared, theirs, of_right

    start = draw()
    own = {name: a.reshape(SHAPES[name]) for name, a in start.items()}
    histories, shared = solver.init_all(own)
    assert all(a is not w for a in jax.tree.leaves(histories) for w in own.values())
    shapes = lambda tree: [(a.shape, a.dtype) for a in jax.tree.leaves(tree)]
    state, step = (own, histories, shared, start, right.init(start)), jax.jit(both)
    for _ in range(3):
        before, state = state, step(state, draw())
        assert jax.tree.structure(before) == jax.tree.structure(state) and shapes(before[1:3]) == shapes(state[1:3])
    for name, shape in SHAPES.items():
        np.testing.assert_allclose(state[0][name], state[3][name].reshape(shape), rtol=2e-5, atol=2e-6)
        assert len(set(solver.slot_names(state[1][name]))) == len(jax.tree.leaves(state[1][name]))


def test_each_step_of_a_line_search_reduces_the_loss_with_any_multipliers():
    solver, _ = decoded('type: "optax.lbfgs" base_lr: 1 optax_param { memory_size: 2 }')
    w = {name: jnp.full(shape, 0.3) for name, shape in SHAPES.items()}
    x = {name: jnp.full(shape, 0.9) for name, shape in SHAPES.items()}
    mults = {"a.0": 1.0, "a.1": 9.0, "b.0": 0.04}

    @jax.jit
    def step(w, histories, shared):
        loss, gradients = jax.value_and_grad(loss_of)(w, x)
        objective = Objective(loss, lambda arrays: loss_of(arrays, x))
        made, shared = solver.update_all(moving(solver, gradients, w, histories, mults), shared, objective)
        w = {name: array - made[name][0] for name, array in w.items()}
        return loss, w, {name: history for name, (_, history) in made.items()}, shared

    losses, state = [], (w, *solver.init_all(w))
    for _ in range(4):
        loss, *state = step(*state)
        losses.append(float(loss))
    assert losses == sorted(losses, reverse=True) and len(set(losses)) == 4


def test_decay_mult_is_that_of_each_array_also_if_one_optimizer_updates_all():
    solver, _ = decoded('type: "optax.contrib.prodigy" base_lr: 1 weight_decay: 0.5')
    w = {"a.0": jnp.asarray([1.0, 2.0]), "a.1": jnp.asarray([3.0])}
    histories, shared = solver.init_all(w)
    at = lambda mult: Numbers(jnp.float32(1), 0, jnp.float32(0.5 * mult), 0, decay_mult=mult, base=jnp.float32(1))  # type: ignore[arg-type]
    made, _ = solver.update_all(
        {name: Moving(w[name], w[name], histories[name], at(mult)) for name, mult in (("a.0", 1.0), ("a.1", 0.0))},
        shared,
        None,
    )
    for name, decay in (("a.0", 0.5), ("a.1", 0.0)):
        right = optax.contrib.prodigy(1.0, weight_decay=decay)
        np.testing.assert_allclose(-made[name][0], right.update(w, right.init(w), w)[0][name], rtol=1e-6)


def test_optimizers_that_combine_the_elements_of_an_array_are_known():
    whole = {name for name in optax_optimizers.names() if SOLVERS.get(name)().whole}
    assert {"optax.adafactor", "optax.lamb", "optax.contrib.muon", "optax.sm3"} < whole
    assert not whole & {"optax.adam", "optax.lion", "optax.sgd", "optax.yogi", "optax.adamw"}


def test_explanations():
    (lion,) = explain.find("optax.lion")
    (block,) = lion.fields
    assert (lion.kind, lion.summary.endswith("optax.lion")) == ("solver type", True)
    rows = {field.name: (field.type, field.default) for field in block.fields}
    assert rows["b2"] == ("float", "0.99") and "learning_rate" not in rows
    assert all(field.doc for field in block.fields)
    (policy,) = explain.find("optax.warmup_cosine_decay_schedule")
    assert policy.kind == "learning-rate policy" and policy.fields[0].default == "required"
    text = explain.text(explain.find("optax")[0])
    for name in (*optax_optimizers.names(), *optax_schedules.names(), "optax.contrib.dpsgd"):
        assert f" {name} " in text
    assert "each record" in explain.refused("optax.contrib.dpsgd") and '"optax.lion"' in explain.refused("optax.lino")
    assert explain.refused("Lion") == ""


def test_nothing_of_optax_is_imported_for_other_solvers():
    code = (
        "import netdef.cli, sys; netdef.cli.main(['explain']); print([m for m in ('optax', 'jax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_device_is_needed_to_check_a_solver():
    code = (
        "from netdef.solvers.base import SOLVERS; assert SOLVERS.get('optax.contrib.muon'); "
        "from jax._src import xla_bridge; print(list(xla_bridge._backends))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_refusals_are_sentences():
    for name in optax_optimizers.candidates():
        if isinstance(found := optax_optimizers.make(name), Refusal):
            assert found.reason.startswith(f"`{name}` cannot be used here: ") and found.reason.endswith(".")
