"""Tests use the public interface of the package: no module, name or attribute that begins with one underscore.

Private names may change as long as the public behavior does not, and tests of them would prevent that.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = {path.relative_to(TESTS).as_posix(): path for path in sorted(TESTS.rglob("*.py")) if "golden" not in path.parts}
NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}  # public names of Python
CAFFE = "a name that Caffe's users write"
EXCEPTIONS = {
    ("pycaffe/test_net.py", "_blob_names"): CAFFE,
    ("pycaffe/test_net.py", "_layer_names"): CAFFE,
    **{
        ("pycaffe/test_helpers.py", f"_{name}"): CAFFE
        for name in ("blobs", "bottom_ids", "inputs", "outputs", "top_ids")
    },
    ("benchmarks/kernels.py", "_convolve"): "compares one kernel with XLA's, which cannot be selected in a layer",
    ("support/killing.py", "_exit"): "a public function of Python, for the end of a forked process",
}
SETTERS = {"delattr", "getattr", "hasattr", "setattr"}  # of Python and of monkeypatch


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_" and name not in NAMED_TUPLES


def private_names(text: str) -> Iterator[tuple[int, str]]:
    """Yields (line, name) for each private name that Python source uses, except `self._x`."""
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            names = [node.attr]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in SETTERS:
            words = [a.value for a in node.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            names = [part for word in words for part in word.split(".")]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            dotted = re.findall(r"\bnetdef((?:\.\w+)+)", node.value)  # in a script that a test runs
            names = [part for word in dotted for part in word.split(".")]
        yield from ((node.lineno, name) for name in names if is_private(name))


def test_every_use_of_a_private_name_is_found():
    for text in (
        "from netdef.layers._loss import x",
        "from netdef.layers import _loss",
        "import netdef.layers._loss",
        "feed._pool.x",
        "x = [one.readers._y for one in []]",
        'monkeypatch.setattr(module, "_train", None)',
        'monkeypatch.setattr("netdef.cli._options", None)',
        'getattr(feed, "_pool", ())',
        'script = "from netdef.layers._loss import x"',
    ):
        assert list(private_names(text)), text
    for text in ("from __future__ import annotations", "self._x = x.__doc__", "node._replace(a=1)", "for _ in x: pass"):
        assert not list(private_names(text)), text


@pytest.mark.parametrize("file", FILES)
def test_no_private_names(file: str):
    found = [
        f"tests/{file}:{line} uses `{name}`"
        for line, name in private_names(FILES[file].read_text(encoding="utf-8"))
        if (file, name) not in EXCEPTIONS and file != Path(__file__).name
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("file", "name"), EXCEPTIONS)
def test_exceptions_are_used(file: str, name: str):
    assert name in {found for _, found in private_names(FILES[file].read_text(encoding="utf-8"))}
