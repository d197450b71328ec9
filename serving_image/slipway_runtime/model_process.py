"""The model process: the one that loads the model and answers whatever is not plain.

``python -m slipway_runtime.model_process``, started by `server` with ``SLIPWAY_SOCKET`` (the path
of a Unix socket to make) and ``SLIPWAY_SCRATCH`` (a folder for compiled models) beside the server's
settings. A front worker connects, sends frames (see `wire`) and gets an answer to each.

Apart from front workers it cannot hold up a probe or a plain request, however long the model keeps
the interpreter to itself; and a model that crashes takes no connection with it.

What it does, in this order, telling the front workers by events:

1. ``hello``: its process id and the number of predictions it works on at a time.
2. The model is verified, loaded natively and compiled, where that can be done; the compiled model
   is tried against the native one. ``compiled``: where it lies.
3. MLflow is imported, the model loaded by it, its input example predicted. ``ready``.
4. The compiled model is tried against MLflow's own answers. ``proved``, or ``withdrawn``.

Exit code 1: the model does not load; the reason is one line in the log. The front workers are told
by ``failed``.
"""

import asyncio
import functools
import gc
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from slipway_runtime import logs, modelfile, wire
from slipway_runtime.errors import SERVER_FAULTS, RequestError
from slipway_runtime.processes import begin_child
from slipway_runtime.settings import ServerSettings, SettingsError

if TYPE_CHECKING:
    from slipway_runtime.protocol import Scorer

_log = logging.getLogger("slipway.model")


class LoadError(Exception):
    """The model cannot be served; the message says why, in one line."""


