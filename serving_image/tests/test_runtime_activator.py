"""The activator as a real process, before servers that come, go and say what they are told to."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from slipway_runtime.activator_settings import ActivatorSettings
from slipway_runtime.settings import SettingsError

from .serving import IMAGE, Answer, Running, free_port

NAMES = ("churn-v1", "fraud-v2")
HEADER = "x-slipway-server"
FINAL = "x-envoy-ratelimited"


class Told:
    """A model server that may be ready or not, and answers with what it was asked."""

    def __init__(self, port: int, ready: bool = True) -> None:
        told = self
        self.ready = ready
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status, self.pause, self.broken = 200, 0.0, False
        self.cut = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                if self.path == "/health/ready":
                    self._say(200 if told.ready else 503, b"{}", 0)
                    return
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {key.lower(): value for key, value in self.headers.items()}
                told.asked.append((self.command, self.path, headers, body))
                time.sleep(told.pause)
                if told.broken:
                    self.close_connection = True
                    return
                self._say(told.status, body or b"nothing", told.cut)

            do_GET = do_POST = do_PUT = do_HEAD = answer  # noqa: N815

            def _say(self, status: int, content: bytes, cut: int) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.send_header("x-model-version", "1")
                self.send_header("set-cookie", "a=1")
                self.send_header("set-cookie", "b=2")
                self.end_headers()
                with contextlib.suppress(OSError):
                    if self.command != "HEAD":
                        self.wfile.write(content[: len(content) - cut])
                self.close_connection = self.close_connection or cut > 0

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Activator(Running):
    """The activator, and where its servers' pods would be."""

    own: Running
    ports: dict[str, int]
    close: Callable[[Callable[[], None]], object]

    def appears(self, name: str = "churn-v1", ready: bool = True) -> Told:
        """Has a pod of a server come."""
        told = Told(self.ports[name], ready)
        self.close(told.close)
        return told

    def send(
        self, body: bytes = b"x", name: str = "churn-v1", path: str = "/invocations?a=%20b"
    ) -> Answer:
        """Sends a request for a server, as the gateway does."""
        return self.ask("POST", path, body, {HEADER: f"{name}.models.svc.cluster.local"})

    def waiting(self, name: str = "churn-v1") -> int:
        status, _, content = self.own.get(f"/waiting/{name}")
        assert status == 200
        count: int = json.loads(content)["waiting"]
        return count

    def until_waiting(self, count: int, name: str = "churn-v1") -> None:
        self.wait_for(lambda: self.waiting(name) == count, f"{count} do not wait", 20)

    def count(self, result: str, name: str = "churn-v1") -> float:
        model, _, version = name.rpartition("-v")
        labels = f'model_name="{model}",model_version="{version}",result="{result}"'
        return self.own.samples()[f"activator_requests_total{{{labels}}}"]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as found:
        yield found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Activator]]:
    with contextlib.ExitStack() as stack:

        def run(seconds: float = 30, **environment: str) -> Activator:
            port, own = free_port(), free_port()
            ports = {name: free_port() for name in NAMES}
            servers = {
                name: {
                    "model": name.rpartition("-v")[0],
                    "version": name.rpartition("-v")[2],
                    "url": f"http://127.0.0.1:{ports[name]}",
                    "seconds": seconds,
                }
                for name in NAMES
            }
            env = {
                **os.environ,
                "SERVERS": json.dumps(servers),
                "HOST": "127.0.0.1",
                "PORT": str(port),
                "OWN_PORT": str(own),
                "PYTHONPATH": str(IMAGE),
                **environment,
            }
            log = (tmp_path / "log").open("w")
            stack.callback(log.close)
            command = [sys.executable, "-m", "slipway_runtime.activator"]
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log, text=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
            activator = Activator(process, port, tmp_path / "log")
            activator.own = Running(process, own, tmp_path / "log")
            activator.ports = ports
            activator.close = stack.callback
            activator.own.wait_until("/health/live", 200, 30)
            return activator

        yield run


