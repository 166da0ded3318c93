"""Pages for notebooks as their tags and text, checked to be whole and to run nothing."""

from __future__ import annotations

from html.parser import HTMLParser

TAGS = {
    *("div", "style", "b", "span", "i", "details", "summary", "table", "thead", "tbody", "tr", "th", "td", "pre"),
    *("img", "svg", "defs", "g", "path", "use", "clippath", "rect", "polyline"),
}


class Page(HTMLParser):
    """The tags, the text and the attributes of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("img", "path", "use", "rect", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert tag in ("path", "use", "rect") or self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def read(html: str) -> Page:
    """Parses a page that must be whole: every tag is closed, known, and runs nothing."""
    found = Page(html)
    assert found.open == [] and set(found.tags) <= TAGS
    assert not [name for name, _ in found.attributes if name.startswith("on") or name == "href"]
    assert not [value for _, value in found.attributes if value and "http" in value and "w3.org" not in value]
    return found
