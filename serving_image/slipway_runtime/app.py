"""The model server's HTTP: an ASGI application, in each front worker.

===================  ===============================================================================
endpoint             answer
===================  ===============================================================================
POST /invocations    a prediction, by MLflow's scoring protocol (see `protocol`)
GET /ping, /health   200 and a newline once the model is loaded, else 503; as in MLflow
GET /version         the version of MLflow, as text; as in MLflow
/v2, /v2/...         the Open Inference Protocol (see `app_v2`)
GET /health/live     200 as long as the event loop turns
GET /health/startup  200 once the model is loaded, else 503
GET /health/ready    200 once the model is loaded, until the server is told to stop; else 503
GET /metrics         the metrics, in Prometheus' formats (see `metrics`)
===================  ===============================================================================

Every answer carries ``x-model-name`` and ``x-model-version``; every error is a JSON object with
``error_code`` and ``message``, and carries ``x-request-id``: the request's own, or a new one. In a
server, `hot` takes the plainest predictions out before they get here.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slipway_runtime.compiled import Array
from slipway_runtime.drift import CompiledDrift
from slipway_runtime.errors import ErrorType, RequestError
from slipway_runtime.extract import Matrix
from slipway_runtime.fast import FastPath
from slipway_runtime.metrics import Metrics
from slipway_runtime.settings import ServerSettings
from slipway_runtime.trace_context import answered_by_compiled, current, steps_of_request

_T = TypeVar("_T")

_log = logging.getLogger("slipway.app")

_SWALLOWED_TIMES_LIMIT: Final = 4
# The bytes of all requests of a worker at a time, in longest bodies.
_HELD_TIMES_LIMIT: Final = 4
_DIGITS: Final = 15
_ERROR_CODES: Final = {404: "ENDPOINT_NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_JSON: Final = "application/json"


class Backend(Protocol):
    """What answers a request that no compiled model answers; the model process, in a server."""

    async def score(self, body: bytes, content_type: str | None, request_id: str) -> bytes:
        """Returns the JSON body of a prediction, or raises `RequestError`."""

    async def infer(
        self, body: bytes, header_length: int | None, request_id: str
    ) -> tuple[bytes, int | None]:
        """Returns an answer of the Open Inference Protocol, or raises `RequestError`."""


class ModelServer:
    """The state of one front worker and its ASGI application, ``app``.

    Args:
        settings: what to serve and the limits to keep.
        backend: answers what the compiled model does not.
        mlflow_version: what ``/version`` answers.
        server: the process id of the server this worker is part of, by default its own.
        routes: further endpoints.

    Attributes:
        app: the ASGI application.
        started: whether the model is loaded.
        waiting: whether there is no model process for now; requests wait for one.
        fast: answers plain requests with the compiled model, where there is one.
        draining: True once the server was told to stop. Readiness then fails and every answer
            closes its connection, so that proxies let go of it; requests are still answered.
        others_loading: tells whether another front worker has yet to load its model.
        drift: looks at what the compiled model is asked and answers, where there is a profile.
        held_bytes: the bytes of all bodies that are received or worked on.
        metrics: the metrics.
    """

    def __init__(
        self,
        settings: ServerSettings,
        backend: Backend,
        mlflow_version: str = "",
        server: int | None = None,
        routes: Callable[["ModelServer"], list[Route]] | None = None,
    ) -> None:
        self.settings = settings
        self.backend = backend
        self.mlflow_version = mlflow_version
        self.started = False
        self.waiting = False
        self.held_bytes = 0
        self.fast: FastPath | None = None
        self.drift: CompiledDrift | None = None
        self.draining = False
        self.others_loading: Callable[[], bool] = lambda: False
        self.metrics = Metrics(settings.model_name, settings.model_version, server)
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="fast")
        self._headers = {
            "x-model-name": settings.model_name,
            "x-model-version": settings.model_version,
        }
        starlette = Starlette(
            routes=[
                Route("/invocations", self._invocations, methods=["POST"]),
                Route("/ping", self._ping),
                Route("/health", self._ping),
                Route("/version", self._version),
                Route("/health/live", self._live),
                Route("/health/startup", self._startup),
                Route("/health/ready", self._ready),
                Route("/metrics", self._metrics),
                *(routes(self) if routes else ()),
            ],
            exception_handlers={HTTPException: _http_error, Exception: _internal_error},
        )
        # A path with a slash too many is an error, not a redirect that turns a POST into a GET.
        starlette.router.redirect_slashes = False
        self.app: ASGIApp = self._with_headers(starlette)

    def close(self) -> None:
        """Lets the threads go, without waiting for a prediction that never ends."""
        self.metrics.count_compiled()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _with_headers(self, app: ASGIApp) -> ASGIApp:
        """Wraps ``app`` so that its answers carry the model's headers, unforeseen ones included."""

        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    headers = MutableHeaders(scope=message)
                    headers.update(self._headers)
                    if self.draining:
                        headers["connection"] = "close"
                await send(message)

            await app(scope, receive, send_with_headers)

        return wrapped

    async def _invocations(self, request: Request) -> Response:
        async def predict(body: bytes, request_id: str) -> Response:
            content_type = request.headers.get("content-type")
            self.check_values(body, b"\n" if (content_type or "").startswith("text/") else b"[")
            if self.fast is not None and content_type == _JSON:
                # A body that `hot` left over is large or not plain: off the event loop with it.
                steps = steps_of_request()
                answered = await self.in_thread(quietly, self.fast.answered, body, False, steps)
                if answered is not None:
                    content, matrix, outputs = answered
                    answered_by_compiled(len(matrix), steps)
                    self.metrics.by_compiled.inc()
                    self.observe(matrix, outputs, places=True)
                    return Response(content, media_type=_JSON)
            answer = await self.backend.score(body, content_type, request_id)
            return Response(answer, media_type=_JSON)

        return await self.predicting(request, predict, _error_body)

    def observe(self, matrix: Matrix, outputs: Array, places: bool = False) -> None:
        """Has `drift` look at what the compiled model answered, once the answer is sent."""
        if self.drift is not None:
            asyncio.get_running_loop().call_soon(self.drift.offer, matrix, outputs, places)

    async def in_thread(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Returns what a function returns, called off the event loop."""
        loop = asyncio.get_running_loop()
        if current.get() is not None:
            # What is logged there belongs to the trace too.
            function = partial(copy_context().run, function)
        return await loop.run_in_executor(self._threads, function, *arguments)

    async def predicting(
        self,
        request: Request,
        predict: Callable[[bytes, str], Awaitable[Response]],
        error_body: Callable[[RequestError, str], dict[str, Any]],
    ) -> Response:
        """Answers a prediction request within its limits, and counts it.

        Args:
            request: the request.
            predict: makes the answer of its body and id, or raises `RequestError`.
            error_body: makes the JSON of an error of the error and the request's id.
        """
        given = request.headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        with self.metrics.active.track_inprogress(), _Held(self) as held:
            received: float | None = None
            failure: RequestError | None = None
            error: ErrorType | None = None
            try:
                async with asyncio.timeout(self.settings.request_seconds):
                    body = await self._read(request, held)
                    self.metrics.input_size.observe(len(body))
                    received = time.perf_counter()
                    if not self.started:
                        raise _not_loaded()
                    response = await predict(body, request_id)
            except ClientDisconnect:
                # Nobody is left to be answered, so nothing was: it is not counted.
                return Response(status_code=499)
            except RequestError as caught:
                failure = caught
            except TimeoutError:
                _log.error("prediction timed out", extra={"request_id": request_id})
                message = f"The request took longer than {self.settings.request_seconds} seconds."
                failure = RequestError(504, "DEADLINE_EXCEEDED", message, "timeout")
            except Exception as caught:
                _log.error("request failed", exc_info=caught, extra={"request_id": request_id})
                failure = RequestError(500, "INTERNAL_ERROR", "Internal error.", "internal")
            if failure is not None:
                error = failure.error_type
                headers = {"x-request-id": request_id} | failure.headers
                content = error_body(failure, request_id)
                response = JSONResponse(content, failure.status, headers)
            if error is not None and (trace := current.get()) is not None:
                trace.error = error
            now = time.perf_counter()
            self.metrics.answered(now - (now if received is None else received), error)
            return response

    async def _read(self, request: Request, held: "_Held") -> bytes:
        """Returns the request's body, whose bytes are added to those ``held``.

        A body somewhat too long is received to its end and thrown away: a client that does not read
        before it has written all would see a broken connection instead of the answer.

        Raises:
            RequestError: it is longer than allowed (413), or others hold too much (503).
        """
        limit = self.settings.max_request_bytes
        declared = request.headers.get("content-length", "")
        # Beyond so many digits it is not a length, and more than Python reads.
        announced = int(declared[-_DIGITS:]) if declared.isdecimal() else 0
        waits = request.headers.get("expect", "").lower() == "100-continue"
        if announced > limit and (waits or announced > limit * _SWALLOWED_TIMES_LIMIT):
            raise self._too_large(close=True)
        size = 0
        chunks: list[bytes] = []
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                held.take(len(chunk))
                chunks.append(chunk)
            elif size > limit * _SWALLOWED_TIMES_LIMIT:
                raise self._too_large(close=True)
            else:
                chunks.clear()
        if size > limit:
            raise self._too_large(close=False)
        return b"".join(chunks)

    def check_values(self, text: bytes | memoryview, rows: bytes = b"[") -> None:
        """Refuses a text in JSON or CSV with more values than allowed, before any is made.

        Args:
            text: the text.
            rows: what each row has one of.

        Raises:
            RequestError: it has more (413).
        """
        limit = self.settings.max_values
        if len(text) <= limit:
            return
        content = bytes(text)
        if sum(content.count(mark) for mark in {b",", b"{", b"[", rows}) > limit:
            message = f"The body has more than {limit} values."
            raise RequestError(413, "PAYLOAD_TOO_LARGE", message, "payload_too_large")

    def _too_large(self, close: bool) -> RequestError:
        limit = self.settings.max_request_bytes
        message = f"The body is longer than {limit} bytes."
        headers = {"connection": "close"} if close else {}
        return RequestError(413, "PAYLOAD_TOO_LARGE", message, "payload_too_large", headers)

    async def _ping(self, _: Request) -> Response:
        if not self.started:
            return _unavailable("The model is not loaded yet.")
        return Response("\n", media_type=_JSON)

    async def _version(self, _: Request) -> Response:
        return Response(self.mlflow_version, media_type=_JSON)

    async def _live(self, _: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def _startup(self, _: Request) -> Response:
        if not self.started or self.others_loading():
            return _unavailable("The model is not loaded yet.")
        return JSONResponse({"status": "started"})

    async def _ready(self, _: Request) -> Response:
        if self.draining:
            return _unavailable("The server is stopping.")
        if not self.started or self.waiting or self.others_loading():
            return _unavailable("The model is not loaded yet.")
        return JSONResponse({"status": "ready"})

    async def _metrics(self, request: Request) -> Response:
        self.metrics.count_compiled()
        accept = request.headers.get("accept", "")
        # Not in a thread for predictions: a model that hangs would take its own metrics along.
        content, content_type = await asyncio.to_thread(self.metrics.exposition, accept)
        return Response(content, headers={"content-type": content_type})


class _Held:
    """The bytes that one request holds of what a worker may hold, given back at its end."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._most = _HELD_TIMES_LIMIT * server.settings.max_request_bytes
        self._bytes = 0

    def __enter__(self) -> "_Held":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.held_bytes -= self._bytes

    def take(self, size: int) -> None:
        """Takes so many more.

        Raises:
            RequestError: there are not as many left (503).
        """
        self._bytes += size
        self._server.held_bytes += size
        if self._server.held_bytes > self._most:
            message = "Too much is being received at a time."
            headers = {"retry-after": "1", "connection": "close"}
            raise RequestError(503, "RESOURCE_EXHAUSTED", message, "overloaded", headers)


def quietly(answer: Callable[..., _T], *arguments: Any) -> _T | None:
    """Returns an answer of the compiled model, or None where it fails: MLflow has the words."""
    try:
        return answer(*arguments)
    except RequestError:
        raise
    except Exception as error:
        _log.warning("the compiled model failed", exc_info=error)
        return None


def _not_loaded() -> RequestError:
    message = "The model is not loaded yet."
    headers = {"retry-after": "1"}
    return RequestError(503, "TEMPORARILY_UNAVAILABLE", message, "not_ready", headers)


def _body(code: str, message: str) -> dict[str, str]:
    return {"error_code": code, "message": message}


def _error_body(error: RequestError, request_id: str) -> dict[str, Any]:
    body = _body(error.code, error.message)
    # What the log has a trace of can be found there.
    return body | {"request_id": request_id} if error.status >= 500 else body


def _unavailable(message: str) -> Response:
    return JSONResponse(_body("TEMPORARILY_UNAVAILABLE", message), 503)


async def _http_error(_: Request, error: Exception) -> Response:
    """Answers what Starlette's router refuses: an unknown path, a method not allowed."""
    if not isinstance(error, HTTPException):
        raise error
    code = _ERROR_CODES.get(error.status_code, "BAD_REQUEST")
    return JSONResponse(_body(code, f"{error.detail}."), error.status_code, error.headers)


async def _internal_error(_: Request, error: Exception) -> Response:
    # Starlette raises it again afterwards and uvicorn logs it: no second line here.
    return JSONResponse(_body("INTERNAL_ERROR", "Internal error."), 500)
