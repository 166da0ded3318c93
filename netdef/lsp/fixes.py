"""Quick fixes: changes of a text that follow from the hint of a diagnostic.

A hint is written for people, so each change that it may mean is tried: it counts only if the text then can be parsed
and the place no longer has this problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..language.diagnostics import Diagnostic
from ..language.source import Source, Span
from ..language.syntax import Field, Message
from .names import walk
from .page import Page, read

MOST = 5  # diagnostics that are fixed at once, and changes that are tried for each
MEANT = re.compile(r"[Dd]id you mean (.+)\?")
WRITE = re.compile(r"(?:for a string, )?write (.+)")
BLANK = re.compile(r"[ \t]*")
ADD = re.compile(r"add a (.) at the end")
INSTEAD = re.compile(r"write (\S+) (?:instead of|for a literal) ")
BEGIN = re.compile(r"begin comments with (#)")


@dataclass(frozen=True)
class Edit:
    """The text that takes the place of a span."""

    span: Span
    text: str


@dataclass(frozen=True)
class Fix:
    """A change that resolves a diagnostic."""

    title: str
    diagnostic: Diagnostic
    edits: tuple[Edit, ...]


def fixes(page: Page, start: int, end: int) -> list[Fix]:
    """Returns the fixes for the diagnostics that overlap a range of a text."""
    near = [d for d in page.diagnostics if (at := _own(page, d)) is not None and at.start <= end and start <= at.end]
    return [fix for d in near[:MOST] for fix in _of(page, d)]


def _own(page: Page, d: Diagnostic) -> Span | None:
    """The place of a diagnostic, if it is in this text and written there as it is."""
    return d.span if d.span is not None and d.span.source is page.source and "${" not in d.span.text[:-1] else None


def _of(page: Page, d: Diagnostic) -> Iterator[Fix]:
    """Yields the changes that a hint may mean and that help."""
    tried = set()
    for title, edits in _meant(page, d):
        changed = applied(page.source.text, edits)
        if changed in tried or changed == page.source.text:
            continue
        tried.add(changed)
        if len(tried) > MOST:
            return
        if _helps(page, d, changed):
            yield Fix(title, d, tuple(edits))


def _helps(page: Page, d: Diagnostic, changed: str) -> bool:
    """Whether a text can be parsed and has no longer the same kind of problem at the same place."""
    after = read(Source(page.source.name, changed, page.source.path), page.trust)
    assert d.span is not None
    same = [o for o in after.diagnostics if o.code == d.code and o.span is not None and o.span.start == d.span.start]
    return after.document is not None and not same


def _meant(page: Page, d: Diagnostic) -> Iterator[tuple[str, list[Edit]]]:
    """Yields (title, edits) of the changes that the hint, or the suggestion in the message, may mean."""
    span, hint = d.span, d.hint or ""
    assert span is not None
    if (moved := _moved(page, span, hint)) is not None:
        yield moved
        return
    words = [_quoted_like(span, word) for word in (*_words(hint), *_words(d.detail))]
    for word in [hint, *words] if hint and not MEANT.search(hint) else words:
        yield f"Change to {word}", [Edit(span, word)]
    if hint.startswith(f"write {span.text}: "):
        yield f"Write {span.text}:", [Edit(span._replace(start=span.end), ":")]
    for pattern in (INSTEAD, BEGIN, WRITE):
        if match := pattern.fullmatch(hint) or (pattern is not WRITE and pattern.match(hint)):
            yield f"Write {match[1]}", [Edit(span, match[1])]
    if match := ADD.match(hint):
        yield f"Add {match[1]}", [Edit(span._replace(start=span.end), match[1])]
    if hint.startswith("remove the "):
        yield f"Remove {span.text}", [Edit(span, "")]


def _words(text: str) -> list[str]:
    """The names that a sentence suggests: a, b and c of `Did you mean a, b or c?`"""
    match = MEANT.search(text)
    return [word.strip("`") for word in re.split(r", | or ", match[1])] if match else []


def _quoted_like(span: Span, word: str) -> str:
    """A word as a string, if it takes the place of one."""
    return f'"{word}"' if span.text[:1] in "\"'" and word[:1] not in "\"'" else word


def _moved(page: Page, place: Span, hint: str) -> tuple[str, list[Edit]] | None:
    """The change that moves a field into the block that it belongs to, for a hint such as `block { field: 1 }`."""
    block = hint.partition(" {")[0]
    found = next((pair for pair in _fields_of(page) if pair[0].name_span[:3] == place[:3]), None)
    if found is None or hint != f"{block} {{ {found[0].span.text} }}":
        return None
    field, around = found
    own = next((f.value for f in around.fields if isinstance(f, Field) and f.name == block), None)
    title = f"Move `{field.name}` into `{block} {{ }}`"
    if not isinstance(own, Message):
        return title, [Edit(field.span, hint)]
    inside = page.source.text.find("{", own.span.start, own.span.end) + 1
    return title, [Edit(_with_space(field.span), ""), Edit(Span(place.source, inside, inside), f" {field.span.text}")]


def _with_space(span: Span) -> Span:
    """A span with the space after it, or with its line if nothing else is on it."""
    text = span.source.text
    begin, end = text.rfind("\n", 0, span.start) + 1, span.end + len(BLANK.match(text, span.end)[0])  # type: ignore[index]
    if text[end : end + 1] == "\n" and not text[begin : span.start].strip():
        return span._replace(start=begin, end=end + 1)
    return span._replace(end=end)


def _fields_of(page: Page) -> Iterable[tuple[Field, Message]]:
    """The fields of a text, each with the block around it."""
    if page.document is not None:
        for message in (page.document.body, *walk(page.document.body, Message)):
            yield from ((field, message) for field in message.fields if isinstance(field, Field))


def applied(text: str, edits: Iterable[Edit]) -> str:
    """Returns a text after some changes, which do not overlap."""
    for edit in sorted(edits, key=lambda edit: edit.span.start, reverse=True):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    return text