class ModelProcess:
    """The state of one model process.

    Args:
        settings: what to serve.
        scratch: a folder of its own, to leave compiled models in.
    """

    def __init__(self, settings: ServerSettings, scratch: Path) -> None:
        self._settings = settings
        self._scratch = scratch
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="predict")
        self._loop = asyncio.get_running_loop()
        self._scorer: Scorer | None = None
        self._loaded = threading.Event()
        self._events: list[dict[str, Any]] = [
            {"event": "hello", "pid": os.getpid(), "threads": settings.threads}
        ]
        self._writers: set[asyncio.StreamWriter] = set()

    def tell(self, event: str, **facts: Any) -> None:
        """Tells every front worker, those that connect later included. For any thread."""
        self._loop.call_soon_threadsafe(self._tell, {"event": event} | facts)

    def _tell(self, meta: dict[str, Any]) -> None:
        self._events.append(meta)
        frame = wire.Frame(wire.Kind.EVENT, 0, meta).encode()
        for writer in self._writers:
            writer.write(frame)

    async def serve_worker(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answers the frames of one front worker until it is gone."""
        for meta in self._events:
            writer.write(wire.Frame(wire.Kind.EVENT, 0, meta).encode())
        self._writers.add(writer)
        waiting: dict[int, Future[wire.Frame]] = {}
        try:
            while True:
                frame = await wire.read(reader)
                if frame.kind is wire.Kind.CANCEL:
                    future = waiting.get(frame.number)
                    if future is not None and future.cancel():
                        # Confirmed, so that the worker knows which ones hold a thread.
                        waiting.pop(frame.number)
                        writer.write(wire.Frame(wire.Kind.ANSWER, frame.number, {}).encode())
                    continue
                future = self._threads.submit(self._answer, frame)
                waiting[frame.number] = future
                send = functools.partial(self._send, writer, waiting, frame.number)
                future.add_done_callback(functools.partial(self._loop.call_soon_threadsafe, send))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            # The worker is gone, or this process is to go.
            pass
        finally:
            self._writers.discard(writer)
            for future in waiting.values():
                future.cancel()
            writer.close()

    def _send(
        self,
        writer: asyncio.StreamWriter,
        waiting: dict[int, "Future[wire.Frame]"],
        number: int,
        done: "Future[wire.Frame]",
    ) -> None:
        if waiting.pop(number, None) is not None and not done.cancelled():
            writer.write(done.result().encode())

    def _answer(self, frame: wire.Frame) -> wire.Frame:
        """Returns the answer to a question; in a thread of the pool."""
        try:
            self._loaded.wait()
            scorer = self._scorer
            if scorer is None:
                raise RequestError(503, "TEMPORARILY_UNAVAILABLE", "It ends.", "not_ready")
            if frame.kind is wire.Kind.INFER:
                body, length = scorer.infer(frame.payload, frame.meta["header_length"])
                meta = {"header_length": length}
            else:
                body = scorer.score(frame.payload, frame.meta["content_type"])
                meta = {}
            return wire.Frame(wire.Kind.ANSWER, frame.number, meta, body)
        except RequestError as error:
            failure = error
        except Exception as error:
            failure = RequestError(500, "INTERNAL_ERROR", "Internal error.", "internal")
            failure.__cause__ = error
        if failure.error_type in SERVER_FAULTS:
            fields = {"request_id": frame.meta["request_id"], "error_type": failure.error_type}
            cause = failure.__cause__ or failure
            _log.error("prediction failed", exc_info=cause, extra=fields)
        return wire.Frame(wire.Kind.ERROR, frame.number, wire.error_meta(failure))

    def load(self) -> None:
        """Loads the model, step by step as the module says; in a thread.

        Raises:
            LoadError: it does not load, or it is not what was fetched.
        """
        started = time.perf_counter()
        path = self._settings.model_path
        try:
            model = modelfile.read(path)
            self._check(path)
            trial = self._compile(path, model)
            from slipway_runtime import protocol

            logs.adopt_mlflow_loggers()
            scorer = protocol.Scorer(
                protocol.load_model(path),
                model,
                (self._settings.model_name, self._settings.model_version),
                self._settings.max_values,
            )
        except LoadError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise LoadError(f"the model in {path} does not load: {reason}") from error
        try:
            warm = scorer.warm_up(path)
        except Exception as error:
            # Not a reason to stay away: the example may be off where the model is not.
            _log.warning("the model fails on its own input example", exc_info=error)
            warm = False
        logs.silence_per_request_warnings()
        # The hundred thousands of objects made so far stay for good: no collection need visit them.
        gc.collect()
        gc.freeze()
        self._scorer = scorer
        self._loaded.set()
        seconds = round(time.perf_counter() - started, 3)
        _log.info("ready", extra={"load_seconds": seconds, "warmed_up": warm})
        self.tell("ready", mlflow_version=protocol.MLFLOW_VERSION)
        if trial is not None:
            trial.prove(scorer)

    def _check(self, path: Path) -> None:
        from slipway_runtime import pickles, receipt

        try:
            receipt.verified(path)
            allow = self._settings.allow_pickle
            pickles.check(path, allow, self._settings.model_name)
            os.environ.update(pickles.mlflow_environment(path, allow))
        except (OSError, receipt.VerificationError, pickles.PickledModelError) as error:
            raise LoadError(str(error)) from error

    def _compile(self, path: Path, model: modelfile.ModelFile) -> "Any":
        if not self._settings.compiled:
            return None
        from slipway_runtime.trial import Trial

        trial = Trial(self.tell, self._scratch)
        return trial if trial.start(path, model) else None

    def close(self) -> None:
        """Lets the threads go, without waiting for a prediction that never ends."""
        self._loaded.set()
        self._threads.shutdown(wait=False, cancel_futures=True)


async def serve(settings: ServerSettings, socket: str, scratch: Path) -> None:
    """Serves front workers until SIGTERM.

    Raises:
        LoadError: the model does not load.
    """
    loop = asyncio.get_running_loop()
    process = ModelProcess(settings, scratch)
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await asyncio.start_unix_server(process.serve_worker, socket)
    loading = asyncio.ensure_future(asyncio.to_thread(process.load))
    stopping = asyncio.ensure_future(stopped.wait())
    try:
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and (error := loading.exception()) is not None:
            process.tell("failed", reason=str(error))
            # The event is sent on the way out of this turn of the loop.
            await asyncio.sleep(0.05)
            raise error
        await stopping
    finally:
        server.close()
        process.close()


def main() -> int:
    """Runs the process; returns the exit code."""
    begin_child()
    logs.configure()
    try:
        settings = ServerSettings.from_env()
        socket, scratch = os.environ["SLIPWAY_SOCKET"], Path(os.environ["SLIPWAY_SCRATCH"])
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, socket, scratch))
    except (SettingsError, LoadError) as error:
        _log.error(str(error))
        logs.write_termination_message(str(error))
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # A prediction that outlived its deadline still holds a thread, and Python would wait for it.
    os._exit(code)
