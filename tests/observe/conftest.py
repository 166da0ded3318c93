"""Folders of runs, written without training a net."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest


@pytest.fixture
def a_run(tmp_path: Path):
    """Writes a run of `displays` displays with a test at every fifth one, and returns its folder."""

    def write(name: str = "run", displays: int = 40, **changes: object) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        rows = []
        for i in range(displays):
            at = {"iteration": 10 * i, "seconds": 0.5 * i + 1}
            if i % 5 == 0:
                rows.append({**at, "phase": "test", "loss": 1.2 / (i + 1), "lr": 0.1, "accuracy": i / (i + 1)})
            rows.append({**at, "phase": "train", "loss": math.exp(-i / 9), "lr": 0.1 * 0.9**i, "images_per_s": 9.0})
        rows = [{**row, **{k: v for k, v in changes.items() if k in row}} for row in rows]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return write
