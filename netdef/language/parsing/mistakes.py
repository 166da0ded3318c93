"""Explains syntax errors: from the parser's stack and the source ahead to one `SyntaxFault`.

Given the place where the parser is stuck, it returns a message for the user, never a list of expected tokens. It runs
a few times per file at most, so it can afford to scan the source again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from .. import codes
from ..diagnostics import Related
from ..source import Source, Span
from ..syntax import Field, Scalar
from . import expression_mistakes
from .faults import LONGEST, SyntaxFault, bad_number, is_bad_number, missing_colon, shortened, stray, unclosed_list
from .tokens import OPENERS, Ahead, Stuck, Token, look


def explain(stuck: Stuck) -> SyntaxFault:
    """The error at the next token, which no rule accepts."""
    ahead, last, opener = stuck.ahead, stuck.last, stuck.opener
    if ahead.kind == "quote":
        return unterminated(stuck.source.text, ahead)
    if expression_mistakes.applies(stuck):
        return expression_mistakes.explain(stuck)
    if is_bad_number(ahead):
        return bad_number(ahead)
    if opener is not None and stuck.symbols[opener] == "LBRACKET":
        return in_list(stuck, stuck.values[opener])
    if last == "MINUS":
        sign = stuck.values[-1]
        detail = "A minus sign must be followed by a number, inf or nan."
        return SyntaxFault(codes.BAD_NUMBER, sign.start, sign.end, detail, hint="write the number, or remove the minus")
    if last == "COLON":
        return after_colon(stuck.source.text, stuck.values[-2], stuck.values[-1], ahead)
    if last in ("NAME", "name"):
        return after_name(stuck.source.text, stuck.values[-1], ahead)
    return at_field(stuck)


def resumption(text: str, values: Iterable[Any], fault: SyntaxFault) -> int | None:
    """Where to resume parsing after an error: at the next field that begins at column 1, unless inner fields begin
    there too. `values` is the parser's stack."""
    if fault.code in (codes.UNCLOSED_BLOCK, codes.TOO_DEEP):
        return None
    blocks = [value.start for value in values if getattr(value, "kind", "") in OPENERS]
    begins = re.compile(r"^[A-Za-z_]", re.M)
    if blocks and (
        text[blocks[0] - 1 : blocks[0]] not in ("", "\n") or begins.search(text, blocks[0] + 1, fault.start)
    ):
        return None  # the indentation does not show the nesting
    found = begins.search(text, fault.end)
    return found.start() if found else None


def unterminated(text: str, ahead: Ahead) -> SyntaxFault:
    end = text.find("\n", ahead.start)
    end = len(text) if end < 0 else end
    end = ahead.start + len(text[ahead.start : end].rstrip())
    detail = f"The string that begins here has no closing {ahead.text} on its line."
    return SyntaxFault(
        codes.UNTERMINATED_STRING, ahead.start, end, detail, hint=f"add a {ahead.text} at the end of the string"
    )


def in_list(stuck: Stuck, bracket: Token) -> SyntaxFault:
    text, ahead, last = stuck.source.text, stuck.ahead, stuck.last
    starts_field = ahead.kind == "word" and re.compile(r"\s*[:{]").match(text, ahead.end)
    if ahead.text == ";":
        detail = "The values of a list are separated by commas, not by semicolons."
        return SyntaxFault(codes.MISSING_COMMA, ahead.start, ahead.end, detail, hint="write , instead of ;")
    if ahead.kind == "end" or ahead.text in "}>" or starts_field:
        ending = Related("a ] is missing before this place", Span(stuck.source, ahead.start, ahead.end))
        return unclosed_list(stuck.source.position(bracket.start)[0], bracket, ending)
    if last in ("COMMA", "LBRACKET"):
        if ahead.text in ",]":
            comma = stuck.values[-1] if last == "COMMA" else ahead
            detail = f"There is no value {'after' if last == 'COMMA' else 'before'} this comma."
            return SyntaxFault(codes.EXTRA_SEPARATOR, comma.start, comma.end, detail, hint="remove the comma")
        if ahead.text == "[":
            return SyntaxFault(
                codes.NESTED_LIST, ahead.start, ahead.end, "A list cannot contain a list.", hint="write one list"
            )
        return unquoted(text, ahead)
    if ahead.kind in ("string", "number", "word") or ahead.text in "{<[":
        before = end_of_last(text, ahead.start)
        detail = "A comma is missing before this list value."
        return SyntaxFault(
            codes.MISSING_COMMA,
            ahead.start,
            ahead.end,
            detail,
            hint=f"write {shortened(text[before[0] : before[1]])}, {shortened(ahead.text)}",
        )
    if before_it(text, ahead.start):
        return unquoted(text, ahead._replace(start=end_of_last(text, ahead.start)[0]))
    return stray(text, ahead)


