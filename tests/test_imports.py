"""The layering: a lower rank never imports a higher one, and nothing below the model imports jax."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "netdef"

# Unit -> rank.  A unit is a folder or a file directly in the package.
RANKS = {
    **dict.fromkeys(["language", "lazy", "shape"], 0),
    **dict.fromkeys(["schema", "registry", "caffe_proto"], 1),
    **dict.fromkeys(["layer", "graph", "policy", "solver"], 2),
    **dict.fromkeys(["layers", "solvers", "policies", "data", "fillers"], 3),
    **dict.fromkeys(["passes"], 4),
    **dict.fromkeys(["compiler", "forward", "model"], 5),
    **dict.fromkeys(["train", "observe", "predict", "summary", "deploy", "draw", "explain", "interop"], 6),
    **dict.fromkeys(["preprocessing", "pycaffe", "timing"], 6),
    **dict.fromkeys(["cli", "lsp", "__main__", "__init__"], 7),
}
SIBLINGS = {("layers", "fillers"), ("data", "fillers"), ("data", "layers")}  # who of rank 3 may use whom
UPWARDS = {  # imports inside a function that go up: conveniences for users, whose module stays below
    ("model", "interop"),  # model.load_weights, model.save_weights
    ("data", "compiler"),  # data.batches(path)
}
HEAVY = {"jax", "jaxlib", "flax", "optax", "orbax", "numpy", "h5py", "lmdb", "plyvel", "PIL", "google", "rich"}
LIGHT_UNITS = {unit for unit, rank in RANKS.items() if rank <= 4} | {
    "compiler",
    "summary",
    "deploy",
    "draw",
    "explain",
    "__init__",
    "cli",
}

FILES = sorted(PACKAGE.rglob("*.py"))


def unit_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """(absolute module, whether at import time) of every import but those for type checkers alone."""
    found = []

    def visit(node: ast.AST, at_import: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child, at_import)
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found.append((absolute(path, node, alias.name), at_import))
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, at_import and not inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


def absolute(path: Path, node: ast.ImportFrom, name: str) -> str:
    if not node.level:
        return node.module or ""
    here = ["netdef", *path.relative_to(PACKAGE).with_suffix("").parts]
    base = [*here[: len(here) - node.level], *(node.module.split(".") if node.module else [])]
    return ".".join([*base, name])


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_imports_a_higher_rank(path: Path):
    unit = unit_of(path)
    assert unit in RANKS, f"{unit} has no rank; give it one here"
    for module, at_import in imports(path):
        parts = module.split(".")
        if parts[0] != "netdef" or len(parts) == 1:
            continue
        other = parts[1] if parts[1] in RANKS else "__init__"  # `from .. import __version__`
        if other in (unit, "__init__") or (not at_import and (unit, other) in UPWARDS):
            continue
        assert RANKS[other] <= RANKS[unit], f"{path.name} (rank {RANKS[unit]}) imports {module} (rank {RANKS[other]})"
        if RANKS[other] == RANKS[unit] == 3:
            assert (unit, other) in SIBLINGS, f"{path.name} imports its sibling {module}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if unit_of(p) in LIGHT_UNITS], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_nothing_heavy_is_imported_at_import_time(path: Path):
    heavy = [module for module, at_import in imports(path) if at_import and module.split(".")[0] in HEAVY]
    assert not heavy, f"{path.name} imports {heavy}"


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
def test_jax_and_numpy_stay_out(work: str, tmp_path: Path):
    file = tmp_path / "n.net"
    file.write_text(NET)
    code = f"FILE = {str(file)!r}\n{work}\nimport sys\nprint([m for m in ('jax', 'numpy', 'flax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
