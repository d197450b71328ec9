"""What the runtime's tests share: a saved model, a real MLflow server, a wire to it that breaks."""

import asyncio
import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

IMAGE = Path(__file__).resolve().parents[1]
if str(IMAGE) not in sys.path:
    sys.path.insert(0, str(IMAGE))
# As in the image. Said before anything imports MLflow, in this process and in those it starts.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"


def free_port() -> int:
    """Returns a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: "subprocess.Popen[Any]", seconds: float = 120) -> None:
    """Returns once something listens on ``port``; fails when ``process`` ends before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"it ended with {process.returncode}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port} after {seconds} seconds")


class Client:
    """Calls an ASGI application the way a server does, without a socket.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self._runner = asyncio.Runner()
        self._app = app

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Returns the answer to one request; ``options`` are httpx's."""
        return self.requests([(method, path, options)])[0]

    def requests(self, wanted: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Returns the answers to requests that are sent at the same time."""

        async def send() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await asyncio.gather(
                    *(client.request(method, path, **options) for method, path, options in wanted)
                )

        return self._runner.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Sends a GET."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Sends a POST."""
        return self.request("POST", path, **options)

    def close(self) -> None:
        """Ends its event loop."""
        self._runner.close()


@pytest.fixture(scope="session")
def client_of() -> Iterator[Callable[[Any], Client]]:
    """Makes clients of ASGI applications."""
    clients: list[Client] = []

    def make(app: Any) -> Client:
        clients.append(Client(app))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@dataclass
class Wire:
    """A TCP forwarder to ``target`` that can be absent, and can stop in the middle.

    Attributes:
        target: port of the real server.
        port: the port it listens on once `open` was called.
        budget: bytes it passes back to clients before it passes no more, or None for all.
    """

    target: int
    port: int = field(default_factory=free_port)
    budget: int | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    _listener: socket.socket | None = None
    _connections: list[socket.socket] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        if self._listener is not None:
            # Or the thread in accept() would hold the port open.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def cut(self) -> None:
        """Breaks every connection there is; new ones are welcome."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            self._connections += [client, server]
            for source, sink, back in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass, args=(source, sink, back), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, back: bool) -> None:
        try:
            while data := source.recv(16384):
                if back and self.budget is not None:
                    if self.budget <= 0:
                        self.stalled.set()
                        return
                    self.budget -= len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@dataclass(frozen=True)
class Tracking:
    """A running MLflow server: its port, its URL and the folder its artifacts are in."""

    port: int
    artifacts: Path

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests that need the MLflow server last: it takes its time to start."""
    items.sort(key=lambda item: "tracking" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session", autouse=True)
def _mlflow_process(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Tracking, "subprocess.Popen[bytes]"] | None]:
    """Starts the MLflow server at once if any test wants it, so that it starts while others run."""
    if not any("tracking" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    folder = tmp_path_factory.mktemp("mlflow")
    tracking = Tracking(free_port(), folder / "artifacts")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += [
        "--port",
        str(tracking.port),
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
    ]
    command += ["--artifacts-destination", str(tracking.artifacts)]
    command += ["--allowed-hosts", "127.0.0.1:*"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        # A session of its own: the server has a child, and both must go.
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            yield tracking, process
        finally:
            os.killpg(process.pid, 15)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


@pytest.fixture(scope="session")
def tracking(
    _mlflow_process: tuple[Tracking, "subprocess.Popen[bytes]"] | None,
) -> Tracking:
    """A real MLflow server with a SQLite store, on a loopback port."""
    assert _mlflow_process is not None
    server, process = _mlflow_process
    wait_for_port(server.port, process)
    return server


@pytest.fixture
def wire(tracking: Tracking) -> Iterator[Wire]:
    """A wire to the MLflow server, not open yet."""
    forwarder = Wire(tracking.port)
    yield forwarder
    forwarder.close()


@pytest.fixture(scope="session")
def training() -> ModuleType:
    """The training script, as a module."""
    path = IMAGE.parent / "demo" / "train_churn.py"
    spec = importlib.util.spec_from_file_location("train_churn", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_churn"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def registered(tracking: Tracking, training: ModuleType) -> str:
    """The name of a demo model registered in two versions, trained on few customers."""
    training.Trainer(tracking.uri, "registered", customers=1500).run()
    return "registered"


@pytest.fixture(scope="session")
def table_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved scikit-learn model of the columns amount (double), count (long) and kind (string)."""
    import mlflow
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    table = pd.DataFrame(
        {"amount": [0.5, 1.5, 2.5, 4.0], "count": [1, 2, 3, 5], "kind": ["a", "b", "a", "c"]}
    )
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("kind", encoder, ["kind"])], remainder="passthrough")
    model = make_pipeline(columns, LinearRegression()).fit(table, [1.0, 2.0, 4.0, 8.0])
    path = tmp_path_factory.mktemp("table") / "model"
    mlflow.sklearn.save_model(
        model,
        str(path),
        signature=mlflow.models.infer_signature(table, model.predict(table)),
        input_example=table.head(2),
        pip_requirements=["scikit-learn"],
    )
    return path
