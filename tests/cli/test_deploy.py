"""`netdef deploy`."""

from __future__ import annotations

from math import prod
from pathlib import Path

import netdef as package

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_net_is_printed_or_written(netdef, good: Path, tmp_path: Path):
    done = netdef("deploy", good)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith('name: "Good"\nlayer {\n  name: "d"\n  type: "Input"\n  top: "x"\n')
    assert netdef("deploy", good, "-o", tmp_path / "deploy.prototxt") == (0, "", "")
    assert (tmp_path / "deploy.prototxt").read_text() == done.out
    assert netdef("check", "--strict", tmp_path / "deploy.prototxt").code == 0


def test_options(netdef, good: Path):
    assert "shape { dim: 8 dim: 3 }" in netdef("deploy", good, "--batch", "8").out
    assert "shape { dim: 2 dim: 3 }" in netdef("deploy", good, "--shape", "x=2x3").out
    assert "Softmax" not in netdef("deploy", good, "--output", "ip").out


def test_mistakes(netdef, good: Path, bad: Path):
    assert netdef("deploy", good, "--shape", "x=2,-3").code == 2
    assert "--shape expects BLOB=DIMS" in netdef("deploy", good, "--shape", "2,3").err
    done = netdef("deploy", good, "--output", "none")
    assert (done.code, done.out) == (2, "") and "there is no blob `none`" in done.err
    assert "[unknown-field]" in netdef("deploy", bad).err


def test_googlenet_loses_its_auxiliary_classifiers(netdef):
    net = package.load(netdef("deploy", EXAMPLES / "googlenet.net").out)
    assert sum(prod(s) for shapes in net.params.values() for s in shapes) == 6_998_552
    assert net.outputs == ("prob",) and net.blobs["prob"].shape == (1, 1000)
