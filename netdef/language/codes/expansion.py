"""The codes of the expansion: imports, names, templates, expressions and settings."""

from __future__ import annotations

from ..diagnostics import Code

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
