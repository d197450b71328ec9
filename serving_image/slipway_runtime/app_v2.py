"""The endpoints of the Open Inference Protocol, version 2.

=====================================================  ============================================
endpoint                                               answer
=====================================================  ============================================
GET /v2                                                the server's name, version and extensions
GET /v2/health/live, /v2/health/ready                  200, or 503
GET /v2/models/{name}[/versions/{version}]             the model's inputs and outputs
GET /v2/models/{name}[/versions/{version}]/ready       200 once the model is loaded, else 503
POST /v2/models/{name}[/versions/{version}]/infer      a prediction, in JSON or in binary
=====================================================  ============================================

Errors are JSON objects with ``error``, as the protocol has them. One server has one model: another
name or version is 404. The bodies are `v2`'s business.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from slipway_runtime import v2
from slipway_runtime.app import ModelServer, quietly
from slipway_runtime.errors import RequestError
from slipway_runtime.modelfile import ModelFile
from slipway_runtime.trace_context import answered_by_compiled, steps_of_request

LENGTH_HEADER: Final = "inference-header-content-length"
_BINARY: Final = "application/octet-stream"
_JSON: Final = "application/json"

_Handler = Callable[[Request], Awaitable[Response]]


def routes(version: str, read: Callable[[], ModelFile]) -> Callable[[ModelServer], list[Route]]:
    """Returns the maker of the endpoints.

    Args:
        version: the server's own.
        read: reads the model's facts, asked for when they are wanted.
    """

    def make(server: ModelServer) -> list[Route]:
        endpoints = _Endpoints(server, version, read)
        found = [
            Route("/v2", endpoints.server),
            Route("/v2/health/live", endpoints.live),
            Route("/v2/health/ready", endpoints.ready),
        ]
        for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            found += [
                Route(path, endpoints.known(endpoints.model)),
                Route(f"{path}/ready", endpoints.known(endpoints.ready)),
                Route(f"{path}/infer", endpoints.known(endpoints.infer), methods=["POST"]),
            ]
        return found

    return make


class _Endpoints:
    def __init__(self, server: ModelServer, version: str, read: Callable[[], ModelFile]) -> None:
        self._server = server
        self._version = version
        self._read = read
        self._metadata: dict[str, Any] | None = None

    def known(self, handler: _Handler) -> _Handler:
        """Wraps a handler so that it is only asked about the model that is served."""
        settings = self._server.settings

        async def checked(request: Request) -> Response:
            asked = request.path_params
            if asked["name"] != settings.model_name:
                return JSONResponse({"error": "This server has no such model."}, 404)
            if asked.get("version", settings.model_version) != settings.model_version:
                return JSONResponse({"error": "This server has another version."}, 404)
            return await handler(request)

        return checked

    async def server(self, _: Request) -> Response:
        return JSONResponse(v2.server_metadata(self._version))

    async def live(self, _: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        ready = self._server.started and not self._server.draining
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def model(self, _: Request) -> Response:
        if not self._server.started:
            return JSONResponse({"error": "The model is not loaded yet."}, 503)
        if self._metadata is None:
            settings, model = self._server.settings, self._read()
            self._metadata = v2.model_metadata(
                settings.model_name, settings.model_version, model.inputs, model.outputs
            )
        return JSONResponse(self._metadata)

    async def infer(self, request: Request) -> Response:
        async def predict(body: bytes, request_id: str) -> Response:
            length = _header_length(request, len(body))
            self._server.check_values(memoryview(body)[:length])
            answer = None
            if (fast := self._server.fast) is not None:
                steps = steps_of_request()
                inferred = await self._server.in_thread(
                    quietly, fast.inferred, body, length, False, steps
                )
                if inferred is not None:
                    answer, matrix, outputs = inferred
                    answered_by_compiled(len(matrix), steps)
                    self._server.metrics.by_compiled.inc()
                    self._server.observe(matrix, outputs)
            if answer is None:
                answer = await self._server.backend.infer(body, length, request_id)
            content, size = answer
            headers = {} if size is None else {LENGTH_HEADER: str(size)}
            return Response(content, 200, headers, _JSON if size is None else _BINARY)

        return await self._server.predicting(request, predict, _error_body)


def _error_body(error: RequestError, request_id: str) -> dict[str, Any]:
    body = {"error": error.message}
    return body | {"request_id": request_id} if error.status >= 500 else body


def _header_length(request: Request, size: int) -> int | None:
    text = request.headers.get(LENGTH_HEADER)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) <= size):
        message = "Inference-Header-Content-Length is not a length within the body."
        raise RequestError(400, "BAD_REQUEST", message, "invalid_input")
    return int(text)
