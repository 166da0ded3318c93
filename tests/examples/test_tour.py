"""The notebook of examples/: it runs as it stands, and its stored outputs are those of a run.

After a change, `jupyter execute --inplace examples/tour.ipynb` stores them again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pages import read

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "examples" / "tour.ipynb"
STORED = json.loads(TOUR.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The notebook, executed in a copy of its folder by a kernel, as `jupyter execute` does it."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("tour")
    for name in ("tour.ipynb", "digits.net"):
        shutil.copy(ROOT / "examples" / name, folder)
    shutil.copytree(ROOT / "examples" / "data", folder / "data")
    code = (
        "import nbformat; from nbclient import NotebookClient; book = nbformat.read('tour.ipynb', 4);"
        "NotebookClient(book, timeout=300, kernel_name='python3').execute(); nbformat.write(book, 'done.ipynb')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NETDEF_CACHE": str(folder / "cache")}
    environment.pop("MPLBACKEND", None)  # the kernel chooses its own
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "done.ipynb").read_text(encoding="utf-8"))


def outputs(book: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for cell in book["cells"] for output in cell.get("outputs", [])]


def kinds(book: dict[str, Any]) -> list[list[tuple[str, ...]]]:
    """For each cell the kinds of its outputs."""
    return [
        [(output["output_type"], *sorted(output.get("data", ()))) for output in cell.get("outputs", [])]
        for cell in book["cells"]
    ]


def html(book: dict[str, Any]) -> list[str]:
    return ["".join(output["data"]["text/html"]) for output in outputs(book) if "text/html" in output.get("data", ())]


def test_it_runs_and_learns(executed):
    net, progress, result, runs, test = html(executed)
    assert "14 layers" in read(net).text and "3.png" not in net
    assert "150 of 150" in read(progress).text and "done: 150 iterations" in read(progress).text
    assert "svg" in read(result).tags and read(runs).tags.count("tr") == 3
    (accuracy,) = re.findall(r"accuracy(0\.\d+|1)", read(test).text)
    assert float(accuracy) >= 0.97
    assert [o for o in outputs(executed) if o["output_type"] == "stream"] == []


def test_its_mistake_is_explained(executed):
    (error,) = [output for output in outputs(executed) if output["output_type"] == "error"]
    told = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error["traceback"]))
    assert "Did you mean `num_output`?" in told and "Did you mean InnerProduct?" in told and "^^^" in told


def test_the_stored_outputs_are_complete_and_of_no_machine(executed):
    assert kinds(STORED) == kinds(executed)
    text = TOUR.read_text(encoding="utf-8")
    assert len(text) < 200_000 and not re.search(r"/(tmp|home|root|work)/", text)
    counts = [cell["execution_count"] for cell in STORED["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run all cells in order"
