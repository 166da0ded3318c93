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
    """Converts errors of the code inside to a ShapeError at a field of the layer, with `message` of the error. This
    includes SystemExit, because a module that calls `sys.exit()` must not end the command as if it had succeeded.
    Ctrl-C, errors of netdef and errors of type `but` are not converted."""
    try:
        yield
    except (ShapeError, Unavailable, NetdefError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if isinstance(error, but):
            raise
        raise ShapeError(message(one_line(error)), field=field) from error


def one_line(error: BaseException) -> str:
    """Returns the type of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
