"""A model server as a real process, and ways to ask it: what several test modules share."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IMAGE = Path(__file__).resolve().parents[1]
JSON = {"content-type": "application/json"}

Answer = tuple[int, dict[str, str], bytes]


def free_port() -> int:
    """Returns a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A model server process and a way to ask it."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log

    def get(self, path: str) -> Answer:
        """Sends a GET on a connection of its own."""
        return self.ask("GET", path, b"")

    def invoke(self, body: Any, **headers: str) -> Answer:
        """Asks for a prediction; a body that is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", "/invocations", content, JSON | headers)

    def ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str] | None = None
    ) -> Answer:
        """Sends one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content

    def samples(self) -> dict[str, float]:
        """Returns the server's samples, by name and labels as Prometheus reads them."""
        lines = self.get("/metrics")[2].decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def events(self) -> list[dict[str, Any]]:
        """Returns the lines of its log so far."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def children(self) -> dict[str, list[int]]:
        """Returns the process ids of its workers and model processes by module."""
        found: dict[str, list[int]] = {"worker": [], "model_process": []}
        for folder in Path("/proc").glob("[1-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_text()
            except OSError:
                continue
            if parent == self.process.pid:
                for module, pids in found.items():
                    if f"slipway_runtime.{module}\0" in command:
                        pids.append(int(folder.name))
        return found

    def wait_until(self, path: str, status: int, seconds: float = 90) -> None:
        """Returns once ``path`` answers with ``status``."""

        def answers() -> bool:
            try:
                return self.get(path)[0] == status
            except (OSError, http.client.HTTPException):
                return False

        self.wait_for(answers, f"{path} does not answer {status}", seconds)

    def wait_for_event(self, event: str, seconds: float = 90) -> None:
        """Returns once its log holds ``event``."""

        def there() -> bool:
            return any(line["event"] == event for line in self.events())

        self.wait_for(there, f"no event {event!r}", seconds)

    def wait_for(self, condition: Any, otherwise: str, seconds: float = 90) -> None:
        """Returns once ``condition`` holds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self._log.read_text()
            if condition():
                return
            time.sleep(0.05)
        raise AssertionError(f"{otherwise}\n{self._log.read_text()}")

    def stop(self) -> int:
        """Tells it to stop; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def serving(model: Path, log: Path, *prefix: str, **environment: str) -> Iterator[Running]:
    """Runs a model server, named ``churn`` and of version 7, with one worker unless told.

    ``prefix`` is a command to run it by.
    """
    port = free_port()
    chosen = {"MODEL_NAME": "churn", "MODEL_VERSION": "7", "MODEL_PATH": str(model)}
    chosen |= {"HOST": "127.0.0.1", "PORT": str(port), "PYTHONPATH": str(IMAGE)}
    chosen |= {"WORKERS": "1", "DRAIN_SECONDS": "0", "ALLOW_PICKLE": "true"}
    command = [*prefix, sys.executable, "-m", "slipway_runtime.server"]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env=os.environ | chosen | environment, stdout=file, stderr=file, text=True
        )
    try:
        yield Running(process, port, log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
