"""Explains syntax errors in statements and expressions; `mistakes` calls it when the parser is stuck in one of these.

Given the place where the parser is stuck, it returns one `SyntaxFault`: that of the first row of MISTAKES that applies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .. import codes
from ..diagnostics import Related
from ..source import Span
from .faults import SyntaxFault, bad_number, is_bad_number, shortened, stray, unclosed_list
from .tokens import Ahead, Stuck, Token

STATEMENTS = {
    "import": 'import "FILE"',
    "let": "let NAME: VALUE",
    "template": "template NAME(PARAMETER, PARAMETER: DEFAULT) { ... }",
    "for": "for NAME in LIST { ... }",
    "if": "if CONDITION { ... }",
}
BEGIN = {"IMPORT", "LET", "TEMPLATE", "FOR", "IF", "DOLLAR"}
# These must be followed by a value.
OPERATORS = set(
    "PLUS MINUS STAR POWER SLASH FLOOR PERCENT EQUAL NOT_EQUAL AT_MOST AT_LEAST AND OR NOT LANGLE RANGLE".split()
)
BEFORE_VALUE = OPERATORS | {"LET", "IF", "IN", "OTHERWISE", "DOLLAR", "LPAREN", "LBRACKET", "COMMA", "COLON", ""}
INSTEAD = {"&": "and", "|": "or", "!": "not", "=": "==", "^": "**", "?": "x if condition else y"}
COMPARISONS = ("==", "!=", "<=", ">=")


class Inside(NamedTuple):
    """The expression or head of a statement in which the parser is stuck."""

    stuck: Stuck
    begin: int | None  # index on the stack of its keyword or `${`; None in an expression inside a string
    bracket: Token | None  # its innermost open bracket

    @property
    def kind(self) -> str:
        return "DOLLAR" if self.begin is None else self.stuck.symbols[self.begin]

    @property
    def keyword(self) -> Token | None:
        return None if self.begin is None else self.stuck.values[self.begin]

    @property
    def last(self) -> str:
        return self.stuck.last

    @property
    def ahead(self) -> Ahead:
        return self.stuck.ahead

    @property
    def text(self) -> str:
        return self.stuck.source.text

    @property
    def closes(self) -> bool:
        """Whether the next token can only end the expression."""
        return self.ahead.kind == "end" or self.ahead.text in "})]>"


def applies(stuck: Stuck) -> bool:
    """Whether the parser is inside an expression or the head of a statement."""
    return stuck.goal == "interpolation" or beginning(stuck.symbols) is not None


def beginning(symbols: list[str]) -> int | None:
    """The index on the stack of the keyword or `${` whose head or expression is incomplete."""
    for i in reversed(range(len(symbols))):
        if symbols[i] in BEGIN:
            # after the complete value of a `let`, a field may also begin
            return i
        if symbols[i] in ("body", "braces", "message", "OPEN_BRACE", "OPEN_ANGLE", "name", "ELSE"):
            return None
    return None


def explain(stuck: Stuck) -> SyntaxFault:
    begin, opener = beginning(stuck.symbols), stuck.opener
    inner = opener is not None and opener > (begin if begin is not None else -1)
    at = Inside(stuck, begin, stuck.values[opener] if opener is not None and inner else None)
    return next(fault(at) for when, fault in MISTAKES if when(at))


def foreign_operator(at: Inside) -> bool:
    """Whether the next token is an operator of other languages, such as && or !."""
    return at.ahead.text in INSTEAD and not (at.ahead.text == "!" and at.text.startswith("!=", at.ahead.start))


def instead(at: Inside) -> SyntaxFault:
    ahead = at.ahead
    twice = at.text.startswith(ahead.text, ahead.end)
    detail = f"`{ahead.text * (1 + twice)}` has no meaning in an expression."
    hint = f"write {INSTEAD[ahead.text]}"
    return SyntaxFault(codes.BAD_EXPRESSION, ahead.start, ahead.end + twice, detail, hint=hint)


def value_missing(at: Inside) -> SyntaxFault:
    ahead, values = at.ahead, at.stuck.values
    closes = ahead.kind == "end" or ahead.text in "})],:;{" or at.last in OPERATORS
    if ahead.kind == "sign" and not closes:
        return stray(at.text, ahead)
    if not values:
        detail = "There is no expression between `${` and `}`."
        return SyntaxFault(codes.BAD_EXPRESSION, max(ahead.start - 2, 0), ahead.start + 1, detail)
    shown = "the comma" if at.last == "COMMA" else f"`{' '.join(values[-1].text.split())}`"
    return SyntaxFault(codes.BAD_EXPRESSION, values[-1].start, values[-1].end, f"A value is missing after {shown}.")


def unclosed_bracket(at: Inside) -> SyntaxFault:
    bracket = at.bracket
    assert bracket is not None
    line = at.stuck.source.position(bracket.start)[0]
    if bracket.kind == "LBRACKET":
        return unclosed_list(line, bracket)
    detail = f"This parenthesis was opened at line {line} and is never closed."
    return SyntaxFault(codes.UNCLOSED_PARENTHESIS, bracket.start, bracket.end, detail, hint="close it with )")


def interpolation_is_open(at: Inside) -> bool:
    if at.keyword is None or at.kind != "DOLLAR":
        return False
    other_line = at.ahead.kind == "word" and "\n" in at.text[at.keyword.start : at.ahead.start]
    return at.ahead.kind == "end" or other_line


def unclosed_interpolation(at: Inside) -> SyntaxFault:
    assert at.keyword is not None
    start, detail = at.keyword.start, "This `${` is never closed."
    return SyntaxFault(codes.UNCLOSED_INTERPOLATION, start, start + 2, detail, hint="close it with }")


def second_comparison(at: Inside) -> bool:
    return at.ahead.kind == "sign" and at.ahead.text in "<>" or at.text.startswith(COMPARISONS, at.ahead.start)


def chained(at: Inside) -> SyntaxFault:
    detail = "Comparisons cannot be chained."
    hint = "combine two comparisons with and, as in 1 < x and x < 9"
    return SyntaxFault(codes.BAD_EXPRESSION, at.ahead.start, at.ahead.end, detail, hint=hint)


def block_missing(at: Inside) -> SyntaxFault:
    keyword, ahead = at.keyword, at.ahead
    assert keyword is not None
    if ahead.text == "else" and at.begin and at.kind == "IF":
        detail = "The condition of an `if` must be followed by a block, `{ ... }`."
        hint = "for a value that depends on a condition, write ${x if condition else y}"
        return SyntaxFault(codes.EXPECTED_BLOCK, keyword.start, ahead.start, detail, hint=hint)
    what = "The condition of an `if`" if at.kind == "IF" else "The list of a `for`"
    end = len(at.text[: ahead.start].rstrip())
    detail = f"{what} must be followed by a block, `{{ ... }}`."
    return SyntaxFault(codes.EXPECTED_BLOCK, keyword.start, end, detail, hint="write { before this")


def in_head_of_template(at: Inside) -> SyntaxFault:
    keyword, ahead = at.keyword, at.ahead
    assert keyword is not None
    if at.last == "RPAREN":
        detail = "The parameters of a template must be followed by a block, `{ ... }`."
        return SyntaxFault(codes.EXPECTED_BLOCK, keyword.start, at.stuck.values[-1].end, detail)
    if at.bracket is not None and (ahead.kind == "end" or ahead.text in "{}"):
        return unclosed_bracket(at)
    if at.last == "COLON" or at.last in OPERATORS:
        return value_missing(at)
    detail = "The parentheses of a template contain its parameters, optionally with defaults, separated by commas."
    head = Related("in the parameters of this template", Span(at.stuck.source, keyword.start, keyword.end))
    hint = f"write {STATEMENTS['template']}"
    return SyntaxFault(codes.BAD_STATEMENT, ahead.start, ahead.end, detail, head, hint=hint)


def operator_missing(at: Inside) -> SyntaxFault:
    detail = f"`{shortened(at.ahead.text)}` follows a value without an operator between them."
    return SyntaxFault(codes.BAD_EXPRESSION, at.ahead.start, at.ahead.end, detail)


# Rows of (when, fault): whether the row applies, and its error. The first row that applies is reported.
MISTAKES: tuple[tuple[Callable[[Inside], bool], Callable[[Inside], SyntaxFault]], ...] = (
    (lambda at: is_bad_number(at.ahead) and at.last in BEFORE_VALUE, lambda at: bad_number(at.ahead)),
    (lambda at: at.kind == "TEMPLATE", in_head_of_template),
    (foreign_operator, instead),
    (lambda at: at.last in BEFORE_VALUE, value_missing),
    (lambda at: at.bracket is not None and (at.closes or at.ahead.text == "{"), unclosed_bracket),
    (interpolation_is_open, unclosed_interpolation),
    (second_comparison, chained),
    (lambda at: at.kind in ("IF", "FOR") and not at.bracket and (at.closes or at.ahead.kind == "word"), block_missing),
    (lambda at: at.closes or at.ahead.kind == "sign", lambda at: stray(at.text, at.ahead)),
    (lambda at: True, operator_missing),
)


def bad_statement(text: str, name: Token, ahead: Ahead) -> SyntaxFault | None:
    """The error of a field name that was meant to begin a statement, judging by the rest of its line."""
    starts = ahead.kind == "word" or ahead.text and ahead.text in "!("
    if name.text not in STATEMENTS or not starts or "\n" in text[name.end : ahead.start]:
        return None
    end = text.find("\n", ahead.start)
    line = text[name.start : end if end >= 0 else len(text)]
    end = name.start + len(line.split("{")[0].split("#")[0].rstrip())
    detail = f"This is neither a field nor a valid `{name.text}` statement."
    hint = f"write {STATEMENTS[name.text]}"
    if name.text == "let" and "=" in line:
        before, _, after = line.partition("=")
        hint = f"write {before.rstrip()}: {after.strip()}"
    if ahead.text == "!":
        hint = "write not instead of !"
    return SyntaxFault(codes.BAD_STATEMENT, name.start, end, detail, hint=hint)
