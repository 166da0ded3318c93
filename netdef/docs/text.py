"""Markdown from the plain text of docstrings, declarations and help texts."""

from __future__ import annotations

import re
from collections.abc import Container

SPECIAL = re.compile(r"([\\*_\[\]<>#|~^{}$&!])")
LINK = re.compile(r"https?://\S*[\w/]")
OPTION = re.compile(r"(?<![\w/-])(--[a-z][\w-]*)")
LEADS = re.compile(r"(?:^|(?<=\s))(Bottoms?|Tops?|Weights|Source|Differs):\s", re.M)


def escaped(text: str) -> str:
    """Returns one paragraph of plain text as Markdown: only `code`, options and addresses have a meaning."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(part if part[:1] == "`" else _plain(part) for part in parts)


def _plain(text: str) -> str:
    parts = OPTION.split(text)
    return "".join(f"`{part}`" if OPTION.fullmatch(part) else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    done, end = "", 0
    for link in LINK.finditer(text):
        done += SPECIAL.sub(r"\\\1", text[end : link.start()]) + f"<{link[0]}>"
        end = link.end()
    return done + SPECIAL.sub(r"\\\1", text[end:])


def cell(text: str) -> str:
    """Returns the text of a cell of a table."""
    return escaped(" ".join(text.split())).replace("|", "&#124;").replace("\\&#124;", "&#124;")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]], kind: str = "", counts: Container[int] = ()) -> str:
    """Returns a table of Markdown; `kind` is its class in the style sheet, `counts` are the columns of numbers."""
    ruler = tuple("---:" if i in counts else "---" for i in range(len(head)))
    lines = [" | ".join(("", *row, "")).strip() for row in (head, ruler, *rows)]
    text = "\n".join(lines) + "\n"
    return f'<div class="{kind}" markdown>\n\n{text}\n</div>\n' if kind else text


def fenced(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


def prose(doc: str) -> str:
    """Returns a docstring as Markdown: paragraphs, indented lines as code, and a list of what begins with "Bottoms:",
    "Weights:", "Source:" and the like."""
    return "\n".join(_block(block) for block in re.split(r"\n\s*\n", doc.strip("\n")) if block.strip())


def _block(block: str) -> str:
    lines = block.splitlines()
    if all(line.startswith("  ") for line in lines):
        return fenced("\n".join(line[2:] for line in lines), "text")
    for i, line in enumerate(lines[1:], 1):  # a paragraph that introduces indented lines
        if line.startswith("  ") and all(other.startswith("  ") for other in lines[i:]):
            return _paragraph("\n".join(lines[:i])) + "\n" + _block("\n".join(lines[i:]))
    return _paragraph(block)


def _paragraph(block: str) -> str:
    places = [*LEADS.finditer(block), None]
    first = places[0]
    if first is None:
        return escaped(" ".join(block.split())) + "\n"
    lines = [escaped(" ".join(block[: first.start()].split())), ""] if block[: first.start()].strip() else []
    for place, following in zip(places, places[1:], strict=False):
        assert place is not None
        words = block[place.end() : following.start() if following else None]
        lines.append(f"- **{place[1]}**: {escaped(' '.join(words.split()))}")
    return "\n".join(lines) + "\n"
