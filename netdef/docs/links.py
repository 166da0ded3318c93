"""Links between the pages: in the repository they lead to files, on the site to the pages that are made of these.

A page in Markdown links to the file of a class, to a folder of classes, to an example or to the description of the
grammar, so that its links work where the repository is shown. On the site, the same link leads to the entry of the
class in the reference, to the list of classes, to the gallery or to the page of the grammar.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache

from ..inspect import explain
from ..language.errors import NetdefError
from ..layers.base import LAYERS
from . import gallery
from .reference import layer_page, slug

LINK = re.compile(r"(?<=\]\()(\.\.?/[^)#\s]+)(?=[)#])")
PAGES = "netdef/docs"  # the folder of the pages in the repository
# Files and folders of the repository, and their pages.
PLACES = {
    "examples": "gallery/index.md",
    "grammar/SPEC.md": "reference/grammar.md",
    "netdef/README.md": "architecture.md",
    "netdef/__init__.py": "reference/python.md",
    "netdef/cli": "reference/commands/index.md",
    "netdef/fillers": "reference/fillers.md",
    "netdef/inspect/explain_language.py": "reference/constructs.md",
    "netdef/language/codes": "reference/diagnostics.md",
    "netdef/layers": "reference/layers/index.md",
    "netdef/layers/base.py": "reference/python.md#netdef-layer",
    "netdef/policies": "reference/policies.md",
    "netdef/solvers": "reference/solvers.md",
    "netdef/solvers/base.py": "reference/solver.md",
    "netdef/std": "reference/templates.md",
}
PLOTS = ("digits_depth.svg", "digits_ssd.png", "face.svg")  # beside the examples, which the pages show


def on_site(text: str) -> str:
    """Returns a page of the folder of the manual with the links of the site."""
    return LINK.sub(lambda link: place(posixpath.normpath(f"{PAGES}/{link[1]}")), text)


def place(path: str) -> str:
    """Returns the page of the site, with its section, for a file or folder of the repository. NetdefError if it has
    none."""
    folder, _, name = path.rpartition("/")
    if folder == "examples" and name in PLOTS:
        return f"plots/{name}"
    found = PLACES.get(path) or _examples().get(path) or _classes().get(path)
    if found is None:
        raise NetdefError(f"the manual links to {path}, for which its site has no page; see docs/links.py")
    return found


@cache
def _examples() -> dict[str, str]:
    """Returns the section of each example, by its path."""
    groups = gallery.GROUPS.items()
    return {f"examples/{name}.net": f"gallery/{group}.md#{name}" for group, (_, names) in groups for name in names}


@cache
def _classes() -> dict[str, str]:
    """Returns the page of the layers of each file, by its path, and the section if the file has one layer."""
    pages = {entry.name: layer_page(entry.family) for entry in explain.entries() if entry.kind == "layer type"}
    files: dict[str, list[str]] = {}
    for name, cls in LAYERS:
        files.setdefault(cls.__module__.replace(".", "/") + ".py", []).append(name)
    sections = lambda names: f"#{slug(names[0])}" if len(names) == 1 else ""
    return {path: pages[names[0]] + sections(names) for path, names in files.items()}
