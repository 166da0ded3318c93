"""The codes of the parser: syntax errors."""

from __future__ import annotations

from ..diagnostics import Code

UNCLOSED_BLOCK = Code(
    "unclosed-block",
    "error",
    "A block is never closed",
    "Every `{` needs its `}` and every `<` its `>`. The block shown is the one that is never closed; the brace is "
    "missing somewhere after it, most often just before the next block of the same kind.",
    'layer {\n  name: "a"\n',
    'layer {\n  name: "a"\n}\n',
)
UNCLOSED_LIST = Code(
    "unclosed-list",
    "error",
    "A list is never closed",
    "A list of values begins with `[` and ends with `]`.",
    "stepvalue: [1000, 2000\nbase_lr: 0.1\n",
    "stepvalue: [1000, 2000]\nbase_lr: 0.1\n",
)
UNMATCHED_CLOSE = Code(
    "unmatched-close",
    "error",
    "A closing brace without an opening one",
    "This brace closes nothing: all blocks before it are already closed. Either there is one brace too many, or "
    "an opening brace is missing above.",
    'layer {\n  name: "a"\n}\n}\n',
    'layer {\n  name: "a"\n}\n',
)
WRONG_CLOSE = Code(
    "wrong-close",
    "error",
    "A block is closed by the wrong brace",
    "A block opened by `{` is closed by `}`, a block opened by `<` by `>`, and a list by `]`.",
    'layer {\n  name: "a"\n>\n',
    'layer {\n  name: "a"\n}\n',
)
BLOCK_WITHOUT_NAME = Code(
    "block-without-name",
    "error",
    "A block without a name",
    "A block is a field like any other, so the name of the field comes before its `{`.",
    '{ name: "a" }\n',
    'layer { name: "a" }\n',
)
MISSING_COLON = Code(
    "missing-colon",
    "error",
    "Missing colon",
    "The name of a field is followed by a colon and the value. The colon may be left out only before a block.",
    "base_lr 0.1\n",
    "base_lr: 0.1\n",
)
MISSING_VALUE = Code(
    "missing-value",
    "error",
    "Missing value",
    "A colon is followed by a value: a number, a word such as true or MAX, a quoted string, a list or a block.",
    "base_lr:\nmomentum: 0.9\n",
    "base_lr: 0.1\nmomentum: 0.9\n",
)
FIELD_WITHOUT_VALUE = Code(
    "field-without-value",
    "error",
    "A field without a value",
    "A field is `name: value` or `name { ... }`; a name alone has no meaning.",
    'layer\nname: "a"\n',
    'layer {\n  name: "a"\n}\n',
)
VALUE_WITHOUT_FIELD = Code(
    "value-without-field",
    "error",
    "A value without a field",
    "Each value belongs to a field, `name: value`. To give a field several values, write a list, `name: [1, 2]`, "
    "or repeat the field.",
    "stepvalue: 1000 2000\n",
    "stepvalue: [1000, 2000]\n",
)
MISSING_COMMA = Code(
    "missing-comma",
    "error",
    "Missing comma",
    "The values of a list are separated by commas: `[1, 2]`.",
    "stepvalue: [1000 2000]\n",
    "stepvalue: [1000, 2000]\n",
)
EXTRA_SEPARATOR = Code(
    "extra-separator",
    "error",
    "One separator too many",
    "A field may be followed by one `,` or `;`. The values of a list are separated by one comma, with none after "
    "the last.",
    "stepvalue: [1000, 2000,]\n",
    "stepvalue: [1000, 2000]\n",
)
NESTED_LIST = Code(
    "nested-list",
    "error",
    "A list inside a list",
    "The values of a list are numbers, words, strings or blocks; a list cannot contain another list.",
    "dim: [[1, 2], [3]]\n",
    "dim: [1, 2, 3]\n",
)
UNTERMINATED_STRING = Code(
    "unterminated-string",
    "error",
    "A string without its closing quote",
    "A string begins and ends with the same quote character, on one line. A long string can be split into "
    "several: adjacent strings are concatenated.",
    'name: "LeNet\n',
    'name: "LeNet"\n',
)
UNQUOTED_TEXT = Code(
    "unquoted-text",
    "error",
    "A string without quotes",
    "An unquoted value is a number or a single word such as true or MAX. Everything else is a string, and strings "
    "need quotes.",
    "source: data/train.txt\n",
    'source: "data/train.txt"\n',
)
BAD_ESCAPE = Code(
    "bad-escape",
    "error",
    "Unknown escape in a string",
    "A backslash is followed by one of a b f n r t v ? \\ ' \", by one to three octal digits, by x and one or two "
    "hexadecimal digits, by u and four, or by U and eight. A backslash itself is written twice.",
    'source: "C:\\data\\train"\n',
    'source: "C:/data/train"\n',
)
BAD_NUMBER = Code(
    "bad-number",
    "error",
    "Invalid number",
    "Numbers are written as 12, -3, 0x1F, 017 (octal), 0.5, .5, 1., 1e-4 or 1.5f, without a plus sign. No letter, "
    "digit or point may follow directly.",
    "base_lr: 0.1.2\n",
    "base_lr: 0.12\n",
)
STRAY_CHARACTER = Code(
    "stray-character",
    "error",
    "Unexpected character",
    "Outside strings and comments, only names, numbers and the characters `: { } < > [ ] , ; -` have a meaning. "
    "Comments begin with `#`.",
    "// the learning rate\nbase_lr: 0.1\n",
    "# the learning rate\nbase_lr: 0.1\n",
)
TOO_DEEP = Code(
    "too-deep",
    "error",
    "Blocks are nested too deeply",
    "No net needs more than a few levels. A file with more than 100 levels is rejected before it exhausts the memory.",
    "a { " * 101 + "} " * 101 + "\n",
    "a { b { c { } } }\n",
)
EXPECTED_BLOCK = Code(
    "expected-block",
    "error",
    "Missing block",
    "`template`, `for`, `if` and `else` are followed by a block, `{ ... }`.",
    "let deep: true\nif deep\nbase_lr: 0.1\n",
    "let deep: true\nif deep {\n  base_lr: 0.1\n}\n",
)
BAD_STATEMENT = Code(
    "bad-statement",
    "error",
    "Invalid statement",
    'The statements are `import "FILE"`, `let NAME: VALUE`, `template NAME(PARAMETER, PARAMETER: DEFAULT) { '
    "... }`, `for NAME in LIST { ... }` and `if CONDITION { ... } else { ... }`.",
    "let width = 64\n",
    "let width: 64\n",
)
BAD_EXPRESSION = Code(
    "bad-expression",
    "error",
    "Invalid expression",
    "Expressions consist of numbers, strings, names, lists, `+ - * / // % **`, comparisons, `and`, `or`, `not`, "
    "`x if c else y`, `x[i]`, parentheses and calls such as `len(x)`.",
    "base_lr: ${1 +}\n",
    "base_lr: ${1 + 2}\n",
)
UNCLOSED_PARENTHESIS = Code(
    "unclosed-parenthesis",
    "error",
    "A parenthesis is never closed",
    "Every `(` needs its `)`.",
    "base_lr: ${(1 + 2}\n",
    "base_lr: ${(1 + 2)}\n",
)
UNCLOSED_INTERPOLATION = Code(
    "unclosed-interpolation",
    "error",
    "`${` without its closing `}`",
    "`${` begins an expression and `}` ends it, also inside a string. In a string, a literal `${` is written "
    "`$${`. Strings in an expression inside a string use the other kind of quotes.",
    'let n: 2\nname: "net${n"\n',
    'let n: 2\nname: "net${n}"\n',
)
