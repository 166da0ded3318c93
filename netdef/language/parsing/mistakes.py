"""Why a text cannot be read, in words: from the parser's stack and the text ahead to one `SyntaxFault`.

Takes the `Parsing` that is stuck; gives what to tell the user, never a list of tokens.  It runs a few times per file at
most, so it may look at the text again as often as it likes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import codes
from ..diagnostics import Related
from ..source import Span
from ..syntax import Field, Scalar
from . import expression_mistakes
from .literals import SyntaxFault

if TYPE_CHECKING:
    from .parser import Parsing
    from .rules import Token

BLOCKS = {"OPEN_BRACE": "}", "LBRACE": "}", "OPEN_ANGLE": ">", "LANGLE": ">"}
OPENERS = BLOCKS | {"LBRACKET": "]", "LPAREN": ")", "DOLLAR": "}"}
CLOSERS = {"RBRACE", "RANGLE", "RBRACKET", "RPAREN"}
BLANK = re.compile(r"(?:\s+|#[^\n]*)*+", re.ASCII)
AHEAD = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+')|(?P<quote>["'])|(?P<number>[+\-]?\s*+\.?\d[\w.]*+)"""
    r"""|(?P<word>[A-Za-z_]\w*+)|(?P<sign>.)|(?P<end>\Z)""",
    re.ASCII | re.DOTALL,
)
LONGEST = 200  # characters of the user's that are shown in a message: no path is longer, and no number
GOOD_NUMBER = re.compile(r"-?\s*+(?:0[xX][0-9a-fA-F]++|(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?[fF]?)")


class Ahead(NamedTuple):
    """What stands where the parser got stuck."""

    kind: str
    text: str
    start: int
    end: int


def explain(p: Parsing, at: int) -> SyntaxFault:
    """The fault at the first token after `at`, which no rule can take."""
    ahead = look(p.source.text, at)
    if ahead.kind == "quote":
        return unterminated(p, ahead)
    symbols = [p.tables.symbols[state] for state in p.states[1:]]
    last = symbols[-1] if symbols else ""
    if expression_mistakes.applies(p, symbols):
        return expression_mistakes.explain(p, symbols, ahead)
    if ahead.kind == "number" and not GOOD_NUMBER.fullmatch(ahead.text):
        return bad_number(ahead)
    opener = innermost(symbols)
    if opener is not None and symbols[opener] == "LBRACKET":
        return in_list(p, p.values[opener], last, ahead)
    if last == "MINUS":
        sign = p.values[-1]
        detail = "After a minus sign comes a number, inf or nan."
        return SyntaxFault(codes.BAD_NUMBER, sign.start, sign.end, detail, hint="write the number, or remove the minus")
    if last == "COLON":
        return after_colon(p, p.values[-2], p.values[-1], ahead)
    if last in ("NAME", "name"):
        return after_name(p, p.values[-1], ahead)
    return at_field(p, opener, symbols, ahead)


def resumption(p: Parsing, fault: SyntaxFault) -> int | None:
    """Where to read on after a fault: the next field at the very beginning of a line, if no inner ones stand there."""
    text = p.source.text
    if fault.code in (codes.UNCLOSED_BLOCK, codes.TOO_DEEP):
        return None
    blocks = [value.start for value in p.values if getattr(value, "kind", "") in OPENERS]
    begins = re.compile(r"^[A-Za-z_]", re.M)
    if blocks and (
        text[blocks[0] - 1 : blocks[0]] not in ("", "\n") or begins.search(text, blocks[0] + 1, fault.start)
    ):
        return None  # not indented as one would think
    found = begins.search(text, fault.end)
    return found.start() if found else None


def look(text: str, at: int) -> Ahead:
    start = BLANK.match(text, at).end()  # type: ignore[union-attr]
    match = AHEAD.match(text, start)
    assert match is not None and match.lastgroup
    return Ahead(match.lastgroup, match[0], start, match.end())


def innermost(symbols: list[str]) -> int | None:
    """The place on the stack of the bracket that is open."""
    closed = 0
    for i in reversed(range(len(symbols))):
        # `<` and `>` may also be comparisons, where they stand behind a sum
        compares = symbols[i] in ("LANGLE", "RANGLE") and i > 0 and symbols[i - 1] == "sum"
        if symbols[i] in CLOSERS and not compares:
            closed += 1  # read, but not yet made one block with its opener
        elif symbols[i] in OPENERS and not compares:
            if not closed:
                return i
            closed -= 1
    return None


