"""The context of the cursor. Only the tokens before it are used, so that it works in an incomplete file; with the index
of a text, only those since the last item of the top level.

`context(text, offset)` returns the enclosing blocks, the field if the cursor is in its value, and the word at the
cursor. `fields(context)` returns the fields that are valid in the enclosing block.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..fillers import Filler
from ..fillers.base import FILLERS
from ..layers.base import LAYERS, Layer
from ..passes.decode import NetParameter
from ..schema import Block, Param
from ..solvers.base import Solver
from ..solvers.decode import solver_fields

TOKEN = re.compile(
    r"""\#[^\n]*|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|\$\{|[A-Za-z_]\w*|-?[\d.][\w.+-]*|[^\s\w]""", re.X
)
WORD_BEFORE, WORD_AFTER = re.compile(r"[A-Za-z_]\w*\Z|\Z"), re.compile(r"\w*")
SPACING = 4096  # characters between the places of an index
MOST_NAMES = 1000  # names of the top level that an index keeps at each of its places
STATEMENTS = ("template", "for", "if", "else")
THROUGH = ""  # the name of a block in which the same fields are valid as around it


@dataclass
class Around:
    """A block around the cursor: its name and the value of `type` in it."""

    name: str
    type: str | None = None


@dataclass(frozen=True)
class Context:
    """`field` is set if the cursor is in its value; `word` is the word at the cursor, from `start` to `end`."""

    around: tuple[Around, ...]
    field: str | None
    word: str
    start: int
    end: int
    quoted: bool
    given: frozenset[str] = frozenset()  # fields of the innermost block before the cursor
    expression: bool = False  # inside `${...}`


class _Scan:
    """A scanner of tokens that keeps the stack of open blocks."""

    def __init__(self) -> None:
        self.stack: list[Around] = []
        self.given: list[set[str]] = [set()]
        self.field: str | None = None  # the last word that can be the name of a field
        self.value = False  # the next token is a value of `field`
        self.statement = False
        self.lists = self.inner = 0  # open [ and ${

    def take(self, text: str) -> None:
        if text.startswith("#"):
            return
        if text == "${":
            self.inner += 1
        elif text == "}" and self.inner:
            self.inner -= 1
            self._end()
        elif self.inner:
            return
        elif text in ("{", "<"):
            self._open()
        elif text in ("}", ">"):
            if self.stack:
                self.stack.pop()
                self.given.pop()
            self._end()
        elif text == "[":
            self.lists += 1
        elif text == "]":
            self.lists = max(self.lists - 1, 0)
            self._end()
        elif text == ":":
            self.value = self.field is not None
        elif text not in (",", ";"):
            self._word(text)

    @property
    def between(self) -> bool:
        """Whether the last token ended an item of the top level, so that only `given` matters for what follows."""
        return not (self.stack or self.field is not None or self.statement or self.lists or self.inner)

    def _word(self, text: str) -> None:
        if self.statement:
            return
        if self.value:
            if self.field == "type" and self.stack:
                self.stack[-1].type = text.strip("\"'")
            self._end()
        elif text in STATEMENTS:
            self.statement = True
        elif text[0].isalpha() or text[0] == "_":
            self.field = text
            self.given[-1].add(text)

    def _open(self) -> None:
        name = THROUGH if self.statement or self.field is None else self.field
        self.stack.append(Around(name))
        self.given.append(set())
        self.field, self.value, self.statement = None, False, False

    def _end(self) -> None:
        if not self.lists:
            self.field, self.value = None, False


@dataclass(frozen=True)
class Index:
    """Where the scan of a text may begin: offsets between items of the top level, with the names of the fields before
    each of them."""

    offsets: tuple[int, ...] = (0,)
    given: tuple[frozenset[str], ...] = (frozenset(),)

    def before(self, offset: int) -> tuple[int, frozenset[str]]:
        """The last place before an offset."""
        at = max(0, bisect.bisect_left(self.offsets, offset) - 1)
        return self.offsets[at], self.given[at]


