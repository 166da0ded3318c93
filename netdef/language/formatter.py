"""The canonical form of prototxt and .net files, for `netdef fmt`.

Formats a parsed document. The meaning of the file never changes; every comment is kept, and one of several consecutive
blank lines. Formatting the output again does not change it. The fields may have been moved or changed since parsing
(see `interop.modernize`): comments stay before what followed them. The rules:

- an indentation of two spaces, one field per line, `name: value`, `name {`, double quotes where they need no escapes;
- a block of values is on one line if it fits into 80 columns, but never a layer;
- no separators between fields, `{ }` instead of `< >`, one space around operators, lists wrapped at 100 columns;
- a comment at the end of a line stays there; every other comment gets its own line, before what follows it.
"""

from __future__ import annotations

import bisect
import re
from collections import deque
from typing import Any

from .parsing.literals import PIECE, cut, outside_code, unescape
from .printer import INDENT, WIDTH, scalar
from .source import Span
from .syntax import Comment, Document, Field, For, If, Import, Let, ListValue, Message, Scalar, Template, Text

WIDEST = 100  # columns of a list before it is wrapped

STRINGS = re.compile(PIECE.pattern + r"|#[^\n]*")
TOKENS = re.compile(
    PIECE.pattern + r"|#[^\n]*|\$\{|\d[\w.]*(?:(?<=[eE])[+-]\d+)?|\.\d\w*|[A-Za-z_]\w*|\*\*|//|==|!=|<=|>=|[^\s\w]"
)
PLAIN = re.compile(r"[^\s#]+")
SIMPLE = re.compile(r"\"[^\"\\$\n]*+\"|'[^'\\$\n]*+'")  # a string without escapes and `${`
KEYWORDS = {"and", "or", "not", "if", "else", "in"}


def format(document: Document) -> str:
    """The text of a document in its canonical form."""
    formatting = Formatting(document.source.text, document.comments)
    formatting.items(document.body.fields, 0)
    formatting.comments_before(len(document.source.text) + 1, 0)
    return "".join(f"{line}\n" for line in formatting.lines)


