"""A front worker: one process, one event loop, all the connections it accepts.

``python -m slipway_runtime.worker``, started by `server` with ``SLIPWAY_LISTEN_FD`` (the listening
socket), ``SLIPWAY_SOCKET`` (its model process' Unix socket), ``SLIPWAY_PLACE`` (its number), and
``SLIPWAY_BOARD`` (the file in which the workers tell each other their state) and ``SLIPWAY_DRIFT``
(the file in which it counts drift, beside those of others) beside the server's settings.

It answers from its start on, so that probes get answers instead of refused connections, unless
another worker already serves: then it takes connections only once its own model is there.

When the server says stop, readiness turns 503 and requests are still answered for
``DRAIN_SECONDS``; then it stops listening, finishes the requests in flight within ``GRACE_SECONDS``
and exits 0. Said twice, it skips what is left of the drain. Exit code 78: its model does not load,
or a setting is not allowed.
"""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn
import uvloop
from starlette.types import ASGIApp

from slipway_runtime import __version__, drift, drift_profile, logs, modelfile, wire
from slipway_runtime.app import ModelServer
from slipway_runtime.app_v2 import routes
from slipway_runtime.board import Board, State
from slipway_runtime.compiled import Compiled
from slipway_runtime.drift_profile import Profile
from slipway_runtime.extract import Extractor
from slipway_runtime.fast import FastPath
from slipway_runtime.hot import HotProtocol
from slipway_runtime.processes import CANNOT_RUN, STOP, begin_child
from slipway_runtime.remote import Remote
from slipway_runtime.settings import ServerSettings, SettingsError
from slipway_runtime.trace_context import Step, current

if TYPE_CHECKING:
    from slipway_runtime.tracing import Tracer

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
        return (await self._ask(wire.Kind.SCORE, meta, body)).payload

    async def infer(
        self, body: bytes, header_length: int | None, request_id: str
    ) -> tuple[bytes, int | None]:
        meta = {"header_length": header_length, "request_id": request_id}
        frame = await self._ask(wire.Kind.INFER, meta, body)
        return frame.payload, frame.meta["header_length"]

    async def _ask(self, kind: wire.Kind, meta: dict[str, Any], body: bytes) -> wire.Frame:
        if (trace := current.get()) is None:
            return await self._remote.ask(kind, meta, body)
        started = time.time_ns()
        inner: list[Step] = []
        try:
            frame = await self._remote.ask(kind, meta | {"trace": trace.ids}, body)
            inner = [Step(*step) for step in frame.meta["steps"]]
            trace.rows = frame.meta["rows"]
            return frame
        finally:
            # Where it waits for a thread shows as a gap before the first step in it.
            trace.steps.append(Step("model process", started, time.time_ns(), tuple(inner)))
            trace.facts["slipway.compiled"] = False


