"""Errors of the types that pycaffe raises, which scripts catch; all of them are NetdefErrors, and so RuntimeErrors."""

from __future__ import annotations

from ..language.errors import NetdefError
from ..language.spelling import suggestion


class WrongValue(NetdefError, ValueError):
    """A value that does not fit."""


class WrongType(NetdefError, TypeError):
    """A value of a wrong type."""


class NoField(NetdefError, AttributeError):
    """A field, layer type or enum value that does not exist."""


class Unknown(NetdefError, KeyError, ValueError):
    """An unknown name, with a suggestion: of a key of a dict, or an element of a list."""

    def __str__(self) -> str:
        return str(self.args[0])


def unknown(name: object, what: str, names: list[str]) -> Unknown:
    """Returns the error for an unknown name of a layer or blob."""
    meant = suggestion(str(name), names) or f" It has {', '.join(names[:12]) or 'none'}."
    return Unknown(f"the net has no {what} `{name}`.{meant}")