class Formatting:
    """The lines so far, the remaining comments, and the current position in the source."""

    def __init__(self, text: str, comments: tuple[Comment, ...]) -> None:
        self.text = text
        self.lines: list[str] = []
        self.comments: deque[Comment] = deque(comments)
        self.starts = [comment.span.start for comment in comments]  # of all comments, for binary search
        self.at = 0  # offset in the source after what was written; it never decreases, even where fields were moved
        self.behind_comment = False
        self.behind_if = False

    def items(self, items: tuple[Any, ...], depth: int) -> None:
        before: Any = None
        for item in items:
            self.behind_if = isinstance(before, If)
            WRITERS[type(item)](self, item, depth)
            before = item

    def line(self, text: str, depth: int, start: int, end: int, comments_until: int | None = None) -> None:
        """Adds one line for the source from `start` to `end`; comments in between are written before it."""
        moved = start < self.at  # the comments around its old place are written when that place is reached
        if not moved:
            if self.comments:
                self.comments_before(end if comments_until is None else comments_until, depth, start)
            if start > self.at + 1:
                self.blank_line(start)
        self.lines.append(INDENT * depth + text)
        self.reached(self.at if moved else end)

    def reached(self, end: int) -> None:
        """Records that the source up to `end` has been written."""
        self.at = max(self.at, end)
        self.behind_comment = False

    def blank_line(self, start: int) -> None:
        """Keeps one blank line, except at the beginning of the file or of a block."""
        between = self.text[self.at : start]
        if (
            between.count("\n") > 1
            and self.lines
            and not self.lines[-1].endswith("{")
            and re.search(r"\n[ \t\r]*\n", between)
        ):
            self.lines.append("")

    def comments_before(self, offset: int, depth: int, start: int | None = None) -> None:
        """Writes the comments up to an offset: at the end of the last line if they were there, else on lines of their
        own."""
        while self.comments and self.comments[0].span.start < offset:
            comment = self.comments.popleft()
            begin = comment.span.start
            inside = start is not None and begin > start
            same_line = self.at <= begin and "\n" not in self.text[self.at : begin]
            if same_line and self.lines and not self.behind_comment and not inside:
                self.lines[-1] += f"  {comment.text.rstrip()}"
            else:
                if not inside:
                    self.blank_line(begin)
                self.lines.append(INDENT * depth + comment.text.rstrip())
            self.behind_comment = True
            self.at = max(self.at, comment.span.end)

    def field(self, field: Field, depth: int) -> None:
        start, end, value = field.span.start, field.span.end, field.value
        name = field.name
        if not isinstance(value, Message):
            return self.line(f"{name}: {self.value(value, depth, len(name) + 2)}", depth, start, end)
        if name == "else" and self.behind_if:
            name = "else:"  # a field with this name, which is not part of the `if`
        if (text := self.in_one_line(name, value, depth)) is not None:
            return self.line(text, depth, start, end)
        self.block(name, value, depth, start)

    def block(self, head: str, body: Message, depth: int, start: int, close: str = "}") -> None:
        """Writes `head {`, the items of the block, and `close`."""
        opener = body.span.start
        if not body.fields and not self.has_comment(body.span):
            return self.line(f"{head} {{{close}", depth, start, body.span.end)
        self.line(f"{head} {{", depth, start, opener + 1, comments_until=opener)
        self.items(body.fields, depth + 1)
        self.close(close, body, depth)

    def close(self, close: str, body: Message, depth: int) -> None:
        end = body.span.end
        self.comments_before(end - 1, depth + 1)
        self.lines.append(INDENT * depth + close)
        self.reached(end)

    def has_comment(self, span: Span) -> bool:
        written = len(self.starts) - len(self.comments)
        following = bisect.bisect_left(self.starts, span.start, written)
        return following < len(self.starts) and self.starts[following] < span.end

    def in_one_line(self, name: str, message: Message, depth: int) -> str | None:
        """`name { a: 1 b: 2 }` for a block of values without comments that fits on a line, else None; a layer is never
        on one line."""
        if name in ("layer", "layers") and message.fields or self.has_comment(message.span):
            return None
        inner = []
        if len(message.fields) > WIDTH:  # each takes more than a column
            return None
        for field in message.fields:
            if not isinstance(field, Field) or isinstance(field.value, Message):
                return None
            if isinstance(field.value, ListValue) and any(isinstance(item, Message) for item in field.value.items):
                return None
            inner.append(f"{field.name}: {self.value(field.value, 0, -10_000)}")
        text = f"{name} {{ {' '.join(inner)} }}" if inner else f"{name} {{}}"
        return text if len(INDENT * depth + text) <= WIDTH else None

    def value(self, value: Any, depth: int, column: int) -> str:
        """A value in its canonical form; `column` is where it begins in its line, after the indentation."""
        if isinstance(value, ListValue):
            return self.list(value, depth, column)
        if type(value) is Scalar:
            if value.kind == "name":
                return str(value.value)
            text = value.span.text
            if value.kind != "string":
                if PLAIN.fullmatch(text):
                    return text
                return "".join(word for word in re.findall(r"#[^\n]*|[^\s#]+", text) if word[0] != "#")
            if SIMPLE.fullmatch(text) and text[1:-1] == value.value:
                return piece(text)  # as most strings are
            if not as_written(value):
                return scalar(value)
        if isinstance(value, (Scalar, Text)):
            pieces = [piece(match[0]) for match in STRINGS.finditer(value.span.text) if match[0][0] != "#"]
            fits = len(INDENT * depth) + column + sum(map(len, pieces)) + len(pieces) <= WIDEST
            return (" " if fits else f"\n{INDENT * (depth + 2)}").join(pieces)
        return expression(value.span.text)

    def list(self, value: ListValue, depth: int, column: int) -> str:
        items = [self.item(item, depth) for item in value.items]
        whole = f"[{', '.join(items)}]"
        if len(INDENT * depth) + column + len(whole) <= WIDEST and "\n" not in whole:
            return whole
        margin = INDENT * (depth + 1)
        rows = [margin]
        for at, item in enumerate(items):
            cell = item + ("," if at + 1 < len(items) else "")
            if rows[-1] != margin and len(rows[-1]) + 1 + len(cell) > WIDEST:
                rows.append(margin)
            rows[-1] += cell if rows[-1] == margin else f" {cell}"
        return "[\n" + "\n".join(rows) + f"\n{INDENT * depth}]"

    def item(self, item: Any, depth: int) -> str:
        """An element of a list; a block in a list is always on one line."""
        if not isinstance(item, Message):
            return self.value(item, depth + 1, -10_000)
        inner = Formatting(self.text, ())
        inner.at = item.span.end
        inner.items(item.fields, 0)
        return f"{{ {' '.join(line.strip() for line in inner.lines if line)} }}" if inner.lines else "{}"

    def import_file(self, item: Import, depth: int) -> None:
        pieces = [piece(match[0]) for match in STRINGS.finditer(item.path_span.text) if match[0][0] != "#"]
        self.line(f"import {' '.join(pieces)}", depth, item.span.start, item.span.end)

    def let(self, item: Let, depth: int) -> None:
        self.line(f"let {item.name}: {expression(item.value.span.text)}", depth, item.span.start, item.span.end)

    def template(self, item: Template, depth: int) -> None:
        parameters = [
            f"{p.name}: {expression(p.default.span.text)}" if p.default is not None else p.name for p in item.parameters
        ]
        self.block(f"template {item.name}({', '.join(parameters)})", item.body, depth, item.span.start)

    def for_loop(self, item: For, depth: int) -> None:
        self.block(f"for {item.name} in {expression(item.values.span.text)}", item.body, depth, item.span.start)

    def choice(self, item: If, depth: int) -> None:
        head = f"if {expression(item.test.span.text)}"
        self.line(f"{head} {{", depth, item.span.start, item.then.span.start + 1, comments_until=item.then.span.start)
        branch: If | Message | None = item
        while isinstance(branch, If):
            self.items(branch.then.fields, depth + 1)
            last, branch = branch.then, branch.otherwise
            if branch is None:
                return self.close("}", last, depth)
            following = branch.then if isinstance(branch, If) else branch
            test = f" if {expression(branch.test.span.text)}" if isinstance(branch, If) else ""
            self.close(f"}} else{test} {{", last, depth)
            self.reached(following.span.start + 1)
        assert branch is not None
        self.items(branch.fields, depth + 1)
        self.close("}", branch, depth)


