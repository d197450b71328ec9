"""A receiver of OTLP over HTTP, on a real socket: what the tests of tracing send spans to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .serving import free_port


@dataclass(frozen=True)
class Span:
    """One span as it was received: ids in hexadecimal, attributes and resource as plain values."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start: int
    end: int
    status: int
    attributes: dict[str, Any]
    resource: dict[str, Any]


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def _spans(body: bytes) -> Iterator[Span]:
    request = ExportTraceServiceRequest.FromString(body)
    for group in request.resource_spans:
        resource = _plain(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Span(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.kind,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code,
                    _plain(span.attributes),
                    resource,
                )


@dataclass
class Collector:
    """Where spans go.

    Attributes:
        port: the port it listens on, while it runs.
        spans: what was received, in that order.
        paths: of the requests, likewise.
        stalled: while set, requests are taken and not answered.
    """

    port: int = field(default_factory=free_port)
    spans: list[Span] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        """Its URL, as `OTEL_EXPORTER_OTLP_ENDPOINT` takes it."""
        return f"http://127.0.0.1:{self.port}"

    def of(self, trace_id: str) -> list[Span]:
        """Returns the spans of a trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    @contextmanager
    def running(self) -> Iterator["Collector"]:
        """Receives while the block runs."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if collector.stalled.is_set():
                    collector._released.wait(60)
                    return
                collector.paths.append(self.path)
                collector.spans += _spans(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._released.clear()
        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._released.set()
            server.shutdown()
            server.server_close()
            thread.join()
