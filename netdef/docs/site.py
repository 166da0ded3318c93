"""The site of the manual: HTML of all pages by mkdocs-material, which needs no network to be built or read."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._version import __version__
from ..language.errors import NetdefError
from ..lazy import need
from . import contents

WHAT = "netdef docs"
MARK = ".netdef-manual"  # a file in the folder of a site: the folder may be replaced
STYLE = contents.HERE / "style.css"


def build(site: Path, helps: Mapping[str, tuple[str, str]]) -> None:
    """Writes the site to a folder, which is new or empty or contains an earlier site. `helps` maps each command to its
    line in the list of commands and its help text. Raises NetdefError if the folder has other files, a package is
    missing, or a page has a broken link."""
    check()
    if site.exists() and (not site.is_dir() or (any(site.iterdir()) and not (site / MARK).exists())):
        raise NetdefError(f"{site} exists and is not a manual that netdef wrote; name a new folder")
    site.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        _write_sources(here / "docs", helps)
        # Every JSON file is a YAML file.
        (here / "mkdocs.yml").write_text(json.dumps(_config(here, helps)), encoding="utf-8")
        _register_lexer()
        warnings = _run(here)
        if warnings:
            raise NetdefError(f"the manual has {len(warnings)} errors: {'; '.join(warnings[:3])}")
        (here / "site" / MARK).write_text(__version__)
        if site.exists():
            shutil.rmtree(site)
        shutil.copytree(here / "site", site)


def check() -> None:
    """Raises NetdefError if the package that makes the site is missing."""
    need("material", WHAT)
    need("mkdocs", WHAT)
    need("pygments", WHAT)


def fingerprint() -> str:
    """Returns a string that changes when the version or a file of the package or of the examples changes."""
    folders = (contents.PACKAGE, contents.gallery.examples())
    kinds = (".py", ".md", ".net", ".css", ".svg", ".png")
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in kinds]
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(repr((__version__, stats)).encode()).hexdigest()[:16]


def _write_sources(folder: Path, helps: Mapping[str, tuple[str, str]]) -> None:
    for page in contents.pages(helps):
        path = folder / page.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(contents.language(page.text), encoding="utf-8")
    for name, path in contents.figures():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
    shutil.copyfile(STYLE, folder / "style.css")


def _config(here: Path, helps: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    schemes = (("default", "light", "dark", "weather-night"), ("slate", "dark", "light", "weather-sunny"))
    palette = [
        {
            "media": f"(prefers-color-scheme: {media})",
            "scheme": scheme,
            "primary": "custom",
            "accent": "custom",
            "toggle": {"icon": f"material/{icon}", "name": f"Switch to {other} colors"},
        }
        for scheme, media, other, icon in schemes
    ]
    return {
        "site_name": "netdef",
        "site_description": f"The manual of netdef {__version__}",
        "docs_dir": str(here / "docs"),
        "site_dir": str(here / "site"),
        "use_directory_urls": False,  # the pages can be read without a server, too
        "nav": contents.navigation(helps),
        "theme": {
            "name": "material",
            "font": False,  # no fonts from the network
            "palette": palette,
            "icon": {"logo": "material/graph-outline"},
            "features": [
                *(
                    "navigation.tabs",
                    "navigation.indexes",
                    "navigation.sections",
                    "navigation.top",
                    "navigation.footer",
                ),
                *("content.code.copy", "search.highlight", "search.suggest", "toc.follow"),
            ],
        },
        "extra": {"generator": False},
        "extra_css": ["style.css"],
        "plugins": ["search"],
        "validation": {"anchors": "warn", "unrecognized_links": "warn", "omitted_files": "warn"},
        "markdown_extensions": [
            *("admonition", "attr_list", "md_in_html", "tables", "pymdownx.details", "pymdownx.superfences"),
            {"pymdownx.highlight": {"guess_lang": False}},
            {"toc": {"permalink": True, "toc_depth": 3}},
        ],
    }


def _register_lexer() -> None:
    """Makes the lexer of `.net` files known to Pygments, also where netdef is used without being installed."""
    lexers = need("pygments.lexers", WHAT)
    lexers.LEXERS["NetLexer"] = (f"{__package__}.lexer", "netdef", ("netdef",), ("*.net",), ())


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _run(here: Path) -> list[str]:
    """Runs mkdocs and returns its warnings, which it would print."""
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")  # an announcement of mkdocs-material
    load_config, build = need("mkdocs.config", WHAT).load_config, need("mkdocs.commands.build", WHAT).build
    handler, logger = _Warnings(), logging.getLogger("mkdocs")
    logger.addHandler(handler)
    propagate, logger.propagate = logger.propagate, False
    try:
        config = load_config(str(here / "mkdocs.yml"))
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
        config.plugins.on_shutdown()
    except need("mkdocs.exceptions", WHAT).MkDocsException as error:
        return [*handler.messages, str(error)]
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
    return handler.messages
