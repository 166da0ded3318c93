"""`netdef view`: what it serves, its mistakes, and its end."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from netdef.cli import view

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")


def served(folder: Path, *words: str) -> tuple[str, subprocess.Popen[str]]:
    """Starts the command, and returns its address and its process."""
    command = [sys.executable, "-m", "netdef", "view", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address), process.communicate()
    return address, process


def read(address: str) -> dict:
    with urllib.request.urlopen(f"{address}page.json", timeout=30) as answer:
        return json.load(answer)


def test_ctrl_c_ends_it_silently_while_a_browser_waits(good: Path):
    address, process = served(good.parent, str(good), "--set", "solver.max_iter=3")
    assert read(address)["title"] == "Good"
    with urllib.request.urlopen(f"{address}events", timeout=30) as events:
        assert events.readline().startswith(b"data: ")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")


def test_what_a_path_is(tmp_path: Path):
    run, snapshot = tmp_path / "runs" / "one", tmp_path / "runs" / "one" / "iter_000010"
    snapshot.mkdir(parents=True)
    (run / "metrics.jsonl").write_text('{"iteration": 0, "phase": "train", "loss": 1.0}\n')
    (tmp_path / "n.net").write_text("")
    kinds = {tmp_path: "Folder", run: "Run", snapshot: "Run", tmp_path / "n.net": "File"}
    parser = argparse.ArgumentParser()
    view.add_arguments(parser)
    for path, kind in kinds.items():
        subject = view.subject_of(parser.parse_args([str(path)]))
        assert type(subject).__name__ == f"{kind}Subject", path


def test_mistakes(netdef, good: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(good.parent)
    Path("weights.net").write_bytes(b"\0" * 100)
    Path("folder").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cases = {
            ("missing.net",): "missing.net does not exist; name a net, the folder of a run, or a folder of runs",
            ("weights.net",): "this is a binary file, not a network definition",
            ("good.net", "--port", "0"): "expected a port from 1 to 65535, not '0'",
            ("good.net", "--port", "x"): "expected a port from 1 to 65535, not 'x'",
            ("good.net", "--port", str(port)): f"port {port} cannot be used: ",
            ("folder", "--set", "a=1"): "folder is a folder; --set and --import-path are for files",
            (): "the following arguments are required: FILE|RUN|FOLDER",
        }
        for words, said in cases.items():
            done = netdef("view", *words)
            assert done.code == 2 and said in done.err and done.out == "", words


@pytest.mark.parametrize("module", ["starlette", "uvicorn"])
def test_a_missing_package_is_named(netdef, good: Path, monkeypatch: pytest.MonkeyPatch, module: str):
    for name in [m for m in sys.modules if m.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    done = netdef("view", good)
    assert done.code == 1 and f"requires the package {module}" in done.err and len(done.err.splitlines()) == 1
    assert done.out == ""


def test_draw_writes_a_page_without_a_server(netdef, good: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    page = good.with_suffix(".html")
    assert netdef("draw", good, "-o", page).code == 0
    assert '"phase": "TEST"' in page.read_text() and "viz" in page.read_text()
    done = netdef("draw", good, "-o", page, "--fold", "all")
    assert done.code == 2 and "--fold, --sideways and --columns are for other formats" in done.err
    done = netdef("draw", good, "-o", good.parent / "no" / "x.html")
    assert done.code in (0, 2)


def test_draw_of_a_file_with_errors_writes_nothing(netdef, bad: Path):
    done = netdef("draw", bad, "-o", bad.with_suffix(".html"))
    assert done.code == 2 and "num_outputs" in done.err and not bad.with_suffix(".html").exists()
