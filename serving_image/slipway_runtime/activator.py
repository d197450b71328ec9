"""The activator: holds requests for model servers that have no pod, until one is ready, and hands
them over.

``python -m slipway_runtime.activator``, configured by environment variables (see
`activator_settings`). At ``PORT`` it takes every request. Which server one is for, the header
``x-slipway-server`` says, else the first label of ``host``. What the server answers goes back as it
comes: status, headers and body.

====================================  ============================================================
otherwise                             answer
====================================  ============================================================
no server is ready in time            503 with Retry-After, and final (see `activator_answers`)
too many are held, or too much        503 with Retry-After
a body longer than a server takes     413
a server nobody knows of              503
the server does not answer in time    504; one that breaks off twice 502
the activator ends                    503, for the gateway to ask another one
====================================  ============================================================

At ``OWN_PORT``, about itself: ``GET /waiting/{server}``, ``{"waiting": n}`` of those held and those
that a server works on; ``GET /metrics`` (see `activator_metrics`); ``GET /health/live``.

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
from typing import Final

import uvicorn
import uvloop

from slipway_runtime import logs
from slipway_runtime.activator_answers import Receive, Scope, Send, plain
from slipway_runtime.activator_hold import Holder
from slipway_runtime.activator_settings import ActivatorSettings
from slipway_runtime.settings import SettingsError

_log = logging.getLogger("slipway.activator")

# Longer than a proxy keeps an idle connection (Envoy: one hour).
_KEEP_ALIVE_SECONDS: Final = 3700
_BACKLOG: Final = 2048


class Activator:
    """The application.

    Args:
        settings: which servers there are, and how much is held.
    """

    def __init__(self, settings: ActivatorSettings) -> None:
        self._own_port = settings.own_port
        self.holder = Holder(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, as ASGI has it."""
        if scope["type"] != "http":
            return
        if scope["server"][1] != self._own_port:
            await self.holder.take(scope, receive, send)
            return
        await self._of_itself(scope, send)

    async def _of_itself(self, scope: Scope, send: Send) -> None:
        path = scope["path"]
        name = path.removeprefix("/waiting/")
        if path == "/health/live":
            await plain(send, 200, b"ok", b"text/plain")
        elif path == "/metrics":
            accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
            content, content_type = self.holder.metrics.render(accept)
            await plain(send, 200, content, content_type.encode())
        elif name != path and (count := self.holder.wanted(name)) is not None:
            await plain(send, 200, b'{"waiting": %d}' % count)
        else:
            await plain(send, 404, b"{}")


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers, which end as killed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(activator: Activator, listeners: list[socket.socket], grace: int) -> None:
    """Serves until a signal ends it; then what a server works on has ``grace`` seconds."""
    config = uvicorn.Config(
        activator,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace,
    )
    # An answer that breaks off is counted, and has nothing else to say.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    server = _Server(config)

    def stop() -> None:
        activator.holder.end()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await server.serve(sockets=listeners)


def main() -> int:
    """Runs the activator; returns the exit code."""
    logs.configure()
    try:
        settings = ActivatorSettings.from_env()
        listeners = [_listen(settings.host, port) for port in (settings.port, settings.own_port)]
    except (SettingsError, OSError) as error:
        _log.error(str(error))
        logs.write_termination_message(str(error))
        return 1
    _log.info("start", extra={"servers": sorted(settings.servers), "port": str(settings.port)})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Activator(settings), listeners, settings.request_seconds))
    _log.info("stopped")
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(f"cannot listen on {host}:{port}: {reason}") from None


if __name__ == "__main__":
    sys.exit(main())
