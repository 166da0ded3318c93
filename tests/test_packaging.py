"""The wheel is complete and works without a checkout."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from netdef.lazy import OPTIONAL

ROOT = Path(__file__).parents[1]
TEXTS = (".py", ".md", ".js", ".json", ".net", ".lark")
if not (ROOT / "pyproject.toml").is_file():
    pytest.skip("the tests of packaging require the checkout", allow_module_level=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built as an installer does."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def test_the_wheel_contains_the_package_and_its_data(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {"netdef/py.typed", "netdef/grammar/netdef.lark", "netdef/language/parsing/tables.json"}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "netdef").rglob("*.py")}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "netdef" / "std").glob("*.net")}
    assets = [path for path in (ROOT / "netdef" / "view" / "assets").rglob("*") if path.is_file()]
    assert len(assets) > 15
    wanted |= {str(path.relative_to(ROOT)) for path in assets}
    assert "netdef/std/conv.net" in wanted
    assert wanted <= names
    manual = {path.relative_to(ROOT).as_posix() for path in (ROOT / "netdef" / "docs").rglob("*.*")}
    examples = {f"netdef/docs/examples/{path.name}" for path in (ROOT / "examples").glob("*.*")}
    wanted = {name for name in manual | examples if not name.endswith(".pyc")}
    assert {"netdef/docs/security.md", "netdef/docs/style.css", "netdef/README.md"} < names
    assert wanted <= names, "the manual, and the examples that it shows, are part of the package"
    assert not [
        name for name in names if name.startswith(("tests/", "examples/", "grammar/", "netdef/grammar/editors"))
    ]


def test_the_wheel_has_the_command(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "netdef = netdef.cli:main" in archive.read(points).decode()
    assert wheel.name.startswith("netdef_jax-")


def test_an_installed_wheel_finds_its_grammar(wheel: Path, tmp_path: Path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:  # a pure wheel is installed by unpacking it
        archive.extractall(site)
    code = (
        "import netdef, netdef.language.parsing.tables as t; print(ascii(netdef.__file__)); print(len(t.grammar_text()) > 100);"
        'print(netdef.load(\'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }\').inputs)'
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    where, grammar, inputs = done.stdout.splitlines()
    assert Path(ast.literal_eval(where)).is_relative_to(site)
    assert (grammar, inputs) == ("True", "('x',)")


def test_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras) == {
        *("caffe", "detection", "images", "opencv", "tensorboard", "plot", "safetensors", "stablehlo", "onnx", "lsp"),
        *("docs", "tables", "text", "view"),
        *("cuda12", "cuda13", "tpu", "target"),
        *("sweep", "mlflow", "wandb"),
        *("test", "dev"),
    }
    pinned = [
        line for lines in (project["dependencies"], *extras.values()) for line in lines if "<" in line or "==" in line
    ]
    assert not pinned, f"an upper bound excludes newer versions: {pinned}"


def test_the_name_is_not_that_of_another_project():
    """On the public index, `netdef` is another project: installing it would replace this one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "netdef-jax"
    assert project["scripts"] == {"netdef": "netdef.cli:main"}
    own = [line for lines in project["optional-dependencies"].values() for line in lines if line.startswith("netdef")]
    assert own and all(line.startswith("netdef-jax[") for line in own)
    files = [path for folder in ("netdef", "grammar", "examples") for path in (ROOT / folder).rglob("*.*")]
    files = [
        ROOT / "README.md",
        ROOT / ".ci/run",
        *(f for f in files if f.suffix in TEXTS and "node_modules" not in f.parts),
    ]
    wrong = re.compile(r"netdef\[\w+\]|pip install (-\w+ )*[\"']?netdef\b(?!-jax)")
    found = [path.name for path in files if wrong.search(path.read_text(encoding="utf-8"))]
    assert found == ["lazy.py"], "only the comment that explains it"


def test_every_optional_module_comes_with_an_extra():
    """The package of each module that `need` knows is in an extra, so that one command installs it beside netdef."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    offered = {re.split(r"[<>=;\[ ]", line)[0] for lines in extras.values() for line in lines}
    assert set(OPTIONAL.values()) <= offered
    texts = {path: path.read_text() for path in (ROOT / "netdef").rglob("*.py")}
    needed = {name for text in texts.values() for name in re.findall(r"\bneed\(\s*\"(\w+)", text)}
    assert needed == set(OPTIONAL)
    own = [path.name for path, text in texts.items() if "except ImportError" in text]
    assert own == ["lazy.py"], "messages about missing packages are composed in one function"
