"""The codes of the parser: texts that are not of the language."""

from __future__ import annotations

from ..diagnostics import Code

UNCLOSED_BLOCK = Code(
    "unclosed-block",
    "error",
    "A block is never closed",
    "Every `{` needs its `}` and every `<` its `>`.  The place shown is the block that was opened and never "
    "closed; the brace is missing somewhere after it, most often just before the next block of the same kind.",
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
    "This brace closes nothing: all blocks before it are closed already.  Either it is one too many, or an "
    "opening brace is missing above.",
    'layer {\n  name: "a"\n}\n}\n',
    'layer {\n  name: "a"\n}\n',
)
WRONG_CLOSE = Code(
    "wrong-close",
    "error",
    "A block is closed by the wrong brace",
    "A block that was opened by `{` is closed by `}`, one that was opened by `<` by `>`, and a list by `]`.",
    'layer {\n  name: "a"\n>\n',
    'layer {\n  name: "a"\n}\n',
)
BLOCK_WITHOUT_NAME = Code(
    "block-without-name",
    "error",
    "A block without a name",
    "A block is a field like any other, so the name of the field stands before its `{`.",
    '{ name: "a" }\n',
    'layer { name: "a" }\n',
)
MISSING_COLON = Code(
    "missing-colon",
    "error",
    "Missing colon",
    "A colon stands between the name of a field and its value; only before a block may it be left out.",
    "base_lr 0.1\n",
    "base_lr: 0.1\n",
)
MISSING_VALUE = Code(
    "missing-value",
    "error",
    "Missing value",
    "After the colon comes a value: a number, a word such as true or MAX, a text in quotes, a list or a block.",
    "base_lr:\nmomentum: 0.9\n",
    "base_lr: 0.1\nmomentum: 0.9\n",
)
FIELD_WITHOUT_VALUE = Code(
    "field-without-value",
    "error",
    "A field without a value",
    "A name alone says nothing: a field is `name: value` or `name { ... }`.",
    'layer\nname: "a"\n',
    'layer {\n  name: "a"\n}\n',
)
VALUE_WITHOUT_FIELD = Code(
    "value-without-field",
    "error",
    "A value without a field",
    "Each value belongs to a field, `name: value`.  Several values for one field are a list, `name: [1, 2]`, "
    "or the field is written once for each.",
    "stepvalue: 1000 2000\n",
    "stepvalue: [1000, 2000]\n",
)
MISSING_COMMA = Code(
    "missing-comma",
    "error",
    "Missing comma",
    "A comma is missing between list values: the values of a list are separated by commas, `[1, 2]`.",
    "stepvalue: [1000 2000]\n",
    "stepvalue: [1000, 2000]\n",
)
EXTRA_SEPARATOR = Code(
    "extra-separator",
    "error",
    "One separator too many",
    "Fields may be followed by one `,` or `;`, and list values are separated by one comma, with none after the last.",
    "stepvalue: [1000, 2000,]\n",
    "stepvalue: [1000, 2000]\n",
)
NESTED_LIST = Code(
    "nested-list",
    "error",
    "A list inside a list",
    "The values of a list are numbers, words, texts or blocks; a field of lists does not exist.",
    "dim: [[1, 2], [3]]\n",
    "dim: [1, 2, 3]\n",
)
UNTERMINATED_STRING = Code(
    "unterminated-string",
    "error",
    "A text without its closing quote",
    "A text begins and ends with the same quote, on one line.  A long one can be cut in pieces: adjacent "
    "texts are joined.",
    'name: "LeNet\n',
    'name: "LeNet"\n',
)
UNQUOTED_TEXT = Code(
    "unquoted-text",
    "error",
    "Text without quotes",
    "A bare value is a number or a single word such as true or MAX.  Everything else is text and stands in quotes.",
    "source: data/train.txt\n",
    'source: "data/train.txt"\n',
)
BAD_ESCAPE = Code(
    "bad-escape",
    "error",
    "Unknown escape in a text",
    "After a backslash come a b f n r t v ? \\ ' or a quote, one to three octal digits, x and one or two "
    "hexadecimal digits, u and four of them, or U and eight.  A backslash itself is written twice.",
    'source: "C:\\data\\train"\n',
    'source: "C:/data/train"\n',
)
BAD_NUMBER = Code(
    "bad-number",
    "error",
    "Not a number",
    "Numbers are written 12, -3, 0x1F, 017 (octal), 0.5, .5, 1., 1e-4 or 1.5f, without a plus sign, and "
    "nothing may follow directly.",
    "base_lr: 0.1.2\n",
    "base_lr: 0.12\n",
)
STRAY_CHARACTER = Code(
    "stray-character",
    "error",
    "A character that means nothing here",
    "Outside of texts and comments only names, numbers and the signs `: { } < > [ ] , ; -` have a meaning. "
    " Comments begin with `#`.",
    "// the learning rate\nbase_lr: 0.1\n",
    "# the learning rate\nbase_lr: 0.1\n",
)
TOO_DEEP = Code(
    "too-deep",
    "error",
    "Blocks are nested too deeply",
    "No net needs more than a few levels; files with more than a hundred are refused before they exhaust memory.",
    "a { " * 101 + "} " * 101 + "\n",
    "a { b { c { } } }\n",
)
EXPECTED_BLOCK = Code(
    "expected-block",
    "error",
    "A block is missing",
    "`template`, `for`, `if` and `else` are followed by a block, `{ ... }`.",
    "let deep: true\nif deep\nbase_lr: 0.1\n",
    "let deep: true\nif deep {\n  base_lr: 0.1\n}\n",
)
BAD_STATEMENT = Code(
    "bad-statement",
    "error",
    "A statement that cannot be read",
    'The statements are `import "FILE"`, `let NAME: VALUE`, `template NAME(PARAMETER, PARAMETER: DEFAULT) { '
    "... }`, `for NAME in LIST { ... }` and `if CONDITION { ... } else { ... }`.",
    "let width = 64\n",
    "let width: 64\n",
)
BAD_EXPRESSION = Code(
    "bad-expression",
    "error",
    "An expression that cannot be read",
    "Expressions are made of numbers, texts, names, lists, `+ - * / // % **`, comparisons, `and or not`, `x "
    "if c else y`, `x[i]`, parentheses and calls such as `len(x)`.",
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
    "`${` without its `}`",
    "`${` begins an expression and `}` ends it, in a text as well.  A text that should hold the two signs "
    "`${` themselves is written with `$${`.  Texts inside an expression inside a text stand in the other kind"
    " of quotes.",
    'let n: 2\nname: "net${n"\n',
    'let n: 2\nname: "net${n}"\n',
)