def test_a_request_is_held_until_a_server_is_ready(
    start: Callable[..., Activator], pool: ThreadPoolExecutor
) -> None:
    activator = start()
    held = pool.submit(activator.send)
    activator.until_waiting(1)
    told = activator.appears(ready=False)
    time.sleep(0.5)
    assert activator.waiting() == 1 and not told.asked
    told.ready = True
    status, headers, content = held.result(20)
    assert (status, content) == (200, b"x") and headers["x-model-version"] == "1"
    assert activator.waiting() == 0 and activator.count("answered") == 1
    samples = activator.own.samples()
    labels = 'model_name="churn",model_version="1"'
    assert samples[f"activator_wait_seconds_count{{{labels}}}"] == 1
    assert samples[f"activator_wait_seconds_sum{{{labels}}}"] >= 0.5
    assert samples[f"activator_waiting_requests{{{labels}}}"] == 0


def test_what_goes_through_is_not_changed(start: Callable[..., Activator]) -> None:
    activator = start()
    told = activator.appears()
    body = os.urandom(3 * 2**20)
    connection = http.client.HTTPConnection("127.0.0.1", activator.port, timeout=30)
    sent = {HEADER: "churn-v1", "x-own": "äh", "host": "models.example", "te": "trailers"}
    for status in (200, 400, 404, 500, 503):
        told.status = status
        connection.request("PUT", "/v2/models/a%2Fb?c=d", body, sent)
        answer = connection.getresponse()
        assert answer.status == status and answer.read() == body
        # Each value of a header that comes twice, the server's own date, and none of another.
        assert answer.headers.get_all("set-cookie") == ["a=1", "b=2"]
        assert len(answer.headers.get_all("date") or []) == 1
        assert len(answer.headers.get_all("server") or []) == 1
        assert FINAL not in answer.headers
    connection.close()
    method, path, headers, _ = told.asked[-1]
    assert (method, path) == ("PUT", "/v2/models/a%2Fb?c=d")
    assert headers["host"] == "models.example" and headers["x-own"] == "äh"
    assert "te" not in headers and headers["content-length"] == str(len(body))
    assert activator.count("answered") == 5


def test_a_body_in_pieces_and_a_request_without_one(start: Callable[..., Activator]) -> None:
    activator = start()
    told = activator.appears()
    connection = http.client.HTTPConnection("127.0.0.1", activator.port, timeout=30)
    pieces = iter([b"ab", b"cd"])
    connection.request("POST", "/", pieces, {HEADER: "churn-v1"}, encode_chunked=True)
    assert connection.getresponse().read() == b"abcd"
    connection.request("HEAD", "/ping", headers={HEADER: "churn-v1"})
    answer = connection.getresponse()
    assert answer.status == 200 and answer.headers["content-length"] == "7" and not answer.read()
    connection.request("GET", "/ping", headers={"host": "churn-v1.models.svc.cluster.local"})
    assert connection.getresponse().read() == b"nothing"
    assert [asked[3] for asked in told.asked] == [b"abcd", b"", b""]
    connection.close()


def test_it_gives_up_in_time_and_for_good(start: Callable[..., Activator]) -> None:
    activator = start(seconds=1)
    began = time.monotonic()
    status, headers, content = activator.send()
    assert status == 503 and 1 <= time.monotonic() - began < 3
    assert headers["retry-after"] == "5" and headers[FINAL] == "true"
    assert (headers["x-model-name"], headers["x-model-version"]) == ("churn", "1")
    assert json.loads(content) == {
        "error_code": "TEMPORARILY_UNAVAILABLE",
        "message": "No server was ready within 1 seconds; one is starting.",
    }
    assert activator.count("expired") == 1 and activator.waiting() == 0


def test_two_servers_do_not_wait_for_each_other(
    start: Callable[..., Activator], pool: ThreadPoolExecutor
) -> None:
    activator = start()
    first = pool.submit(activator.send, b"1", "churn-v1")
    second = pool.submit(activator.send, b"2", "fraud-v2")
    activator.until_waiting(1, "churn-v1")
    activator.until_waiting(1, "fraud-v2")
    fraud = activator.appears("fraud-v2")
    assert second.result(20)[2] == b"2" and not first.done()
    assert activator.waiting("churn-v1") == 1 and activator.waiting("fraud-v2") == 0
    churn = activator.appears("churn-v1")
    assert first.result(20)[2] == b"1"
    assert len(fraud.asked) == len(churn.asked) == 1


