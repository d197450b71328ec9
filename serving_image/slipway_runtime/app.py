"""The model server's HTTP: an ASGI application.

===================  ===============================================================================
endpoint             answer
===================  ===============================================================================
POST /invocations    a prediction, by MLflow's scoring protocol (see `protocol`)
GET /ping, /health   200 and a newline once the model is loaded, else 503; as in MLflow
GET /version         the version of MLflow, as text; as in MLflow
GET /health/live     200 as long as the event loop turns
GET /health/startup  200 once the model is loaded, else 503
GET /health/ready    200 once the model is loaded, until the server is told to stop; else 503
GET /metrics         the metrics, in Prometheus' formats (see `metrics`)
===================  ===============================================================================

Every answer carries ``x-model-name`` and ``x-model-version``; every error is a JSON object with
``error_code`` and ``message``. Endpoints speak HTTP only; parsing and prediction happen in a pool
of threads, off the event loop, so that health and metrics answer while a model works.
"""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slipway_runtime.errors import ErrorType, RequestError
from slipway_runtime.metrics import Metrics
from slipway_runtime.settings import ServerSettings

_log = logging.getLogger("slipway.app")

_SWALLOWED_TIMES_LIMIT: Final = 4
_ERROR_CODES: Final = {404: "ENDPOINT_NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
_SERVER_FAULTS: Final[frozenset[ErrorType]] = frozenset({"model_error", "timeout", "internal"})


class Scoring(Protocol):
    """What answers a prediction request; `protocol.Scorer` in a running server."""

    def score(self, body: bytes, content_type: str | None) -> bytes:
        """Returns the JSON body of the prediction, or raises `RequestError`."""


class ModelServer:
    """The state of one model server and its ASGI application, ``app``.

    Args:
        settings: what to serve and the limits to keep.
        mlflow_version: what ``/version`` answers.

    Attributes:
        app: the ASGI application.
        scorer: the loaded model, or None until it is loaded.
        draining: True once the server was told to stop. Readiness then fails and every answer
            closes its connection, so that proxies let go of it; requests are still answered.
        metrics: the metrics.
    """

    def __init__(self, settings: ServerSettings, mlflow_version: str = "") -> None:
        self.settings = settings
        self.mlflow_version = mlflow_version
        self.scorer: Scoring | None = None
        self.draining = False
        self.metrics = Metrics(settings.model_name, settings.model_version)
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="predict")
        self._headers = {
            "x-model-name": settings.model_name,
            "x-model-version": settings.model_version,
        }
        routes = [
            Route("/invocations", self._invocations, methods=["POST"]),
            Route("/ping", self._ping),
            Route("/health", self._ping),
            Route("/version", self._version),
            Route("/health/live", self._live),
            Route("/health/startup", self._startup),
            Route("/health/ready", self._ready),
            Route("/metrics", self._metrics),
        ]
        starlette = Starlette(
            routes=routes,
            exception_handlers={HTTPException: _http_error, Exception: _internal_error},
        )
        # A path with a slash too many is an error, not a redirect that turns a POST into a GET.
        starlette.router.redirect_slashes = False
        self.app: ASGIApp = self._with_headers(starlette)

    def close(self) -> None:
        """Lets the threads go, without waiting for a prediction that never ends."""
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
        with self.metrics.active.track_inprogress():
            received: float | None = None
            error: ErrorType | None = None
            try:
                async with asyncio.timeout(self.settings.request_seconds):
                    body = await self._read(request)
                    self.metrics.input_size.observe(len(body))
                    received = time.perf_counter()
                    answer = await self._predict(body, request.headers.get("content-type"))
                response = Response(answer, media_type="application/json")
            except ClientDisconnect:
                # Nobody is left to be answered, so nothing was: it is not counted.
                return Response(status_code=499)
            except RequestError as failure:
                error = failure.error_type
                if error in _SERVER_FAULTS:
                    _log.error("prediction failed", exc_info=failure.__cause__ or failure)
                response = _error(failure)
            except TimeoutError as failure:
                error = "timeout"
                _log.error("prediction timed out", exc_info=failure)
                message = f"The request took longer than {self.settings.request_seconds} seconds."
                response = _error(RequestError(504, "DEADLINE_EXCEEDED", message, error))
            except Exception as failure:
                error = "internal"
                _log.error("request failed", exc_info=failure)
                response = _error(RequestError(500, "INTERNAL_ERROR", "Internal error.", error))
            now = time.perf_counter()
            self.metrics.answered(now - (now if received is None else received), error)
            return response

    async def _predict(self, body: bytes, content_type: str | None) -> bytes:
        scorer = self.scorer
        if scorer is None:
            headers = {"retry-after": "1"}
            message = "The model is not loaded yet."
            raise RequestError(503, "TEMPORARILY_UNAVAILABLE", message, "not_ready", headers)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, scorer.score, body, content_type)

    async def _read(self, request: Request) -> bytes:
        """Returns the request's body.

        A body somewhat too long is received to its end and thrown away: a client that does not read
        before it has written all would see a broken connection instead of the answer.

        Raises:
            RequestError: it is longer than allowed (413).
        """
        limit = self.settings.max_request_bytes
        declared = request.headers.get("content-length", "")
        announced = int(declared) if declared.isdecimal() else 0
        waits = request.headers.get("expect", "").lower() == "100-continue"
        if announced > limit and (waits or announced > limit * _SWALLOWED_TIMES_LIMIT):
            raise self._too_large(close=True)
        size = 0
        chunks: list[bytes] = []
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
            elif size > limit * _SWALLOWED_TIMES_LIMIT:
                raise self._too_large(close=True)
            else:
                chunks.clear()
        if size > limit:
            raise self._too_large(close=False)
        return b"".join(chunks)

    def _too_large(self, close: bool) -> RequestError:
        limit = self.settings.max_request_bytes
        message = f"The body is longer than {limit} bytes."
        headers = {"connection": "close"} if close else {}
        return RequestError(413, "PAYLOAD_TOO_LARGE", message, "payload_too_large", headers)

    async def _ping(self, _: Request) -> Response:
        if self.scorer is None:
            return _unavailable("The model is not loaded yet.")
        return Response("\n", media_type="application/json")

    async def _version(self, _: Request) -> Response:
        return Response(self.mlflow_version, media_type="application/json")

    async def _live(self, _: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def _startup(self, _: Request) -> Response:
        if self.scorer is None:
            return _unavailable("The model is not loaded yet.")
        return JSONResponse({"status": "started"})

    async def _ready(self, _: Request) -> Response:
        if self.draining:
            return _unavailable("The server is stopping.")
        if self.scorer is None:
            return _unavailable("The model is not loaded yet.")
        return JSONResponse({"status": "ready"})

    async def _metrics(self, request: Request) -> Response:
        content, content_type = self.metrics.render(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": content_type})


def _body(code: str, message: str) -> dict[str, str]:
    return {"error_code": code, "message": message}


def _error(error: RequestError) -> Response:
    return JSONResponse(_body(error.code, error.message), error.status, error.headers)


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
