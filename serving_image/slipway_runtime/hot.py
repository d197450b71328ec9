"""Plain predictions, answered as soon as their last byte is parsed.

`HotProtocol` is uvicorn's HTTP protocol with a short cut: a prediction request that is small, whole
and plain is answered with no task, no ASGI scope and no copy of its headers. Requests that arrive
in the same turn of the event loop are predicted at once, where that changes no bit of an answer:
one call of a numeric library costs as much for thirty rows as for one. None waits for others to
come. Whatever is not so, and whatever the compiled model leaves alone, goes
uvicorn's own way, from the request line on, as if nothing had been tried.

Source: uvicorn 0.54's ``protocols/http/httptools_impl.py``, whose methods are overridden here; its
version is pinned, and the tests fail where another one differs.
"""

import asyncio
import logging
import time
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from slipway_runtime.app import ModelServer
from slipway_runtime.app_v2 import LENGTH_HEADER
from slipway_runtime.compiled import Array
from slipway_runtime.errors import RequestError
from slipway_runtime.extract import Matrix
from slipway_runtime.whole import WholeWrites

_log = logging.getLogger("slipway.hot")

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
    batch: ClassVar["Batch"]
    infer_paths: ClassVar[frozenset[bytes]]
    answer_head: ClassVar[bytes]

    # uvicorn's own, whose annotations are of its making
    headers: Any
    scope: Any
    cycle: Any

    @classmethod
    def for_server(cls, server: ModelServer) -> type["HotProtocol"]:
        """Returns the protocol for connections to ``server``."""
        name, version = server.settings.model_name, server.settings.model_version
        model = f"/v2/models/{name}".encode()
        paths = {model + b"/infer", model + f"/versions/{version}/infer".encode()}
        head = f"HTTP/1.1 200 OK\r\nx-model-name: {name}\r\nx-model-version: {version}\r\n"
        own = {"model_server": server, "infer_paths": frozenset(paths), "batch": Batch(server)}
        return type("ServerProtocol", (cls,), own | {"answer_head": head.encode()})

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._hot: list[bytes] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._dates: Any = None
        self._head = b""

    def on_message_begin(self) -> None:
        # Answers go out in the order of their requests.
        self.batch.answer(self)
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
        if self.cycle is not None:
            self.cycle.transport = self._whole

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._whole = WholeWrites(transport, self.loop)

    def on_response_complete(self) -> None:
        self._whole.flush()
        super().on_response_complete()

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
        self.batch.answer(self)
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
        if self.url == _INVOCATIONS:
            matrix = self._matrix(body)
            if matrix is None:
                self.leave(body)
            else:
                self.batch.add(self, body, matrix, started)
            return
        try:
            inferred = self._infer(body)
        except Exception:
            # The long way will fail likewise, and has the words for it.
            inferred = None
        if inferred is None:
            self.leave(body)
        else:
            answer, matrix, outputs = inferred
            self.send(answer, len(body), started)
            if (drift := self.model_server.drift) is not None:
                drift.offer(matrix, outputs)

    def _matrix(self, body: bytes) -> Matrix | None:
        fast = self.model_server.fast
        if fast is None or len(body) > self.model_server.settings.max_request_bytes:
            return None
        try:
            matrix = fast.extract(body)
        except Exception:
            return None
        return None if matrix is None or len(matrix) > fast.most_rows else matrix

    def leave(self, body: bytes) -> None:
        """Sends a request whose body is whole the long way."""
        self._go_the_long_way()
        super().on_body(body)
        super().on_message_complete()

    def send(self, answer: bytes, size: int, started: float) -> None:
        """Sends an answer to a request with a body of so many bytes, and counts it."""
        if self.transport.is_closing():
            return
        self.transport.write(answer)
        metrics = self.model_server.metrics
        if metrics.answered_compiled(size, time.perf_counter() - started):
            self.loop.call_later(_COUNT_SECONDS, metrics.count_compiled)
        self.on_response_complete()

    def _infer(self, body: bytes) -> tuple[bytes, Matrix, Array] | None:
        """Returns the whole answer to a request of the inference protocol, or None.

        With it come the request's matrix and the model's predictions.
        """
        fast = self.model_server.fast
        if fast is None or len(body) > self.model_server.settings.max_request_bytes:
            return None
        length = None
        for name, value in self.headers:
            if name == _LENGTH_HEADER:
                if length is not None or not value.isdigit() or int(value) > len(body):
                    return None
                length = int(value)
        try:
            inferred = fast.inferred(body, length, in_line=True)
        except RequestError:
            return None
        if inferred is None:
            return None
        (content, size), matrix, outputs = inferred
        more = b"" if size is None else b"%b: %d\r\n" % (_LENGTH_HEADER, size)
        answer = b"%bcontent-length: %d\r\n%bcontent-type: %b\r\n\r\n%b" % (
            self.dated(),
            len(content),
            more,
            _JSON if size is None else _BINARY,
            content,
        )
        return answer, matrix, outputs

    def dated(self) -> bytes:
        """Returns the answer's head, with the headers that uvicorn renews every second."""
        dates = self.server_state.default_headers
        if dates is not self._dates:
            lines = b"".join(b"%b: %b\r\n" % header for header in dates)
            self._dates, self._head = dates, self.answer_head + lines
        return self._head


class Batch:
    """The requests that arrived in this turn of the event loop and are not answered yet.

    Args:
        server: whose requests they are.
    """

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._waiting: dict[HotProtocol, tuple[bytes, Matrix, float]] = {}
        self._rows = 0

    def add(self, connection: HotProtocol, body: bytes, matrix: Matrix, started: float) -> None:
        """Takes a request; it is answered before the turn ends."""
        self._waiting[connection] = (body, matrix, started)
        self._rows += len(matrix)
        fast = self._server.fast
        alone = len(connection.server_state.connections) == 1
        if fast is None or alone or not fast.rowwise or self._rows >= fast.most_rows:
            self.answer_all()
        elif len(self._waiting) == 1:
            connection.loop.call_soon(self.answer_all)

    def answer(self, connection: HotProtocol) -> None:
        """Answers all of them, if this connection's is among them."""
        if connection in self._waiting:
            self.answer_all()

    def answer_all(self) -> None:
        """Answers all of them."""
        waiting, self._waiting, self._rows = self._waiting, {}, 0
        if not waiting:
            return
        fast = self._server.fast
        predicted: tuple[list[bytes], Matrix, Array] | None = None
        if fast is not None:
            try:
                predicted = fast.predicted([matrix for _, matrix, _ in waiting.values()])
            except Exception as error:
                _log.warning("the compiled model failed", exc_info=error)
        if predicted is None:
            for connection, (body, _, _) in waiting.items():
                if not connection.transport.is_closing():
                    connection.leave(body)
            return
        answers, together, outputs = predicted
        for (connection, (body, _, started)), content in zip(waiting.items(), answers, strict=True):
            head = connection.dated()
            answer = b"%bcontent-length: %d\r\ncontent-type: application/json\r\n\r\n%b" % (
                head,
                len(content),
                content,
            )
            connection.send(answer, len(body), started)
        if (drift := self._server.drift) is not None:
            drift.offer(together, outputs, places=True)
