"""Long diagrams in columns."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from netdef import load
from netdef.inspect import draw
from netdef.inspect.columns import fitting, in_columns

EXAMPLES = Path(__file__).parents[2] / "examples"
HEAD = 'layer { name: "d" type: "Input" top: "x0" input_param { shape { dim: 2 } } }\n'


def chain(length: int) -> draw.Picture:
    layers = (f'layer {{ name: "l{i}" type: "Power" bottom: "x{i}" top: "x{i + 1}" }}\n' for i in range(length))
    return draw.picture(load(HEAD + "".join(layers)))


def tops(drawn: draw.Picture) -> list[str]:
    titles = {box.key: box.title for box in drawn.boxes} | drawn.loose
    return [titles[key] for key in drawn.tops]


def columns_of(drawn: draw.Picture) -> list[set[str]]:
    """Returns the titles of the boxes of each column: those that arrows connect with its top."""
    titles = {box.key: box.title for box in drawn.boxes}
    found = []
    for top in drawn.tops:
        column, more = set(), {top}
        while more - column:
            column |= more
            more = {end for a in drawn.arrows if {a.start, a.end} & column for end in (a.start, a.end)}
        found.append({titles[key] for key in column if key in titles})
    return found


def test_a_chain_is_divided_evenly():
    drawn = in_columns(chain(11), 3)
    assert tops(drawn) == ["d", "l2", "l5"]
    assert columns_of(drawn) == [
        {"d", "l0", "l1", "l2"}, {"l3", "l4", "l5"}, {"l6", "l7", "l8", "l9", "l10"}
    ]  # fmt: skip
    assert [drawn.loose[arrow.end] for arrow in drawn.arrows if arrow.end in drawn.loose] == ["continued"] * 2 + ["x11"]
    assert f"rank=same; {' -> '.join(drawn.tops)} [style=invis]" in draw.dot(drawn)


def test_a_long_diagram_suits_a_page_and_a_short_one_is_not_divided():
    assert fitting(chain(12)) == 1 and 4 <= fitting(chain(40)) <= 6 and 2 <= fitting(chain(40), sideways=True) <= 12
    for name, least, most in (("resnet152", 5, 8), ("googlenet", 2, 3)):
        drawn = draw.picture(load(EXAMPLES / f"{name}.net"))
        assert least <= fitting(drawn) <= most
    joined = "".join(f'layer {{ name: "a{i}" type: "Power" bottom: "a{i - 1}" top: "a{i}" }}\n' for i in range(1, 40))
    joined = HEAD + joined.replace('"a0"', '"x0"')
    last = 'layer { name: "e" type: "Eltwise" bottom: "x0" bottom: "a39" top: "e" }\n'
    assert fitting(draw.picture(load(joined))) > 1 == fitting(draw.picture(load(joined + last)))  # it cannot be cut


def test_one_column_changes_nothing():
    drawn = chain(5)
    assert in_columns(drawn, 1) == drawn and in_columns(draw.picture(load(HEAD)), 4).tops == ()


def test_there_are_at_most_as_many_columns_as_cuts():
    assert columns_of(in_columns(chain(1), 5)) == [{"d"}, {"l0"}]
    pairs = {"a": "x0", "b": "x0", "c": "a", "g": "b"}  # two branches
    wide = HEAD + "".join(f'layer {{ name: "{n}" type: "Power" bottom: "{b}" top: "{n}" }}\n' for n, b in pairs.items())
    wide += 'layer { name: "e" type: "Eltwise" bottom: "c" bottom: "g" top: "e" }\n'
    assert columns_of(in_columns(draw.picture(load(wide)), 9)) == [
        {"d"}, {"a", "b", "c", "g", "e"}
    ]  # fmt: skip  # two blobs lead to everything below


def test_blocks_are_not_cut_and_frames_are_divided():
    drawn = in_columns(draw.picture(load(EXAMPLES / "resnet50.net")), 4)
    columns = columns_of(drawn)
    assert len(columns) == 4 and sum(map(len, columns)) == len(drawn.boxes)
    assert all({"res"} == {title[:3]} for title in tops(drawn)[1:])
    for frame in {frame for box in drawn.boxes for frame in draw.around(box.frame)}:
        inside = {box.title for box in drawn.boxes if frame in draw.around(box.frame)}
        assert sum(bool(inside & titles) for titles in columns) == 1


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_resnet_152_fits_on_a_page(tmp_path: Path):
    net = load(EXAMPLES / "resnet152.net")
    draw.save(net, tmp_path / "net.svg", fold=["residual_bottleneck"], columns=2)
    width, height = map(
        float, re.findall(r'<svg width="(\d+)pt" height="(\d+)pt"', (tmp_path / "net.svg").read_text())[0]
    )
    assert width < 595 and height < 842  # A4
