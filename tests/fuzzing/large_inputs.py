"""Large and hostile inputs within the limits of a file: the CPU seconds and the memory of `netdef check`, fmt and expand.

usage: python tests/fuzzing/large_inputs.py [--commands NAME,...] [WORD...]
       (default: all inputs, with check,fmt,expand; a WORD selects the inputs that contain it)

The other commands are for nets without errors, of which they make something larger: deploy, which reads the net twice,
and page, which writes 2 kB for each layer, may take three times as long. Each input is a file near the limits (grammar/SPEC.md) with very much of one thing. Each command is a separate process;
its CPU time (user and system) includes the start of Python. The last lines are the inputs that exceed 2 s or 300 MB.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SECONDS, MEGABYTES = 2.0, 300
END = 20  # CPU seconds after which a command is stopped
COMMANDS = {  # the words of each, before the file
    "check": ["check"],
    "fmt": ["fmt"],
    "expand": ["expand"],
    "diff": ["fmt", "--diff"],
    "json": ["check", "--json"],
    "convert": ["convert", "-o", "out.net"],
    "summary": ["summary"],
    "dot": ["draw"],
    "folded": ["draw", "--fold", "all"],
    "columns": ["draw", "--columns", "4"],
    "mermaid": ["draw", "-o", "out.mmd"],
    "page": ["draw", "-o", "out.html"],
    "deploy": ["deploy"],
}
DATA = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: [1, 3, 8, 8] } } }\n'
SOLVER = 'net: "n.net" base_lr: 0.1 lr_policy: "fixed"\n'


def repeated(count: int, form: str, join: str = "") -> str:
    """`form` with `#` replaced by 0, 1, 2 and so on."""
    return join.join(form.replace("#", str(i)) for i in range(count))


def layers(count: int, form: str) -> str:
    return DATA + repeated(count, f"layer {{ {form} }}\n")


CONV = 'type: "Convolution" bottom: "d" top: "t#" convolution_param { num_output: 4 kernel_size: 3 pad: 1 '
NORM = "layer { type: 'BatchNorm' name: 'b#' bottom: 't#' top: 't#' } layer { type: 'Scale' name: 's#' bottom: 't#' "
LEFT = "".join(f"template t{i}(a) {{ t{i + 1} {{ a: ${{a}} }} }}\n" for i in range(90))

INPUTS: dict[str, Callable[[], str]] = {
    # layers
    "convolutions": lambda: layers(9_000, 'name: "c#" ' + CONV + 'weight_filler { type: "xavier" } }'),
    "convolutions with everything": lambda: layers(
        5_000,
        'name: "c#" '
        + CONV
        + "stride: 1 dilation: 1 group: 1 bias_term: true weight_filler { type: 'gaussian' std: 0.1 } bias_filler "
        + "{ type: 'constant' value: 0 } } param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 } "
        + "include { phase: TRAIN } include { phase: TEST stage: 'x' } include { phase: TEST not_stage: 'x' }",
    ),
    "convolutions in a chain": lambda: layers(
        9_999, 'name: "c#" type: "Convolution" bottom: "d" top: "d" convolution_param { num_output: 3 kernel_size: 1 }'
    ),
    "normalized convolutions": lambda: (
        DATA
        + repeated(3_000, 'layer { name: "c#" ' + CONV + "} }" + NORM + "top: 't#' scale_param { bias_term: true } }\n")
    ),
    "layers in place": lambda: layers(9_999, 'name: "r#" type: "ReLU" bottom: "d" top: "d"'),
    "layers with one name": lambda: layers(9_999, 'name: "r" type: "ReLU" bottom: "d" top: "t#"'),
    "layers without names": lambda: layers(9_999, 'type: "ReLU" bottom: "d" top: "t#"'),
    "layers without fields": lambda: "layer { } " * 9_999,
    "layers of unknown types": lambda: layers(9_999, 'name: "l#" type: "No#" bottom: "d" top: "t#"'),
    "layers with unknown fields": lambda: layers(9_999, 'name: "l#" type: "ReLU" bottom: "d" top: "t#" fild#: 1'),
    "unknown bottoms": lambda: layers(9_999, 'name: "l#" type: "ReLU" bottom: "blob_u#" top: "blob_t#"'),
    "bottoms of later layers": lambda: "".join(
        f'layer {{ name: "l{i}" type: "ReLU" bottom: "t{i + 1}" top: "t{i}" }}\n' for i in range(9_999)
    ),
    "misfits": lambda: layers(
        9_999, 'name: "l#" type: "Convolution" bottom: "d" top: "t#" convolution_param { num_output: 1 kernel_size: 9 }'
    ),
    "almost equal tops": lambda: layers(9_999, 'name: "l#" type: "ReLU" bottom: "d" top: "abcdefgh_#"'),
    "splits": lambda: (
        DATA
        + repeated(
            10,
            'layer { name: "s#" type: "Split" bottom: "d" ' + "".join(f'top: "s#_{i}" ' for i in range(4_900)) + "}\n",
        )
    ),
    "a sum of many": lambda: DATA + 'layer { name: "s" type: "Eltwise" top: "s" ' + 'bottom: "d" ' * 49_000 + "}",
    "sums of shared blobs": lambda: (
        DATA + repeated(9_000, 'layer { name: "e#" type: "Eltwise" bottom: ["d", "d", "d", "d"] top: "e#" }\n')
    ),
    "concatenations": lambda: (
        DATA + repeated(100, 'layer { name: "e#" type: "Concat" top: "e#" ' + 'bottom: "d" ' * 498 + "}\n")
    ),
    "overwritten": lambda: (
        layers(9_999, 'name: "l#" type: "Sigmoid" bottom: "d" top: "d"').rstrip()
        + 'layer { name: "l" type: "EuclideanLoss" bottom: "d" bottom: "d" top: "l" }'
    ),
    "losses": lambda: layers(9_999, 'name: "l#" type: "SoftmaxWithLoss" bottom: "d" bottom: "d" top: "l#"'),
    "autoencoder losses": lambda: (
        'solver { test_iter: 1 test_interval: 1 base_lr: 1 lr_policy: "fixed" }'
        + layers(
            4_900,
            'name: "l#" type: "SigmoidCrossEntropyLoss" bottom: "d" bottom: "d" top: "l#" } '
            'layer { name: "r#" type: "ReLU" bottom: "d" top: "r#"',
        )
    ),
    "shared parameters": lambda: layers(9_999, 'name: "c#" ' + CONV + '} param { name: "w" } param { name: "b" }'),
    "misshared parameters": lambda: layers(
        9_999,
        'name: "c#" type: "InnerProduct" bottom: "d" top: "t#" param { name: "w" } inner_product_param { num_output: 1# }',
    ),
    "rules": lambda: layers(
        2_000,
        'name: "r#" type: "ReLU" bottom: "d" top: "t#" ' + "include { phase: TRAIN stage: 'a' stage: 'b' } " * 15,
    ),
    "rules of both kinds": lambda: layers(
        9_999, 'name: "r#" type: "ReLU" bottom: "d" top: "t#" include { phase: TRAIN } exclude { phase: TEST }'
    ),
    "stages of one rule": lambda: layers(
        1, 'name: "r#" type: "ReLU" bottom: "d" top: "t#" include { ' + repeated(200_000, 'stage: "s#" ') + "}"
    ),
    "params of one layer": lambda: layers(1, 'name: "c#" ' + CONV + "} " + "param { lr_mult: 1 } " * 80_000),
    "inputs": lambda: repeated(40_000, 'input: "i#" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4\n'),
    "dimensions": lambda: (
        'layer { name: "d" type: "Input" top: "d" input_param { shape { ' + "dim: 1 " * 240_000 + "} } }"
    ),
    "a blob of many dimensions": lambda: (
        'layer { name: "d" type: "Input" top: "d" input_param { shape { '
        + "dim: 2 " * 5_000
        + "} } }"
        + repeated(9_000, 'layer { name: "r#" type: "ReLU" bottom: "d" top: "t#" }\n')
    ),
    "slice points": lambda: (
        DATA
        + 'layer { name: "s" type: "Slice" bottom: "d" top: "a" slice_param { '
        + repeated(200_000, "slice_point: # ")
        + "} }"
    ),
    "old layers": lambda: repeated(
        9_999,
        'layers { name: "c#" type: CONVOLUTION bottom: "d" top: "t#" blobs_lr: 1 blobs_lr: 2 weight_decay: 1 '
        "weight_decay: 0 convolution_param { num_output: 4 kernel_size: 3 } }\n",
    ),
    "old layers by number": lambda: repeated(9_999, 'layers { name: "c#" type: 4 bottom: "d" top: "t#" }\n'),
    "old layers with mistakes": lambda: repeated(
        9_999, 'layers { name: "c#" type: CONVLUTION# bottom: "d" top: "t#" }\n'
    ),
    "one old layer with many rates": lambda: (
        'layers { name: "c" type: CONVOLUTION ' + "blobs_lr: 1 " * 120_000 + "weight_decay: 1 " * 120_000 + "}"
    ),
    "the oldest layers": lambda: repeated(
        9_000,
        'layers { layer { name: "c#" type: "conv" num_output: 4 kernelsize: 3 pad: 1 } bottom: "d" top: "t#" }\n',
    ),
    "padding layers": lambda: repeated(
        9_000, 'layers { layer { name: "p#" type: "padding" pad: 1 } bottom: "d" top: "d" }\n'
    ),
    "many outermost layers of the oldest form": lambda: (
        'layers { layer { name: "c" type: "conv" ' + repeated(240_000, "x#: 1 ") + "} }"
    ),
    "Python layers": lambda: layers(
        9_900, 'name: "p#" type: "Python" bottom: "d" top: "t#" python_param { module: "m#" layer: "L" }'
    ),
    "data layers": lambda: repeated(
        9_900, 'layer { name: "d#" type: "Data" top: "a#" top: "b#" data_param { source: "x#" batch_size: 1 } }\n'
    ),
    "layers of two phases": lambda: (
        DATA
        + repeated(
            4_900,
            'layer { name: "l#" type: "ReLU" bottom: "d" top: "t#" include { phase: TRAIN } }\n'
            'layer { name: "m#" type: "TanH" bottom: "d" top: "t#" include { phase: TEST } }\n',
        )
    ),
    "recomputed layers": lambda: (
        'solver { base_lr: 1 lr_policy: "fixed" recompute: AUTO }'
        + DATA
        + "".join(
            f'layer {{ name: "c{i}" type: "Convolution" bottom: "{f"t{i - 1}" if i else "d"}" top: "t{i}" '
            "convolution_param { num_output: 3 kernel_size: 1 } }\n"
            for i in range(9_000)
        )
        + 'layer { name: "l" type: "EuclideanLoss" bottom: "t8999" bottom: "d" }'
    ),
    # fields
    "ignored fields of a solver": lambda: SOLVER + "engine: 1 " * 240_000,
    "known fields of a solver": lambda: SOLVER + "max_iter: 1 " * 240_000,
    "unknown fields of a solver": lambda: SOLVER + repeated(200_000, "max_itr#: 1 "),
    "fields of other policies": lambda: SOLVER + "gamma: 1 " * 240_000,
    "values of a step": lambda: (
        SOLVER.replace("fixed", "multistep") + repeated(200_000, "stepvalue: # ") + "gamma: 0.1"
    ),
    "values of a step in a list": lambda: (
        SOLVER.replace("fixed", "multistep") + f"stepvalue: [{repeated(110_000, '#', ', ')}] gamma: 0.1"
    ),
    "values of a step of a net": lambda: (
        DATA
        + "solver { "
        + SOLVER.replace("fixed", "multistep").replace('net: "n.net"', "")
        + repeated(200_000, "stepvalue: # ")
        + "gamma: 0.1 max_iter: 5 }"
    ),
    "solvers": lambda: DATA + 'solver { base_lr: 0.1 lr_policy: "fixed" }\n' * 60_000,
    "unknown fields": lambda: repeated(200_000, "nam#: 1 "),
    "ignored fields of a net": lambda: DATA + "engine: 1 " * 240_000,
    "ignored fields of a layer": lambda: layers(
        1, 'name: "r" type: "ReLU" bottom: "d" top: "t" ' + "engine: 1 " * 240_000
    ),
    "ignored fields of a block": lambda: layers(1, 'name: "c#" ' + CONV + "engine: CAFFE " * 240_000 + "}"),
    "blocks of other layers": lambda: layers(
        1, 'name: "r" type: "ReLU" bottom: "d" top: "t" ' + "pooling_param { } " * 120_000
    ),
    "unknown fields of layers": lambda: layers(
        100, 'name: "r#" type: "ReLU" bottom: "d" top: "t#" ' + repeated(1_200, "convolution_parm: 1 ")
    ),
    "layers without a type": lambda: layers(99, repeated(2_000, "typ0#x: 1 ")),
    "layers without a type, long names": lambda: layers(60, "name: 'a' " + repeated(30, "x" * 2_000 + "#: 1 ")),
    "fields given twice": lambda: layers(1, 'type: "ReLU" bottom: "d" top: "t" ' + "name: 'x' " * 240_000),
    "long names": lambda: repeated(40, "n" * 99_000 + "#: 1\n"),
    "long types": lambda: layers(40, 'name: "l#" type: "' + "Convolution" * 8_000 + '#"'),
    "long names of blobs": lambda: layers(1_900, 'name: "l#" type: "ReLU" bottom: "d" top: "' + "a" * 2_000 + '#"'),
    "long names of bottoms": lambda: layers(
        1_900, 'name: "l#" type: "ReLU" bottom: "' + "b" * 79 + '#" top: "' + "a" * 79 + '#"'
    ),
    "many bottoms of one name": lambda: layers(
        4_000, 'name: "l#" type: "ReLU" bottom: "' + "a" * 60 + '" top: "' + "a" * 59 + '#"'
    ),
    "unknown bottoms after many long names": lambda: (
        layers(9_500, 'name: "l#" type: "ReLU" bottom: "d" top: "' + "a" * 72 + '#"')
        + repeated(200, 'layer { name: "m#" type: "ReLU" bottom: "' + "a" * 70 + '#b" top: "u#" }\n')
    ),
    "wrong words": lambda: layers(
        9_000, 'name: "l#" type: "Pooling" pooling_param { pool: MXA# } bottom: "d" top: "t#"'
    ),
    "choices": lambda: layers(
        1, 'name: "l" type: "Pooling" bottom: "d" top: "t" pooling_param { ' + "pool: MAX " * 240_000 + "}"
    ),
    "names in brackets": lambda: "[a.b.c/d] { x: 1 } " * 60_000,
    "values of a list": lambda: layers(
        1, 'name: "r" type: "ReLU" bottom: "d" top: "t" loss_weight: [' + repeated(110_000, "#.5", ", ") + "]"
    ),
    "floats": lambda: layers(
        1, 'name: "r" type: "ReLU" bottom: "d" top: "t" ' + "loss_weight: 1.2345678901234567e-300 " * 100_000
    ),
    "long numbers": lambda: "a: " + "1" * 4_000_000,
    "long numbers with a point": lambda: "a: 1." + "1" * 4_000_000,
    "many long numbers": lambda: "a: " + "9" * 4_200 + "\n" + ("a: " + "9" * 4_200 + "\n") * 900,
    "many long floats": lambda: ("a: 0." + "9" * 300 + "e-9\n") * 12_000,
    "octal and hexadecimal numbers": lambda: "a: 0x7fffffff b: 0777777 " * 120_000,
    # text
    "one long string": lambda: 'name: "' + "x" * 4_000_000 + '"',
    "a string of escapes": lambda: 'name: "' + r"\x41\101\n" * 350_000 + '"',
    "a string in many pieces": lambda: "name: " + '"abcdefghij" ' * 240_000,
    "strings of wide characters": lambda: 'name: "' + "\U0001f600" * 1_000_000 + '"',
    "names with quotes": lambda: "a: 'x\"y' " * 240_000,
    "a string of escaped quotes": lambda: 'name: "' + r"\"" * 1_900_000 + '"',
    "carriage returns": lambda: "a: 1\r" * 240_000,
    "a long name": lambda: "n" * 4_000_000 + ": 1",
    "a long name of a constant": lambda: "x: ${" + "a" * 4_000_000 + "}",
    "a long type": lambda: 'layer { name: "a" type: "' + "C" * 4_000_000 + '" }',
    "a long word": lambda: layers(
        1, 'name: "p" type: "Pooling" bottom: "d" top: "t" pooling_param { pool: ' + "M" * 4_000_000 + " }"
    ),
    "a long name of an import": lambda: 'import "' + "a/" * 1_900_000 + 'b.net"',
    "a long name of an import of the library": lambda: 'import "std/' + "a" * 4_000_000 + '.net"',
    "comments": lambda: "# a comment\n" * 249_000,
    "comments between fields": lambda: "# a comment\nname: 'x'  # another\n" * 80_000,
    "a long comment": lambda: "#" * 4_000_000,
    "empty lines": lambda: "\n" * 4_000_000,
    "blanks": lambda: " " * 4_000_000 + "x: 1",
    "blanks before an error": lambda: "\t" * 4_000_000 + "x: =",
    "long lines": lambda: ("a: 1 " * 20_000 + "\n") * 12,
    "lists of blocks": lambda: "a: [" + "{ b: 1 }, " * 60_000 + "{ }]",
    "lists with comments": lambda: "a: [" + "1, # one\n" * 80_000 + "1]",
    "a list in lines": lambda: "a: [\n" + "12345678,\n" * 120_000 + "1]",
    # blocks
    "empty blocks": lambda: "a {} " * 120_000,
    "deep blocks": lambda: ("a { " * 99 + "}" * 99 + "\n") * 1_200,
    "deep lists of blocks": lambda: ("a: [{ " * 49 + "}]" * 49 + "\n") * 1_200,
    "wide and deep": lambda: "a { " * 99 + "b: 1 " * 200_000 + "}" * 99,
    "a layer in deep blocks": lambda: layers(
        1_000, 'name: "r" type: "ReLU" bottom: "d" top: "t" ' + "a { " * 90 + "}" * 90
    ),
    # expressions
    "sums": lambda: "name: ${" + "1+" * 120_000 + "1}",
    "sums of strings": lambda: 'name: ${""' + ' + "x"' * 9_000 + "}",
    "sums in many fields": lambda: "x: ${1 + 2 * 3} " * 27_000,
    "parentheses": lambda: "x: ${" + "(" * 60 + "1" + ")" * 60 + "}\n" + "y: ${((((((((((1))))))))))}\n" * 10_000,
    "conditions": lambda: "x: ${1 if true else 2} " * 24_000,
    "indexes": lambda: "let a: range(100)\n" + "x: ${a[3]} " * 30_000,
    "lists of lists": lambda: "let a: range(100)\n" + repeated(900, "let b#: a + a + a\n"),
    "equal lists": lambda: "let a: range(10000)\n" + "let b: [1]\n" + repeated(25, "let c#: a == a\n"),
    "powers": lambda: "x: ${2 ** 63} y: ${1.5 ** 100} " * 9_000,
    "interpolated strings": lambda: "let a: 1\n" + 'x: "a${a}b${a}c" ' * 30_000,
    "an interpolated string": lambda: "let a: 1\n" + 'x: "' + "${a}" * 60_000 + '"',
    "lets": lambda: repeated(60_000, "let a#: 1\n"),
    "a chain of lets": lambda: "let a0: 1\n" + "".join(f"let a{i + 1}: a{i} + 1\n" for i in range(40_000)),
    "unknown names": lambda: repeated(3_000, "let abcdefghij#: 1\n") + repeated(30_000, "let x#: abcdefghijk#\n"),
    "names that are defined later": lambda: "".join(f"let a{i}: a{i + 1}\n" for i in range(50_000)),
    "uses before a late let": lambda: (
        repeated(60, "for i in range(2000) { x: ${later#} }\n")
        + repeated(30_000, "let y#: 1\n")
        + repeated(60, "let later#: 1\n")
    ),
    "lets defined twice": lambda: "let a: 1\n" * 60_000,
    "names through many scopes": lambda: "let a: 1\n" + "for i in [1] { " * 90 + "x: ${a} " * 30_000 + "}" * 90,
    "fields in many scopes": lambda: "let a: 1\n" + "for i in [1] { " * 90 + "x: 1 " * 90_000 + "}" * 90,
    "loops": lambda: "for i in range(3) { x: ${i} }\n" * 8_000,
    "a loop": lambda: DATA + 'for i in range(9000) { layer { name: "l${i}" type: "ReLU" bottom: "d" top: "t${i}" } }',
    "a loop of plain fields": lambda: "for i in range(10000) { a: 1 b: 2 c: 3 d: 4 e: 5 f: 6 g: 7 h: 8 }",
    "loops in loops": lambda: "for i in range(100) { for j in range(100) { x: ${i + j} } }",
    "a loop of lists": lambda: "let a: range(9)\nfor i in range(9000) { x: ${a} }",
    "a loop of lists of values": lambda: "for i in range(25) { x: [" + "1, " * 10_000 + "1] }",
    "a loop of errors": lambda: "for i in range(5000) { x: ${y} }",
    "loops with errors": lambda: repeated(8_000, "for i in range(2) { x: ${y#} }\n"),
    "empty loops": lambda: "for i in range(9000) { }\n" * 10,
    "conditions of statements": lambda: "if 1 < 2 { a: 1 } else { b: 1 }\n" * 13_000,
    "a chain of else": lambda: "if 1 > 2 { } " + "else if 1 > 2 { } " * 20_000,
    "templates": lambda: repeated(12_000, "template t#(a, b: 1) { x: ${a} }\n") + "t5 { a: 1 }",
    "parameters of a template": lambda: f"template t({repeated(60_000, 'a#: 1', ', ')}) {{ }}",
    "required parameters": lambda: f"template t({repeated(60_000, 'a#', ', ')}) {{ }} t {{ }}",
    "uses with one wrong argument": lambda: (
        f"template t({repeated(20_000, 'a#: 1', ', ')}) {{ }}" + repeated(40, "t { b#: 1 }\n")
    ),
    "uses with default values": lambda: f"template t({repeated(1_000, 'a#: 1', ', ')}) {{ }}" + "t { }\n" * 290,
    "uses": lambda: (
        DATA
        + "template t(name) { layer { name: ${name} type: 'ReLU' bottom: 'd' top: ${name} } }\n"
        + repeated(8_000, "t { name: 'l#' }\n")
    ),
    "uses of empty templates": lambda: "template t() { }\n" + "t { } " * 19_000,
    "templates in templates": lambda: LEFT + "template t90(a) { x: ${a} }\n" + "t0 { a: 1 }\n" * 150,
    "templates that double": lambda: (
        "".join(f"template t{i}() {{ t{i + 1} {{ }} t{i + 1} {{ }} }}\n" for i in range(13))
        + "template t13() { x: 1 }\nt0 { }"
    ),
    "templates that use themselves": lambda: "template t() { t { } }\n" + "t { }\n" * 60_000,
    "templates defined twice": lambda: "template t() { }\n" * 30_000,
    "imports": lambda: 'import "std/conv.net"\n' * 80_000,
    "imports that fail": lambda: repeated(60_000, 'import "missing#.net"\n'),
    "library uses": lambda: (
        'import "std/conv.net"\n' + DATA + repeated(3_000, 'conv_bn_relu { name: "c#" bottom: "d" out: 4 }\n')
    ),
    # syntax errors
    "errors of syntax": lambda: "a: = 1\n" * 100_000,
    "errors after many fields": lambda: "a { b: 1 }\n" * 60_000 + "a: = 1\n" * 50,
    "an unclosed block": lambda: "a {\n" + "b { c: 1 }\n" * 60_000,
    "an unclosed block at the start of many": lambda: "a {\n" + "  b {\n  c: 1\n  }\n" * 40_000,
    "an unclosed list": lambda: "a: [" + "1, " * 110_000,
    "an unclosed string": lambda: "a: 1\n" * 200_000 + 'b: "' + "x" * 1_000_000,
    "an error behind a sum": lambda: "x: ${" + "1+" * 120_000 + "}",
    "a colon without a value": lambda: "a:\n" * 200_000,
    "stray characters": lambda: "\x01" * 4_000_000,
    "wrong braces": lambda: "a { b: 1 >\n" * 60_000,
}


def measured(command: str, path: Path) -> tuple[float, float, int]:
    """CPU seconds, megabytes and exit status of a command in the folder of its input."""
    with open(os.devnull, "wb") as nowhere:
        words = [sys.executable, "-m", "netdef", *COMMANDS[command], str(path)]
        stop = lambda: resource.setrlimit(resource.RLIMIT_CPU, (END, END))
        child = subprocess.Popen(words, stdout=nowhere, stderr=nowhere, preexec_fn=stop, cwd=path.parent)
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, child.returncode


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--commands", default="check,fmt,expand", type=lambda names: names.split(","))
    parser.add_argument("words", nargs="*", metavar="WORD")
    args = parser.parse_args()
    over = []
    print(f"{'':44}{'MB':>5}" + "".join(f"{command:>21}" for command in args.commands))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "input.net"
        for what, text in INPUTS.items():
            if args.words and not any(word in what for word in args.words):
                continue
            path.write_text(text(), encoding="utf-8")
            row = f"{what:44}{path.stat().st_size / 2**20:5.1f}"
            for command in args.commands:
                seconds, memory, status = measured(command, path)
                row += f"{seconds:8.2f} s{memory:5.0f} MB {status:2}"
                if seconds > SECONDS or memory > MEGABYTES or status not in (0, 1, 2):
                    over.append(f"{command} of {what}: {seconds:.2f} s, {memory:.0f} MB, exit status {status}")
            print(row, flush=True)
    print("\n".join([f"{len(over)} exceed {SECONDS} s or {MEGABYTES} MB", *over]))


if __name__ == "__main__":
    main()
