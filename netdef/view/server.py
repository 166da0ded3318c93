"""The server of the pages: to this machine only, and read-only.

    GET /                          the page
    GET /assets/NAME               its scripts and styles
    GET /page.json                 what it shows
    GET /events                    a server-sent event whenever that changes
    GET /judged.json, POST         of a run: how its last snapshot does; POST starts a test
    GET /net.json                  of a run: its net
    GET /curves.json?run=NAME      of a folder: the curves of some runs
    GET /runs/NAME/...             of a folder: the same for one of its runs

Requests that name another host than this machine are refused, because a web page of a stranger could otherwise read
the answers under a host name of its own that leads here (DNS rebinding).  Names in addresses are looked up in what was
found on disk, and are never parts of paths.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import is_dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..language.errors import NetdefError, printable
from ..lazy import need
from .folder_page import curves_of
from .subjects import FileSubject, FolderSubject, RunSubject, Subject

if TYPE_CHECKING:
    from starlette.applications import Starlette

ASSETS = Path(__file__).with_name("assets")
PORT = 8640
HOSTS = ["localhost", "127.0.0.1"]
PAUSE = 0.5  # seconds between two looks at the files
SHELLS = {FileSubject: "net.html", RunSubject: "run.html", FolderSubject: "folder.html"}
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# WebAssembly is compiled by the layout of diagrams; images of a run are in its JSON.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def application(subject: Subject, ending: Callable[[], bool] = lambda: False) -> Starlette:
    """Returns the application that serves a subject.  Its streams of events end when `ending` returns True."""
    check()
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    assets = {path.relative_to(ASSETS).as_posix(): path for path in ASSETS.rglob("*") if path.suffix in TYPES}

    def asset(name: str) -> Response:
        path = assets.get(name)
        return missing() if path is None else Response(path.read_bytes(), media_type=TYPES[path.suffix])

    def missing() -> Response:
        return Response("not found", HTTPStatus.NOT_FOUND, media_type="text/plain")

    def chosen(request: Request) -> Any:
        """The subject of a request: the run that its address names, or that of the server; None for an unknown run."""
        name = request.path_params.get("run")
        return subject if name is None else subject.run(name) if isinstance(subject, FolderSubject) else None

    def answering(answer: Callable[[Any, Request], Any], *kinds: type) -> Callable[[Request], Response]:
        def respond(request: Request) -> Response:
            found = chosen(request)
            if not isinstance(found, kinds):
                return missing()
            try:
                made = answer(found, request)
            except (NetdefError, OSError) as error:
                made = {"kind": "error", "error": printable(str(error))}
            return made if isinstance(made, Response) else Response(written(made), media_type="application/json")

        return respond

    def judged(run: RunSubject, request: Request) -> Any:
        if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return Response("a page of another site must not start tests", HTTPStatus.FORBIDDEN)
        return run.judge(request.method == "POST")

    async def events(request: Request) -> Response:
        found = await asyncio.to_thread(chosen, request)
        if found is None:
            return missing()
        return StreamingResponse(changes(found, ending), media_type="text/event-stream")

    every = (FileSubject, RunSubject, FolderSubject)
    below = {
        "": answering(lambda found, _: asset(SHELLS[type(found)]), *every),
        "page.json": answering(lambda found, _: found.page(), *every),
        "judged.json": answering(judged, RunSubject),
        "net.json": answering(lambda found, _: found.net(), RunSubject),
        "curves.json": answering(_curves, FolderSubject),
        "events": events,
    }
    methods = lambda name: ["GET", "POST"] if name == "judged.json" else ["GET"]
    of_asset = lambda request: asset(request.path_params["name"])
    return Starlette(
        routes=[
            Route("/assets/{name:path}", of_asset),
            Route("/runs/{run:path}/assets/{name:path}", of_asset),
            *(Route(f"/runs/{{run:path}}/{name}", made, methods=methods(name)) for name, made in below.items()),
            *(Route(f"/{name}", made, methods=methods(name)) for name, made in below.items()),
        ],
        middleware=[Middleware(_Headers), Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)],
    )


def _curves(folder: FolderSubject, request: Any) -> Any:
    found = {name: run.folder for name in request.query_params.getlist("run") if (run := folder.run(name))}
    return curves_of(found, found)


class _Headers:
    """Adds headers to every response."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        await self.app(scope, receive, sent if scope["type"] == "http" else send)


async def changes(subject: Subject, ending: Callable[[], bool], pause: float = PAUSE) -> AsyncIterator[str]:
    """Yields a server-sent event at once, and whenever a subject changes."""
    before, waited = None, 0.0
    while not ending():
        began = time.monotonic()
        now = await asyncio.to_thread(subject.version)
        rest = max(pause, 10 * (time.monotonic() - began))  # of a large folder on a slow disk
        if now != before:
            yield f"data: {hashlib.sha256(now.encode(errors='replace')).hexdigest()[:16]}\n\n"
            before, waited = now, 0.0
        elif waited > 15:  # so that a browser that has left is noticed
            yield ": \n\n"
            waited = 0.0
        await asyncio.sleep(rest)
        waited += rest


def written(page: Any) -> bytes:
    """Returns a page as JSON."""
    return json.dumps(page, default=plain, allow_nan=False, ensure_ascii=False).encode(errors="replace")


def plain(value: Any) -> Any:
    """Returns the fields of a frozen value."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}  # `fields` takes twice as long
    raise TypeError(f"{type(value).__name__} is not part of a page")


def listening(port: int | None) -> socket.socket:
    """Returns a socket on a port of this machine, by default the usual one, or a free one if that is taken.
    NetdefError if the port is taken."""
    for wanted in (PORT, 0) if port is None else (port,):
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(("127.0.0.1", wanted))
            found.listen(64)
            return found
        except OSError as error:
            found.close()
            why = error.strerror or str(error)
    raise NetdefError(f"port {port} cannot be used: {why}; name another one with --port, or omit it")


def check() -> None:
    """Raises NetdefError if a package that the server needs is missing."""
    need("starlette", "netdef view")
    need("uvicorn", "netdef view")


def serve(subject: Subject, at: socket.socket) -> None:
    """Serves a subject until Ctrl-C, which ends it as KeyboardInterrupt."""
    server_of(subject).run(sockets=[at])


def server_of(subject: Subject) -> Any:
    """Returns a server of uvicorn, which ends when its `should_exit` is set."""
    uvicorn = need("uvicorn", "netdef view")
    server: Any = None
    app = application(subject, lambda: server.should_exit)
    quiet = {"log_level": "critical", "access_log": False, "server_header": False}
    config = uvicorn.Config(app, **quiet, lifespan="off", ws="none", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    return server