def before_it(text: str, at: int) -> bool:
    """Whether a value ends immediately before `at`."""
    return at > 0 and (text[at - 1].isalnum() or text[at - 1] == "_")


def end_of_last(text: str, at: int) -> tuple[int, int]:
    """(start, end) of the last run of characters before `at`."""
    end = len(text[:at].rstrip())
    start = end
    while start > 0 and not text[start - 1].isspace() and text[start - 1] not in "[,":
        start -= 1
    return start, end


def after_colon(text: str, name: Token, colon: Token, ahead: Ahead) -> SyntaxFault:
    if ahead.kind == "end" or ahead.text in "}>],;":
        return missing_value(name.text, name.start, colon.end)
    if ahead.text in ":=":
        detail = f"There is an extra `{ahead.text}` after `{name.text}:`."
        return SyntaxFault(codes.STRAY_CHARACTER, ahead.start, ahead.end, detail, hint=f"remove the {ahead.text}")
    return unquoted(text, ahead)


def missing_value(name: str, start: int, end: int) -> SyntaxFault:
    detail = f"`{name}:` has no value."
    return SyntaxFault(codes.MISSING_VALUE, start, end, detail, hint=f"write the value of {name} after the colon")


def unquoted(text: str, ahead: Ahead) -> SyntaxFault:
    """The error of something that cannot begin a value: most often a path or another string without quotes."""
    match = re.compile(r"[^\s\"'{}<>\[\],;#()]+").match(text, ahead.start)
    if match is None or not re.search(r"\w", match[0]):
        return stray(text, ahead)
    shown = shortened(match[0], LONGEST)
    detail = f"`{shown}` is neither a number nor a single word, so it needs quotes."
    hint = f'write "{shown.replace(chr(92), "/")}"'  # in quotes a backslash would need another
    return SyntaxFault(codes.UNQUOTED_TEXT, ahead.start, match.end(), detail, hint=hint)


def after_name(text: str, name: Token, ahead: Ahead) -> SyntaxFault:
    if fault := expression_mistakes.bad_statement(text, name, ahead):
        return fault
    starts_field = ahead.kind == "word" and re.compile(r"\s*[:{<]").match(text, ahead.end)
    if ahead.text == "=":
        value = look(text, ahead.end)
        return missing_colon(
            name, "in place of `=`", value.text if value.kind in ("string", "number", "word") else "VALUE"
        )
    if ahead.kind in ("string", "number") or ahead.kind == "word" and not starts_field:
        same_line = "\n" not in text[name.end : ahead.start]
        if same_line or ahead.kind != "word":
            return missing_colon(name, f"before `{shortened(ahead.text)}`", ahead.text)
    if ahead.kind == "end" or ahead.kind == "word" or ahead.text in "}>],;":
        detail = f"`{name.text}` is followed by neither a colon and a value nor a block."
        return SyntaxFault(
            codes.FIELD_WITHOUT_VALUE,
            name.start,
            name.end,
            detail,
            hint=f"write {name.text}: VALUE or {name.text} {{ ... }}",
        )
    match = re.compile(r"[^\s\"'{}<>\[\],;#():]+").match(text, name.start)
    if match and match.end() > name.end:
        shown = shortened(match[0], LONGEST)
        detail = f"`{shown}` is not a name: names consist of the letters a to z and A to Z, digits and _."
        hint = f"write {shown.replace('-', '_')}" if "-" in shown else None
        return SyntaxFault(codes.STRAY_CHARACTER, ahead.start, ahead.end, detail, hint=hint)
    return stray(text, ahead)


