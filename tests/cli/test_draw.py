"""`netdef draw`."""

from __future__ import annotations

from pathlib import Path

import pytest

import netdef as package
from netdef.inspect import draw

TEMPLATES = """
import "std/resnet.net"
layer { name: "d" type: "Input" top: "x" input_param { shape { dim: [4, 3, 8, 8] } } }
residual_stage { stage: 2 blocks: 2 bottom: "x" out: 8 stride: 1 bottleneck: false }
"""


def pictured(*fold: str) -> draw.Picture:
    return draw.picture(package.load(TEMPLATES), fold)


def test_the_command(netdef, tmp_path: Path):
    net = tmp_path / "n.net"
    net.write_text(TEMPLATES)
    assert netdef("draw", net).out == draw.dot(pictured())
    assert netdef("draw", net, "-o", tmp_path / "n.mmd", "--fold", "residual_basic", "--sideways").code == 0
    assert (tmp_path / "n.mmd").read_text() == draw.mermaid(pictured("residual_basic"), sideways=True)


def test_long_diagrams_have_columns(netdef, tmp_path: Path):
    net = tmp_path / "n.net"
    net.write_text(TEMPLATES.replace("blocks: 2", "blocks: 12"))
    done = netdef("draw", net)
    assert "rank=same" in done.out and "--columns 1 draws one, --fold all a smaller diagram" in done.err
    whole = netdef("draw", net, "--columns", "1")
    assert "rank=same" not in whole.out and not whole.err
    assert not netdef("draw", net, "--fold", "all").err
    assert not netdef("draw", net, "-o", tmp_path / "n.mmd").err
    assert netdef("draw", net, "-o", tmp_path / "n.mmd", "--columns", "2").code == 2


def test_mistakes(netdef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    net = tmp_path / "n.net"
    net.write_text(TEMPLATES)
    done = netdef("draw", net, "-o", tmp_path / "n.gif")
    assert (
        done.code == 2 and "must end in .dot, .gv, .mmd, .svg, .png or .pdf, or, of `netdef draw`, in .html" in done.err
    )
    done = netdef("draw", net, "--fold", "residual")
    assert done.code == 2 and "templates in this net: residual_basic, residual_stage" in done.err
    monkeypatch.setenv("PATH", "")
    done = netdef("draw", net, "-o", tmp_path / "n.svg")
    assert done.code == 2 and "n.mmd (Mermaid) and n.dot do not need it" in done.err
    assert netdef("draw", net, "-o", tmp_path / "n.dot").code == 0
