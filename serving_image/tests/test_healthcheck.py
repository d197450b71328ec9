"""The image's HEALTHCHECK, against servers that answer, refuse, fail and hang."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slipway_runtime import healthcheck


@contextmanager
def _server(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Answers one connection with these bytes; gives the port and what was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], asked
        thread.join(10)
        assert not thread.is_alive()


def test_a_server_that_lives() -> None:
    with _server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as (port, asked):
        assert healthcheck.fault({"PORT": str(port)}) == ""
    assert asked[0].startswith(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n")
    assert asked[0].endswith(b"\r\n\r\n")


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_the_address_is_the_servers(host: str) -> None:
    with _server(b"HTTP/1.1 200 OK\r\n\r\n") as (port, _):
        assert healthcheck.fault({"PORT": str(port), "HOST": host}) == ""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "503 Service Unavailable"),
        (b"", "answers ''"),
        (b"200", "answers '200'"),
        (b"\xff\xfe\r\n", "answers"),
    ],
)
def test_a_server_that_is_not_well(answer: bytes, said: str) -> None:
    with _server(answer) as (port, _):
        reason = healthcheck.fault({"PORT": str(port)})
    assert said in reason and "\n" not in reason


@pytest.mark.parametrize("port", ["none", "99999", "-1"])
def test_a_port_that_is_none(port: str) -> None:
    assert "does not answer" in healthcheck.fault({"PORT": port})


def test_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healthcheck, "_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reason = healthcheck.fault({"PORT": str(listener.getsockname()[1])})
    assert "timed out" in reason


def test_the_command_says_why_and_exits_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # free again once this block ends
    done = subprocess.run(
        [sys.executable, "-m", "slipway_runtime.healthcheck"],
        env={"PORT": str(port), "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"127.0.0.1:{port} does not answer: [Errno 111] Connection refused\n"
