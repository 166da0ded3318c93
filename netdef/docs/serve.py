"""The manual on this machine: built once for each version, kept in the cache folder, and served to a browser."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

from ..data.statistics import cache_folder
from .site import MARK, fingerprint

HOST = "127.0.0.1"


@contextlib.contextmanager
def kept(build: Callable[[Path], None]) -> Iterator[Path]:
    """A context with the folder of the site, in the cache. If that cannot be written, it is a temporary folder."""
    try:
        home = cache_folder() / "docs"
        home.mkdir(parents=True, exist_ok=True)
        if not os.access(home, os.W_OK):
            raise PermissionError(home)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        with tempfile.TemporaryDirectory() as temporary:
            build(Path(temporary, "site"))
            yield Path(temporary, "site")
        return
    site = home / fingerprint()
    if not (site / MARK).is_file():
        print("building the manual", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=home) as temporary:
            build(Path(temporary, "site"))
            with contextlib.suppress(OSError):  # another process has built it meanwhile
                os.rename(Path(temporary, "site"), site)
        for other in home.iterdir():  # of other versions
            if other != site and (other / MARK).is_file():
                shutil.rmtree(other, ignore_errors=True)
    yield site


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the files of the site without a log, to addresses of this machine only."""

    def do_GET(self) -> None:
        if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
            self.send_error(403, "the manual is served to this machine only")
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


def server(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    return http.server.ThreadingHTTPServer((HOST, port), functools.partial(Handler, directory=str(folder)))


def serve(folder: Path, port: int | None, usual: int, browser: bool) -> None:
    """Serves a folder until Ctrl-C. Without a port it is `usual`, or a free one if that is in use."""
    try:
        serving = server(folder, usual if port is None else port)
    except OSError:
        if port is not None:
            raise
        serving = server(folder, 0)
    address = f"http://{HOST}:{serving.server_address[1]}/"
    print(f"the manual is at {address} (Ctrl-C ends this)", flush=True)
    if browser:
        threading.Timer(0.2, webbrowser.open, [address]).start()
    with serving, contextlib.suppress(KeyboardInterrupt):
        serving.serve_forever()
