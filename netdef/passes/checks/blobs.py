"""Blobs that nobody takes, and names that are almost those of another blob."""

from __future__ import annotations

from ...graph import Net, Value
from ...language import codes
from ...language.diagnostics import Related, Report


def unused_tops(net: Net, report: Report) -> None:
    """In a net that is trained, a blob that nobody takes and that is no loss or metric is work for nothing."""
    if not any(any(node.loss_weights) for node in net.layers):
        return
    for node in net.layers:
        if node.layer.is_loss or node.layer.is_metric or node.layer.is_input:
            continue
        for top, weight in zip(node.tops, node.loss_weights, strict=True):
            if top.name in net.outputs and not weight and not almost(net, top):
                report.add(
                    codes.UNUSED_TOP,
                    top.span,
                    f"nothing takes `{top.name}`, and it is no loss; a Silence layer says that this is meant.",
                )


def alike_names(net: Net, report: Report) -> None:
    """A blob that nobody takes and whose name is almost that of another: one of both is misspelt."""
    for node in net.layers:
        for top in node.tops:
            other = top.name in net.outputs and almost(net, top)
            if other:
                report.add(
                    codes.ALIKE_NAMES,
                    top.span,
                    f"nothing takes `{top.name}`, and there is another blob, `{other.name}`.",
                    *([Related("the other is made here", other.span)] if other.span else []),
                    hint=f'"{other.name}"',
                )


def almost(net: Net, value: Value) -> Value | None:
    """A blob whose name is that of `value` but for one slip of the hand, if there is one."""
    return next((other for other in net.makers if other.version == 0 and slip(value.name, other.name)), None)


def slip(a: str, b: str) -> bool:
    """Whether two names differ in case or signs alone, or in one letter left out, added, changed or moved.

    Digits and single letters at the end or between signs (`loss1` and `loss2`, `fc_a` and `fc_b`) tell blobs apart."""
    if a == b or abs(len(a) - len(b)) > 2 or [c for c in a if c.isdigit()] != [c for c in b if c.isdigit()]:
        return False
    bare_a, bare_b = ("".join(c.lower() for c in name if c.isalnum()) for name in (a, b))
    if bare_a == bare_b:
        return True
    if min(len(a), len(b)) < 4:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rest_a, rest_b = a[start:], b[start:]
    if not rest_a[1:2].isalpha() and not rest_b[1:2].isalpha():  # a letter at the end of a word
        return False
    if rest_a[1:] == rest_b or rest_a == rest_b[1:]:
        return (rest_a if len(rest_a) > len(rest_b) else rest_b)[0].isalpha()
    if rest_a[1:] == rest_b[1:]:
        return rest_a[0].isalpha() and rest_b[0].isalpha() and start > 0 and a[start - 1].isalpha()
    return rest_a[:2] == rest_b[1::-1] and rest_a[2:] == rest_b[2:]


RULES = (unused_tops, alike_names)
