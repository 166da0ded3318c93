"""The codes of the expansion: imports, names, templates, expressions and settings."""

from __future__ import annotations

from ..diagnostics import Code

UNKNOWN_NAME = Code(
    "unknown-name",
    "error",
    "Unknown name",
    "A name in an expression is defined by an earlier `let`, by the enclosing loop, or by the parameters of the "
    "enclosing template. Words of capital letters such as MAX, and true and false, are values themselves. Strings "
    "need quotes.",
    "let width: 32\nbase_lr: ${widht}\n",
    "let width: 32\nbase_lr: ${width}\n",
)
DUPLICATE_NAME = Code(
    "duplicate-name",
    "error",
    "A name is defined twice",
    "Constants are immutable: a block defines each name once. An inner block may define a name of an outer block "
    "again.",
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
    "Invalid function arguments",
    "`range` accepts one to three integers, `len` a list or string, `min` and `max` numbers or one list of "
    "numbers, `round` a number and optionally the number of decimals, `int` and `float` a number or a string that "
    "contains one, `str` anything but a list.",
    "base_lr: ${len(3)}\n",
    "base_lr: ${len([3])}\n",
)
BAD_OPERATION = Code(
    "bad-operation",
    "error",
    "Invalid operation",
    "Arithmetic works on numbers; `+` also concatenates two strings or two lists, and `*` repeats one. `and`, "
    "`or` and `not` expect conditions. A number becomes a string with `str(...)` or inside a string, "
    '`"conv${i}"`.',
    'let i: 1\nname: ${"conv" + i}\n',
    'let i: 1\nname: "conv${i}"\n',
)
BAD_INDEX = Code(
    "bad-index",
    "error",
    "Invalid index",
    "`x[0]` is the first element of a list or string; `x[len(x) - 1]` or `x[-1]` is the last.",
    "let sizes: [1, 2]\nbase_lr: ${sizes[2]}\n",
    "let sizes: [1, 2]\nbase_lr: ${sizes[1]}\n",
)
BAD_CONDITION = Code(
    "bad-condition",
    "error",
    "Invalid condition",
    "A condition is true or false: a comparison, or one of the values true, false, 1 and 0.",
    "let depth: 18\nif depth {\n  base_lr: 0.1\n}\n",
    "let depth: 18\nif depth > 0 {\n  base_lr: 0.1\n}\n",
)
NOT_A_LIST = Code(
    "not-a-list",
    "error",
    "A loop over something that is not a list",
    "`for` iterates over the elements of a list, such as `[1, 2, 3]` or `range(4)`.",
    "for i in 3 {\n  stepvalue: ${i}\n}\n",
    "for i in range(3) {\n  stepvalue: ${i}\n}\n",
)
WRONG_PLACE_FOR_VALUE = Code(
    "wrong-place-for-value",
    "error",
    "Value not allowed here",
    "The value of a field is a number, string, word or block, or a list of these, but not a list of lists. A list "
    "or block cannot be inserted into a string.",
    'let sizes: [1, 2]\nname: "net${sizes}"\n',
    'let sizes: [1, 2]\nname: "net${sizes[0]}"\n',
)
UNKNOWN_ARGUMENT = Code(
    "unknown-argument",
    "error",
    "Unknown argument",
    "A template accepts only the parameters of its definition as arguments.",
    "template rate(value) {\n  base_lr: ${value}\n}\nrate { valeu: 0.1 }\n",
    "template rate(value) {\n  base_lr: ${value}\n}\nrate { value: 0.1 }\n",
)
MISSING_ARGUMENT = Code(
    "missing-argument",
    "error",
    "Missing argument",
    "Each parameter without a default must be given where the template is used.",
    "template rate(value) {\n  base_lr: ${value}\n}\nrate { }\n",
    "template rate(value: 0.1) {\n  base_lr: ${value}\n}\nrate { }\n",
)
DUPLICATE_ARGUMENT = Code(
    "duplicate-argument",
    "error",
    "An argument is given twice",
    'Each argument of a template is given once. To pass several values, write a list: `bottom: ["a", "b"]`.',
    "template rate(value) {\n  base_lr: ${value}\n}\nrate { value: 0.1 value: 0.2 }\n",
    "template rate(value) {\n  base_lr: ${value}\n}\nrate { value: 0.1 }\n",
)
TEMPLATE_WITHOUT_BLOCK = Code(
    "template-without-block",
    "error",
    "A template is used like a plain field",
    'A template is used like a block that contains its arguments: `conv { name: "a" }`.',
    "template rate(value) {\n  base_lr: ${value}\n}\nrate: 0.1\n",
    "template rate(value) {\n  base_lr: ${value}\n}\nrate { value: 0.1 }\n",
)
RECURSIVE_TEMPLATE = Code(
    "recursive-template",
    "error",
    "A template uses itself",
    "A template cannot use itself, so every expansion ends. To repeat fields, use `for`.",
    "template again(n) {\n  stepvalue: ${n}\n  again { n: ${n - 1} }\n}\nagain { n: 3 }\n",
    "for n in range(3, 0, -1) {\n  stepvalue: ${n}\n}\n",
)
BAD_IMPORT = Code(
    "bad-import",
    "error",
    "Invalid import",
    "The imported file contains `let` and `template` statements. It is looked up relative to the importing file, "
    "then relative to the working directory, then in the folders of --import-path; it must be inside the folder of the "
    "net, the working directory or one of those folders, because diagnostics show lines of the files that are read. "
    '`import "std/..."` imports from the library. `import` is allowed only at the top level, and circular imports are '
    "an error.",
    'import "no_such_file.net"\n',
    "let width: 64\n",
)
NOT_IMPORTED = Code(
    "not-imported",
    "warning",
    "A field in an imported file",
    "Only the `let` and `template` statements of a file are imported; its fields are ignored.",
    '# parts.net\nlet width: 64\nname: "Parts"\n\n# model.net\nimport "parts.net"\nnum_output: ${width}\n',
    '# parts.net\nlet width: 64\n\n# model.net\nimport "parts.net"\nname: "Model"\nnum_output: ${width}\n',
)
UNKNOWN_SETTING = Code(
    "unknown-setting",
    "error",
    "Unknown setting",
    "`--set NAME=VALUE` overrides a `let` at the top level of the file, and `--set solver.FIELD=VALUE` a field of "
    "the solver.",
    "# netdef check model.net --set widht=32\nlet width: 64\nnum_output: ${width}\n",
    "# netdef check model.net --set width=32\nlet width: 64\nnum_output: ${width}\n",
)
BAD_RANGE = Code(
    "bad-range",
    "error",
    "Invalid range of a sweep",
    "`netdef sweep` varies a setting over values separated by commas (`16,32`), over a range of integers (`1..7`), "
    "and with --search, over a range of real numbers (`0.5..0.99`) or one on a logarithmic scale (`log(0.001..0.1)`, "
    "`log(8..512)`). Both ends are numbers and belong to the range, the first one is not larger than the second, and "
    "those of a logarithmic range are above 0.",
    "# netdef sweep model.net --search random --set 'solver.base_lr=log(0..0.1)'\nsolver {\n  base_lr: 0.01\n}\n",
    "# netdef sweep model.net --search random --set 'solver.base_lr=log(0.001..0.1)'\nsolver {\n  base_lr: 0.01\n}\n",
)
TOO_MUCH = Code(
    "too-much",
    "error",
    "The file is too large, or expands to too much",
    "A file may have 4 MB, 250,000 tokens and 10,000 layers, and expand to 100,000 fields; the steps of the expansion "
    "and the size of a number, string or list are limited as well. The largest published nets are far below these "
    "limits, so exceeding them is most often a mistake in a loop, or another kind of file.",
    "for i in range(1000000) {\n  stepvalue: ${i}\n}\n",
    "for i in range(10) {\n  stepvalue: ${i}\n}\n",
)