def test_many_are_held_and_all_are_answered(
    start: Callable[..., Activator], pool: ThreadPoolExecutor
) -> None:
    activator = start()
    held = [pool.submit(activator.send, b"%d" % number) for number in range(50)]
    activator.until_waiting(50)
    activator.appears()
    assert [it.result(30)[2] for it in held] == [b"%d" % number for number in range(50)]
    assert activator.count("answered") == 50


def test_no_more_are_held_than_there_is_room_for(
    start: Callable[..., Activator], pool: ThreadPoolExecutor
) -> None:
    activator = start(MAX_HELD="3")
    held = [pool.submit(activator.send) for _ in range(3)]
    activator.until_waiting(3)
    status, headers, content = activator.send()
    # Another activator may have room.
    assert status == 503 and headers["retry-after"] == "1" and FINAL not in headers
    assert json.loads(content)["message"] == "Too many requests wait for a server."
    activator.appears()
    assert {it.result(20)[0] for it in held} == {200}
    assert activator.send()[0] == 200
    assert activator.count("refused") == 1 and activator.count("answered") == 4


def test_no_more_bytes_are_held_than_there_is_room_for(
    start: Callable[..., Activator], pool: ThreadPoolExecutor
) -> None:
    activator = start(MAX_HELD_BYTES="1000", MAX_REQUEST_BYTES="900")
    held = pool.submit(activator.send, b"x" * 600)
    activator.until_waiting(1)
    status, _, content = activator.send(b"x" * 600)
    assert status == 503
    assert json.loads(content)["message"] == "Requests that wait for a server hold too much."
    status, _, content = activator.send(b"x" * 901)
    assert status == 413
    assert json.loads(content) == {
        "error_code": "PAYLOAD_TOO_LARGE",
        "message": "The body is longer than 900 bytes.",
    }
    # The end of a long one is taken too, so that its sender gets to read the answer.
    connection = http.client.HTTPConnection("127.0.0.1", activator.port, timeout=30)
    for size, refused in ((600, 503), (1700, 413), (600, 503)):
        connection.request("POST", "/", b"x" * size, {HEADER: "churn-v1"})
        answer = connection.getresponse()
        assert answer.status == refused and answer.read()
    connection.close()
    activator.appears()
    assert held.result(20)[0] == 200
    # What was held is given back.
    assert activator.send(b"x" * 900)[0] == 200


def test_who_goes_is_not_waited_for(start: Callable[..., Activator]) -> None:
    activator = start(MAX_HELD="1")
    head = f"POST /invocations HTTP/1.1\r\n{HEADER}: churn-v1\r\ncontent-length: 1\r\n\r\nx"
    with socket.create_connection(("127.0.0.1", activator.port)) as client:
        client.sendall(head.encode())
        activator.until_waiting(1)
    activator.until_waiting(0)
    assert activator.count("gone") == 1
    told = activator.appears()
    assert activator.send()[0] == 200
    assert len(told.asked) == 1


def test_a_server_that_does_not_answer_in_time(start: Callable[..., Activator]) -> None:
    activator = start(REQUEST_SECONDS="1")
    told = activator.appears()
    told.pause = 3
    status, headers, content = activator.send()
    assert status == 504 and "retry-after" not in headers
    assert json.loads(content)["message"] == "The server did not answer in time."
    assert activator.count("failed") == 1 and len(told.asked) == 1


def test_a_server_that_breaks_off_is_asked_once_more(start: Callable[..., Activator]) -> None:
    activator = start()
    told = activator.appears()
    told.broken = True
    assert activator.send()[0] == 502
    assert len(told.asked) == 2 and activator.count("failed") == 1


def test_half_an_answer_is_not_taken_for_a_whole_one(start: Callable[..., Activator]) -> None:
    activator = start()
    told = activator.appears()
    told.cut = 1
    with pytest.raises(http.client.IncompleteRead):
        activator.send(b"x" * 1000)
    assert activator.count("failed") == 1 and len(told.asked) == 1
    told.cut = 0
    assert activator.send()[0] == 200


