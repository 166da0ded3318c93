"""The contents of the manual: which pages there are, in which order, and where their text is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from . import gallery, interface, links, reference
from .reference import Page

HERE = Path(__file__).parent
PACKAGE = HERE.parent

# The sections of the navigation and the names of their pages, files in this folder.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Start": ("first-net", "language", "runs"),
    "Your own data": ("starter", "images", "arrays", "tables", "text", "faces", "large-data"),
    "Training": ("fine-tuning", "recipes", "optax", "sweeps", "search", "tracking", "devices", "targets"),
    "Detection": ("detection",),
    "Using a net": ("python", "notebooks", "view", "export", "editors"),
    "Coming from": ("caffe", "pycaffe", "keras"),
}
ABOUT = ("architecture", "security")
REFERENCE = (
    "layer",
    "solver",
    "solvers",
    "policies",
    "fillers",
    "blocks",
    "constructs",
    "templates",
    "grammar",
    "diagnostics",
    "python",
)
# Pages of the manual that are files elsewhere: name -> their places in the checkout and in the package.
ELSEWHERE = {
    "architecture": (PACKAGE / "README.md",),
    "reference/grammar": (PACKAGE.parent / "grammar" / "SPEC.md", PACKAGE / "grammar" / "SPEC.md"),
}


def written() -> list[str]:
    """Returns the names of the pages in this folder, in their order."""
    return ["index", *(name for names in SECTIONS.values() for name in names), *ABOUT]


def pages(helps: Mapping[str, tuple[str, str]]) -> Iterator[Page]:
    """Yields all pages of the site, without their figures; `helps` is that of `interface.commands`."""
    for name in written():
        if name not in ELSEWHERE:
            text = (HERE / f"{name}.md").read_text(encoding="utf-8")
            yield Page(f"{name}.md", links.on_site(text))
    for name, places in ELSEWHERE.items():
        path = next(path for path in places if path.is_file())
        yield Page(f"{name}.md", _moved(name, path.read_text(encoding="utf-8")))
    yield from gallery.pages()
    yield from reference.pages()
    yield from interface.commands(helps)
    yield interface.python()


def _moved(name: str, text: str) -> str:
    """Returns a page from elsewhere as a page of the site."""
    if name == "architecture":  # its diagram is a figure here, because a page must not load a program that draws it
        before, _, rest = text.partition("```mermaid\n")
        text = before + "![Components and their imports](figures/components.svg)\n" + rest.partition("```\n")[2]
        return text.replace("# The layout of the code", "# How it is built", 1)
    for block in ("expands", "error"):  # blocks of the grammar's page that are no net
        text = text.replace(f"```{block}", "```netdef" if block == "expands" else "```text")
    return text


def navigation(helps: Mapping[str, tuple[str, str]]) -> list[object]:
    """Returns the navigation of the site in the form of mkdocs."""
    commands = [f"reference/commands/{reference.slug(name)}.md" for name in helps]
    return [
        {"Manual": ["index.md", *({head: _paths(names)} for head, names in SECTIONS.items())]},
        {"Gallery": ["gallery/index.md", *gallery.paths()]},
        {"Layers": ["reference/layers/index.md", *reference.layer_pages()]},
        {"Reference": [*(f"reference/{name}.md" for name in REFERENCE), *reference.other_pages()]},
        {"Commands": ["reference/commands/index.md", *commands]},
        {"About": _paths(ABOUT)},
    ]


def _paths(names: tuple[str, ...]) -> list[str]:
    return [f"{name}.md" for name in names]


def figures() -> Iterator[tuple[str, Path]]:
    """Yields the path of each figure on the site, and its file."""
    for path in sorted((HERE / "figures").iterdir()):
        yield f"figures/{path.name}", path
    examples = gallery.examples()
    for name in links.PLOTS:
        yield f"plots/{name}", examples / name


def language(text: str) -> str:
    """Returns a page whose nets have the language of the lexer; elsewhere `protobuf` is the nearest known one."""
    return text.replace("```protobuf", "```netdef")
