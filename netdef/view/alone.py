"""The page of a net as one file: its scripts, styles and data are inline, so that it needs no server and no network."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from pathlib import Path

from .net_page import NetPage
from .server import ASSETS, written

SCRIPT = re.compile(r'<script defer src="assets/([\w./]+)"></script>\n')
STYLE = re.compile(r'<link rel="stylesheet" href="assets/([\w./]+)">\n')
ICON = re.compile(r'<link rel="icon" href="assets/([\w./]+)">\n')


def alone(page: NetPage) -> str:
    """Returns the page as one HTML file."""
    shell = _text("net.html")
    scripts = {name: _text(name) for name in SCRIPT.findall(shell) if name != "live.js"}
    styles = [_text(name) for name in STYLE.findall(shell)]
    # In an element for data, only `<` could end it.
    data = f'<script type="application/json" id="data">{_safe(written(page).decode())}</script>\n'
    body = data + "".join(f"<script>{text}</script>\n" for text in scripts.values())
    head = _policy([*scripts.values()], styles) + "".join(f"<style>{text}</style>\n" for text in styles)
    shell = STYLE.sub("", SCRIPT.sub("", ICON.sub("", shell)))
    shell = shell.replace("<title>netdef</title>", f"<title>{escape(page.title)}</title>")
    return shell.replace("</head>", f"{head}</head>", 1).replace("</body>", f"{body}</body>", 1)


def _text(name: str) -> str:
    return (ASSETS / Path(name)).read_text(encoding="utf-8")


def _safe(json: str) -> str:
    return json.replace("<", "\\u003c")


def _policy(scripts: list[str], styles: list[str]) -> str:
    """Returns the policy of the file: only its own scripts run, and nothing is loaded."""
    of = lambda texts: " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts
    )
    policy = f"default-src 'none'; script-src 'wasm-unsafe-eval' {of(scripts)}; style-src {of(styles)}; base-uri 'none'"
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
