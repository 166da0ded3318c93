"""Files and folders without permission: one line that names the path, and no traceback."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

import netdef
from netdef.cli import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")
NOBODY = 65534


@pytest.fixture
def folder(tiny, monkeypatch):
    """A folder with the net, its data and a run, of a user without privileges, who this process is for the test."""
    path = Path(tempfile.mkdtemp())
    shutil.copytree(tiny.parent, path, dirs_exist_ok=True)
    (path / "s.prototxt").write_text('net: "tiny.net" base_lr: 0.1 lr_policy: "fixed" max_iter: 2')
    (path / "imports.net").write_text('import "part.net"\n')
    (path / "part.net").write_text("")
    netdef.train(path / tiny.name, output=path / "run", max_iter=2)
    is_root = os.geteuid() == 0
    if is_root:
        for one in (path, *path.rglob("*")):
            os.chown(one, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        monkeypatch.chdir(path)
        yield path
    finally:
        if is_root:
            os.seteuid(0)
        monkeypatch.undo()
        for one in path.rglob("*"):
            one.chmod(0o700)
        shutil.rmtree(path)


@pytest.mark.parametrize(
    ("closed", "words", "code"),
    [
        ("tiny.net", ("check", "tiny.net"), 2),
        ("tiny.net", ("train", "tiny.net"), 2),
        ("tiny.net", ("fmt", "tiny.net"), 2),
        ("tiny.net", ("check", "s.prototxt"), 2),
        ("part.net", ("check", "imports.net"), 2),
        ("train.txt", ("train", "tiny.net", "--output", "new"), None),
        ("train.h5", ("train", "tiny.net", "--output", "new"), None),
        ("run/iter_000002/arrays", ("train", "tiny.net", "--resume", "run"), None),
        ("run/iter_000002/state.json", ("train", "tiny.net", "--resume", "run"), None),
        ("run/iter_000002", ("test", "tiny.net", "--run", "run"), None),
        ("run", ("train", "tiny.net", "--resume", "run"), None),
        ("run/metrics.jsonl", ("train", "tiny.net", "--resume", "run", "--max-iter", "4"), None),
        ("run", ("train", "tiny.net", "--output", "run/new"), None),
    ],
)
def test_what_cannot_be_read_is_one_error(folder, closed, words, code, capsys):
    (folder / closed).chmod(0)
    capsys.readouterr()
    found = main(list(words))
    said = capsys.readouterr()
    (folder / closed).chmod(0o700)
    assert found == code if code else found in (1, 2)
    assert "Traceback" not in said.err and Path(closed).name in said.err + said.out
    assert "ermission denied" in said.err + said.out, said.err + said.out
