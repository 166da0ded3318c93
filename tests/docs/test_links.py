"""The links between pages work in both views: of the files of the repository, and of the site that is built of them."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_blocks import ROOT

from netdef.docs import links
from netdef.language.errors import NetdefError

FILES = [
    path
    for pattern in ("*.md", "netdef/README.md", "netdef/docs/*.md", "grammar/**/*.md", "examples/**/*.md")
    for path in sorted(ROOT.glob(pattern))
]


def without_code(text: str) -> str:
    """Returns a page without its blocks and without what is code inside a line."""
    return re.sub(r"`[^`\n]+`", "", re.sub(r"^ *```.*?^ *```", "", text, flags=re.S | re.M))


@cache
def anchors(path: Path) -> set[str]:
    """Returns the anchors that the hosts of repositories make of the headings of a page."""
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    heads = re.findall(r"^#+ +(.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.strip().lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_of_a_file_lead_to_files_of_the_repository(path: Path):
    for address in re.findall(r"\]\(\s*<?([^)>\s]+)", without_code(path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", address):
            continue
        name, _, anchor = unquote(address).partition("#")
        target = path.parent / name if name else path
        assert target.resolve().is_relative_to(ROOT) and target.exists(), address
        assert not anchor or anchor in anchors(target.resolve()), address


def test_a_link_without_a_page_on_the_site_is_an_error():
    with pytest.raises(NetdefError, match="links to netdef/lazy.py, for which its site has no page"):
        links.on_site("[lazy](../lazy.py)")


@pytest.mark.parametrize(
    ("link", "place"),
    [
        ("../layers", "reference/layers/index.md"),
        ("../data/layers/folder.py", "reference/layers/layers-that-read-data.md#imagefolder"),
        ("../layers/margin.py", "reference/layers/margins-between-classes-for-face-recognition.md"),
        ("../../examples/houses.net", "gallery/tables.md#houses"),
        ("../../examples/face.svg", "plots/face.svg"),
        ("../../grammar/SPEC.md", "reference/grammar.md"),
        ("arrays.md", "arrays.md"),
    ],
)
def test_links_to_sources_lead_to_the_pages_made_of_them(link: str, place: str):
    assert links.on_site(f"[x]({link}) [y]({link}#z)").startswith(f"[x]({place})")


class Places(HTMLParser):
    """The addresses that a page links to, and the names of its places."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {name for name in (given.get("id"), given.get("name") if tag == "a" else None) if name}
        if tag == "a" and (address := given.get("href")):
            self.links.add(address)


def test_links_of_the_site_lead_to_its_pages_and_sections(built: Path):
    pages = {path: Places(path.read_text(encoding="utf-8")) for path in built.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for address in page.links:
            if re.match(r"[a-z]+:", address):
                continue
            name, _, anchor = unquote(address).partition("#")
            folder = built if name.startswith("/") else path.parent  # the page of error 404 can be anywhere
            target = (folder / name.lstrip("/")).resolve() if name else path
            target = target / "index.html" if target.is_dir() else target
            if target not in pages or (anchor and anchor not in pages[target].ids):
                broken.append(f"{path.relative_to(built)}: {address}")
    assert not broken
