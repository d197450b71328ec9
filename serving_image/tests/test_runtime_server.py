"""The model server as a process: start, real requests, drain, ends."""

import http.client
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

IMAGE = Path(__file__).resolve().parents[1]

# A pyfunc without MLflow's class: what its folder holds is all there is to load.
SLEEPER = """
import os, time

class Sleeper:
    def predict(self, data, params=None):
        time.sleep(float(data.iloc[0, 0]))
        return [os.getpid()]

def _load_pyfunc(path):
    return Sleeper()
"""


def environment(path: Path, port: int, **more: str) -> dict[str, str]:
    """Returns the environment of a model server."""
    chosen = {"MODEL_NAME": "sleeper", "MODEL_VERSION": "12", "MODEL_PATH": str(path)}
    chosen |= {"PORT": str(port), "PYTHONPATH": str(IMAGE), "WORKERS": "1"}
    return os.environ | chosen | more


def start(env: dict[str, str]) -> "subprocess.Popen[str]":
    """Starts a model server."""
    command = [sys.executable, "-m", "slipway_runtime.server"]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def free_port() -> int:
    """Returns a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A model server process and a way to ask it."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.port = port

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Sends a GET on a connection of its own."""
        return self._ask("GET", path, b"")

    def predict(self, seconds: float) -> tuple[int, dict[str, str], bytes]:
        """Asks for a prediction that takes ``seconds``."""
        body = json.dumps({"dataframe_split": {"data": [[seconds]]}}).encode()
        return self._ask("POST", "/invocations", body)

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content

    def wait_until(self, path: str, status: int, seconds: float = 90) -> None:
        """Returns once ``path`` answers with ``status``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.process.communicate()[0]
            try:
                if self.get(path)[0] == status:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{path} does not answer {status}")


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers of a model that takes as long as it is told."""
    path = tmp_path / "model"
    (path / "code").mkdir(parents=True)
    (path / "code" / "sleeper_model.py").write_text(SLEEPER)
    (path / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: sleeper_model\n    code: code\n"
        f"    python_version: {platform.python_version()}\n"
    )
    processes: list[subprocess.Popen[str]] = []

    def run(**more: str) -> Running:
        port = free_port()
        processes.append(start(environment(path, port, **more)))
        return Running(processes[-1], port)

    yield run
    for process in processes:
        process.kill()
        process.wait()


def test_start_drain_and_stop(sleeper: Callable[..., Running]) -> None:
    """SIGTERM: readiness fails, new requests are answered, the one in flight finishes, exit 0."""
    server = sleeper(DRAIN_SECONDS="1")
    server.wait_until("/health/live", 200)
    assert server.get("/health/ready")[0] == 503
    server.wait_until("/health/ready", 200)
    status, headers, content = server.predict(0)
    assert status == 200
    # The model is in a process of its own.
    assert json.loads(content)["predictions"] != [server.process.pid]
    assert (headers["x-model-name"], headers["x-model-version"]) == ("sleeper", "12")

    answers: dict[str, Any] = {}
    # Outlives the drain, so it is finished after the server stopped listening.
    slow = threading.Thread(target=lambda: answers.update(slow=server.predict(2.5)))
    slow.start()
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    server.wait_until("/health/ready", 503)
    status, headers, _ = server.predict(0)
    assert (status, headers["connection"]) == (200, "close")
    slow.join()
    assert answers["slow"][0] == 200
    output = server.process.communicate(timeout=30)[0]
    assert server.process.returncode == 0, output
    lines = [json.loads(line) for line in output.splitlines()]
    events = ["start", "the model is not compiled", "ready", "stopping", "stopped"]
    assert [line["event"] for line in lines] == events


def test_a_prediction_that_never_ends_does_not_hold_the_server(
    sleeper: Callable[..., Running],
) -> None:
    server = sleeper(DRAIN_SECONDS="0", GRACE_SECONDS="1", REQUEST_SECONDS="1")
    server.wait_until("/health/ready", 200)
    assert server.predict(60)[0] == 504
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0


def test_a_model_that_does_not_load(tmp_path: Path) -> None:
    termination = tmp_path / "termination-log"
    termination.touch()
    env = environment(tmp_path / "none", free_port(), TERMINATION_LOG=str(termination))
    process = start(env)
    output = process.communicate(timeout=90)[0]
    assert process.returncode == 1
    assert "Traceback" not in output
    last = json.loads(output.splitlines()[-1])
    assert last["level"] == "error"
    assert last["event"].startswith(f"the model in {tmp_path}/none does not load: ")
    assert termination.read_text() == last["event"]


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as holder:
        port = holder.getsockname()[1]
        process = start(environment(tmp_path, port))
        output = process.communicate(timeout=30)[0]
    assert process.returncode == 1
    event = json.loads(output.splitlines()[-1])["event"]
    assert event == f"cannot listen on 0.0.0.0:{port}: Address already in use"


def test_a_setting_that_is_missing(tmp_path: Path) -> None:
    process = start(environment(tmp_path, 1, MODEL_NAME=""))
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 1
    assert [json.loads(line)["event"] for line in output.splitlines()] == ["MODEL_NAME is not set"]
