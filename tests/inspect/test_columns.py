"""Long diagrams in columns."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from netdef import load
from netdef.inspect import draw
from netdef.inspect.columns import in_columns

EXAMPLES = Path(__file__).parents[2] / "examples"
HEAD = 'layer { name: "d" type: "Input" top: "x0" input_param { shape { dim: 2 } } }\n'


def chain(length: int) -> draw.Picture:
    layers = (f'layer {{ name: "l{i}" type: "Power" bottom: "x{i}" top: "x{i + 1}" }}\n' for i in range(length))
    return draw.picture(load(HEAD + "".join(layers)))


def tops(drawn: draw.Picture) -> list[str]:
    titles = {box.key: box.title for box in drawn.boxes}
    return [titles[key] for key in drawn.tops]


def test_a_chain_is_divided_evenly():
    drawn = in_columns(chain(11), 3)
    assert tops(drawn) == ["d", "l3", "l6"]
    assert [arrow.end for arrow in drawn.arrows if arrow.aside] == list(drawn.tops[1:])
    source = draw.dot(drawn)
    assert source.count("constraint=false") == 2 and f"rank=same; {' -> '.join(drawn.tops)} [style=invis]" in source


def test_one_column_changes_nothing():
    drawn = chain(5)
    assert in_columns(drawn, 1) == drawn and in_columns(draw.picture(load(HEAD)), 4).tops == ()


def test_there_are_at_most_as_many_columns_as_cuts():
    assert tops(in_columns(chain(1), 5)) == ["d", "l0"]
    pairs = {"a": "x0", "b": "x0", "c": "a", "g": "b"}  # two branches
    wide = HEAD + "".join(f'layer {{ name: "{n}" type: "Power" bottom: "{b}" top: "{n}" }}\n' for n, b in pairs.items())
    wide += 'layer { name: "e" type: "Eltwise" bottom: "c" bottom: "g" top: "e" }\n'
    assert tops(in_columns(draw.picture(load(wide)), 9)) == ["d", "a"]  # two blobs lead to everything below


def test_blocks_are_not_cut_and_frames_are_divided():
    drawn = in_columns(draw.picture(load(EXAMPLES / "resnet50.net")), 4)
    assert len(drawn.tops) == 4 and all(title.endswith("branch2a") for title in tops(drawn)[1:])
    starts = [{a.start for a in drawn.arrows if a.aside and a.end in ends} for ends in columns_of(drawn)[1:]]
    assert all(len(found) == 1 for found in starts)
    for frame in {frame for box in drawn.boxes for frame in draw.around(box.frame)}:
        inside = {box.key for box in drawn.boxes if frame in draw.around(box.frame)}
        assert sum(bool(inside & keys) for keys in columns_of(drawn)) == 1


def columns_of(drawn: draw.Picture) -> list[set[str]]:
    found: list[set[str]] = []
    for box in drawn.boxes:
        if box.key in drawn.tops:
            found.append(set())
        found[-1].add(box.key)
    return found


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_resnet_152_fits_on_a_page(tmp_path: Path):
    net = load(EXAMPLES / "resnet152.net")
    draw.save(net, tmp_path / "net.svg", fold=["residual_bottleneck"], columns=2)
    width, height = map(
        float, re.findall(r'<svg width="(\d+)pt" height="(\d+)pt"', (tmp_path / "net.svg").read_text())[0]
    )
    assert width < 595 and height < 842  # A4