WRITERS: dict[type, Any] = {
    Field: Formatting.field,
    Import: Formatting.import_file,
    Let: Formatting.let,
    Template: Formatting.template,
    For: Formatting.for_loop,
    If: Formatting.choice,
}


def as_written(value: Scalar) -> bool:
    """Whether a string still has the value in the source, that is, it was not changed after parsing."""
    text = value.span.text
    if text == f'"{value.value}"':
        return True
    pieces = [match for match in STRINGS.finditer(text) if match[0][0] != "#"]
    if text[:1] not in "\"'" or not pieces:
        return False
    read = outside_code if "${" in text else unescape
    return "".join(read(match[0][1:-1], 0) for match in pieces) == value.value


def piece(text: str) -> str:
    """One quoted string in canonical form: in double quotes unless it contains some."""
    inner = text[1:-1]
    if "${" in inner:
        cuts = cut(inner, 0, len(inner))
        parts = [part if part is not None else f"${{{expression(inner[a:b], inside=True)}}}" for part, a, b in cuts]
        inner = "".join(parts)
    return f'"{inner}"' if '"' not in inner else text[0] + inner + text[0]


def expression(text: str, inside: bool = False) -> str:
    """An expression with one space around each operator and after each comma, and no others.

    If the expression is `inside` a string, its strings keep their quotes, which must differ from those around it.
    """
    out = ""
    before = ""  # the token before
    for match in TOKENS.finditer(text):
        token = match[0]
        if token[0] == "#":
            continue
        operand_before = bool(before) and (before[-1] in ")]}\"'" or before[-1].isalnum() or before[-1] == "_")
        operand_before = operand_before and before not in KEYWORDS
        opens = token in "([" and operand_before and before[0] not in "\"'"  # a call or an index
        sign = before == "-sign"
        tight = not before or before[-1] in "([{" or token in ")]},:" or opens or sign
        shown = piece(token) if token[0] in "\"'" and not inside else token
        out += shown if tight else f" {shown}"
        before = "-sign" if token == "-" and not operand_before else token
    return out
