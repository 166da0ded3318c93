"""Layers compared with Caffe and its forks: outputs, gradients and statistics of all recorded cases."""

from __future__ import annotations

import pytest
from golden_cases import arrays, hold, rows

# Some cases were recorded without a loss; for them the record is that Caffe computes no gradients.
pytestmark = pytest.mark.filterwarnings("ignore:net .* no loss above its parameters")

FOLDERS = ("layers", "forks/happynear", "forks/ssd", "forks/ssd_detection", "forks/yolo")


@pytest.mark.parametrize(("folder", "kind"), [(folder, kind) for folder in FOLDERS for kind in rows(folder)])
def test_equals_caffe(folder: str, kind: str) -> None:
    cases = arrays(folder, kind)
    for row in rows(folder)[kind]:
        hold(row, cases[row["id"]])
