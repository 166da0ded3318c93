"""Benchmarks and fuzzers are run manually: everything that they import exists, also in their functions and scripts."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PROGRAMS = sorted(
    p for f in ("benchmarks", "fuzzing") for p in (TESTS / f).glob("*.py") if not p.stem.startswith("test_")
)
OWN = {"netdef", *(path.stem for path in (TESTS / "support").glob("*.py"))}


def imports(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Yields (module, name or None) of every import of the package or of tests/support."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.split(".")[0] in OWN)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OWN:
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "import netdef" in node.value:
            yield from imports(script(node.value))


def script(text: str) -> ast.AST:
    """Parses the program in a string; an empty program if it is none."""
    try:
        return ast.parse(text)
    except SyntaxError:
        return ast.Module([], [])


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_the_imports_of_a_program_exist(path: Path):
    for module, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        there = importlib.import_module(module)
        if name is not None and not hasattr(there, name):
            assert importlib.util.find_spec(f"{module}.{name}"), f"{path.name}: {module} has no {name}"


def test_every_program_documents_its_command():
    for path in PROGRAMS:
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert f"python {path.relative_to(TESTS.parent).as_posix()}" in doc, path.name
