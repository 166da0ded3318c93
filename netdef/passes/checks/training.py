"""Fillers, dropout and solver fields that are probably not intended."""

from __future__ import annotations

from ...files import locator
from ...graph import Net, Node
from ...language import codes
from ...language.diagnostics import Related, Report
from ...language.errors import NetdefError
from ...shape import ShapeError, Unavailable

# Field -> (the field on which its effect depends, the condition).
NEEDS = {
    "weight_decay_power": ("weight_decay_policy", '`weight_decay_policy` is "poly"'),
    "max_weight_decay": ("weight_decay_policy", '`weight_decay_policy` is "poly"'),
    "momentum_power": ("momentum_policy", '`momentum_policy` is "poly"'),
    "max_momentum": ("momentum_policy", '`momentum_policy` is "poly" or "opt"'),
    "larc_policy": ("larc", "`larc` is true"),
    "larc_eta": ("larc", "`larc` is true"),
    "local_gw_ratio": ("local_lr_auto", "`local_lr_auto` is true"),
    "rampup_lr": ("rampup_interval", "`rampup_interval` is given"),
    "warmup_start_lr": ("warmup_iter", "`warmup_iter` is given"),
    "test_iter": ("test_interval", "`test_interval` is given"),
}


def zero_weights(net: Net, report: Report) -> None:
    """Weights that are all 0 output 0 and propagate no gradient; reported once, at the first such layer."""
    if net.phase.name != "TRAIN" or not any(any(node.loss_weights) for node in net.layers):
        return
    dead = [node for node in net.layers if _starts_at_zero(node)]
    if len(dead) < 2 or net.solver is not None and net.solver.weights:
        return  # a single layer of zeros does learn
    first, others = dead[0], [node.name for node in dead[1:]]
    place = next(
        (
            span
            for name in ("weight_filler", "slope_filler")
            if first.layer.given(name) and (span := first.layer.span_of(name))
        ),
        None,
    )
    named = ", ".join(f"`{name}`" for name in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    report.add(
        codes.ZERO_WEIGHTS,
        place or first.layer.span_of("name"),
        f"the weights of `{first.name}` are initialized to 0, and so are the weights of {named}{more}: nothing is "
        "learned unless weights are loaded. Give each a filler, such as "
        '`weight_filler { type: "msra" }`.',
    )


def _starts_at_zero(node: Node) -> bool:
    """Whether a layer multiplies by a trained weight matrix that is initialized to 0."""
    weights = node.weights or ()
    if node.layer.is_loss or not weights or not (node.trained or (True,))[0]:
        return False
    first = weights[0]
    rate = node.layer.param[0].lr_mult if node.layer.param else first.lr_mult
    filler = first.filler
    zero = filler is not None and filler.type == "constant" and not filler.value
    return first.kind == "param" and zero and rate != 0 and len(first.shape) > 1


def drops_everything(net: Net, report: Report) -> None:
    """A dropout of all values: the next layers get zeros, and the layers before it are not trained."""
    for node in net.layers:
        if node.type == "Dropout" and getattr(node.layer, "dropout_ratio", 0) == 1:
            report.add(
                codes.DROPS_EVERYTHING,
                node.layer.span_of("dropout_ratio"),
                f"layer `{node.name}` sets every value to 0 in training, so no gradient passes through it; "
                "`dropout_ratio` is the fraction that is dropped, 0.5 by default.",
            )


def steps_after_the_end(net: Net, report: Report) -> None:
    """A step of the learning rate that the run never reaches."""
    solver = net.solver
    if solver is None or not solver.max_iter:
        return
    end = solver.max_iter
    late = [(value, span) for value, span in solver.policy.steps() if value > end]
    if late:
        value, span = late[0]
        limit = solver.span_of("max_iter")
        report.add(
            codes.STEP_AFTER_END,
            span,
            f"the learning rate would change at iteration {value}, but the run ends at iteration {end}.",
            *([Related("the run ends here", limit)] if limit else []),
        )


def solver_fields_without_effect(net: Net, report: Report) -> None:
    """Fields of the solver that have an effect only together with another field."""
    solver = net.solver
    if solver is None:
        return
    for field, (other, condition) in NEEDS.items():
        value = getattr(solver, other, None)
        if solver.given(field) and (not value or value == "fixed"):
            report.add(codes.NO_EFFECT, solver.span_of(field), f"`{field}` has an effect only if {condition}.")


def bias_filler_without_bias(net: Net, report: Report) -> None:
    """A filler for a bias that does not exist."""
    for node in net.layers:
        if node.layer.given("bias_filler") and getattr(node.layer, "bias_term", None) is False:
            report.add(
                codes.NO_EFFECT,
                node.layer.span_of("bias_filler"),
                f"layer `{node.name}` has no bias (`bias_term: false`), so `bias_filler` has no effect.",
            )


def tests_that_miss_records(net: Net, report: Report) -> None:
    """A test should use each record of the test set once; checked if the size of the test set is known."""
    solver = net.solver
    if net.phase.name != "TEST" or solver is None or len(solver.test_iter) != 1 or not solver.test_interval:
        return
    if not solver.test_iter[0]:
        return
    for node in net.layers:
        size, batch = _records(net, node), getattr(node.layer, "batch_size", 0)
        if not size or not batch:
            continue
        seen, whole = solver.test_iter[0] * batch, -(-size // batch)
        if size // batch <= solver.test_iter[0] <= whole:
            continue
        much = f"{size - seen} of them are not tested" if seen < size else f"{seen - size} of them count twice"
        report.add(
            codes.TEST_SIZE,
            solver.span_of("test_iter"),
            f"a test runs {solver.test_iter[0]} batches of {batch}, but layer `{node.name}` has {size} records: "
            f"{much}; `test_iter: {whole}` uses each record once.",
            hint=str(whole),
        )


def tests_on_random_images(net: Net, report: Report) -> None:
    """A data layer that changes images at random in phase TEST, as in Caffe."""
    if net.phase.name != "TEST":
        return
    for node in net.layers:
        names = getattr(node.layer, "random_in_tests", ())
        if names:
            report.add(
                codes.RANDOM_TEST,
                node.layer.transform_param.span_of(names[0]),  # type: ignore[attr-defined]
                f"layer `{node.name}` changes images at random in phase TEST, too, as in Caffe (`{names[0]}`), so its "
                "scores depend on chance; give each phase its own data layer.",
            )


def _records(net: Net, node: Node) -> int | None:
    """The number of records of a data layer, or None if it is unknown."""
    if not node.layer.is_data or any(net.shapes.get(top) is None for top in node.tops):
        return None
    try:
        reader = node.layer.open(locator(net.folder), phase=net.phase)  # type: ignore[attr-defined]
        reader.close()
        return reader.size
    except (NetdefError, ShapeError, Unavailable):
        return None


RULES = (
    drops_everything,
    zero_weights,
    steps_after_the_end,
    solver_fields_without_effect,
    bias_filler_without_bias,
    tests_that_miss_records,
    tests_on_random_images,
)
