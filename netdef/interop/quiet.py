"""What orbax prints about an error that it also raises."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses what orbax and the threads of TensorStore print about an error that is also raised: hundreds of
    lines of tracebacks, in which the message would be lost."""
    logger, stream = logging.getLogger("absl"), _OfPython(sys.stderr)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stderr(stream):
            try:
                yield
            except Exception:
                time.sleep(0.2)  # because the threads of the writes that are still pending print later
                logging.getLogger("asyncio").addFilter(_is_retrieved)
                raise
    finally:
        logger.setLevel(level)
    if stream.held.getvalue():  # of a save that succeeded
        sys.stderr.write(stream.held.getvalue())


class _OfPython:
    """A stream of what the threads of Python print; what others do, those of TensorStore, is held back."""

    def __init__(self, stream: Any):
        self.held = io.StringIO()
        self._stream = stream

    def write(self, text: str) -> int:
        known = any(thread.ident == threading.get_ident() for thread in threading.enumerate())
        return (self._stream if known else self.held).write(text)

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_retrieved(message: logging.LogRecord) -> bool:
    """False for the errors of further writes of a failed save, which asyncio logs when their tasks are collected."""
    return "was never retrieved" not in message.getMessage()