def unterminated(p: Parsing, ahead: Ahead) -> SyntaxFault:
    end = p.source.text.find("\n", ahead.start)
    end = len(p.source.text) if end < 0 else end
    end = ahead.start + len(p.source.text[ahead.start : end].rstrip())
    detail = f"The text that begins here has no closing {ahead.text} on its line."
    return SyntaxFault(
        codes.UNTERMINATED_STRING, ahead.start, end, detail, hint=f"put a {ahead.text} where the text ends"
    )


def bad_number(ahead: Ahead) -> SyntaxFault:
    start, end, shown = ahead.start, ahead.end, shortened(ahead.text, LONGEST)
    if shown[0] == "+":
        detail = f"A plus sign does not stand before a number: `{shown}`."
        return SyntaxFault(codes.BAD_NUMBER, start, end, detail, hint=f"write {shown[1:].lstrip()}")
    detail = f"`{shown}` is not a number."
    return SyntaxFault(codes.BAD_NUMBER, start, end, detail, hint=f'for a text, write "{shown}"')


def in_list(p: Parsing, bracket: Token, last: str, ahead: Ahead) -> SyntaxFault:
    text = p.source.text
    starts_field = ahead.kind == "word" and re.compile(r"\s*[:{]").match(text, ahead.end)
    if ahead.text == ";":
        detail = "The values of a list are separated by commas, not by semicolons."
        return SyntaxFault(codes.MISSING_COMMA, ahead.start, ahead.end, detail, hint="write , for ;")
    if ahead.kind == "end" or ahead.text in "}>" or starts_field:
        line = p.source.position(bracket.start)[0]
        detail = f"This list was opened at line {line} and never closed."
        ending = Related("a ] is missing before this", Span(p.source, ahead.start, ahead.end))
        return SyntaxFault(codes.UNCLOSED_LIST, bracket.start, bracket.end, detail, ending, hint="close it with ]")
    if last in ("COMMA", "LBRACKET"):
        if ahead.text in ",]":
            comma = p.values[-1] if last == "COMMA" else ahead
            detail = "Nothing follows this comma." if last == "COMMA" else "Nothing stands before this comma."
            return SyntaxFault(codes.EXTRA_SEPARATOR, comma.start, comma.end, detail, hint="remove the comma")
        if ahead.text == "[":
            return SyntaxFault(
                codes.NESTED_LIST, ahead.start, ahead.end, "A list cannot hold a list.", hint="write one list"
            )
        return unquoted(p, ahead)
    if ahead.kind in ("string", "number", "word") or ahead.text in "{<[":
        before = end_of_last(text, ahead.start)
        detail = "A comma is missing between list values, before this one."
        return SyntaxFault(
            codes.MISSING_COMMA,
            ahead.start,
            ahead.end,
            detail,
            hint=f"write {shortened(text[before[0] : before[1]])}, {shortened(ahead.text)}",
        )
    if before_it(text, ahead.start):
        return unquoted(p, ahead._replace(start=end_of_last(text, ahead.start)[0]))
    return stray(p, ahead)


def before_it(text: str, at: int) -> bool:
    """Whether a value ends just here, without a blank."""
    return at > 0 and (text[at - 1].isalnum() or text[at - 1] == "_")


def end_of_last(text: str, at: int) -> tuple[int, int]:
    """The last run of characters before `at`."""
    end = len(text[:at].rstrip())
    start = end
    while start > 0 and not text[start - 1].isspace() and text[start - 1] not in "[,":
        start -= 1
    return start, end


def after_colon(p: Parsing, name: Token, colon: Token, ahead: Ahead) -> SyntaxFault:
    if ahead.kind == "end" or ahead.text in "}>],;":
        return missing_value(name.text, name.start, colon.end)
    if ahead.text in ":=":
        detail = f"`{ahead.text}` is one sign too many after `{name.text}:`."
        return SyntaxFault(codes.STRAY_CHARACTER, ahead.start, ahead.end, detail, hint=f"remove the {ahead.text}")
    return unquoted(p, ahead)


