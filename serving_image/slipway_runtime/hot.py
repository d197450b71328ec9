"""Plain predictions, answered as soon as their last byte is parsed.

`HotProtocol` is uvicorn's HTTP protocol with a short cut: a prediction request that is small, whole
and plain is answered in the very call that hands over its last byte, with no task, no ASGI scope
and no copy of its headers. Whatever is not so, and whatever the compiled model leaves alone, goes
uvicorn's own way, from the request line on, as if nothing had been tried.

Source: uvicorn 0.54's ``protocols/http/httptools_impl.py``, whose methods are overridden here; its
version is pinned, and the tests fail where another one differs.
"""

import asyncio
import time
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from slipway_runtime.app import ModelServer
from slipway_runtime.app_v2 import LENGTH_HEADER
from slipway_runtime.errors import RequestError

_LARGEST_BODY: Final = 64 * 1024
_DIGITS: Final = 6
_COUNT_SECONDS: Final = 0.1
# How long the rest of a body may be under way before the request goes the long way, which has a
# deadline and is waited for at the end.
_PATIENCE_SECONDS: Final = 0.25
_CONTENT_TYPES: Final = frozenset(
    {
        b"application/json",
        b"application/json;charset=utf-8",
        b"application/json; charset=utf-8",
        b"application/json;charset=UTF-8",
        b"application/json; charset=UTF-8",
    }
)
_LENGTH_HEADER: Final = LENGTH_HEADER.encode()
# Headers that ask for more than an answer.
_SPECIAL: Final = frozenset({b"expect", b"transfer-encoding", b"upgrade", b"connection"})
_INVOCATIONS: Final = b"/invocations"
_BINARY: Final = b"application/octet-stream"
_JSON: Final = b"application/json"


class HotProtocol(HttpToolsProtocol):
    """One connection. Use `for_server` to get the class for a server."""

    model_server: ClassVar[ModelServer]
    infer_paths: ClassVar[frozenset[bytes]]
    answer_head: ClassVar[bytes]

    # uvicorn's own, whose annotations are of its making
    headers: Any
    scope: Any

    @classmethod
    def for_server(cls, server: ModelServer) -> type["HotProtocol"]:
        """Returns the protocol for connections to ``server``."""
        name, version = server.settings.model_name, server.settings.model_version
        model = f"/v2/models/{name}".encode()
        paths = {model + b"/infer", model + f"/versions/{version}/infer".encode()}
        head = f"HTTP/1.1 200 OK\r\nx-model-name: {name}\r\nx-model-version: {version}\r\n"
        own = {"model_server": server, "infer_paths": frozenset(paths)}
        return type("ServerProtocol", (cls,), own | {"answer_head": head.encode()})

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._hot: list[bytes] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._dates: Any = None
        self._head = b""

    def on_message_begin(self) -> None:
        self._hot = None
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        if self._is_hot():
            self._hot = []
        else:
            self._go_the_long_way()

    def _go_the_long_way(self) -> None:
        """Has uvicorn take up the request it was not told of yet."""
        url, headers, waits = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url = url
        self.expect_100_continue = waits
        # The scope holds this very list.
        self.headers.extend(headers)
        super().on_headers_complete()

    def _is_hot(self) -> bool:
        server = self.model_server
        if server.fast is None or server.draining or not server.started:
            return False
        if self.url != _INVOCATIONS and self.url not in self.infer_paths:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            # Pipelined behind a request that is still worked on.
            return False
        if self.parser.get_method() != b"POST" or self.flow.write_paused:
            return False
        content_type = length = None
        for name, value in self.headers:
            if name in _SPECIAL and (name != b"connection" or value.lower() != b"keep-alive"):
                return False
            if name == b"content-type":
                if content_type is not None:
                    return False
                content_type = value
            elif name == b"content-length":
                length = value
        if length is None or not length.isdigit() or len(length) > _DIGITS:
            return False
        if int(length) > _LARGEST_BODY:
            return False
        if self.parser.get_http_version() != "1.1":
            return False
        return self.url != _INVOCATIONS or content_type in _CONTENT_TYPES

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._hot is not None and self._patience is None:
            self._patience = self.loop.call_later(_PATIENCE_SECONDS, self._lose_patience)

    def _lose_patience(self) -> None:
        """Has uvicorn take up a request whose body is not whole yet."""
        self._patience = None
        if self._hot is not None and not self.transport.is_closing():
            pieces, self._hot = self._hot, None
            self._go_the_long_way()
            for piece in pieces:
                super().on_body(piece)

    def shutdown(self) -> None:
        self._lose_patience()
        super().shutdown()

    def on_body(self, body: bytes) -> None:
        if self._hot is None:
            super().on_body(body)
        else:
            self._hot.append(body)

    def on_message_complete(self) -> None:
        if self._hot is None:
            super().on_message_complete()
            return
        body = self._hot[0] if len(self._hot) == 1 else b"".join(self._hot)
        self._hot = None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        started = time.perf_counter()
        try:
            answer = self._answer(body)
        except Exception:
            # The long way will fail likewise, and has the words for it.
            answer = None
        if answer is None:
            self._go_the_long_way()
            super().on_body(body)
            super().on_message_complete()
            return
        self.transport.write(answer)
        metrics = self.model_server.metrics
        if metrics.answered_compiled(len(body), time.perf_counter() - started):
            self.loop.call_later(_COUNT_SECONDS, metrics.count_compiled)
        self.on_response_complete()

    def _answer(self, body: bytes) -> bytes | None:
        """Returns the whole answer to a request, or None."""
        fast = self.model_server.fast
        if fast is None or len(body) > self.model_server.settings.max_request_bytes:
            return None
        if self.url == _INVOCATIONS:
            content = fast.answer(body, in_line=True)
            if content is None:
                return None
            return b"%bcontent-length: %d\r\ncontent-type: application/json\r\n\r\n%b" % (
                self._dated(),
                len(content),
                content,
            )
        length = None
        for name, value in self.headers:
            if name == _LENGTH_HEADER:
                if length is not None or not value.isdigit() or int(value) > len(body):
                    return None
                length = int(value)
        try:
            inferred = fast.infer(body, length, in_line=True)
        except RequestError:
            return None
        if inferred is None:
            return None
        content, size = inferred
        more = b"" if size is None else b"%b: %d\r\n" % (_LENGTH_HEADER, size)
        return b"%bcontent-length: %d\r\n%bcontent-type: %b\r\n\r\n%b" % (
            self._dated(),
            len(content),
            more,
            _JSON if size is None else _BINARY,
            content,
        )

    def _dated(self) -> bytes:
        """Returns the answer's head, with the headers that uvicorn renews every second."""
        dates = self.server_state.default_headers
        if dates is not self._dates:
            lines = b"".join(b"%b: %b\r\n" % header for header in dates)
            self._dates, self._head = dates, self.answer_head + lines
        return self._head
