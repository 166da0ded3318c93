"""The language server with a real client over stdin and stdout."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pygls")
from lsprotocol import types as lsp  # noqa: E402
from pygls.exceptions import JsonRpcContentModified, JsonRpcException  # noqa: E402
from pygls.lsp.client import LanguageClient  # noqa: E402

from netdef.language.source import Source  # noqa: E402
from netdef.language.trust import UNTRUSTED  # noqa: E402
from netdef.lsp.page import read  # noqa: E402
from netdef.lsp.server import Open, Server  # noqa: E402

NET = """import "std/conv.net"
let width: 64
layer { name: "x" type: "Input" top: "data" input_param { shape { dim: [1, 3, 8, 8] } } }  # 😀
conv_bn_relu { name: "conv1" bottom: "data" out: ${width} }
layer { name: "p" type: "Pooling" bottom: "conv1" top: "p" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "p" top: "ip" inner_product_param { num_output: 5 } }
"""


class Editor:
    """A client with one open document."""

    def __init__(self, client: LanguageClient, path: Path):
        self.client, self.uri, self.version = client, path.as_uri(), 1
        self.text = ""
        self.told: asyncio.Queue[list[lsp.Diagnostic]] = asyncio.Queue()
        client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(
            lambda params: self.told.put_nowait([*params.diagnostics])
        )

    async def write(self, text: str) -> list[lsp.Diagnostic]:
        """Opens the document, or changes it. Returns the diagnostics of the server."""
        if not self.text:
            item = lsp.TextDocumentItem(self.uri, "netdef", 1, text)
            self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))
        else:
            self.version += 1
            identifier = lsp.VersionedTextDocumentIdentifier(self.version, self.uri)
            change = lsp.TextDocumentContentChangeWholeDocument(text)
            self.client.text_document_did_change(lsp.DidChangeTextDocumentParams(identifier, [change]))
        self.text = text
        return await asyncio.wait_for(self.told.get(), 60)

    def at(self, mark: str, back: int = 0) -> dict[str, Any]:
        """Returns the position `back` characters before the end of a fragment of the document."""
        offset = self.text.index(mark) + len(mark) - back
        line = self.text.count("\n", 0, offset)
        begin = self.text.rfind("\n", 0, offset) + 1
        column = len(self.text[begin:offset].encode("utf-16-le")) // 2
        return {"text_document": lsp.TextDocumentIdentifier(self.uri), "position": lsp.Position(line, column)}

    def words(self, place: lsp.Range) -> str:
        lines = self.text.split("\n")
        assert place.start.line == place.end.line
        line = lines[place.start.line].encode("utf-16-le")
        return line[2 * place.start.character : 2 * place.end.character].decode("utf-16-le")


def session(work: Callable[[Editor], Awaitable[None]], folder: Path, settings: Any = None) -> None:
    """Starts a server with the settings of an editor, runs `work` with a document, and stops the server as an editor does."""

    async def run() -> None:
        client = LanguageClient("test", "1")
        await client.start_io(sys.executable, "-m", "netdef", "lsp")
        try:
            options = lsp.InitializeParams(
                lsp.ClientCapabilities(), root_uri=folder.as_uri(), initialization_options=settings
            )
            await asyncio.wait_for(client.initialize_async(options), 60)
            client.initialized(lsp.InitializedParams())
            await work(Editor(client, folder / "net.net"))
        finally:
            await client.shutdown_async(None)
            client.exit(None)
            await asyncio.wait_for(client.stop(), 60)

    asyncio.run(run())


def test_diagnostics_as_you_type(tmp_path: Path):
    async def work(editor: Editor) -> None:
        assert await editor.write(NET) == []
        (fault,) = await editor.write(NET.replace("num_output", "num_ouput"))
        assert (fault.code, fault.severity, fault.source) == ("unknown-field", lsp.DiagnosticSeverity.Error, "netdef")
        assert editor.words(fault.range) == "num_ouput"
        assert "num_output" in fault.message
        (fault,) = await editor.write(NET.replace('bottom: "data" out', 'bottom: "dato" out'))
        assert fault.code == "unknown-bottom"
        assert editor.words(fault.range) == "conv_bn_relu"  # where the template is used, not in the library
        assert fault.related_information[0].location.uri.endswith("std/conv.net")
        (fault,) = await editor.write(NET.replace("{ pool: MAX", "{ pool: MAXX"))
        assert editor.words(fault.range) == "MAXX"
        (fault,) = await editor.write(NET + "layer {")
        assert fault.code == "unclosed-block"
        (fault,) = await editor.write("solver { base_lr: }\n")
        assert fault.code == "missing-value"
        assert await editor.write(NET) == []

    session(work, tmp_path)


def test_reading(tmp_path: Path):
    async def work(editor: Editor) -> None:
        ask = editor.client

        async def labels(mark: str) -> list[str]:
            found = await ask.text_document_completion_async(lsp.CompletionParams(**editor.at(mark)))
            assert isinstance(found, lsp.CompletionList)
            return [item.label for item in found.items]

        await editor.write(NET)
        assert set(await labels('bottom: "')) >= {"data"}
        assert await labels('bottom: "p') == ["data", "conv1", "p", "ip"] or "conv1" in await labels('bottom: "p')
        assert {"MAX", "AVE", "STOCHASTIC", "AVE_EXC_PAD", "AVE_TF"} == set(await labels("pool: "))
        assert {"kernel_size", "stride", "pad"} <= set(await labels("pooling_param { "))
        assert {"layer", "solver", "conv_bn_relu", "template", "name"} <= set(
            await labels("[1, 3, 8, 8] } } }  # 😀\n")
        )
        assert {"dialect", "kernel", "filler"} <= set(await labels("out: ${width} "))
        broken = NET + 'layer { name: "r" type: "Re'
        await editor.write(broken)
        assert {"ReLU", "Reshape", "Reduction"} <= set(await labels('name: "r" type: "Re'))
        await editor.write(NET + 'layer { name: "r" type: "ReLU" bottom: ')
        found = await ask.text_document_completion_async(lsp.CompletionParams(**editor.at('"ReLU" bottom: ')))
        assert isinstance(found, lsp.CompletionList)
        assert [i.text_edit.new_text for i in found.items if i.label == "conv1"] == ['"conv1"']
        assert [i.detail for i in found.items if i.label == "conv1"] == ["1x64x8x8"]

        await editor.write(NET)

        async def hover(mark: str, back: int = 1) -> str:
            found = await ask.text_document_hover_async(lsp.HoverParams(**editor.at(mark, back)))
            return found.contents.value if found else ""  # type: ignore[union-attr]

        assert "1x64x8x8" in await hover('bottom: "conv1"', 2)
        assert "Number of outputs." in await hover("num_output")
        assert "one number" in (await hover('"Pooling"', 2)).lower() or "window" in await hover('"Pooling"', 2)
        assert "conv_bn_relu(name, bottom, out" in await hover("conv_bn_relu")
        assert "let width: 64" in await hover("let width")
        assert await hover("[1,") == ""
        symbols = await ask.text_document_document_symbol_async(
            lsp.DocumentSymbolParams(lsp.TextDocumentIdentifier(editor.uri))
        )
        assert [s.name for s in symbols or ()] == ["std/conv.net", "width", "x", "conv1", "p", "ip"]

    session(work, tmp_path)


def test_places_and_changes(tmp_path: Path):
    async def work(editor: Editor) -> None:
        ask = editor.client
        await editor.write(NET)

        async def places(request: Any, params: type, mark: str, back: int, **more: Any) -> list[lsp.Location]:
            return await request(params(**editor.at(mark, back), **more))

        define = ask.text_document_definition_async
        (place,) = await places(define, lsp.DefinitionParams, 'bottom: "p"', 2)
        assert editor.words(place.range) == '"p"' and place.range.start.line == 4
        (place,) = await places(define, lsp.DefinitionParams, 'bottom: "conv1"', 2)
        assert editor.words(place.range) == "conv_bn_relu"
        (place,) = await places(define, lsp.DefinitionParams, "conv_bn_relu", 3)
        assert place.uri.endswith("std/conv.net")
        (place,) = await places(define, lsp.DefinitionParams, '"std/conv.net"', 3)
        assert place.uri.endswith("std/conv.net")
        (place,) = await places(define, lsp.DefinitionParams, "${width", 2)
        assert editor.words(place.range) == "width" and place.range.start.line == 1

        refer = ask.text_document_references_async
        more = {"context": lsp.ReferenceContext(True)}
        found = await places(refer, lsp.ReferenceParams, 'bottom: "conv1"', 2, **more)
        assert [(p.range.start.line, editor.words(p.range)) for p in found] == [(3, '"conv1"'), (4, '"conv1"')]
        found = await places(refer, lsp.ReferenceParams, "let width", 2, **more)
        assert [p.range.start.line for p in found] == [1, 3]

        edit = await ask.text_document_rename_async(lsp.RenameParams(**editor.at('top: "p"', 2), new_name="pool"))
        changes = edit.changes[editor.uri]
        assert [(c.range.start.line, c.new_text) for c in changes] == [(4, '"pool"'), (5, '"pool"')]
        for name, words in (("data", "a blob `data` already exists"), ('a"b', "is not a valid blob name")):
            with pytest.raises(JsonRpcException, match=words):
                await ask.text_document_rename_async(lsp.RenameParams(**editor.at('top: "p"', 2), new_name=name))
        with pytest.raises(JsonRpcException, match="only blobs can be renamed"):
            await ask.text_document_rename_async(lsp.RenameParams(**editor.at("let width"), new_name="w"))

        options = lsp.FormattingOptions(tab_size=2, insert_spaces=True)
        identifier = lsp.TextDocumentIdentifier(editor.uri)
        (change,) = await ask.text_document_formatting_async(lsp.DocumentFormattingParams(identifier, options)) or ()
        assert '  type: "InnerProduct"\n' in change.new_text and "# 😀" in change.new_text
        assert await editor.write(change.new_text) == []
        assert not await ask.text_document_formatting_async(lsp.DocumentFormattingParams(identifier, options))

    session(work, tmp_path)


def test_quick_fixes_and_shapes(tmp_path: Path):
    async def work(editor: Editor) -> None:
        ask, uri = editor.client, lsp.TextDocumentIdentifier(editor.uri)
        whole = lsp.Range(lsp.Position(0, 0), lsp.Position(99, 0))
        (fault,) = await editor.write("# 😀\n" + NET.replace('"InnerProduct"', '"InnerProdct"'))

        async def actions(place: lsp.Range, only: list[Any] | None = None) -> list[lsp.CodeAction]:
            context = lsp.CodeActionContext([fault], only)
            found = await ask.text_document_code_action_async(lsp.CodeActionParams(uri, place, context))
            return [each for each in found or () if isinstance(each, lsp.CodeAction)]

        (action,) = await actions(fault.range)
        assert (action.title, action.kind, action.is_preferred) == ('Change to "InnerProduct"', "quickfix", True)
        assert list(action.diagnostics or ()) == [fault]
        (edit,) = action.edit.changes[editor.uri]  # type: ignore[union-attr]
        assert editor.words(edit.range) == '"InnerProdct"' and edit.new_text == '"InnerProduct"'
        assert len(await actions(whole, [lsp.CodeActionKind.QuickFix])) == 1
        assert (
            await actions(whole, [lsp.CodeActionKind.Refactor])
            == await actions(lsp.Range(*[lsp.Position(0, 0)] * 2))
            == []
        )

        await editor.write(NET)
        hints = await ask.text_document_inlay_hint_async(lsp.InlayHintParams(uri, whole))
        assert [(h.position.line, h.label) for h in hints or ()] == [
            (2, "1x3x8x8"), (3, "1x64x8x8"), (4, "1x64x4x4"), (5, "1x5"),
        ]  # fmt: skip
        assert hints and hints[0].position.character == NET.splitlines()[2].index(" input_param")
        few = lsp.Range(lsp.Position(4, 0), lsp.Position(5, 0))
        assert len(await ask.text_document_inlay_hint_async(lsp.InlayHintParams(uri, few)) or ()) == 1
        symbols = await ask.text_document_document_symbol_async(lsp.DocumentSymbolParams(uri))
        (block,) = [s for s in symbols or () if s.name == "conv1"]
        assert [(s.name, s.detail) for s in block.children or ()] == [  # type: ignore[union-attr]
            ("conv1", "Convolution"), ("conv1/bn", "BatchNorm"), ("conv1/scale", "Scale"), ("conv1/relu", "ReLU"),
        ]  # fmt: skip

    session(work, tmp_path)


RANGE = {"start": {"line": 0, "character": 0}, "end": {"line": 9, "character": 0}}
WRONG = [
    ("textDocument/codeAction", {"textDocument": {"uri": "file:///a.net"}}),
    ("textDocument/codeAction", {"textDocument": {"uri": "file:///a.net"}, "range": 5, "context": {"diagnostics": []}}),
    ("textDocument/codeAction", {"textDocument": {"uri": "x"}, "range": RANGE, "context": {"diagnostics": []}}),
    ("textDocument/inlayHint", [1, 2]),
    ("textDocument/inlayHint", None),
    ("textDocument/inlayHint", {"textDocument": {"uri": "file:///a.net"}, "range": {"start": {"line": -1}}}),
    ("textDocument/hover", {"textDocument": {"uri": "file:///a.net"}, "position": {"line": "a", "character": {}}}),
    ("textDocument/documentSymbol", {"textDocument": {"uri": "file:///not_open.net"}}),
    ("textDocument/inlayHints", {}),
    ("no/such", 5),
]


def test_a_mistyped_request_gets_an_error_and_the_next_one_an_answer():
    def framed(message: Any) -> bytes:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode() if isinstance(message, dict) else message
        return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)

    start = {"id": 1, "method": "initialize", "params": {"processId": None, "rootUri": None, "capabilities": {}}}
    text = {"uri": "file:///a.net", "languageId": "netdef", "version": 1, "text": "layer { }"}
    messages = [
        start,
        {"method": "textDocument/didOpen", "params": {"textDocument": text}},
        *({"id": number, "method": method, "params": params} for number, (method, params) in enumerate(WRONG, 10)),
        {"id": "no parameters", "method": "textDocument/codeAction"},
        *({"method": method, "params": {}} for method in ("textDocument/didOpen", "textDocument/didChange")),
        *(b"{not json", b"[]", b"null", b"{}"),
        {"id": 2, "method": "shutdown"},
        {"method": "exit"},
    ]
    done = subprocess.run(
        [sys.executable, "-m", "netdef", "lsp"], input=b"".join(map(framed, messages)), capture_output=True, timeout=60
    )
    bodies = [json.loads(part.partition(b"Content-")[0]) for part in done.stdout.split(b"\r\n\r\n")[1:]]
    answers = {body["id"]: body for body in bodies if "id" in body}
    assert done.returncode == 0 and answers[2]["result"] is None
    assert {answers[number]["error"]["code"] for number in range(10, 10 + len(WRONG))} == {-32602, -32601}
    assert "textDocument/codeAction" in answers["no parameters"]["error"]["message"]


def test_questions_about_a_large_text_do_not_wait(tmp_path: Path):
    layer = 'layer {{ name: "l{}" type: "ReLU" bottom: "p" top: "p" }}\n'
    long = NET + "".join(layer.format(i) for i in range(8000))

    async def work(editor: Editor) -> None:
        async def ask_soon(back: str) -> lsp.Hover | None:
            params = lsp.HoverParams(**editor.at(back, 1))
            try:
                return await asyncio.wait_for(editor.client.text_document_hover_async(params), 2)
            except JsonRpcException as error:
                assert error.code == lsp.LSPErrorCodes.ContentModified
                return None

        async def first(text: str) -> asyncio.Task[list[lsp.Diagnostic]]:
            told = asyncio.create_task(editor.write(text))
            await asyncio.sleep(0.05)
            return told

        told = await first(long)
        assert await ask_soon("let width") is None and not told.done()  # it is still being read
        assert await told == []
        assert await ask_soon("let width") is not None
        (fault,) = await editor.write("#" * (5 << 20))
        assert fault.code == "too-much" and "language server" in fault.message
        assert await ask_soon("####") is None
        assert await editor.write(NET) == []
        assert await ask_soon("let width") is not None

    session(work, tmp_path)


def test_a_request_neither_delays_others_nor_outlives_its_text():
    go = threading.Event()

    def slow(pages: Open) -> str:
        go.wait(60)
        return "slow"

    async def run() -> None:
        server, uri = Server(UNTRUSTED), "file:///net.net"
        page = read(Source(uri, NET))
        server.pages[uri] = Open(page, page)
        outdated = asyncio.create_task(server.answer(uri, slow))
        assert await server.answer(uri, lambda pages: pages.now) is page
        assert not outdated.done()
        server.outdate(uri)
        with pytest.raises(JsonRpcContentModified):
            await outdated
        canceled = asyncio.create_task(server.answer(uri, slow))
        assert await server.answer(uri, lambda pages: pages.now) is page
        canceled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await canceled
        go.set()
        assert await server.answer(uri, slow) == "slow"

    asyncio.run(run())


def test_a_polite_end_is_silent():
    def framed(message: dict[str, Any]) -> bytes:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)

    start = {"id": 1, "method": "initialize", "params": {"processId": None, "rootUri": None, "capabilities": {}}}
    words = [framed(start), framed({"id": 2, "method": "shutdown"}), framed({"method": "exit"})]
    done = subprocess.run(
        [sys.executable, "-m", "netdef", "lsp"], input=b"".join(words), capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b'"id":2' in done.stdout.replace(b" ", b"")


@pytest.mark.parametrize(
    ("settings", "trusted"),
    [
        (None, False),
        ({"trustPython": "false"}, False),
        ({"trustPython": True}, True),
        ({"trustPython": True, "importPath": 1}, True),
    ],
)
def test_a_module_runs_only_if_the_editor_says_so(tmp_path: Path, settings: Any, trusted: bool):
    (tmp_path / "their_module.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('ran').touch()\ndef same(x):\n    return x\n"
    )
    layer = (
        'layer { name: "l" type: "Python" bottom: "x" top: "y" python_param { module: "their_module" layer: "same" } }'
    )

    async def work(editor: Editor) -> None:
        told = await editor.write(
            'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }\n' + layer
        )
        found = [(d.code, d.severity) for d in told]
        assert found == ([] if trusted else [("not-run", lsp.DiagnosticSeverity.Information)])

    session(work, tmp_path, settings)
    assert (tmp_path / "ran").exists() is trusted


def test_an_editor_may_allow_more_folders_for_imports(tmp_path: Path):
    (tmp_path / "common").mkdir()
    (tmp_path / "common/width.net").write_text("let width: 2\n")
    (tmp_path / "nets").mkdir()
    text = 'import "../common/width.net"\nlayer { name: "x" type: "Input" top: "x" input_param { shape { dim: ${width} } } }\n'
    for settings, codes in ((None, ["bad-import"]), ({"importPath": [str(tmp_path / "common")]}, [])):

        async def work(editor: Editor, codes: list[str] = codes) -> None:
            assert [d.code for d in await editor.write(text)] == codes

        session(work, tmp_path / "nets", settings)
