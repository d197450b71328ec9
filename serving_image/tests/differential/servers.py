"""Starts `mlflow models serve` and the runtime with the same model, and asks both the same."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

from .compare import Answer
from .models import Model
from .requests import Request

IMAGE: Final = Path(__file__).resolve().parents[2]
_START_SECONDS: Final = 180.0
_ANSWER_SECONDS: Final = 70.0
_STOP_SECONDS: Final = 10.0


class ServerError(Exception):
    """A server that does not start or does not answer; the message ends with its log's end."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server process, with the processes it starts.

    Args:
        command: its command line.
        port: the loopback port it is to listen on.
        log: the file its output goes to.
        ready_path: what answers 200 once it is ready.
        more: additional environment variables.
    """

    def __init__(
        self, command: list[str], port: int, log: Path, ready_path: str, more: dict[str, str]
    ) -> None:
        self._port = port
        self._log = log
        self._ready_path = ready_path
        self._connection: http.client.HTTPConnection | None = None
        # MLflow finds uvicorn, and uvicorn Python, by name.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path} | more
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, env=env, start_new_session=True
            )

    def wait(self) -> None:
        """Returns once the server is ready.

        Raises:
            ServerError: it ended, or is not ready after three minutes.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self._error(f"ended with {self._process.returncode}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._ask("GET", self._ready_path, None, {}).status == 200:
                    return
            self._close()
            time.sleep(0.05)
        raise self._error("is not ready")

    def _error(self, what: str) -> ServerError:
        end = self._log.read_text(errors="replace")[-2000:]
        return ServerError(f"{self._log.name} {what}:\n{end}")

    def post(self, request: Request) -> Answer:
        """Returns the answer to a request; one with status 0 where none comes."""
        headers = {} if request.content_type is None else {"content-type": request.content_type}
        for _ in range(2):
            try:
                return self._ask("POST", "/invocations", request.body, headers)
            except (OSError, http.client.HTTPException):
                # The first time it may have been the end of an idle connection.
                self._close()
        return Answer(0, "", b"")

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = self._connection
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, _ANSWER_SECONDS)
            self._connection = connection
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content_type = (response.getheader("content-type") or "").partition(";")[0]
        return Answer(response.status, content_type, response.read())

    def metric(self, name: str) -> int:
        """Returns the sum of a metric of the runtime over its labels."""
        self._close()
        answer = self._ask("GET", "/metrics", None, {})
        lines = answer.body.decode().splitlines()
        return int(sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{")))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def end(self) -> None:
        """Tells the server to stop."""
        self._close()
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """Returns once the server, and what it started, is gone."""
        self.end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class Pair:
    """MLflow's scoring server and the runtime, both with one model.

    Args:
        model: the model.
        folder: where the model is saved, and where both servers' logs go.
    """

    def __init__(self, model: Model, folder: Path) -> None:
        self.model = model
        path = folder / model.name
        if not path.exists():
            model.save(path)
        port = _free_port()
        command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(path)]
        command += ["--host", "127.0.0.1", "--port", str(port), "--env-manager", "local"]
        log = folder / f"mlflow-{model.name}.log"
        self.theirs = Server(command, port, log, "/ping", {})
        port = _free_port()
        settings = {
            "MODEL_NAME": "differential",
            "MODEL_VERSION": "1",
            "MODEL_PATH": str(path),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "ALLOW_PICKLE": "true",
            "DRAIN_SECONDS": "0",
            "GRACE_SECONDS": "1",
            "PYTHONPATH": str(IMAGE),
        }
        command = [sys.executable, "-m", "slipway_runtime.server"]
        log = folder / f"runtime-{model.name}.log"
        self.ours = Server(command, port, log, "/health/ready", settings)
        try:
            self.theirs.wait()
            self.ours.wait()
        except ServerError:
            self.stop()
            raise

    def post(self, request: Request) -> tuple[Answer, Answer]:
        """Returns MLflow's answer to a request and the runtime's.

        Raises:
            ServerError: MLflow's server does not answer.
        """
        theirs, ours = self.theirs.post(request), self.ours.post(request)
        if theirs.status == 0:
            raise self.theirs._error(f"does not answer {request!r}")
        return theirs, ours

    def stop(self) -> None:
        """Ends both servers."""
        self.ours.end()
        self.theirs.stop()
        self.ours.stop()


class Fleet:
    """Pairs of servers, one model after the other.

    Starting a pair takes seconds, so while one is asked the next one starts; more than two are
    never there.

    Args:
        models: the models in the order they will be wanted in.
        folder: where models and logs go.
    """

    def __init__(self, models: list[Model], folder: Path) -> None:
        self._models = models
        self._folder = folder
        self._starter = ThreadPoolExecutor(1)
        self._started: dict[str, Future[Pair]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for started in self._started.values():
            with contextlib.suppress(Exception):
                started.result().stop()
        self._starter.shutdown()

    def _start(self, model: Model) -> "Future[Pair]":
        if model.name not in self._started:
            self._started[model.name] = self._starter.submit(Pair, model, self._folder)
        return self._started[model.name]

    @contextlib.contextmanager
    def pair(self, model: Model) -> Iterator[Pair]:
        """Lends the pair of servers of ``model``, and ends them afterwards.

        Raises:
            ServerError: one of them does not start.
        """
        started = self._start(model)
        following = self._models[self._models.index(model) + 1 :][:1]
        for other in following:
            self._start(other)
        pair = started.result()
        try:
            yield pair
        finally:
            del self._started[model.name]
            pair.stop()
