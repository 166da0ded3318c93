"""The base class of the errors that a user can fix."""

from __future__ import annotations

import re

from .shown import above

LONGEST = 2000  # characters of a message; most have fewer than 200
LONG_WORD = re.compile(r"\S{200,}")


class NetdefError(RuntimeError):
    """An error that a user can fix: a message of one line with the file, layer or step, and what to do.

    It is a RuntimeError because that is what scripts for pycaffe expect."""

    def __init__(self, message: str = ""):
        super().__init__(printable(brief(message)))  # because a path or a name in it may contain line breaks

    def _render_traceback_(self) -> list[str]:
        """Returns the lines that IPython shows for this error."""
        return above("notebook").traceback_of(self)


def printable(text: str) -> str:
    """A path as it can be shown on one line: line ends, control characters and undecodable bytes become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def brief(text: str) -> str:
    """A message of bounded length: of one that contains a name or value of a million characters, the middle is left
    out."""
    if len(text) <= LONGEST:
        return text
    text = LONG_WORD.sub(lambda word: f"{word[0][:100]}...{word[0][-50:]}", text)
    half = LONGEST // 2 - 3
    return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"
