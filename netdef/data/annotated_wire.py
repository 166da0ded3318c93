"""AnnotatedDatums as bytes: what can be seen without parsing the image, which is nearly all of a record."""

from __future__ import annotations

from ..interop.entries import Damaged
from ..interop.wire import BYTES, parts

DATUM, GROUP = 1, 3  # fields of an AnnotatedDatum
ANNOTATION = 2  # field of an AnnotationGroup


def is_annotated(value: bytes) -> bool:
    """Whether a record begins with a message, as an AnnotatedDatum does; the first field of a Datum is an integer."""
    try:
        first = next(parts(value, 0, len(value)), None)
        return first is not None and first.number == DATUM and first.kind == BYTES
    except Damaged:
        return False


def count(value: bytes) -> int:
    """Returns the number of boxes of a record; 0 of a damaged one, which is reported when it is decoded."""
    try:
        groups = [part for part in parts(value, 0, len(value)) if part.number == GROUP and part.kind == BYTES]
        inner = (part for group in groups for part in parts(value, group.start, group.end))
        return sum(part.number == ANNOTATION for part in inner)
    except Damaged:
        return 0
