"""The site of the manual: it is built without a warning, has every class, and loads nothing from the network."""

from __future__ import annotations

import http.client
import json
import re
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_blocks import ROOT

import netdef
from netdef.cli import COMMANDS, helps
from netdef.docs import contents, figures, gallery, serve, site, text
from netdef.inspect import explain
from netdef.language import codes
from netdef.language.errors import NetdefError


class Requests(HTMLParser):
    """Collects what a browser loads with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        loads = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
        if tag in loads and given.get("rel") != "canonical" and (address := given.get(loads[tag])):
            self.found.append(address)


def test_pages_load_nothing_from_the_network(built: Path):
    pages = list(built.rglob("*.html"))
    assert len(pages) > 100
    for page in pages:
        loaded = Requests()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.found and not [address for address in loaded.found if re.match(r"(https?:)?//", address)], page
        for address in loaded.found:
            folder = built if address.startswith("/") else page.parent  # the page of error 404 can be anywhere
            assert (folder / address.partition("?")[0].lstrip("/")).is_file(), f"{page}: {address}"
    for style in built.rglob("*.css"):
        found = re.findall(r"url\(\s*[\"']?((?:https?:)?//[^)]*)", style.read_text(encoding="utf-8"))
        assert not found, f"{style}: {found}"


def test_the_search_finds_every_class_code_and_command(built: Path):
    index = json.loads((built / "search" / "search_index.json").read_text(encoding="utf-8"))
    titles = {entry["title"] for entry in index["docs"]}
    assert {entry.name for entry in explain.entries()} <= titles | {"layer", "solver"}
    assert set(codes.catalogue()) <= titles
    assert {f"netdef {name}" for name in COMMANDS} <= titles
    assert set(netdef.__all__) - {"data"} <= titles


def test_nets_are_colored(built: Path):
    page = (built / "first-net.html").read_text(encoding="utf-8")
    assert '<span class="nt">solver</span>' in page and '<span class="na">base_lr</span>' in page


def test_a_folder_with_other_files_is_not_replaced(built: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(NetdefError, match="is not a manual that netdef wrote; name a new folder"):
        site.build(tmp_path, helps())
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (built / site.MARK).is_file()


def test_the_server_answers_this_machine_only(built: Path):
    with serve.server(built, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host, port = server.server_address[:2]
        assert host == "127.0.0.1"
        for name, status in ((f"127.0.0.1:{port}", 200), (f"localhost:{port}", 200), (f"evil.example:{port}", 403)):
            connection = http.client.HTTPConnection(str(host), port)
            connection.request("GET", "/index.html", headers={"Host": name})
            assert connection.getresponse().status == status, name
            connection.close()
        server.shutdown()


def test_a_site_is_built_once_for_each_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NETDEF_CACHE", str(tmp_path))
    calls = []

    def build(folder: Path) -> None:
        folder.mkdir()
        (folder / site.MARK).write_text("")
        calls.append(folder)

    (tmp_path / "docs" / "old").mkdir(parents=True)
    (tmp_path / "docs" / "old" / site.MARK).write_text("")
    for _ in range(2):
        with serve.kept(build) as folder:
            assert (folder / site.MARK).is_file()
    assert len(calls) == 1 and [path.name for path in (tmp_path / "docs").iterdir()] == [folder.name]


def test_all_examples_are_in_the_gallery():
    assert sorted(gallery.names()) == sorted(path.stem for path in (ROOT / "examples").glob("*.net"))
    assert set(gallery.MEASURED) <= set(gallery.names())


def test_no_figure_has_the_path_of_another():
    paths = [path for path, _ in contents.figures()]
    assert len(paths) == len(set(paths))


def test_figures_are_those_of_the_current_sources():
    """If this fails, `python -m netdef.docs.figures` draws the figures again."""
    for name, source in figures.sources():
        drawn = (figures.FOLDER / f"{name}.svg").read_text(encoding="utf-8")
        assert drawn.startswith(f"<!-- {figures.checksum(source)} -->"), name


def test_every_page_has_a_place_in_the_navigation():
    def paths(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        inner = entry.values() if isinstance(entry, dict) else entry
        return [path for value in inner for path in paths(value)]

    texts = helps()
    listed = paths(contents.navigation(texts))
    assert len(listed) == len(set(listed))
    assert set(listed) == {page.path for page in contents.pages(texts)}


@pytest.mark.parametrize(
    ("plain", "markdown"),
    [
        ("y[o] = b * x_i", r"y\[o\] = b \* x\_i"),
        ("`a_b` and a<b", r"`a_b` and a\<b"),
        ("see https://x.org/a_b.", "see <https://x.org/a_b>."),
        ("--top_k 1 or `--set a=1`, a--b", r"`--top_k` 1 or `--set a=1`, a--b"),
    ],
)
def test_plain_text_has_no_meaning_in_markdown(plain: str, markdown: str):
    assert text.escaped(plain) == markdown
