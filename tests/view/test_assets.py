"""The files of the pages, and a page as one file."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from netdef.compiler import load_phases
from netdef.view.alone import alone
from netdef.view.net_page import net_page
from netdef.view.server import ASSETS

TABLE = (ASSETS / "vendor" / "README.md").read_text()
EVIL = "</script><img src=x onerror=alert(1)>"


def test_libraries_of_others_are_unchanged_and_have_licenses():
    rows = re.findall(r"^\| `([\w.]+)` \| `\S+` \| ([\d.]+) \|.*\| ([0-9a-f]{64}) \|$", TABLE, re.M)
    files = {path.name for path in (ASSETS / "vendor").iterdir()} - {"README.md", "licenses.txt"}
    assert {name for name, _, _ in rows} == files
    for name, _, checksum in rows:
        assert hashlib.sha256((ASSETS / "vendor" / name).read_bytes()).hexdigest() == checksum, name
    licenses = (ASSETS / "vendor" / "licenses.txt").read_text()
    assert licenses.count("Permission is hereby granted") == 2
    versions = {name: version for name, version, _ in rows}
    assert f"Viz.js {versions['viz.js']}" in (ASSETS / "vendor" / "viz.js").read_text()[:200]
    assert f"v{versions['uPlot.js']}" in (ASSETS / "vendor" / "uPlot.js").read_text()[:200]


def test_own_files_load_nothing_from_the_network_and_are_small():
    for path in (*ASSETS.glob("*.js"), *ASSETS.glob("*.html"), *ASSETS.glob("*.css")):
        text = path.read_text()
        addresses = set(re.findall(r"https?://[^\s\"']+", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses and "url(" not in text, path.name
        assert len(text.splitlines()) < 450, path.name


def test_every_script_is_on_a_page():
    shells = "".join(path.read_text() for path in ASSETS.glob("*.html"))
    assert [path.name for path in ASSETS.glob("*.js") if f"assets/{path.name}" not in shells] == []


def test_a_page_as_one_file(tmp_path: Path):
    text = f'name: "A & B" layer {{ name: "{EVIL}" type: "Input" top: "x" input_param {{ shape {{ dim: 2 }} }} }}'
    page = alone(net_page("n.net", load_phases(text)))
    assert "assets/" not in page.partition("<body")[0] and not re.search(r'<(?:script|link)[^>]+(?:src|href)="', page)
    assert EVIL not in page and "<title>A &amp; B</title>" in page
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert json.loads(data)["diagrams"][0]["layers"][0]["name"] == EVIL
    assert "default-src 'none'" in page and "'unsafe-inline'" not in page
