"""The comparer: asks stable and a shadow version for the same predictions and counts how their
answers differ.

``python -m slipway_runtime.compare``, configured by environment variables (see `compare_settings`).
The gateway sends it a copy of requests that somebody else answers, and drops what it says.

================================  ================================================================
request                           answer
================================  ================================================================
POST /invocations,                204, as soon as the body is there; the comparison comes after
POST /v2/models/{name}/infer      (dropped and counted where too many are under way)
GET /metrics                      the counts, in Prometheus' format (see `compare_metrics`)
GET /health/live, /health/ready   200
anything else                     204, ignored
================================  ================================================================

Exit code 0 after SIGTERM or SIGINT, 1 for a bad setting or a port in use; the reason is one line in
the log and in the container's termination message.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from slipway_runtime import logs
from slipway_runtime.compare_answers import Kind, UnreadableError
from slipway_runtime.compare_client import Copied, NoAnswerError, Side
from slipway_runtime.compare_metrics import SIDES, Comparisons
from slipway_runtime.compare_settings import ComparerSettings
from slipway_runtime.settings import SettingsError

_log = logging.getLogger("slipway.compare")

# Of the request's headers, those that say what its body is and which answer is wanted.
_HEADERS: Final = ("content-type", "content-encoding", "inference-header-content-length", "accept")
# Longer than a proxy keeps an idle connection (Envoy: one hour).
_KEEP_ALIVE_SECONDS: Final = 3700


class Comparer:
    """The application, and what it has under way.

    Args:
        settings: whom to ask, and how much at a time.
    """

    def __init__(self, settings: ComparerSettings) -> None:
        self._settings = settings
        self.comparisons = Comparisons(
            settings.model_name, settings.shadow_version, settings.stable_version
        )
        limits = (settings.seconds, 2 * settings.max_bytes)
        self._sides = {
            name: Side(*where, *limits)
            for name, where in zip(SIDES, (settings.stable, settings.shadow), strict=True)
        }
        self._threads = ThreadPoolExecutor(settings.most, "compare")
        self._held = 0
        self._underway: set[asyncio.Future[None]] = set()
        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        self.app = Starlette(
            routes=[
                Route("/invocations", self._invocations, methods=["POST"]),
                Route("/v2/models/{name}/infer", self._infer, methods=["POST"]),
                Route("/metrics", self._metrics),
                Route("/health/live", _well),
                Route("/health/ready", _well),
                Route("/{path:path}", _ignored, methods=methods),
            ]
        )

    def close(self) -> None:
        """Begins no more comparisons."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _invocations(self, request: Request) -> Response:
        return await self._take(request, Kind.MLFLOW)

    async def _infer(self, request: Request) -> Response:
        return await self._take(request, Kind.INFERENCE)

    async def _take(self, request: Request, kind: Kind) -> Response:
        if self._held >= self._settings.held:
            self.comparisons.dropped.inc()
            return Response(status_code=204)
        self._held += 1
        try:
            body = await self._read(request)
        except BaseException:
            self._held -= 1
            raise
        if body is None:
            self._held -= 1
            self.comparisons.dropped.inc()
            return Response(status_code=204)
        query = f"?{request.url.query}" if request.url.query else ""
        path = request.scope["raw_path"].decode("ascii", "ignore")
        headers = {name: request.headers[name] for name in _HEADERS if name in request.headers}
        copied = Copied(f"{path}{query}", headers, body)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._compare, kind, copied)
        self._underway.add(work)
        work.add_done_callback(self._done)
        return Response(status_code=204)

    def _done(self, work: "asyncio.Future[None]") -> None:
        self._held -= 1
        self._underway.discard(work)
        if not work.cancelled() and (error := work.exception()) is not None:
            _log.error("a comparison failed", exc_info=error)

    async def _read(self, request: Request) -> bytes | None:
        """Returns the body, or None where it is too long or too slow, or its sender has gone."""
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._settings.seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > self._settings.max_bytes:
                        return None
                    chunks.append(chunk)
        except (ClientDisconnect, TimeoutError):
            return None
        return b"".join(chunks)

    def _compare(self, kind: Kind, copied: Copied) -> None:
        answers = []
        # Both are asked, whatever the first says: each counts the copy among its own requests.
        for name, side in self._sides.items():
            try:
                answers.append(side.ask(copied))
            except NoAnswerError as error:
                self.comparisons.failed(name)
                _complain(f"{name} gives no answer", error)
        if len(answers) < len(self._sides):
            return
        try:
            self.comparisons.compared(kind, answers[0], answers[1])
        except UnreadableError as error:
            _complain("an answer is not understood", error)

    async def _metrics(self, request: Request) -> Response:
        content, content_type = self.comparisons.render(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": content_type})


def _complain(event: str, error: Exception) -> None:
    # With its place, which the log lets through once in a while.
    _log.warning(event, exc_info=error, extra={"reason": str(error)})


async def _well(_: Request) -> Response:
    return Response("ok", media_type="text/plain")


async def _ignored(_: Request) -> Response:
    return Response(status_code=204)


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers, which end as killed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(comparer: Comparer, listener: socket.socket) -> None:
    """Serves until a signal ends it."""
    config = uvicorn.Config(
        comparer.app,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=2,
    )
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    server = _Server(config)

    def stop() -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await server.serve(sockets=[listener])
    comparer.close()


def main() -> int:
    """Runs the comparer; returns the exit code."""
    logs.configure()
    try:
        settings = ComparerSettings.from_env()
        listener = _listen(settings.host, settings.port)
    except (SettingsError, OSError) as error:
        _log.error(str(error))
        logs.write_termination_message(str(error))
        return 1
    fields = {"model": settings.model_name, "port": str(settings.port)}
    fields |= {"stable": settings.stable_version, "shadow": settings.shadow_version}
    _log.info("start", extra=fields)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Comparer(settings), listener))
    _log.info("stopped")
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(f"cannot listen on {host}:{port}: {reason}") from None


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # A comparison under way still holds a thread, and Python would wait for it.
    os._exit(code)
