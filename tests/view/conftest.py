"""Nets and runs to look at; no net is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NET = """
name: "Small"
layer { name: "d" type: "DummyData" top: "x" top: "y"
        dummy_data_param { shape { dim: [4, 3, 8, 8] } shape { dim: 4 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "ip" type: "InnerProduct" bottom: "c" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
"""
STAGES = """
import "std/resnet.net"
name: "Stages"
layer { name: "d" type: "Input" top: "x" input_param { shape { dim: [4, 3, 8, 8] } } }
residual_stage { stage: 2 blocks: 5 bottom: "x" out: 8 stride: 1 bottleneck: false }
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "small.net"
    path.write_text(NET)
    return path


@pytest.fixture
def stages() -> str:
    return STAGES


@pytest.fixture
def a_run(tmp_path: Path):
    """Writes a run with ten displays and two tests, and returns its folder."""

    def write(name: str = "runs/a", ended: str | None = "max_iter", rows: int = 10, **settings: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        found = []
        for i in range(rows):
            at = {"iteration": 10 * i, "seconds": 0.5 * i + 1}
            found.append({**at, "phase": "train", "loss": 1 / (i + 1), "lr": 0.1, "images_per_s": 50.0})
            if i % 5 == 4:
                found.append({**at, "phase": "test", "loss": 0.5, "accuracy": i / 10})
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
        sitting = {"began": "2026-01-01T10:00:00Z", "from": 0, "device": "cpu", "machine": {"processor": "Z80"}}
        sitting |= {"to": 90, "ended": ended, "seconds": 5.0} if ended else {}
        record = {"name": "Small", "max_iter": 90, "settings": settings, "sittings": [sitting], "parameters": 1234}
        (folder / "run.json").write_text(json.dumps(record))
        return folder

    return write
