"""The protocol: passes the requests of an editor to `answers` and `names`, over stdin and stdout with pygls.

For each open document the server keeps its page, and the last page that has a net, so that names are known while a line
is incomplete. Documents are compiled and requests are answered in threads, so that the server always reads the next
message. A request waits only shortly for a document that is being compiled and is then refused; a request that is being
answered when its document changes is refused too, because its positions are those of the old text. A document that is
too long to be a net gets one diagnostic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlparse

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcContentModified, JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer

from .._version import __version__
from ..language.diagnostics import Diagnostic
from ..language.errors import NetdefError
from ..language.formatter import format
from ..language.source import Source, Span
from ..language.trust import UNTRUSTED, Trust
from ..layers.base import LAYERS
from . import answers, fixes, names, shapes
from .page import Page, read, refused
from .protocol import Tolerant, add_handlers

T = TypeVar("T")
PATIENCE = 0.2  # seconds that a request waits for a document that is being compiled; a short one takes a tenth
MOST_ITEMS = 500  # completions that are sent; writing ten thousand would delay other answers
LONGEST = 1 << 20  # characters of a document that is compiled at all
PAUSE = 0.15  # seconds without a change before a document is compiled; a net of 700 layers takes twice that
KINDS = {
    "field": lsp.CompletionItemKind.Field,
    "value": lsp.CompletionItemKind.EnumMember,
    "type": lsp.CompletionItemKind.Class,
    "blob": lsp.CompletionItemKind.Variable,
    "template": lsp.CompletionItemKind.Function,
    "argument": lsp.CompletionItemKind.Property,
    "keyword": lsp.CompletionItemKind.Keyword,
    "constant": lsp.CompletionItemKind.Constant,
    "function": lsp.CompletionItemKind.Function,
    "file": lsp.CompletionItemKind.File,
}
SEVERITIES = {
    "error": lsp.DiagnosticSeverity.Error,
    "warning": lsp.DiagnosticSeverity.Warning,
    "note": lsp.DiagnosticSeverity.Information,
}
SYMBOLS = {
    "layer": lsp.SymbolKind.Object,
    "solver": lsp.SymbolKind.Event,
    "template": lsp.SymbolKind.Function,
    "constant": lsp.SymbolKind.Constant,
    "import": lsp.SymbolKind.Module,
    "branch": lsp.SymbolKind.Namespace,
}


@dataclass
class Open:
    """An open document: its current page, and the last page that has a net."""

    now: Page
    good: Page


Compiled = tuple[Page, list[lsp.Diagnostic]]


def compiled(source: Source, trust: Trust) -> Compiled:
    """The page of a document, and its diagnostics as the protocol has them."""
    if len(source.text) > LONGEST:
        page = refused(source)
    else:
        page = read(source, trust)
        _ = page.index, page.templates  # computed here, in the thread, and not by the first request
    return page, [diagnostic(page, d) for d in page.diagnostics]


class Server(LanguageServer):
    """The server and its open documents by URI."""

    def __init__(self, trust: Trust) -> None:
        self.trust = trust
        full = lsp.TextDocumentSyncKind.Full
        super().__init__("netdef", __version__, text_document_sync_kind=full, protocol_cls=Tolerant)
        self.refreshes = False  # whether the editor asks again for inlay hints when it is told to
        self.pages: dict[str, Open] = {}
        self.waiting: dict[str, asyncio.TimerHandle] = {}
        self.reading: dict[str, asyncio.Future[Compiled]] = {}
        self.changed: dict[str, asyncio.Future[None]] = {}  # ends when a text changes about which there are requests
        self.reader = ThreadPoolExecutor(max_workers=1)
        self.answerers = ThreadPoolExecutor(max_workers=4)  # several, because hovering does not wait for formatting

    def change(self, uri: str) -> None:
        """Compiles a document after a pause in typing, and refuses the requests about its old text."""
        self.outdate(uri)
        if uri in self.waiting:
            self.waiting[uri].cancel()
        self.waiting[uri] = asyncio.get_running_loop().call_later(PAUSE, self.update, uri)

    def forget(self, uri: str) -> None:
        if timer := self.waiting.pop(uri, None):
            timer.cancel()
        if reading := self.reading.pop(uri, None):
            reading.cancel()

    def outdate(self, uri: str) -> None:
        """Refuses the requests about a text that are being answered."""
        if changed := self.changed.pop(uri, None):
            changed.set_result(None)

    def update(self, uri: str) -> None:
        """Compiles a document in a thread, and publishes its diagnostics afterwards."""
        self.forget(uri)
        source = Source(uri, self.workspace.get_text_document(uri).source, _path(uri))
        reading = asyncio.get_running_loop().run_in_executor(self.reader, compiled, source, self.trust)
        self.reading[uri] = reading
        reading.add_done_callback(lambda done: done.cancelled() or self.finished(uri, done))

    def finished(self, uri: str, reading: asyncio.Future[Compiled]) -> None:
        """Keeps the page that a thread has compiled, and publishes its diagnostics."""
        if self.reading.get(uri) is not reading:
            return
        del self.reading[uri]
        page, told = reading.result()
        before = self.pages.get(uri)
        self.pages[uri] = Open(page, page if page.nets or before is None else before.good)
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, told))
        if self.refreshes:
            self.workspace_inlay_hint_refresh(None)

    async def open(self, uri: str) -> Open:
        """The pages of a text. JsonRpcContentModified if compiling it takes long, or if it was refused: editors do not
        show this error, and do not wait. JsonRpcInvalidParams if it is not open."""
        if uri in self.waiting or uri not in self.pages and uri not in self.reading:
            if uri not in self.workspace.text_documents:
                raise JsonRpcInvalidParams(f"no text {uri} is open")
            self.update(uri)
        if uri in self.reading:
            await asyncio.wait([self.reading[uri]], timeout=PATIENCE)
        if uri in self.reading or uri in self.waiting or uri not in self.pages:
            raise JsonRpcContentModified("this text is still being read")
        pages = self.pages[uri]
        if len(pages.now.source.text) > LONGEST:
            raise JsonRpcContentModified("this text is too long")
        return pages

    async def answer(self, uri: str, work: Callable[[Open], T]) -> T:
        """Returns the result of `work` on the pages of a text, from a thread. JsonRpcContentModified if the text
        changes before that finishes; if the editor cancels the request, its result is ignored."""
        pages, loop = await self.open(uri), asyncio.get_running_loop()
        changed = self.changed.setdefault(uri, loop.create_future())
        result = loop.run_in_executor(self.answerers, work, pages)
        try:
            await asyncio.wait([result, changed], return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise JsonRpcContentModified("this text has changed")
            return result.result()
        finally:
            result.cancel()


def _path(uri: str) -> Path | None:
    parts = urlparse(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


# Positions: the protocol counts lines from 0 and columns in UTF-16


def offset_of(source: Source, at: lsp.Position) -> int:
    """Returns the offset of a position, or of the end of the line if the position is beyond it."""
    if at.line >= len(source.line_starts):
        return len(source.text)
    line = source.line(at.line + 1)
    units = line.encode("utf-16-le")[: 2 * at.character]
    return source.line_starts[at.line] + len(units.decode("utf-16-le", errors="ignore"))


def position_of(source: Source, offset: int) -> lsp.Position:
    line, column = source.position(offset)
    if source.text.isascii():  # a long line is not encoded again for each of its positions
        return lsp.Position(line - 1, column - 1)
    before = source.text[offset - column + 1 : offset]
    return lsp.Position(line - 1, len(before.encode("utf-16-le")) // 2)


def range_of(span: Span) -> lsp.Range:
    return lsp.Range(position_of(span.source, span.start), position_of(span.source, span.end))


def location(span: Span) -> lsp.Location:
    source = span.source
    uri = source.path.resolve().as_uri() if source.path and "://" not in source.name else source.name
    return lsp.Location(uri, range_of(span))


def diagnostic(page: Page, d: Diagnostic) -> lsp.Diagnostic:
    """Converts a diagnostic. If it is in an imported file, that location is related information."""
    here = page.here(d.span)
    others = [(r.message, r.span) for r in d.related]
    if d.span is not None and d.span.source is not page.source:
        others.insert(0, ("the source of the problem", d.span))
    nothing = lsp.Range(lsp.Position(0, 0), lsp.Position(0, 0))
    return lsp.Diagnostic(
        range=range_of(here) if here else nothing,
        message=d.message + (f"  Hint: {d.hint}" if d.hint else ""),
        severity=SEVERITIES[d.severity],
        code=d.code,
        source="netdef",
        related_information=[lsp.DiagnosticRelatedInformation(location(span), text) for text, span in others],
    )


# Requests


def asked(options: Any, trust: Trust) -> Trust:
    """Returns `trust` with what the initializationOptions of an editor add to it, such as `{"trustPython": true,
    "importPath": ["FOLDER"]}`. Only true and lists of strings count, because a malformed setting must not permit
    anything."""
    given = options if isinstance(options, dict) else {}
    folders = given.get("importPath")
    more = [f for f in folders if isinstance(f, str)] if isinstance(folders, list) else []
    return Trust(trust.python or given.get("trustPython") is True, (*trust.folders, *more))


def serve(trust: Trust = UNTRUSTED) -> Server:
    """Returns a server with all its features. `trust` comes from the command line; an editor may add to it."""
    server = Server(trust)

    @server.feature(lsp.INITIALIZE)
    def initialize(params: lsp.InitializeParams) -> None:
        server.trust = asked(params.initialization_options, server.trust)
        workspace = params.capabilities.workspace
        server.refreshes = bool(workspace and workspace.inlay_hint and workspace.inlay_hint.refresh_support)

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        server.update(params.text_document.uri)
        server.reader.submit(LAYERS.names)  # imports all layers now, which takes longer than an answer should

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        server.change(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        for uri in server.pages:  # one may import the other
            server.update(uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        server.forget(params.text_document.uri)
        server.outdate(params.text_document.uri)
        server.pages.pop(params.text_document.uri, None)
        server.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(params.text_document.uri, []))

    _reading(server)
    _places(server)
    _writing(server)
    _helping(server)
    add_handlers(server)
    return server


def _reading(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=['"', "{", ":", " "]))
    async def completion(params: lsp.CompletionParams) -> lsp.CompletionList:
        def complete(page: Open) -> lsp.CompletionList:
            source = page.now.source
            offset = offset_of(source, params.position)
            at, items = answers.complete(page.good, source.text, offset, page.now.index)
            start = at.start + at.quoted
            place = range_of(Span(source, start, max(start, min(offset, at.end - at.quoted))))
            begun = source.text[start:offset]
            if too_many := len(items) > MOST_ITEMS:  # the editor asks again when more of the word has been typed
                items = [item for item in items if item.label.startswith(begun)][:MOST_ITEMS]
            return lsp.CompletionList(too_many, [_item(item, place) for item in items])

        return await server.answer(params.text_document.uri, complete)

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    async def hover(params: lsp.HoverParams) -> lsp.Hover | None:
        def meaning(page: Open) -> lsp.Hover | None:
            source = page.now.source
            found = answers.hover(page.good, source.text, offset_of(source, params.position), page.now.index)
            if found is None:
                return None
            at, said = found
            return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, said), range_of(Span(source, at.start, at.end)))

        return await server.answer(params.text_document.uri, meaning)


def _item(item: answers.Item, place: lsp.Range) -> lsp.CompletionItem:
    return lsp.CompletionItem(
        label=item.label,
        kind=KINDS[item.kind],
        detail=item.detail or None,
        documentation=lsp.MarkupContent(lsp.MarkupKind.Markdown, item.doc) if item.doc else None,
        text_edit=lsp.TextEdit(place, item.text or item.label),
    )


def _places(server: Server) -> None:
    async def locations(params: Any, find: Callable[[Page, int], list[Span]]) -> list[lsp.Location]:
        work = lambda page: [location(s) for s in find(page.now, offset_of(page.now.source, params.position))]
        return await server.answer(params.text_document.uri, work)

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    async def definition(params: lsp.DefinitionParams) -> list[lsp.Location]:
        return await locations(params, names.definition)

    @server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    async def references(params: lsp.ReferenceParams) -> list[lsp.Location]:
        return await locations(params, names.references)

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    async def outline(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        work = lambda page: [_symbol(symbol) for symbol in names.outline(page.now)]
        return await server.answer(params.text_document.uri, work)


def _symbol(s: names.Symbol) -> lsp.DocumentSymbol:
    inside = [_symbol(symbol) for symbol in s.inside]
    return lsp.DocumentSymbol(
        s.name or "(no name)", SYMBOLS[s.kind], range_of(s.span), range_of(s.name_span), s.detail, children=inside
    )


def _writing(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_RENAME)
    async def rename(params: lsp.RenameParams) -> lsp.WorkspaceEdit:
        def edits(page: Open) -> list[lsp.TextEdit]:
            places = names.rename(page.now, offset_of(page.now.source, params.position), params.new_name)
            return [lsp.TextEdit(range_of(span), f'"{params.new_name}"') for span in places]

        uri = params.text_document.uri
        try:
            return lsp.WorkspaceEdit({uri: await server.answer(uri, edits)})
        except NetdefError as error:
            raise JsonRpcInvalidParams(str(error)) from None

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    async def formatting(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
        return await server.answer(params.text_document.uri, lambda page: formatted(page.now))


def _helping(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions([lsp.CodeActionKind.QuickFix]))
    async def actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        only, uri = params.context.only, params.text_document.uri
        if only is not None and not {"", lsp.CodeActionKind.QuickFix} & {*only}:
            return []

        def work(page: Open) -> list[lsp.CodeAction]:
            found = fixes.fixes(page.now, *_offsets(page.now.source, params.range))
            return [
                _action(page.now, uri, fix, [f.diagnostic for f in found].count(fix.diagnostic) == 1) for fix in found
            ]

        return await server.answer(uri, work)

    @server.feature(lsp.TEXT_DOCUMENT_INLAY_HINT)
    async def inlay_hints(params: lsp.InlayHintParams) -> list[lsp.InlayHint]:
        def work(page: Open) -> list[lsp.InlayHint]:
            source = page.now.source
            found = shapes.shape_hints(page.now, *_offsets(source, params.range))
            return [_hint(source, hint) for hint in found]

        return await server.answer(params.text_document.uri, work)


def _offsets(source: Source, place: lsp.Range) -> tuple[int, int]:
    return offset_of(source, place.start), offset_of(source, place.end)


def _action(page: Page, uri: str, fix: fixes.Fix, only: bool) -> lsp.CodeAction:
    edits = [lsp.TextEdit(range_of(edit.span), edit.text) for edit in fix.edits]
    return lsp.CodeAction(
        title=fix.title,
        kind=lsp.CodeActionKind.QuickFix,
        diagnostics=[diagnostic(page, fix.diagnostic)],
        is_preferred=only,
        edit=lsp.WorkspaceEdit({uri: edits}),
    )


def _hint(source: Source, hint: shapes.ShapeHint) -> lsp.InlayHint:
    return lsp.InlayHint(
        position=position_of(source, hint.offset),
        label=hint.label,
        kind=lsp.InlayHintKind.Type,
        tooltip=hint.detail,
        padding_left=True,
    )


def formatted(page: Page) -> list[lsp.TextEdit]:
    """The edit that formats a document; none if it has errors of syntax, which are published already."""
    source = page.source
    text = format(page.document) if page.document else source.text
    return [] if text == source.text else [lsp.TextEdit(range_of(Span(source, 0, len(source.text))), text)]
