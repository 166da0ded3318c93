"""Unused blobs, and names that are almost the name of another blob."""

from __future__ import annotations

from collections.abc import Iterable

from ...graph import Net, Value
from ...language import codes
from ...language.diagnostics import Related, Report

MOST_COMPARED = 50  # unused blobs that are compared with all others; if there are more, they are not typing errors
MOST_PAIRS = 200_000  # of names that are compared, for nets with very many blobs


def unused_tops(net: Net, report: Report) -> None:
    """In training, a blob that no layer uses and that is neither a loss nor a metric is computed for nothing."""
    if not any(any(node.loss_weights) for node in net.layers):
        return
    outputs, misspelled = set(net.outputs), _misspelled(net)
    for node in net.layers:
        if node.layer.is_loss or node.layer.is_metric or node.layer.is_input:
            continue
        for top, weight in zip(node.tops, node.loss_weights, strict=True):
            if top.name in outputs and not weight and top not in misspelled:
                report.add(
                    codes.UNUSED_TOP,
                    top.span,
                    f"no layer uses `{top.name}`, and it is not a loss; if this is intended, add a Silence layer.",
                )


def alike_names(net: Net, report: Report) -> None:
    """A blob that no layer uses, with almost the name of another: one of the names is misspelled."""
    for top, other in _misspelled(net).items():
        report.add(
            codes.ALIKE_NAMES,
            top.span,
            f"no layer uses `{top.name}`, but there is a blob with a similar name, `{other.name}`.",
            *([Related("the other blob is output here", other.span)] if other.span else []),
            hint=f'"{other.name}"',
        )


def _misspelled(net: Net) -> dict[Value, Value]:
    """Maps each unused blob with almost the name of another blob to that other blob."""
    outputs = set(net.outputs)
    unused = [top for node in net.layers for top in node.tops if top.name in outputs]
    unused = unused[: min(MOST_COMPARED, MOST_PAIRS // (len(net.producers) + 1))]
    others = _by_digits(net, {digits(top.name) for top in unused})
    found = ((top, almost(top, others[digits(top.name)])) for top in unused)
    return {top: other for top, other in found if other}


def _by_digits(net: Net, wanted: set[str]) -> dict[str, list[Value]]:
    """The blobs by the digits in their names, which are the same in names that `slip` considers alike."""
    found: dict[str, list[Value]] = {key: [] for key in wanted}
    for value in net.producers:
        if value.version == 0 and (key := digits(value.name)) in found:
            found[key].append(value)
    return found


def digits(name: str) -> str:
    return "".join(filter(str.isdigit, name))


def almost(value: Value, others: Iterable[Value]) -> Value | None:
    """A blob whose name differs from the name of `value` by one typing error, or None."""
    return next((other for other in others if slip(value.name, other.name)), None)


def slip(a: str, b: str) -> bool:
    """Whether two names differ only in case or punctuation, or in one omitted, changed or swapped letter inside a word.

    Different digits or single letters (`loss1` and `loss2`, `fc_a` and `fc_b`, `conv1` and `conv1a`) are intended.
    """
    if a == b or digits(a) != digits(b):
        return False
    bare_a, bare_b = ("".join(c.lower() for c in name if c.isalnum()) for name in (a, b))
    if bare_a == bare_b:
        return True
    if min(len(a), len(b)) < 4 or abs(len(a) - len(b)) > 1:
        return False
    longer, shorter = sorted((a, b), key=len, reverse=True)
    at = next((i for i, (x, y) in enumerate(zip(longer, shorter, strict=False)) if x != y), len(shorter))
    in_word = longer[at].isalpha() and longer[at - 1].isalpha() and at > 0
    if len(a) != len(b):
        return in_word and longer[at + 1 :] == shorter[at:]
    if longer[at + 1 :] == shorter[at + 1 :]:
        return in_word and shorter[at].isalpha() and longer[at + 1 : at + 2].isalpha()
    return (
        longer[at : at + 2].isalpha()
        and longer[at : at + 2] == shorter[at : at + 2][::-1]
        and longer[at + 2 :] == shorter[at + 2 :]
    )


RULES = (unused_tops, alike_names)