class Worker:
    """The state of one front worker, as its model process' events make it.

    ==========  ================================================================================
    event       what follows
    ==========  ================================================================================
    compiled    the compiled model answers tables, and the worker is ready
    ready       the model process answers, and the worker is ready
    proved      the compiled model answers what it was proved on
    withdrawn   there is no compiled model any more, for good
    failed      the worker ends: its model does not load
    lost        not ready, unless the compiled model answers; there will be another model process
    ==========  ================================================================================

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
        self._withdrawn = False
        self._profile: Profile | None = None
        self._profile_read = False
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.remote = Remote(path, settings.queue, self._events.put_nowait)
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

    async def follow(self) -> None:
        """Takes the model process' events one after the other, for ever."""
        while True:
            meta = await self._events.get()
            try:
                await self._follow(meta)
            except Exception as error:
                _log.error("an event was not understood", exc_info=error)

    async def _follow(self, meta: dict[str, Any]) -> None:
        match meta["event"]:
            case "compiled":
                # A model process started again compiles again; what is in service stays.
                if self.server.fast is None and not self._withdrawn:
                    await self._compile(Path(meta["folder"]), meta["most_rows"], meta["rowwise"])
            case "proved":
                if self.server.fast is not None:
                    self.server.fast.serve(meta["formats"])
            case "withdrawn":
                self._withdrawn = True
                self.server.fast = None
                self.server.metrics.compiled(None)
            case "ready":
                self.server.mlflow_version = meta["mlflow_version"]
                self._look_at_drift()
                self._ready()
            case "failed":
                self.failed.set()
            case "lost" if self.server.fast is None and self.server.started:
                # Requests wait for the next model process; new ones had better go elsewhere.
                self.server.waiting = True
                self._board.set(self._place, State.RESTARTING)

    async def count_drift(self) -> None:
        """Counts, every second, the rows that were looked at for drift; for ever."""
        while True:
            await asyncio.sleep(1)
            if self.server.drift is not None:
                self.server.drift.count()

    def _look_at_drift(self) -> None:
        """Has drift counted and told, if the model has a profile and it was verified."""
        fast, rows, file = self.server.fast, self._settings.drift_rows, drift.counts_file()
        if file is None or not rows:
            return
        try:
            if not self._profile_read:
                self._profile_read = True
                self._profile = drift_profile.load(self._settings.model_path, self._read())
                if self._profile is not None:
                    self.server.metrics.add_drift(self._profile, file.parent)
            if self._profile is not None and fast is not None and self.server.drift is None:
                names, width = fast.extractor.names, len(fast.extractor.kinds)
                self.server.drift = drift.CompiledDrift(
                    self._profile, file, rows, names, width, fast.classes
                )
        except drift_profile.ProfileError:
            # The model process has said so.
            return
        except Exception as error:
            _log.warning("drift cannot be counted", exc_info=error)

    async def _compile(self, folder: Path, most_rows: int, rowwise: bool) -> None:
        extractor = Extractor.of(self._read())
        if extractor is None:
            return
        identity = (self._settings.model_name, self._settings.model_version)

        def load() -> FastPath:
            return FastPath(extractor, Compiled.load(folder), identity, most_rows)

        try:
            fast = await asyncio.to_thread(load)
        except Exception as error:
            _log.warning("the compiled model does not load", exc_info=error)
            return
        tables = [name for name in extractor.formats if name.startswith("dataframe")]
        fast.serve(tables)
        fast.rowwise = rowwise
        self.server.fast = fast
        self.server.metrics.compiled(fast.engine)
        self._look_at_drift()
        if tables:
            self._ready()

    def _ready(self) -> None:
        self.server.started = True
        self.server.waiting = False
        self.loaded.set()
        if not self.server.draining:
            self._board.set(self._place, State.READY)
        # What was made so far stays for good: no collection need visit it.
        gc.collect()
        gc.freeze()


def _entrance(
    settings: ServerSettings, server: ModelServer
) -> "tuple[ASGIApp, type[HotProtocol], Tracer | None]":
    """Returns how requests get in, with tracing or without; and what makes the spans."""
    if not settings.traced:
        return server.app, HotProtocol.for_server(server), None
    # OpenTelemetry is imported here alone.
    from slipway_runtime.hot_traced import TracedProtocol
    from slipway_runtime.tracing import TracedApp, Tracer

    tracer = Tracer(settings)
    return TracedApp(server.app, tracer), TracedProtocol.traced_for(server, tracer), tracer


async def serve(
    settings: ServerSettings, listener: socket.socket, path: str, board: Board, place: int
) -> int:
    """Serves until a signal ends it; returns the exit code."""
    again = board.any_ready()
    board.set(place, State.RESTARTING if again else State.LOADING)
    worker = Worker(settings, path, board, place)
    application = worker.server
    app, protocol, tracer = _entrance(settings, application)
    config = uvicorn.Config(
        app,
        http=protocol,
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

    loop.add_signal_handler(STOP, drain)
    application.others_loading = board.any_loading
    endless = (worker.remote.keep(), worker.follow(), worker.count_drift())
    tasks = [asyncio.create_task(task) for task in endless]

    async def fail() -> None:
        await worker.failed.wait()
        stop()

    tasks.append(asyncio.create_task(fail()))
    if again:
        waits = [worker.loaded.wait(), worker.failed.wait(), ending.wait()]
        first = [asyncio.create_task(wait) for wait in waits]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if not server.should_exit:
        await server.serve(sockets=[listener])
    application.close()
    if tracer is not None:
        await asyncio.to_thread(tracer.close)
    for task in tasks:
        task.cancel()
    return CANNOT_RUN if worker.failed.is_set() else 0


def main() -> int:
    """Runs the worker; returns the exit code."""
    begin_child()
    logs.configure()
    settings = ServerSettings.from_env()
    listener = socket.socket(fileno=int(os.environ["SLIPWAY_LISTEN_FD"]))
    board = Board.open(Path(os.environ["SLIPWAY_BOARD"]))
    place = int(os.environ["SLIPWAY_PLACE"])
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serve(settings, listener, os.environ["SLIPWAY_SOCKET"], board, place))
    except SettingsError as error:
        _log.error(str(error))
        logs.write_termination_message(str(error))
        return CANNOT_RUN


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # A prediction that outlived its deadline still holds a thread, and Python would wait for it.
    os._exit(code)
