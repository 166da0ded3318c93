"""The codes of the language itself: syntax, and the expansion of imports, names, templates and expressions.

`codes` is the catalogue that holds them together with those of all later stages.
"""

from __future__ import annotations

from ..diagnostics import Code

# Syntax

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

# Expansion: imports, names, templates and expressions

UNKNOWN_NAME = Code(
    "unknown-name",
    "error",
    "Unknown name",
    "A name in an expression is defined by a `let` above it, by the loop or by the parameters of the template"
    " that it stands in.  Words of capital letters such as MAX, true and false stand for themselves; other "
    "text stands in quotes.",
    "let width: 32\nbase_lr: ${widht}\n",
    "let width: 32\nbase_lr: ${width}\n",
)
DUPLICATE_NAME = Code(
    "duplicate-name",
    "error",
    "A name is defined twice",
    "Names never change: each is defined once in its block.  An inner block may use the name of an outer one anew.",
    "let width: 32\nlet width: 64\n",
    "let width: 64\n",
)
UNKNOWN_FUNCTION = Code(
    "unknown-function",
    "error",
    "Unknown function",
    "The functions are range, len, min, max, round, int, float and str.",
    "base_lr: ${sqrt(4)}\n",
    "base_lr: ${4 ** 0.5}\n",
)
BAD_CALL = Code(
    "bad-call",
    "error",
    "A function cannot take these arguments",
    "`range` takes one to three whole numbers, `len` a list or text, `min` and `max` numbers or a list of "
    "them, `round` a number and perhaps how many decimals, `int` and `float` a number or a text that is one, "
    "`str` anything but a list.",
    "base_lr: ${len(3)}\n",
    "base_lr: ${len([3])}\n",
)
BAD_OPERATION = Code(
    "bad-operation",
    "error",
    "Values that do not go together",
    "Arithmetic takes numbers; `+` also joins two texts or two lists, and `*` repeats one.  `and`, `or`, "
    '`not` take conditions.  Numbers become text with `str(...)` or inside a text, `"conv${i}"`.',
    'let i: 1\nname: ${"conv" + i}\n',
    'let i: 1\nname: "conv${i}"\n',
)
BAD_INDEX = Code(
    "bad-index",
    "error",
    "Nothing is at this index",
    "`x[0]` is the first element of a list or text, `x[len(x) - 1]` or `x[-1]` the last.",
    "let sizes: [1, 2]\nbase_lr: ${sizes[2]}\n",
    "let sizes: [1, 2]\nbase_lr: ${sizes[1]}\n",
)
BAD_CONDITION = Code(
    "bad-condition",
    "error",
    "Not a condition",
    "A condition is true or false: a comparison, or a value that is true, false, 1 or 0.",
    "let depth: 18\nif depth {\n  base_lr: 0.1\n}\n",
    "let depth: 18\nif depth > 0 {\n  base_lr: 0.1\n}\n",
)
NOT_A_LIST = Code(
    "not-a-list",
    "error",
    "A loop over something that is no list",
    "`for` goes through the elements of a list, `[1, 2, 3]` or `range(4)`.",
    "for i in 3 {\n  stepvalue: ${i}\n}\n",
    "for i in range(3) {\n  stepvalue: ${i}\n}\n",
)
WRONG_PLACE_FOR_VALUE = Code(
    "wrong-place-for-value",
    "error",
    "This value cannot stand here",
    "A field holds a number, a text, a word, a block or a list of these, but no list of lists; a text holds "
    "no lists or blocks.",
    'let sizes: [1, 2]\nname: "net${sizes}"\n',
    'let sizes: [1, 2]\nname: "net${sizes[0]}"\n',
)
UNKNOWN_ARGUMENT = Code(
    "unknown-argument",
    "error",
    "Unknown argument",
    "A template takes the arguments that its head names, and no others.",
    "template rate(value) {\n  base_lr: ${value}\n}\nrate { valeu: 0.1 }\n",
    "template rate(value) {\n  base_lr: ${value}\n}\nrate { value: 0.1 }\n",
)
MISSING_ARGUMENT = Code(
    "missing-argument",
    "error",
    "Missing argument",
    "Every parameter without a default has to be given where the template is used.",
    "template rate(value) {\n  base_lr: ${value}\n}\nrate { }\n",
    "template rate(value: 0.1) {\n  base_lr: ${value}\n}\nrate { }\n",
)
DUPLICATE_ARGUMENT = Code(
    "duplicate-argument",
    "error",
    "An argument is given twice",
    'Each argument of a template is given once; several values are a list, `bottom: ["a", "b"]`.',
    "template rate(value) {\n  base_lr: ${value}\n}\nrate { value: 0.1 value: 0.2 }\n",
    "template rate(value) {\n  base_lr: ${value}\n}\nrate { value: 0.1 }\n",
)
TEMPLATE_WITHOUT_BLOCK = Code(
    "template-without-block",
    "error",
    "A template is used like a plain field",
    'A template is used like a block, with its arguments inside: `conv { name: "a" }`.',
    "template rate(value) {\n  base_lr: ${value}\n}\nrate: 0.1\n",
    "template rate(value) {\n  base_lr: ${value}\n}\nrate { value: 0.1 }\n",
)
RECURSIVE_TEMPLATE = Code(
    "recursive-template",
    "error",
    "A template uses itself",
    "Templates do not repeat by themselves: `for` does.  So every file comes to an end.",
    "template again(n) {\n  stepvalue: ${n}\n  again { n: ${n - 1} }\n}\nagain { n: 3 }\n",
    "for n in range(3, 0, -1) {\n  stepvalue: ${n}\n}\n",
)
BAD_IMPORT = Code(
    "bad-import",
    "error",
    "An import that does not work",
    "`import` names a file with `let` and `template`, relative to the importing file or to the working "
    'directory, or one of the library, `import "std/..."`.  It stands at the top level, and files do not '
    "import each other in a circle.",
    'import "no_such_file.net"\n',
    "let width: 64\n",
)
NOT_IMPORTED = Code(
    "not-imported",
    "warning",
    "A field in an imported file",
    "Of an imported file only its `let` and `template` are taken; its fields belong to that file alone.",
    '# parts.net\nlet width: 64\nname: "Parts"\n\n# model.net\nimport "parts.net"\nnum_output: ${width}\n',
    '# parts.net\nlet width: 64\n\n# model.net\nimport "parts.net"\nname: "Model"\nnum_output: ${width}\n',
)
UNKNOWN_SETTING = Code(
    "unknown-setting",
    "error",
    "Unknown setting",
    "`--set NAME=VALUE` changes a `let` of the file's top level, and `--set solver.FIELD=VALUE` a field of the solver.",
    "# netdef check model.net --set widht=32\nlet width: 64\nnum_output: ${width}\n",
    "# netdef check model.net --set width=32\nlet width: 64\nnum_output: ${width}\n",
)
TOO_MUCH = Code(
    "too-much",
    "error",
    "The file expands to too much",
    "Loops and templates may make some hundred thousand fields, and single values, texts and lists have a "
    "limit as well.  The largest published nets stay far below; what exceeds them is most often a mistake in "
    "a loop.",
    "for i in range(1000000) {\n  stepvalue: ${i}\n}\n",
    "for i in range(10) {\n  stepvalue: ${i}\n}\n",
)
