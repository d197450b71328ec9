"""The model process: the one that loads the model and answers whatever is not plain.

``python -m slipway_runtime.model_process``, started by `server` with ``SLIPWAY_SOCKET`` (the path
of a Unix socket to make), ``SLIPWAY_SCRATCH`` (a folder for compiled models) and ``SLIPWAY_DRIFT``
(the file in which it counts drift) beside the server's settings. A front worker connects, sends
frames (see `wire`) and gets an answer to each.

Apart from front workers it cannot hold up a probe or a plain request, however long the model keeps
the interpreter to itself; and a model that crashes takes no connection with it.

What it does, in this order, telling the front workers by events:

1. The model is verified, loaded natively and compiled, where that can be done; the compiled model
   is tried against the native one. ``compiled``: where it lies.
2. MLflow is imported, the model loaded by it, its input example predicted. ``ready``.
3. The compiled model is tried against MLflow's own answers. ``proved``, or ``withdrawn``.

Exit code 78: the model does not load; the reason is one line in the log. The front workers are told
by ``failed``. Exit code 75: every thread is stuck.
"""

import asyncio
import faulthandler
import functools
import gc
import logging
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvloop

from slipway_runtime import logs, modelfile, wire
from slipway_runtime.errors import SERVER_FAULTS, ErrorType, RequestError
from slipway_runtime.processes import CANNOT_RUN, STOP, begin_child
from slipway_runtime.settings import ServerSettings, SettingsError
from slipway_runtime.trace_context import RequestTrace, current, steps_of_request

if TYPE_CHECKING:
    from slipway_runtime.drift import NativeDrift
    from slipway_runtime.protocol import Scorer

_log = logging.getLogger("slipway.model")

_STUCK: Final = 75
_GRACE_SECONDS: Final = 10


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
        self._drift: NativeDrift | None = None
        self._early: list[tuple[wire.Frame, Future[wire.Frame]]] = []
        self._overdue: dict[Future[wire.Frame], float] = {}
        self._events: list[dict[str, Any]] = []
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
                    if future is not None and not future.cancel():
                        self._overdue[future] = time.monotonic()
                    continue
                future = self._submit(frame)
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
        waiting.pop(number, None)
        self._overdue.pop(done, None)
        if not done.cancelled():
            writer.write(done.result().encode())

    def _submit(self, frame: wire.Frame) -> "Future[wire.Frame]":
        """Has a thread answer a question, as soon as the model is loaded."""
        future: Future[wire.Frame] = Future()
        if self._scorer is None:
            self._early.append((frame, future))
        else:
            self._threads.submit(self._work, frame, future)
        return future

    def _begin(self) -> None:
        """Takes up the questions that came before the model was loaded."""
        early, self._early = self._early, []
        for frame, future in early:
            self._threads.submit(self._work, frame, future)

    async def count_drift(self) -> None:
        """Counts, every second, the rows that were looked at for drift; for ever."""
        while True:
            await asyncio.sleep(1)
            if self._drift is not None:
                self._drift.count()

    async def watch(self) -> None:
        """Ends this process once every thread is stuck; the server starts another.

        Stuck is a thread that works on what was taken back, because its deadline had passed, for as
        long as the deadline again. Where the model does not even let go of the interpreter, this
        cannot run, and a timer of `faulthandler` ends the process, a while later.
        """
        patience = self._settings.request_seconds
        while True:
            if self._scorer is not None:
                faulthandler.dump_traceback_later(2 * patience + _GRACE_SECONDS, exit=True)
            await asyncio.sleep(min(1.0, patience / 4))
            due = time.monotonic() - patience
            stuck = sum(since <= due for since in self._overdue.values())
            if stuck >= self._settings.threads:
                _log.error("the model is stuck", extra={"threads": stuck})
                sys.stdout.flush()
                os._exit(_STUCK)

    def _work(self, frame: wire.Frame, future: "Future[wire.Frame]") -> None:
        """Answers a question, unless it was taken back; in a thread of the pool."""
        if not future.set_running_or_notify_cancel():
            return
        ids = frame.meta.get("trace")
        token = current.set(RequestTrace(ids) if ids else None)
        answer, seen = self._answer(frame)
        current.reset(token)
        future.set_result(answer)
        # The answer is on its way.
        if seen is not None and self._drift is not None:
            self._drift.offer(*seen)

    def _answer(self, frame: wire.Frame) -> tuple[wire.Frame, tuple[Any, Any] | None]:
        """Returns the answer to a question, and the model's input and prediction if it has one."""
        scorer = self._scorer
        steps = steps_of_request()
        try:
            if scorer is None:
                raise RequestError(503, "TEMPORARILY_UNAVAILABLE", "It ends.", "not_ready")
            if frame.kind is wire.Kind.INFER:
                length = frame.meta["header_length"]
                (body, length), *seen = scorer.inferred(frame.payload, length, steps)
                meta: dict[str, Any] = {"header_length": length}
            else:
                body, *seen = scorer.scored(frame.payload, frame.meta["content_type"], steps)
                meta = {}
            if current.get() is not None:
                meta |= {"steps": [list(step) for step in steps], "rows": _rows(seen[0])}
            return wire.Frame(wire.Kind.ANSWER, frame.number, meta, body), (seen[0], seen[1])
        except RequestError as error:
            failure = error
        except BaseException as error:
            # Also what is meant to end a program, like SystemExit: it is one request's failure.
            kind: ErrorType = "internal" if isinstance(error, Exception) else "model_error"
            failure = RequestError(500, "INTERNAL_ERROR", "Internal error.", kind)
            failure.__cause__ = error
        if failure.error_type in SERVER_FAULTS:
            fields = {"request_id": frame.meta["request_id"], "error_type": failure.error_type}
            cause = failure.__cause__ or failure
            _log.error("prediction failed", exc_info=cause, extra=fields)
        return wire.Frame(wire.Kind.ERROR, frame.number, wire.error_meta(failure)), None

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
            from slipway_runtime import drift, protocol

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
        self._drift = drift.watch(self._settings, model)
        self._scorer = scorer
        self._loop.call_soon_threadsafe(self._begin)
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

        identity = (self._settings.model_name, self._settings.model_version)
        trial = Trial(self.tell, self._scratch, identity)
        return trial if trial.start(path, model) else None

    def close(self) -> None:
        """Lets the threads go, without waiting for a prediction that never ends."""
        faulthandler.cancel_dump_traceback_later()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _rows(data: Any) -> int | None:
    """Returns how many rows a model's input has, where it is of a kind that has rows."""
    shape = getattr(data, "shape", None)
    if shape is not None:
        return int(shape[0]) if shape else None
    return len(data) if isinstance(data, list) else None


async def serve(settings: ServerSettings, socket: str, scratch: Path) -> None:
    """Serves front workers until `STOP`.

    Raises:
        LoadError: the model does not load.
    """
    loop = asyncio.get_running_loop()
    process = ModelProcess(settings, scratch)
    stopped = asyncio.Event()
    loop.add_signal_handler(STOP, stopped.set)
    server = await asyncio.start_unix_server(process.serve_worker, socket)
    watching = [asyncio.ensure_future(each) for each in (process.watch(), process.count_drift())]
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
        for each in watching:
            each.cancel()
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
        return CANNOT_RUN
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # A prediction that outlived its deadline still holds a thread, and Python would wait for it.
    os._exit(code)
