"""Files for editors: the TextMate grammar and the extension for VS Code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netdef.language.expansion.functions import FUNCTIONS

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "grammar" / "editors" / "vscode"
GRAMMAR = json.loads((EXTENSION / "syntaxes" / "netdef.tmLanguage.json").read_text())


def rules(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from rules(value)
    elif isinstance(node, list):
        for value in node:
            yield from rules(value)


def test_the_grammar_is_consistent():
    found = [rule for rule in rules(GRAMMAR) if rule.keys() & {"match", "begin", "include"}]
    assert len(found) > 40
    for rule in found:
        for key in ("match", "begin", "end"):
            re.compile(rule.get(key, ""))
        if "include" in rule:
            assert rule["include"].removeprefix("#") in GRAMMAR["repository"]
        groups = re.compile(rule.get("match") or rule.get("begin") or "").groups
        captures = rule.get("captures") or rule.get("beginCaptures") or {}
        assert max(map(int, captures), default=0) <= groups
        names = [c["name"] for c in captures.values()] + ([rule["name"]] if "name" in rule else [])
        assert all(name.endswith(".netdef") for name in names)


def test_the_grammar_knows_the_functions_of_the_language():
    (pattern,) = {rule["match"] for rule in rules(GRAMMAR) if "range|" in str(rule.get("match"))}
    assert set(re.search(r"\((\w+(\|\w+)+)\)", pattern)[1].split("|")) == set(FUNCTIONS)


def test_the_extension_names_files_that_exist():
    package = json.loads((EXTENSION / "package.json").read_text())
    assert package["contributes"]["configuration"]["properties"]["netdef.command"]["default"] == ["netdef", "lsp"]
    limited = package["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"]
    assert set(limited) == set(package["contributes"]["configuration"]["properties"]), "a workspace may not set these"
    paths = [row["path"] for row in package["contributes"]["grammars"]]
    paths += [row["configuration"] for row in package["contributes"]["languages"]]
    assert all((EXTENSION / path).is_file() for path in paths)
    json.loads((EXTENSION / "language-configuration.json").read_text())
    scope = package["contributes"]["grammars"][0]["scopeName"]
    assert scope == GRAMMAR["scopeName"] == "source.netdef"


@pytest.mark.skipif(
    shutil.which("node") is None or not (EXTENSION / "node_modules").is_dir(),
    reason="requires node, and `npm install` in grammar/editors/vscode",
)
def test_the_grammar_as_vs_code_loads_it():
    files = [*ROOT.glob("examples/*.net"), *ROOT.glob("netdef/std/*.net")]
    done = subprocess.run(["node", "test/grammar.js", *files], cwd=EXTENSION, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
