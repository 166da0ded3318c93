"""The values of a sweep, as they are written after `--set NAME=`."""

from __future__ import annotations

import pytest

from netdef import CompileError
from netdef.sweep.space import Choice, Interval, listed, parse, size


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("16,32", Choice((16, 32))),
        ("1..3", Interval(1, 3)),
        ("1..3,8", Choice((1, 2, 3, 8))),
        ("0.5..1", Interval(0.5, 1.0)),
        ("-1e-3..1e-3", Interval(-1e-3, 1e-3)),
        ("log(0.001..0.1)", Interval(0.001, 0.1, True)),
        ("log( 8 .. 512 )", Interval(8, 512, True)),
        ("ReLU,Sigmoid", Choice(("ReLU", "Sigmoid"))),
        ("true,false", Choice((True, False))),
        ("../a,../b", Choice(("../a", "../b"))),  # folders, not ranges
        ("7", Choice((7,))),
    ],
)
def test_values_are_lists_and_ranges(text: str, values: object):
    found = parse("x", text)
    assert found == values and type(found) is type(values)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("7..1", 3, "begins at 7, which is above its end, 1"),
        ("log(0..0.1)", 7, "begins above 0"),
        ("log(0.1)", 3, "not a logarithmic range"),
        ("log(1..2", 3, "not a logarithmic range"),
        ("3,1..x", 5, "`1..x` is not a range"),
        ("1,,2", 4, "missing"),
        ("1,0.5..0.9", 5, "a range of real numbers"),
        ("0..1e999", 3, "too large"),
    ],
)
def test_an_invalid_range_is_shown_at_its_place(text: str, column: int, words: str):
    with pytest.raises(CompileError) as caught:
        parse("x", text)
    (found,) = caught.value.diagnostics
    assert (found.code, found.file, found.line, found.column) == ("bad-range", "--set", 1, column)
    assert words in found.detail


def test_a_grid_has_only_ranges_of_integers():
    assert listed("x", "1..3") == [1, 2, 3] and listed("x", "a,b") == ["a", "b"]
    for text in ("log(1..3)", "0.5..1"):
        with pytest.raises(CompileError, match="every number"):
            listed("x", text)


def test_drawn_numbers_have_few_digits_and_stay_inside():
    assert Interval(0.001, 0.1, True).rounded(0.012345678) == 0.01235
    assert Interval(0.5, 0.99).rounded(0.98765432) == 0.9877
    assert Interval(0.0, 1000.0).rounded(123.456) == 123.0
    assert Interval(0.12344, 0.5, True).rounded(0.12344) == 0.12344
    assert Interval(0.3, 0.3).rounded(0.3) == 0.3
    assert Interval(1, 9).rounded(7) == 7


def test_the_size_of_a_space():
    assert size([Choice((1, 2, 2)), Interval(1, 3)]) == 6
    assert size([Interval(0.0, 1.0)]) == float("inf")