def missing_value(name: str, start: int, end: int) -> SyntaxFault:
    detail = f"`{name}:` has no value."
    return SyntaxFault(codes.MISSING_VALUE, start, end, detail, hint=f"write the value of {name} after the colon")


def unquoted(p: Parsing, ahead: Ahead) -> SyntaxFault:
    """Something that begins like no value: most often a path or another text without quotes."""
    match = re.compile(r"[^\s\"'{}<>\[\],;#()]+").match(p.source.text, ahead.start)
    if match is None or not re.search(r"\w", match[0]):
        return stray(p, ahead)
    shown = shortened(match[0], LONGEST)
    detail = f"`{shown}` is neither a number nor a single word, so it needs quotes."
    hint = f'write "{shown.replace(chr(92), "/")}"'  # in quotes a backslash would need another
    return SyntaxFault(codes.UNQUOTED_TEXT, ahead.start, match.end(), detail, hint=hint)


def after_name(p: Parsing, name: Token, ahead: Ahead) -> SyntaxFault:
    if fault := expression_mistakes.bad_statement(p, name, ahead):
        return fault
    text = p.source.text
    starts_field = ahead.kind == "word" and re.compile(r"\s*[:{<]").match(text, ahead.end)
    if ahead.text == "=":
        value = look(text, ahead.end)
        return missing_colon(
            name, "where the `=` is", value.text if value.kind in ("string", "number", "word") else "VALUE"
        )
    if ahead.kind in ("string", "number") or ahead.kind == "word" and not starts_field:
        same_line = "\n" not in text[name.end : ahead.start]
        if same_line or ahead.kind != "word":
            return missing_colon(name, f"before `{shortened(ahead.text)}`", ahead.text)
    if ahead.kind == "end" or ahead.kind == "word" or ahead.text in "}>],;":
        detail = f"After `{name.text}` neither a colon with a value nor a block follows."
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
        detail = f"`{shown}` is not a name: names are made of letters, digits and _."
        hint = f"write {shown.replace('-', '_')}" if "-" in shown else None
        return SyntaxFault(codes.STRAY_CHARACTER, ahead.start, ahead.end, detail, hint=hint)
    return stray(p, ahead)


def missing_colon(name: Token, where: str, value: str = "VALUE") -> SyntaxFault:
    detail = f"A colon is missing after `{name.text}`, {where}."
    return SyntaxFault(codes.MISSING_COLON, name.start, name.end, detail, hint=f"write {name.text}: {shortened(value)}")


def at_field(p: Parsing, opener: int | None, symbols: list[str], ahead: Ahead) -> SyntaxFault:
    """Stuck where a field may begin, or behind one."""
    if symbols and symbols[-1] == "ELSE":
        detail = "There is no `if` block just before this `else`."
        return SyntaxFault(codes.BAD_STATEMENT, p.values[-1].start, p.values[-1].end, detail)
    previous = last_field(p.values[-1] if p.values else None)
    if ahead.text and ahead.text in "}>]":
        return closing(p, opener, symbols, ahead)
    if ahead.kind == "end" and opener is not None:
        return unclosed_block(p, opener, symbols)
    if previous is not None and ahead.text and ahead.text in ":{<" and previous.value.kind == "name":
        # `a:` with nothing behind it took the next line's name for its value
        if "\n" in previous.span.text:
            colon = p.source.text.index(":", previous.name_span.end)
            return missing_value(previous.name, previous.span.start, colon + 1)
    if ahead.text == "{" or ahead.text == "<":
        detail = "The name of the field is missing before this brace."
        return SyntaxFault(
            codes.BLOCK_WITHOUT_NAME, ahead.start, ahead.end, detail, hint=f"write NAME {ahead.text} ..."
        )
    if ahead.text and ahead.text in ",;":
        detail = "This separator follows no field."
        return SyntaxFault(codes.EXTRA_SEPARATOR, ahead.start, ahead.end, detail, hint=f"remove the {ahead.text}")
    if ahead.kind in ("string", "number"):
        if previous is not None and previous.span.end <= ahead.start:
            before = previous.value.span.text
            detail = f"`{previous.name}` has its value already, `{shortened(before)}`."
            hint = f"for several values, write {previous.name}: [{shortened(before)}, {shortened(ahead.text)}]"
            return SyntaxFault(codes.VALUE_WITHOUT_FIELD, ahead.start, ahead.end, detail, hint=hint)
        detail = "The name of the field is missing before this value."
        return SyntaxFault(
            codes.VALUE_WITHOUT_FIELD, ahead.start, ahead.end, detail, hint=f"write NAME: {shortened(ahead.text)}"
        )
    if previous is not None and previous.value.kind != "string" and previous.span.end == ahead.start:
        return unquoted(p, Ahead("sign", "", previous.value.span.start, ahead.end))
    return stray(p, ahead)


