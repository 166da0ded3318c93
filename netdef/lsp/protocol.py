"""The protocol for messages that do not have its form: a request gets an error, and a notification is ignored.

Without this, pygls would not answer such a request at all, and an editor might wait for the answer forever.
"""

from __future__ import annotations

from typing import Any

from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol
from pygls.protocol.json_rpc import JsonRPCNotification, JsonRPCRequestMessage

REFUSED, IGNORED = "netdef/refused", "netdef/ignored"  # methods that take the place of the one that was meant


class Tolerant(LanguageServerProtocol):
    """Gives requests and notifications without the right parameters to other handlers (`add_handlers`)."""

    def structure_message(self, data: Any) -> Any:
        try:
            return super().structure_message(data)
        except JsonRpcException:
            method, number = data.get("method"), data.get("id")
            if not isinstance(method, str):
                raise
            if not isinstance(number, int | str):
                return JsonRPCNotification(IGNORED, self.VERSION, None)
            if self.get_message_type(method) is None:
                return JsonRPCRequestMessage(number, method, self.VERSION, data.get("params"))
            return JsonRPCRequestMessage(number, REFUSED, self.VERSION, method)


def add_handlers(server: LanguageServer) -> None:
    """Adds the handlers of messages without the right parameters."""

    @server.feature(REFUSED)
    def refused(method: str) -> None:
        raise JsonRpcInvalidParams(f"the parameters of {method} do not have the form of the protocol")

    @server.feature(IGNORED)
    def ignored(params: Any) -> None:
        pass
