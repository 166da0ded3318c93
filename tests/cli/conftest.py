"""`netdef(words...)` runs a command in this process and returns its exit code, stdout and stderr."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from netdef.cli import main

GOOD = """
name: "Good"
layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 2 display: 1 }
"""
BAD = GOOD.replace("num_output: 2", "num_outputs: 2").replace('bottom: "y" top', 'bottom: "z" top')


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def netdef(capsys: pytest.CaptureFixture[str]):
    def run(*words: object) -> Done:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def good_text() -> str:
    return GOOD


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.net"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.net"
    path.write_text(BAD)
    return path