def index(text: str) -> Index:
    """Returns the index of a text, which need not be complete."""
    scan = _Scan()
    offsets, given = [0], [frozenset[str]()]
    for token in TOKEN.finditer(text):
        scan.take(token[0])
        if token.end() - offsets[-1] >= SPACING and scan.between and len(scan.given[0]) <= MOST_NAMES:
            offsets.append(token.end())
            given.append(given[-1] if len(given[-1]) == len(scan.given[0]) else frozenset(scan.given[0]))
    return Index(tuple(offsets), tuple(given))


START = Index()  # of any text: the scan begins at its start


def context(text: str, offset: int, index: Index = START) -> Context:
    """Returns the context at `offset`. `index`, if it is that of this text, saves time."""
    scan = _Scan()
    begin, given = index.before(offset)
    scan.given[0].update(given)
    for token in TOKEN.finditer(text, begin):
        if token.end() >= offset and (token.start() < offset or token.start() == offset and token[0][0].isalpha()):
            word = token[0]
            if word[0] in "\"'" and (inner := _in_braces(text, token.start(), offset)):
                return inner
            if word[0].isalpha() or word[0] in "_\"'":
                return _context(scan, word, token.start(), token.end())
        if token.start() >= offset:
            break
        scan.take(token[0])
    return _context(scan, "", offset, offset)


def _in_braces(text: str, start: int, offset: int) -> Context | None:
    """Returns the word in a `${...}` of the string that begins at `start`, if `offset` is in one."""
    opened = text.rfind("${", start, offset)
    if opened < 0 or "}" in text[opened:offset] or text.startswith("$", opened - 1):
        return None
    begin, end = WORD_BEFORE.search(text, opened, offset), WORD_AFTER.match(text, offset)
    assert begin and end
    word = text[begin.start() : end.end()]
    return Context((), None, word, begin.start(), end.end(), False, expression=True)


def _context(scan: _Scan, word: str, start: int, end: int) -> Context:
    around = tuple(a for a in scan.stack if a.name != THROUGH)
    quoted = word[:1] in ('"', "'")
    name = scan.field if scan.value or quoted and scan.field == "import" else None
    given, inside = frozenset(scan.given[-1]), scan.inner > 0
    return Context(around, name, word.strip("\"'"), start, end, quoted, given, inside and not quoted)


def fields(at: Context, is_solver: bool = False, solver: Solver | None = None) -> Mapping[str, Param]:
    """Returns the fields of the block around the cursor by name, or none if the block is unknown. `is_solver`: whether
    the file is a solver; `solver`: its solver as it was last decoded, which may be one of another library."""
    if is_solver:
        return _inside(_of_solver(solver), [*at.around])
    if not at.around:
        return _by_name(NetParameter.params())
    first, *inner = at.around
    if first.name in ("layer", "layers"):
        cls = LAYERS.get(first.type or "") or Layer
        if not inner:
            return _by_name({n: p for n, p in cls.params().items() if p.beside})
        if inner[0].name == cls.block:
            return _inside(_by_name({n: p for n, p in cls.params().items() if not p.beside}), inner[1:])
        return _inside(_by_name({n: p for n, p in cls.params().items() if p.beside}), inner)
    if first.name == "solver":
        return _inside(_of_solver(solver), inner)
    return {}


def _of_solver(solver: Solver | None) -> Mapping[str, Param]:
    own = type(solver).params() | type(solver.policy).params() if solver else {}
    return _by_name(solver_fields() | Solver.params() | own)


def _inside(params: Mapping[str, Param], inner: list[Around]) -> Mapping[str, Param]:
    for message in inner:
        spec = params.get(message.name)
        cls = spec.type if spec is not None else None
        if isinstance(cls, type) and issubclass(cls, Filler):
            cls = FILLERS.get(message.type or "constant") or cls
        if not (isinstance(cls, type) and issubclass(cls, Block)):
            return {}
        params = _by_name(cls.params())
    return params


def _by_name(params: Mapping[str, Param]) -> dict[str, Param]:
    return {spec.name: spec for spec in params.values()}
