"""Traces: what became of a sampled request, sent to a collector by OTLP over HTTP.

Imported only where an endpoint is set (see `settings`), and with it OpenTelemetry. The standard
environment variables hold: ``OTEL_EXPORTER_OTLP_*``, ``OTEL_SERVICE_NAME``,
``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_BSP_*``. Who calls decides what is sampled: a request whose
``traceparent`` does not say so leaves no span.

A thread of its own sends the spans, in batches. While nobody takes them, a bounded queue keeps
the newest; no request waits. Span names and attributes follow OpenTelemetry's semantic conventions
for HTTP servers, https://opentelemetry.io/docs/specs/semconv/http/http-spans/; no attribute holds
anything of a body or a query.
"""

import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slipway_runtime.settings import ServerSettings, SettingsError
from slipway_runtime.trace_context import Parent, RequestTrace, Step, current, parent_in

_log = logging.getLogger("slipway.tracing")

_SERVER_ERROR: Final = 500
_COMPLAIN_SECONDS: Final = 60.0
# A pod that is told to go has seconds left besides those of its requests.
_CLOSE_SECONDS: Final = 2.0
# A batch is encoded in one go, beside the event loop: about 50 us a span.
_BATCH: Final = 64
_TIMEOUT_SECONDS: Final = 5.0
_MOST_CHARACTERS: Final = 256


class _Complaining(SpanExporter):
    """Passes spans on, and says once a minute how many were not taken."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0
        self._said = -_COMPLAIN_SECONDS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            if time.monotonic() - self._said >= _COMPLAIN_SECONDS:
                _log.warning("spans were not delivered", extra={"spans": self._lost})
                self._said, self._lost = time.monotonic(), 0
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class Tracer:
    """Makes the spans of one worker's requests.

    Args:
        settings: what is served.

    Raises:
        SettingsError: OpenTelemetry's own variables contradict each other.
    """

    def __init__(self, settings: ServerSettings) -> None:
        # The exporter's own words come with every batch, and with a stack.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        name, version = settings.model_name, settings.model_version
        service = (
            {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"{name}-{version}"}
        )
        timeout = None if os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") else _TIMEOUT_SECONDS
        batch = None if os.environ.get("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") else _BATCH
        self._provider = TracerProvider(
            sampler=ParentBased(ALWAYS_OFF),
            # A path may be as long as a request's head: the queue is bounded in bytes too.
            span_limits=SpanLimits(max_attribute_length=_MOST_CHARACTERS),
            resource=Resource.create(dict(service)),
            shutdown_on_exit=False,
        )
        try:
            exporter = _Complaining(OTLPSpanExporter(timeout=timeout))
            processor = BatchSpanProcessor(exporter, max_export_batch_size=batch)
        except ValueError as error:
            raise SettingsError(f"OTEL_BSP_* and OTEL_EXPORTER_OTLP_*: {error}") from error
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("slipway_runtime")
        self._model = {"slipway.model.name": name, "slipway.model.version": version}
        model = "/v2/models/{name}"
        own = f"/v2/models/{name}"
        self._routes = {path: path for path in ("/invocations", "/v2", "/v2/health/live",
                                                "/v2/health/ready")}  # fmt: skip
        for more in ("", "/ready", "/infer"):
            self._routes[own + more] = model + more
            self._routes[f"{own}/versions/{version}{more}"] = f"{model}/versions/{{version}}{more}"

    def begin(self, parent: Parent, method: str, path: str, started: int) -> RequestTrace:
        """Returns the trace of a sampled request.

        Args:
            parent: the caller's span.
            method, path: the request's own.
            started: when it came, in ns since the epoch.
        """
        route = self._routes.get(path)
        attributes = {
            "http.request.method": method,
            "url.scheme": "http",
            "url.path": path,
            **({"http.route": route} if route else {}),
            **self._model,
        }
        context = trace.SpanContext(
            parent.trace_id, parent.span_id, True, trace.TraceFlags(trace.TraceFlags.SAMPLED)
        )
        span = self._tracer.start_span(
            f"{method} {route}" if route else method,
            trace.set_span_in_context(trace.NonRecordingSpan(context)),
            trace.SpanKind.SERVER,
            attributes,
            start_time=started,
        )
        own = span.get_span_context()
        ids = {
            "trace_id": trace.format_trace_id(own.trace_id),
            "span_id": trace.format_span_id(own.span_id),
        }
        return RequestTrace(ids, span=span)

    def end(self, request: RequestTrace, status: int, ended: int) -> None:
        """Ends the trace of a request that was answered with this status, in ns since the epoch."""
        span = request.span
        span.set_attribute("http.response.status_code", status)
        span.set_attributes(request.facts)
        if request.rows is not None:
            span.set_attribute("slipway.rows", request.rows)
        if request.error is not None:
            span.set_attribute("error.type", request.error)
        if status >= _SERVER_ERROR:
            # A client's error is none of the server's.
            span.set_status(trace.StatusCode.ERROR)
            if request.error is None:
                span.set_attribute("error.type", str(status))
        self._add(span, request.steps)
        span.end(ended)

    def _add(self, parent: trace.Span, steps: Sequence[Step]) -> None:
        for name, started, ended, inner in steps:
            context = trace.set_span_in_context(parent)
            child = self._tracer.start_span(name, context, start_time=started)
            self._add(child, inner)
            child.end(ended)

    def close(self) -> None:
        """Sends what is left, for two seconds at most."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


class TracedApp:
    """An ASGI application whose sampled predictions leave a span.

    Args:
        app: the application.
        tracer: takes the spans.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(("/invocations", "/v2")):
            return await self._app(scope, receive, send)
        parent = parent_in(scope["headers"])
        if parent is None:
            return await self._app(scope, receive, send)
        request = self._tracer.begin(parent, scope["method"], path, time.time_ns())
        # Where nothing says otherwise, nobody waited for the answer.
        status = 499

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        token = current.set(request)
        try:
            return await self._app(scope, receive, watched)
        finally:
            current.reset(token)
            self._tracer.end(request, status, time.time_ns())
