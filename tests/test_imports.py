"""Imports have one direction: there are no import cycles between files, and every room imports only rooms below it.

A room is a file or a folder at the top level of the package.  Imports in functions count, imports for type checkers do
not.  Nothing below the model imports jax or numpy at import time.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "netdef"

# The rooms from bottom to top: each may import the rooms of the lines above its own, but none of its own line.
FLOORS = [
    ["_version", "language", "shape"],
    ["files", "lazy", "registry", "schema"],
    ["fillers"],
    ["layers"],
    ["policies"],
    ["solvers"],
    ["graph"],
    ["passes"],
    ["compiler"],
    ["forward"],
    ["interop"],
    ["model"],
    ["data"],
    ["inference"],
    ["training"],
    ["inspect", "starter", "sweep"],
    ["observe", "pycaffe", "lsp", "docs"],
    ["view"],
    ["cli", "notebook"],
    ["__init__"],
    ["__main__"],
]
RANKS = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Rooms that objects below them import by name, when a notebook shows an object or a user plots it: `above`.
BY_NAME = {("language/shown", "notebook"), ("language/errors", "notebook"), ("training/run", "observe")}
EXCEPTIONS: dict[tuple[str, str], str] = {}  # (room, room above it): the reason
HEAVY = {"jax", "jaxlib", "flax", "optax", "orbax", "numpy", "h5py", "lmdb", "plyvel", "PIL", "google", "rich"}
LIGHT = {
    *(room for floor in FLOORS[: RANKS["compiler"] + 1] for room in floor),
    *(
        "__init__",
        "cli",
        "data/layers",
        "inference/deploy",
        "inspect/columns",
        "inspect/draw",
        "inspect/explain",
        "inspect/summary",
        "inspect/target",
        "notebook/__init__",
        "notebook/diagnostics",
        "notebook/markup",
        "notebook/nets",
    ),
}  # rooms and files that must not import jax

FILES = {path.relative_to(PACKAGE).with_suffix("").as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(name: str) -> str:
    """Returns the room of a file: `layers` for `layers/base`."""
    return name.split("/")[0]


def home_of(module: str) -> str | None:
    """Returns the file of a module, `layers/base` for `netdef.layers.base`; None outside the package."""
    first, *parts = module.split(".")
    name = "/".join(parts)
    return None if first != "netdef" else next((n for n in (name, f"{name}/__init__".lstrip("/")) if n in FILES), None)


def imports(name: str) -> Iterator[tuple[str, bool]]:
    """Yields (module, whether at import time) for every import of a file except those for type checkers."""

    def visit(node: ast.AST, at_import: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                yield from visit(child, at_import)
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(name, node)
            for alias in node.names:
                submodule = f"{source}.{alias.name}"
                yield submodule if home_of(submodule) else source, at_import
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_import and not inside)

    yield from visit(ast.parse(FILES[name].read_text(encoding="utf-8")), True)


def absolute(name: str, node: ast.ImportFrom) -> str:
    """Returns the absolute name of the module in a `from` import."""
    if not node.level:
        return node.module or ""
    here = ["netdef", *name.split("/")]
    return ".".join([*here[: len(here) - node.level], *([node.module] if node.module else [])])


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Maps each file to the files of the package that it imports."""
    return {name: {home for module, _ in imports(name) if (home := home_of(module))} - {name} for name in FILES}


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one file (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def connect(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                connect(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            component, stack[at:] = stack[at:], []
            if len(component) > 1:
                found.append(sorted(component))

    for name in graph:
        if name not in index:
            connect(name)
    return found


def test_cycles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"f"}, "f": {"e"}}
    assert cycles(graph) == [["a", "b", "c"], ["e", "f"]]


def test_no_files_import_each_other(graph: dict[str, set[str]]):
    ties = [f"{a} imports {b}" for cycle in cycles(graph) for a in cycle for b in sorted(graph[a]) if b in set(cycle)]
    assert not ties, "import cycles:\n" + "\n".join(ties)


def test_every_room_has_a_floor():
    assert {room_of(name) for name in FILES} == set(RANKS), "add the new room to FLOORS"
    assert len([name for name in FILES if "/" not in name]) <= 12, "too many files at the top level of the package"


@pytest.mark.parametrize("name", FILES)
def test_rooms_import_rooms_below(name: str, graph: dict[str, set[str]]):
    room = room_of(name)
    upward = [
        f"{name} (floor {RANKS[room]}) imports {other} (floor {RANKS[room_of(other)]})"
        for other in sorted(graph[name])
        if room_of(other) != room and RANKS[room_of(other)] >= RANKS[room] and (room, room_of(other)) not in EXCEPTIONS
    ]
    assert not upward, "\n".join(upward)


def test_exceptions_are_used(graph: dict[str, set[str]]):
    used = {(room_of(a), room_of(b)) for a in graph for b in graph[a] if RANKS[room_of(b)] >= RANKS[room_of(a)]}
    assert used >= set(EXCEPTIONS), "an exception is not used"


def test_rooms_that_are_imported_by_name():
    texts = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
    assert {(name, room) for name, text in texts.items() for room in re.findall(r"\babove\(\"(\w+)\"", text)} == BY_NAME


def light(name: str) -> bool:
    return any(part == name or name.startswith(f"{part}/") for part in LIGHT)


@pytest.mark.parametrize("name", [name for name in FILES if light(name)])
def test_nothing_heavy_is_imported_at_import_time(name: str):
    heavy = [module for module, at_import in imports(name) if at_import and module.split(".")[0] in HEAVY]
    assert not heavy, f"{name} imports {heavy}"


NET = """
name: "n"
layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
solver { base_lr: 0.1 lr_policy: "fixed" max_iter: 1 }
"""


@pytest.mark.parametrize(
    "work",
    [
        "import netdef; netdef.load(FILE); netdef.load(FILE, phase='TEST')",
        "import netdef.cli; assert netdef.cli.main(['check', FILE]) == 0",
        "import netdef.cli; assert netdef.cli.main(['summary', FILE]) == 0",
        "import netdef.cli; assert netdef.cli.main(['explain']) == 0",
        "import netdef.cli; assert netdef.cli.main(['explain', 'Convolution']) == 0",
        "import netdef.cli; assert netdef.cli.main(['--help']) == 0",
    ],
    ids=["load", "check", "summary", "explain", "explain one", "help"],
)
def test_jax_and_numpy_are_not_loaded(work: str, tmp_path: Path):
    file = tmp_path / "n.net"
    file.write_text(NET)
    code = f"FILE = {str(file)!r}\n{work}\nimport sys\nprint([m for m in ('jax', 'numpy', 'flax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