def test_what_a_server_works_on_keeps_it_wanted(
    start: Callable[..., Activator], pool: ThreadPoolExecutor
) -> None:
    activator = start()
    told = activator.appears()
    told.pause = 1.5
    working = pool.submit(activator.send)
    activator.wait_for(lambda: told.asked, "it is not asked", 10)
    labels = 'model_name="churn",model_version="1"'
    assert activator.own.samples()[f"activator_waiting_requests{{{labels}}}"] == 0
    assert activator.waiting() == 1
    working.result(20)
    assert activator.waiting() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_the_end_what_waits_is_handed_over_and_what_is_worked_on_is_finished(
    start: Callable[..., Activator], pool: ThreadPoolExecutor, number: signal.Signals
) -> None:
    activator = start()
    told = activator.appears("fraud-v2")
    told.pause = 2
    working = pool.submit(activator.send, b"y", "fraud-v2")
    held = pool.submit(activator.send)
    activator.until_waiting(1)
    activator.wait_for(lambda: told.asked, "it is not asked", 10)
    activator.process.send_signal(number)
    began = time.monotonic()
    status, headers, _ = held.result(20)
    # Not final: the gateway asks another one.
    assert status == 503 and headers["retry-after"] == "1" and FINAL not in headers
    assert time.monotonic() - began < 1.5
    assert working.result(20)[::2] == (200, b"y")
    assert activator.process.wait(20) == 0
    assert [line["event"] for line in activator.events()] == ["start", "stopped"]


def test_a_server_that_nobody_knows_of(start: Callable[..., Activator]) -> None:
    activator = start()
    status, headers, _ = activator.send(name="other-v1")
    assert status == 503 and headers["retry-after"] == "1" and FINAL not in headers
    assert activator.own.get("/waiting/other-v1")[0] == 404
    assert activator.own.get("/anything")[0] == 404
    # What it says of itself is not for those whose requests it holds.
    told = activator.appears()
    assert activator.ask("GET", "/metrics", b"", {HEADER: "churn-v1"})[2] == b"nothing"
    assert told.asked[0][1] == "/metrics"


def test_a_server_that_goes_again_is_waited_for_again(
    start: Callable[..., Activator], pool: ThreadPoolExecutor
) -> None:
    activator = start()
    for number in range(3):
        held: Future[Answer] = pool.submit(activator.send, b"%d" % number)
        activator.until_waiting(1)
        told = activator.appears()
        assert held.result(20)[2] == b"%d" % number
        told.close()


def test_many_results_are_there_from_the_start(start: Callable[..., Activator]) -> None:
    activator = start()
    assert activator.own.get("/metrics")[1]["content-type"].startswith("text/plain")
    samples = activator.own.samples()
    for name in NAMES:
        for result in ("answered", "expired", "refused", "gone", "handed_over", "failed"):
            assert activator.count(result, name) == 0
    assert not any("_created" in name for name in samples)


SERVERS = '{"a-v1": {"model": "a", "version": "1", "url": "http://a-v1-pods", "seconds": 60}}'


def test_settings_and_their_defaults() -> None:
    settings = ActivatorSettings.from_env({"SERVERS": SERVERS})
    (server,) = settings.servers.values()
    assert (server.name, server.host, server.port, server.seconds) == ("a-v1", "a-v1-pods", 80, 60)
    assert (settings.port, settings.own_port, settings.held) == (8080, 8081, 512)
    assert (settings.held_bytes, settings.max_bytes) == (64 * 2**20, 16 * 2**20)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "SERVERS is not set"),
        ({"SERVERS": "{}"}, "SERVERS: is not a JSON object such as "),
        ({"SERVERS": "[1]"}, "SERVERS: is not a JSON object such as "),
        ({"SERVERS": SERVERS.replace("http:", "ftp:")}, "SERVERS: is not a JSON object"),
        ({"SERVERS": SERVERS.replace("60", "0")}, "SERVERS: is not a JSON object"),
        (
            {"SERVERS": SERVERS, "MAX_HELD": "-1"},
            "MAX_HELD: '-1' is not a whole number from 1 to 65536",
        ),
    ],
)
def test_a_bad_setting_is_one_line(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        ActivatorSettings.from_env(environment)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = {**os.environ, "PYTHONPATH": str(IMAGE), "HOST": "127.0.0.1", "PORT": port}
        command = [sys.executable, "-m", "slipway_runtime.activator"]
        done = subprocess.run(
            command, env=env | {"SERVERS": SERVERS}, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    event = json.loads(line)["event"]
    assert event == f"cannot listen on 127.0.0.1:{port}: Address already in use"
