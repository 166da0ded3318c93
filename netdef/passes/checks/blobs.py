"""Blobs that nobody takes, and names that are almost those of another blob."""

from __future__ import annotations

from ...graph import Net, Value
from ...language import codes
from ...language.diagnostics import Related, Report

MOST_COMPARED = 50  # blobs that nobody takes are held against all others; of more, nobody can have misspelt each
MOST_PAIRS = 200_000  # of names in all, for nets of very many blobs


def unused_tops(net: Net, report: Report) -> None:
    """In a net that is trained, a blob that nobody takes and that is no loss or metric is work for nothing."""
    if not any(any(node.loss_weights) for node in net.layers):
        return
    outputs, misspelt = set(net.outputs), _misspelt(net)
    for node in net.layers:
        if node.layer.is_loss or node.layer.is_metric or node.layer.is_input:
            continue
        for top, weight in zip(node.tops, node.loss_weights, strict=True):
            if top.name in outputs and not weight and top not in misspelt:
                report.add(
                    codes.UNUSED_TOP,
                    top.span,
                    f"nothing takes `{top.name}`, and it is no loss; a Silence layer says that this is meant.",
                )


def alike_names(net: Net, report: Report) -> None:
    """A blob that nobody takes and whose name is almost that of another: one of both is misspelt."""
    for top, other in _misspelt(net).items():
        report.add(
            codes.ALIKE_NAMES,
            top.span,
            f"nothing takes `{top.name}`, and there is another blob, `{other.name}`.",
            *([Related("the other is made here", other.span)] if other.span else []),
            hint=f'"{other.name}"',
        )


def _misspelt(net: Net) -> dict[Value, Value]:
    """Blobs that nobody takes, and the other blob whose name is almost theirs."""
    outputs = set(net.outputs)
    unused = [top for node in net.layers for top in node.tops if top.name in outputs]
    found = ((top, almost(net, top)) for top in unused[: min(MOST_COMPARED, MOST_PAIRS // (len(net.makers) + 1))])
    return {top: other for top, other in found if other}


def almost(net: Net, value: Value) -> Value | None:
    """A blob whose name is that of `value` but for one slip of the hand, if there is one."""
    return next((other for other in net.makers if other.version == 0 and slip(value.name, other.name)), None)


def slip(a: str, b: str) -> bool:
    """Whether two names differ in case or signs alone, or in one letter left out, changed or moved inside a word.

    Digits and letters that stand alone (`loss1` and `loss2`, `fc_a` and `fc_b`, `conv1` and `conv1a`) tell blobs apart.
    """
    if a == b or [c for c in a if c.isdigit()] != [c for c in b if c.isdigit()]:
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
