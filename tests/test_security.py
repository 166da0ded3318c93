"""The claims of netdef/docs/security.md that can be checked: no code from files, no pickles, and the lists of commands."""

from __future__ import annotations

import ast
import io
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import netdef
from netdef.cli import COMMANDS, main
from netdef.interop.weights import read_entries
from netdef.language.expansion import imports, scope
from netdef.language.source import LARGEST

PACKAGE = Path(netdef.__file__).parent
TREES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
PAGE = (PACKAGE / "docs" / "security.md").read_text(encoding="utf-8")
SAFE, UNSAFE = PAGE.partition("## Safe on any file")[2].partition("## Weights")[0].split("## Not safe")
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch", "yaml"}
# The modules that are imported by a name that is not in the source: of netdef itself, of optax and optional packages,
# of entry points of installed distributions, of --plugin, and of Python layers.
IMPORTERS = {
    *("__init__.py", "cli/__init__.py", "data/__init__.py", "interop/__init__.py", "lazy.py", "registry.py"),
    *("inspect/explain.py", "cli/_options.py", "layers/python.py", "pycaffe/detector.py", "language/shown.py"),
    *("docs/interface.py", "policies/_optax.py"),
}


def nodes(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    return ((name, node) for name, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, kind))


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """(file, the function as it is written, the call)."""
    return ((name, ast.unparse(node.func), node) for name, node in nodes(ast.Call) if isinstance(node, ast.Call))


def test_nothing_is_evaluated_from_strings():
    words = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path", "runpy.run_module"}
    found = {(name, function) for name, function, _ in calls() if function in words}
    assert {function for _, function in found} <= {"compile"}
    for name, _ in found:  # it is netdef.compile
        imported = [ast.unparse(node) for path, node in nodes(ast.ImportFrom) if path == name]
        assert any(re.search(r"model import .*\bcompile\b", line) for line in imported), name


def test_nothing_reads_a_pickle():
    modules = {(name, alias.name) for name, node in nodes(ast.Import) for alias in node.names}
    modules |= {(name, node.module or "") for name, node in nodes(ast.ImportFrom)}
    assert not [(name, module) for name, module in modules if module.split(".")[0] in PICKLES]
    loads = [(name, call) for name, function, call in calls() if function in ("np.load", "numpy.load", "jnp.load")]
    assert len(loads) > 3
    for name, call in loads:
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("allow_pickle") == "False", name
    assert "allow_pickle=True" not in "".join(ast.unparse(tree) for tree in TREES.values())


def test_modules_are_imported_by_name_in_few_places_only():
    found = {name for name, function, _ in calls() if function.endswith("import_module")}
    assert found == IMPORTERS


def test_few_programs_are_started_and_none_by_a_shell():
    started = {(name, function) for name, function, _ in calls() if function.startswith("subprocess.")}
    assert {name for name, _ in started} == {"inspect/draw.py", "cli/launch.py"}  # Graphviz, and netdef itself
    assert not [name for name, _, call in calls() if any(k.arg == "shell" for k in call.keywords)]


def test_every_command_that_reads_a_net_is_on_the_page():
    safe, unsafe = (
        set(re.findall(r"`(?:netdef )?([a-z]+)(?: [^`]*)?`", part)) & {*COMMANDS} for part in (SAFE, UNSAFE)
    )
    assert safe | unsafe == {*COMMANDS} - {"plot", "data", "devices", "init"}
    assert safe & unsafe == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_permission_is_asked_by_the_commands_that_look_at_nets(command: str, capsys: pytest.CaptureFixture[str]):
    main([command, "--help"])
    asks = {"check", "summary", "draw", "deploy", "convert", "eject", "report", "lsp"}
    assert ("--trust-python" in capsys.readouterr().out) is (command in asks)


def test_the_limits_are_those_of_the_code():
    assert f"at most {LARGEST >> 20} MB" in PAGE
    assert f"{scope.MOST_FIELDS:,} fields in {scope.MOST_STEPS:,} steps" in PAGE
    assert f"import {imports.MOST_FILES} files" in PAGE.replace("\n", " ")


class Trap:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (Path("trapped"),)


@pytest.mark.parametrize("name", ["w.npz", "w.npy", "w.pth", "w.pkl", "w.caffemodel", "w.safetensors", "w.h5"])
def test_a_pickle_among_weights_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    if name.endswith(".npz"):
        np.savez(name, **{"ip/0": np.array([Trap()], object)})
    elif name.endswith(".npy"):
        np.save(name, np.array([Trap()], object))
    else:
        held = io.BytesIO()
        pickle.dump({"ip": Trap()}, held, protocol=2)
        Path(name).write_bytes(held.getvalue())
    with pytest.raises(netdef.NetdefError):
        read_entries(name)
    assert not Path("trapped").exists()


def test_data_that_hold_objects_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", x=np.array([Trap()], object))
    net = 'layer { name: "d" type: "ArrayData" top: "x" array_data_param { source: "data.npz" batch_size: 1 } }'
    with pytest.raises(netdef.NetdefError, match="data.npz"):
        next(netdef.data.batches(net))
    assert not Path("trapped").exists()


def test_the_page_is_linked_from_the_readme():
    readme = PACKAGE.parent / "README.md"
    if not readme.is_file():
        pytest.skip("requires the checkout")
    assert "(netdef/docs/security.md)" in readme.read_text(encoding="utf-8")