def at_field(stuck: Stuck) -> SyntaxFault:
    """The error where a field may begin, or after a field."""
    text, ahead, values = stuck.source.text, stuck.ahead, stuck.values
    if stuck.last == "ELSE":
        detail = "This `else` does not directly follow the block of an `if`."
        return SyntaxFault(codes.BAD_STATEMENT, values[-1].start, values[-1].end, detail)
    previous = last_field(values[-1] if values else None)
    if ahead.text and ahead.text in "}>]":
        return closing(stuck)
    if ahead.kind == "end" and stuck.opener is not None:
        return unclosed_block(stuck.source, values[stuck.opener], OPENERS[stuck.symbols[stuck.opener]])
    if previous is not None and ahead.text and ahead.text in ":{<" and previous.value.kind == "name":
        # `a:` without a value was parsed with the name on the next line as its value
        if "\n" in previous.span.text:
            colon = text.index(":", previous.name_span.end)
            return missing_value(previous.name, previous.span.start, colon + 1)
    if ahead.text == "{" or ahead.text == "<":
        detail = "The name of the field is missing before this brace."
        return SyntaxFault(
            codes.BLOCK_WITHOUT_NAME, ahead.start, ahead.end, detail, hint=f"write NAME {ahead.text} ..."
        )
    if ahead.text and ahead.text in ",;":
        detail = f"There is no field before this `{ahead.text}`."
        return SyntaxFault(codes.EXTRA_SEPARATOR, ahead.start, ahead.end, detail, hint=f"remove the {ahead.text}")
    if ahead.kind in ("string", "number"):
        if previous is not None and previous.span.end <= ahead.start:
            before = previous.value.span.text
            detail = f"`{previous.name}` already has the value `{shortened(before)}`."
            hint = f"for several values, write {previous.name}: [{shortened(before)}, {shortened(ahead.text)}]"
            return SyntaxFault(codes.VALUE_WITHOUT_FIELD, ahead.start, ahead.end, detail, hint=hint)
        detail = "The name of the field is missing before this value."
        return SyntaxFault(
            codes.VALUE_WITHOUT_FIELD, ahead.start, ahead.end, detail, hint=f"write NAME: {shortened(ahead.text)}"
        )
    if previous is not None and previous.value.kind != "string" and previous.span.end == ahead.start:
        return unquoted(text, Ahead("sign", "", previous.value.span.start, ahead.end))
    return stray(text, ahead)


def last_field(value: Any) -> Any:
    """The field that was read last, if its value is a plain one."""
    while isinstance(value, list) and value:
        value = value[-1]
    return value if isinstance(value, Field) and isinstance(value.value, Scalar) else None


def closing(stuck: Stuck) -> SyntaxFault:
    ahead, opener = stuck.ahead, stuck.opener
    if opener is None:
        detail = f"No block is open here, so this `{ahead.text}` closes nothing."
        return SyntaxFault(codes.UNMATCHED_CLOSE, ahead.start, ahead.end, detail, hint=f"remove the {ahead.text}")
    token, right = stuck.values[opener], OPENERS[stuck.symbols[opener]]
    place = Related("opened here", Span(stuck.source, token.start, token.end))
    detail = f"This block was opened by `{token.text[-1]}`, so it must be closed by `{right}`, not by `{ahead.text}`."
    return SyntaxFault(codes.WRONG_CLOSE, ahead.start, ahead.end, detail, place, hint=f"write {right}")


def unclosed_block(source: Source, token: Token, right: str) -> SyntaxFault:
    """The error of a block that is open at the end of the file; or of an inner block, if the indentation shows that
    its brace is the missing one."""
    start, end, related = token.start, token.end, ()
    if closed := wrongly_closed(source.text, start):
        start, end, brace = closed
        related = (Related("this closes it, but is indented like an outer block", Span(source, brace, brace + 1)),)
    elif begins := re.compile(rf"^[ \t]{{0,{indent(source.text, start)}}}([A-Za-z_]\w*)", re.M).search(
        source.text, end
    ):
        related = (Related("the missing brace belongs before this place", Span(source, *begins.span(1))),)
    line = source.position(start)[0]
    detail = f"This block was opened at line {line} and is never closed."
    return SyntaxFault(codes.UNCLOSED_BLOCK, start, end, detail, *related, hint=f"close it with {right}")


PUNCTUATION = re.compile(r"\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+'|#[^\n]*+|[A-Za-z_]\w*+\s*+:?\s*+[{<]|[{}<>]")


def wrongly_closed(text: str, at: int) -> tuple[int, int, int] | None:
    """(start, end, brace) of the first block with a closing brace that begins its line and is indented less than it."""
    stack: list[re.Match[str]] = []
    for match in PUNCTUATION.finditer(text, at):
        if match[0][-1] in "{<":
            stack.append(match)
        elif match[0] in "}>" and stack:
            block = stack.pop()
            alone = not text[text.rfind("\n", 0, match.start()) + 1 : match.start()].strip()
            if alone and indent(text, match.start()) < indent(text, block.start()):
                return block.start(), block.end(), match.start()
    return None


def indent(text: str, at: int) -> int:
    """The number of blanks at the beginning of the line."""
    begin = text.rfind("\n", 0, at) + 1
    return len(text[begin:at]) - len(text[begin:at].lstrip(" \t"))


def too_deep(symbols: list[str], values: Sequence[Any], most: int) -> SyntaxFault | None:
    """The error of more than `most` open blocks and lists on the stack, or None."""
    levels = sum(symbol in OPENERS for symbol in symbols)
    if levels <= most and len(symbols) < 5 * most:
        return None
    token = next(value for value in reversed(values) if getattr(value, "text", ""))
    detail = f"{levels} blocks, lists and parentheses are open here; the limit is {most}."
    if levels <= most:
        detail = "This expression is nested too deeply; name parts of it with `let`."
    return SyntaxFault(codes.TOO_DEEP, token.start, token.end, detail)
