"""Why a statement or an expression cannot be read, in words; `mistakes` asks here when the parser is stuck in one.

Takes the `Parsing` that is stuck, the symbols on its stack and what stands ahead; gives one `SyntaxFault`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import codes
from ..diagnostics import Related
from ..source import Span
from . import mistakes
from .literals import SyntaxFault

if TYPE_CHECKING:
    from .mistakes import Ahead
    from .parser import Parsing
    from .rules import Token

STATEMENTS = {
    "import": 'import "FILE"',
    "let": "let NAME: VALUE",
    "template": "template NAME(PARAMETER, PARAMETER: DEFAULT) { ... }",
    "for": "for NAME in LIST { ... }",
    "if": "if CONDITION { ... }",
}
BEGIN = {"IMPORT", "LET", "TEMPLATE", "FOR", "IF", "DOLLAR"}
# After these a value has to come.
OPERATORS = set(
    "PLUS MINUS STAR POWER SLASH FLOOR PERCENT EQUAL NOT_EQUAL AT_MOST AT_LEAST AND OR NOT LANGLE RANGLE".split()
)
BEFORE_VALUE = OPERATORS | {"LET", "IF", "IN", "OTHERWISE", "DOLLAR", "LPAREN", "LBRACKET", "COMMA", "COLON", ""}
INSTEAD = {"&": "and", "|": "or", "!": "not", "=": "==", "^": "**", "?": "x if condition else y"}


def applies(p: Parsing, symbols: list[str]) -> bool:
    """Whether the parser is inside an expression or the head of a statement."""
    return p.goal == "interpolation" or beginning(symbols) is not None


def beginning(symbols: list[str]) -> int | None:
    """The place on the stack of the keyword or `${` whose head or expression is not complete."""
    for i in reversed(range(len(symbols))):
        if symbols[i] in BEGIN:
            # behind the complete value of a `let` a field may begin as well
            return i
        if symbols[i] in ("body", "braces", "message", "OPEN_BRACE", "OPEN_ANGLE", "name", "ELSE"):
            return None
    return None


def explain(p: Parsing, symbols: list[str], ahead: Ahead) -> SyntaxFault:
    begin = beginning(symbols)
    kind = symbols[begin] if begin is not None else "DOLLAR"
    last = symbols[-1] if symbols else ""
    opener = mistakes.innermost(symbols)
    bracket = p.values[opener] if opener is not None and opener > (begin if begin is not None else -1) else None
    if ahead.kind == "number" and not mistakes.GOOD_NUMBER.fullmatch(ahead.text) and last in BEFORE_VALUE:
        return mistakes.bad_number(ahead)
    if kind == "TEMPLATE":
        return in_head_of_template(p, p.values[begin or 0], bracket, last, ahead)
    closes = ahead.kind == "end" or ahead.text in "})]>"
    if ahead.text in INSTEAD and not (ahead.text == "!" and p.source.text.startswith("!=", ahead.start)):
        twice = p.source.text.startswith(ahead.text, ahead.end)
        detail = f"`{ahead.text * (1 + twice)}` has no meaning in an expression."
        hint = f"write {INSTEAD[ahead.text]}"
        return SyntaxFault(codes.BAD_EXPRESSION, ahead.start, ahead.end + twice, detail, hint=hint)
    if last in BEFORE_VALUE:
        return value_missing(p, kind, begin, last, ahead)
    if bracket is not None and closes or bracket is not None and ahead.text == "{":
        return unclosed(p, bracket)
    start = p.values[begin].start if begin is not None else ahead.start
    other_line = ahead.kind == "word" and "\n" in p.source.text[start : ahead.start]
    if kind == "DOLLAR" and begin is not None and (ahead.kind == "end" or other_line):
        detail = "This `${` is never closed."
        return SyntaxFault(codes.UNCLOSED_INTERPOLATION, start, start + 2, detail, hint="close it with }")
    if ahead.kind == "sign" and ahead.text in "<>" or p.source.text.startswith(("==", "!=", "<=", ">="), ahead.start):
        detail = "Comparisons cannot be chained."
        hint = "join two with and, as in 1 < x and x < 9"
        return SyntaxFault(codes.BAD_EXPRESSION, ahead.start, ahead.end, detail, hint=hint)
    if kind in ("IF", "FOR") and bracket is None and (closes or ahead.kind == "word"):
        return block_missing(p, symbols, begin or 0, ahead)
    if closes or ahead.kind == "sign":
        return mistakes.stray(p, ahead)
    detail = f"`{mistakes.shortened(ahead.text)}` follows a value with no operator between them."
    return SyntaxFault(codes.BAD_EXPRESSION, ahead.start, ahead.end, detail)


def value_missing(p: Parsing, kind: str, begin: int | None, last: str, ahead: Ahead) -> SyntaxFault:
    closes = ahead.kind == "end" or ahead.text in "})],:;{" or last in OPERATORS
    if ahead.kind == "sign" and not closes:
        return mistakes.stray(p, ahead)
    if not p.values:
        at = ahead.start
        return SyntaxFault(codes.BAD_EXPRESSION, max(at - 2, 0), at + 1, "There is no expression between `${` and `}`.")
    token = p.values[-1]
    shown = "the comma" if last == "COMMA" else f"`{' '.join(token.text.split())}`"
    return SyntaxFault(codes.BAD_EXPRESSION, token.start, token.end, f"After {shown} a value is missing.")


def unclosed(p: Parsing, bracket: Token) -> SyntaxFault:
    line = p.source.position(bracket.start)[0]
    if bracket.kind == "LBRACKET":
        detail = f"This list was opened at line {line} and never closed."
        return SyntaxFault(codes.UNCLOSED_LIST, bracket.start, bracket.end, detail, hint="close it with ]")
    detail = f"This parenthesis was opened at line {line} and never closed."
    return SyntaxFault(codes.UNCLOSED_PARENTHESIS, bracket.start, bracket.end, detail, hint="close it with )")


def block_missing(p: Parsing, symbols: list[str], begin: int, ahead: Ahead) -> SyntaxFault:
    keyword = p.values[begin]
    if ahead.text == "else" and begin > 0 and symbols[begin] == "IF":
        detail = "A block, `{ ... }`, follows the condition of an `if`."
        hint = "for a value that depends on a condition, write ${x if condition else y}"
        return SyntaxFault(codes.EXPECTED_BLOCK, keyword.start, ahead.start, detail, hint=hint)
    what = "the condition of an `if`" if symbols[begin] == "IF" else "the list of a `for`"
    end = len(p.source.text[: ahead.start].rstrip())
    detail = f"A block, `{{ ... }}`, follows {what}."
    return SyntaxFault(codes.EXPECTED_BLOCK, keyword.start, end, detail, hint="write { before this")


def in_head_of_template(p: Parsing, keyword: Token, bracket: Token | None, last: str, ahead: Ahead) -> SyntaxFault:
    if last == "RPAREN":
        detail = "A block, `{ ... }`, follows the head of a template."
        return SyntaxFault(codes.EXPECTED_BLOCK, keyword.start, p.values[-1].end, detail)
    if bracket is not None and (ahead.kind == "end" or ahead.text in "{}"):
        return unclosed(p, bracket)
    if last == "COLON" or last in OPERATORS:
        return value_missing(p, "TEMPLATE", None, last, ahead)
    detail = "The head of a template names its parameters, perhaps with defaults, separated by commas."
    head = Related("in the head of this template", Span(p.source, keyword.start, keyword.end))
    return SyntaxFault(
        codes.BAD_STATEMENT, ahead.start, ahead.end, detail, head, hint=f"write {STATEMENTS['template']}"
    )


def bad_statement(p: Parsing, name: Token, ahead: Ahead) -> SyntaxFault | None:
    """A field name that was meant to begin a statement, going by what follows it on the line."""
    text = p.source.text
    starts = ahead.kind == "word" or ahead.text and ahead.text in "!("
    if name.text not in STATEMENTS or not starts or "\n" in text[name.end : ahead.start]:
        return None
    end = text.find("\n", ahead.start)
    line = text[name.start : end if end >= 0 else len(text)]
    end = name.start + len(line.split("{")[0].split("#")[0].rstrip())
    detail = f"This is no field, and no `{name.text}` statement either."
    hint = f"write {STATEMENTS[name.text]}"
    if name.text == "let" and "=" in line:
        before, _, after = line.partition("=")
        hint = f"write {before.rstrip()}: {after.strip()}"
    if ahead.text == "!":
        hint = "write not for !"
    return SyntaxFault(codes.BAD_STATEMENT, name.start, end, detail, hint=hint)
