"""The model server: loads one model version and serves it until it is told to stop.

``python -m slipway_runtime.server``, configured by environment variables (see `settings`).

It listens at once and loads the model meanwhile, so that probes get answers instead of refused
connections. One process, one model, one event loop: a pod that needs more is given more replicas.

On SIGTERM (or SIGINT) readiness turns 503 and requests are still answered for ``DRAIN_SECONDS``;
then the server stops listening, finishes the requests in flight within ``GRACE_SECONDS`` and exits
0. A second signal skips what is left of the drain. Exit code 1: a bad setting, a port in use, a
model that does not load; the reason is one line in the log and the container's termination message.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from slipway_runtime import logs
from slipway_runtime.app import ModelServer
from slipway_runtime.settings import ServerSettings, SettingsError

if TYPE_CHECKING:
    from slipway_runtime.protocol import Scorer

_log = logging.getLogger("slipway.server")

# Longer than a proxy keeps an idle connection (Envoy: one hour): where the server is the one to
# close, a request may cross the close on the wire and fail.
_KEEP_ALIVE_SECONDS = 3700


class StartError(Exception):
    """The server cannot start; the message says why, in one line."""


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers, which stop at once and end as killed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _load(settings: ServerSettings) -> tuple["Scorer", str]:
    """Loads the model; it takes seconds, so it runs in a thread.

    Returns:
        What answers requests, and MLflow's version.

    Raises:
        StartError: the model does not load.
    """
    started = time.perf_counter()
    try:
        from slipway_runtime import protocol

        logs.adopt_mlflow_loggers()
        scorer = protocol.Scorer(protocol.load_model(settings.model_path))
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise StartError(f"the model in {settings.model_path} does not load: {reason}") from error
    try:
        warm = scorer.warm_up(settings.model_path)
    except Exception as error:
        # Not a reason to stay away: the example may be off where the model is not.
        _log.warning("the model fails on its own input example", exc_info=error)
        warm = False
    logs.silence_per_request_warnings()
    # The hundred thousands of objects made so far stay for good: no collection need visit them.
    gc.collect()
    gc.freeze()
    seconds = round(time.perf_counter() - started, 3)
    _log.info("ready", extra={"load_seconds": seconds, "warmed_up": warm})
    return scorer, protocol.MLFLOW_VERSION


async def serve(settings: ServerSettings) -> None:
    """Serves until a signal ends it.

    Raises:
        StartError: the port is in use or the model does not load.
    """
    model_server = ModelServer(settings)
    config = uvicorn.Config(
        model_server.app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.grace_seconds,
    )
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    server = _Server(config)
    listener = _listen(settings.host, settings.port)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    def drain() -> None:
        if model_server.draining:
            stop()
            return
        model_server.draining = True
        _log.info("stopping", extra={"drain_seconds": settings.drain_seconds})
        loop.call_later(settings.drain_seconds, stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain)

    async def load() -> None:
        try:
            scorer, version = await asyncio.to_thread(_load, settings)
        except BaseException:
            stop()
            raise
        model_server.mlflow_version = version
        model_server.scorer = scorer

    loading = asyncio.create_task(load())
    await server.serve(sockets=[listener])
    model_server.close()
    if loading.done():
        loading.result()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def main() -> int:
    """Runs the server; returns the exit code."""
    logs.configure()
    try:
        settings = ServerSettings.from_env()
        fields = {"model": settings.model_name, "version": settings.model_version}
        _log.info("start", extra=fields | {"port": settings.port, "pid": os.getpid()})
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (SettingsError, StartError) as error:
        _log.error(str(error))
        logs.write_termination_message(str(error))
        return 1
    _log.info("stopped")
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # A prediction that outlived its deadline still holds a thread, and Python would wait for it.
    os._exit(code)
