"""A front worker: one process, one event loop, all the connections it accepts.

``python -m slipway_runtime.worker``, started by `server` with ``SLIPWAY_LISTEN_FD`` (the listening
socket), ``SLIPWAY_SOCKET`` (its model process' Unix socket), ``SLIPWAY_PLACE`` (its number), and
``SLIPWAY_BOARD`` (the file in which the workers tell each other their state) beside the server's
settings.

It answers from its start on, so that probes get answers instead of refused connections, unless
another worker already serves: then it takes connections only once its own model is there.

On SIGTERM readiness turns 503 and requests are still answered for ``DRAIN_SECONDS``; then it stops
listening, finishes the requests in flight within ``GRACE_SECONDS`` and exits 0. A second signal
skips what is left of the drain. Exit code 1: its model does not load.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import uvicorn
import uvloop

from slipway_runtime import __version__, logs, modelfile, wire
from slipway_runtime.app import ModelServer
from slipway_runtime.app_v2 import routes
from slipway_runtime.board import Board, State
from slipway_runtime.compiled import Compiled
from slipway_runtime.extract import Extractor
from slipway_runtime.fast import FastPath
from slipway_runtime.hot import HotProtocol
from slipway_runtime.processes import begin_child
from slipway_runtime.remote import Remote
from slipway_runtime.settings import ServerSettings

_log = logging.getLogger("slipway.worker")

# Longer than a proxy keeps an idle connection (Envoy: one hour): where the server is the one to
# close, a request may cross the close on the wire and fail.
_KEEP_ALIVE_SECONDS: Final = 3700


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers, which stop at once and end as killed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _Backend:
    """The model process, as the application sees it."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def score(self, body: bytes, content_type: str | None, request_id: str) -> bytes:
        meta = {"content_type": content_type, "request_id": request_id}
        return (await self._remote.ask(wire.Kind.SCORE, meta, body)).payload

    async def infer(
        self, body: bytes, header_length: int | None, request_id: str
    ) -> tuple[bytes, int | None]:
        meta = {"header_length": header_length, "request_id": request_id}
        frame = await self._remote.ask(wire.Kind.INFER, meta, body)
        return frame.payload, frame.meta["header_length"]


class Worker:
    """The state of one front worker.

    Args:
        settings: what to serve.
        path: its model process' socket.
        board: where the workers tell each other their state.
        place: its place on the board.
    """

    def __init__(self, settings: ServerSettings, path: str, board: Board, place: int) -> None:
        self._settings = settings
        self._board = board
        self._place = place
        self._model: modelfile.ModelFile | None = None
        self._compiled: FastPath | None = None
        self.remote = Remote(path, settings.queue, settings.request_seconds, self._told)
        self.server = ModelServer(
            settings,
            _Backend(self.remote),
            server=os.getppid(),
            routes=routes(__version__, self._read),
        )
        self.failed = asyncio.Event()
        self.loaded = asyncio.Event()

    def _read(self) -> modelfile.ModelFile:
        if self._model is None:
            self._model = modelfile.read(self._settings.model_path)
        return self._model

    def _told(self, meta: dict[str, Any]) -> None:
        """Takes an event of the model process."""
        match meta["event"]:
            case "compiled":
                # A model process started again compiles again; what is in service may stay.
                self._compile(Path(meta["folder"]), meta["most_rows"])
            case "proved":
                if self._compiled is not None:
                    self._compiled.extractor.formats = frozenset(meta["formats"])
            case "withdrawn":
                self._compiled = self.server.fast = None
                self.server.metrics.compiled(None)
            case "ready":
                self.server.mlflow_version = meta["mlflow_version"]
                self._ready()
            case "failed":
                self.failed.set()
            case "lost" if self.server.fast is None:
                self.server.started = False
                self._board.set(self._place, State.RESTARTING)

    def _compile(self, folder: Path, most_rows: int) -> None:
        try:
            extractor = Extractor.of(self._read())
            compiled = Compiled.load(folder)
        except (OSError, ValueError, KeyError) as error:
            _log.warning("the compiled model does not load", exc_info=error)
            return
        if extractor is None:
            return
        identity = (self._settings.model_name, self._settings.model_version)
        fast = FastPath(extractor, compiled, identity, most_rows)
        self._compiled = self.server.fast = fast
        self.server.metrics.compiled(fast.engine)
        self._ready()

    def _ready(self) -> None:
        self.server.started = True
        self.loaded.set()
        if not self.server.draining:
            self._board.set(self._place, State.READY)
        # What was made so far stays for good: no collection need visit it.
        gc.collect()
        gc.freeze()


async def serve(
    settings: ServerSettings, listener: socket.socket, path: str, board: Board, place: int
) -> int:
    """Serves until a signal ends it; returns the exit code."""
    again = board.any_ready()
    board.set(place, State.RESTARTING if again else State.LOADING)
    worker = Worker(settings, path, board, place)
    application = worker.server
    config = uvicorn.Config(
        application.app,
        http=HotProtocol.for_server(application),
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
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()

    def stop() -> None:
        server.should_exit = True
        ending.set()

    def drain() -> None:
        if application.draining:
            stop()
            return
        application.draining = True
        board.set(place, State.DRAINING)
        loop.call_later(settings.drain_seconds, stop)

    loop.add_signal_handler(signal.SIGTERM, drain)
    application.others_loading = board.any_loading
    line = asyncio.create_task(worker.remote.keep())

    async def fail() -> None:
        await worker.failed.wait()
        stop()

    failing = asyncio.create_task(fail())
    if again:
        waits = [worker.loaded.wait(), worker.failed.wait(), ending.wait()]
        tasks = [asyncio.create_task(wait) for wait in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if not server.should_exit:
        await server.serve(sockets=[listener])
    application.close()
    for task in (line, failing):
        task.cancel()
    return 1 if worker.failed.is_set() else 0


def main() -> int:
    """Runs the worker; returns the exit code."""
    begin_child()
    logs.configure()
    settings = ServerSettings.from_env()
    listener = socket.socket(fileno=int(os.environ["SLIPWAY_LISTEN_FD"]))
    board = Board.open(Path(os.environ["SLIPWAY_BOARD"]))
    place = int(os.environ["SLIPWAY_PLACE"])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(settings, listener, os.environ["SLIPWAY_SOCKET"], board, place))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # A prediction that outlived its deadline still holds a thread, and Python would wait for it.
    os._exit(code)