def last_field(value: Any) -> Any:
    """The field that was read last, if it was one with a plain value."""
    while isinstance(value, list) and value:
        value = value[-1]
    return value if isinstance(value, Field) and isinstance(value.value, Scalar) else None


def closing(p: Parsing, opener: int | None, symbols: list[str], ahead: Ahead) -> SyntaxFault:
    if opener is None:
        detail = f"No block is open here that this `{ahead.text}` could close."
        return SyntaxFault(codes.UNMATCHED_CLOSE, ahead.start, ahead.end, detail, hint=f"remove the {ahead.text}")
    token, right = p.values[opener], OPENERS[symbols[opener]]
    place = Related("opened here", Span(p.source, token.start, token.end))
    detail = f"This block was opened by `{token.text[-1]}`, so it is closed by `{right}`, not by `{ahead.text}`."
    return SyntaxFault(codes.WRONG_CLOSE, ahead.start, ahead.end, detail, place, hint=f"write {right}")


def unclosed_block(p: Parsing, opener: int, symbols: list[str]) -> SyntaxFault:
    """The block that is open at the end; or, where a brace closes one that is indented deeper, that deeper one."""
    token = p.values[opener]
    start, end, right = token.start, token.end, OPENERS[symbols[opener]]
    source, related = p.source, ()
    if closed := wrongly_closed(source.text, start):
        start, end, brace = closed
        related = (Related("this closes it, but stands under an outer block", Span(source, brace, brace + 1)),)
    elif begins := re.compile(rf"^[ \t]{{0,{indent(source.text, start)}}}([A-Za-z_]\w*)", re.M).search(
        source.text, end
    ):
        related = (Related("the missing brace belongs before this", Span(source, *begins.span(1))),)
    line = source.position(start)[0]
    detail = f"This block was opened at line {line} and never closed."
    return SyntaxFault(codes.UNCLOSED_BLOCK, start, end, detail, *related, hint=f"close it with {right}")


PUNCTUATION = re.compile(r"\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+'|#[^\n]*+|[A-Za-z_]\w*+\s*+:?\s*+[{<]|[{}<>]")


def wrongly_closed(text: str, at: int) -> tuple[int, int, int] | None:
    """The first block whose closing brace begins its line and is indented less than the block: start, end, brace."""
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
    """Blanks at the beginning of the line."""
    begin = text.rfind("\n", 0, at) + 1
    return len(text[begin:at]) - len(text[begin:at].lstrip(" \t"))


def too_deep(p: Parsing, most: int) -> SyntaxFault | None:
    """The fault of more open blocks and lists than `most`, if there are."""
    levels = sum(p.tables.symbols[state] in OPENERS for state in p.states)
    if levels <= most and len(p.states) <= 5 * most:
        return None
    token = next(value for value in reversed(p.values) if getattr(value, "text", ""))
    detail = f"{levels} blocks, lists and parentheses are open here; at most {most} can be."
    if levels <= most:
        detail = "This is nested too deeply to be read; give names to its parts."
    return SyntaxFault(codes.TOO_DEEP, token.start, token.end, detail)


def stray(p: Parsing, ahead: Ahead) -> SyntaxFault:
    text = p.source.text
    if text.startswith(("//", "/*"), ahead.start):
        detail = f"`{text[ahead.start : ahead.start + 2]}` does not begin a comment; `#` does."
        return SyntaxFault(codes.STRAY_CHARACTER, ahead.start, ahead.start + 2, detail, hint="begin comments with #")
    shown = f"`{ahead.text}`" if ahead.text.isprintable() else f"The character U+{ord(ahead.text[0]):04X}"
    return SyntaxFault(codes.STRAY_CHARACTER, ahead.start, ahead.end, f"{shown} has no meaning here.")


def shortened(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
