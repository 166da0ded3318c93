"""Errors of code that users write for the Python layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..language.errors import NetdefError
from ..shape import ShapeError, Unavailable


@contextmanager
def failing_as(
    message: Callable[[str], str], field: str = "layer", but: type[Exception] | tuple[()] = ()
) -> Iterator[None]:
    """Whatever the code inside raises becomes a ShapeError at a field of the layer, with `message` of what was raised;
    SystemExit too, since a module that calls `sys.exit()` must not end the command as if all were well. Only Ctrl-C,
    errors that are meant for the user already, and errors of type `but` stay what they are."""
    try:
        yield
    except (ShapeError, Unavailable, NetdefError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if isinstance(error, but):
            raise
        raise ShapeError(message(one_line(error)), field=field) from error


def one_line(error: BaseException) -> str:
    """The type of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
