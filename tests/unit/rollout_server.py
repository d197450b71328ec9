"""A server on 127.0.0.1 that answers as a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl


class Asked(NamedTuple):
    """A request as it came in."""

    path: str
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


class Handler(BaseHTTPRequestHandler):
    """What a test's function answers with."""

    wbufsize = 0

    def log_message(self, *args: object) -> None:
        pass

    def reply(self, body: str | bytes, status: int = 200, **headers: str) -> None:
        """A whole answer; `date="..."` replaces the server's own."""
        content = body.encode() if isinstance(body, str) else body
        self.send_response_only(status)
        self.send_header("Date", headers.pop("date", self.date_time_string()))
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def raw(self, sent: bytes) -> None:
        """Bytes as they are; the connection closes after them."""
        self.wfile.write(sent)


Respond = Callable[[Handler, Asked], None]


class Server(NamedTuple):
    """`asked` grows as requests come in. Waiting for `closing` holds an answer back."""

    url: str
    asked: list[Asked]
    closing: threading.Event


@contextmanager
def serving(respond: Respond | str) -> Iterator[Server]:
    """A server that answers every POST by `respond`, or with that text."""
    asked: list[Asked] = []
    closing = threading.Event()

    class Mine(Handler):
        def do_POST(self) -> None:  # noqa: N802
            length = int(self.headers.get("Content-Length", 0))
            asked.append(Asked(self.path, self.rfile.read(length)))
            if isinstance(respond, str):
                self.reply(respond)
            else:
                respond(self, asked[-1])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    server.daemon_threads = True
    server.handle_error = lambda *args: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}", asked, closing)
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def hang(server: list[Server]) -> Respond:
    """Never answers, until the server in the list closes."""

    def respond(handler: Handler, asked: Asked) -> None:
        server[0].closing.wait(30)

    return respond
