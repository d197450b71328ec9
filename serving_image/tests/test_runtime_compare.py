"""The comparer as a real process between servers that say what they are told to."""

import contextlib
import http.client
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from slipway_runtime.compare_settings import ComparerSettings
from slipway_runtime.settings import SettingsError

from .serving import IMAGE, Running, free_port

LABELS = '{against="1",model_name="churn",model_version="2"}'
Say = Callable[[str, dict[str, str], bytes], tuple[int, bytes]]


class Told:
    """A model server that answers what `say` returns, and remembers what it was asked."""

    def __init__(self, say: Say, port: int = 0) -> None:
        told = self
        self.say = say
        self.asked: list[tuple[str, dict[str, str], bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {key.lower(): value for key, value in self.headers.items()}
                told.asked.append((self.path, headers, body))
                status, content = told.say(self.path, headers, body)
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def predicts(*values: Any) -> Say:
    body = json.dumps({"predictions": list(values)}).encode()
    return lambda *_: (200, body)


class Comparer(Running):
    """The comparer, and the two servers it asks."""

    stable: Told
    shadow: Told

    def count(self, name: str, side: str = "") -> float:
        labels = LABELS if not side else LABELS.replace("}", f',side="{side}"}}')
        return self.samples()[f"{name}{labels}"]

    def until(self, name: str, value: float, side: str = "") -> None:
        """Waits until a metric has this value."""
        wait_for(lambda: self.count(name, side) == value)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Comparer]]:
    with contextlib.ExitStack() as stack:

        def start(stable: Say, shadow: Say, **environment: str) -> Comparer:
            first, second, port = Told(stable), Told(shadow), free_port()
            stack.callback(first.close)
            stack.callback(second.close)
            env = {
                **os.environ,
                "MODEL_NAME": "churn",
                "STABLE_VERSION": "1",
                "SHADOW_VERSION": "2",
                "STABLE_URL": f"http://127.0.0.1:{first.port}",
                "SHADOW_URL": f"http://127.0.0.1:{second.port}",
                "HOST": "127.0.0.1",
                "PORT": str(port),
                "PYTHONPATH": str(IMAGE),
                **environment,
            }
            log = (tmp_path / "log").open("w")
            stack.callback(log.close)
            command = [sys.executable, "-m", "slipway_runtime.compare"]
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log, text=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
            comparer = Comparer(process, port, tmp_path / "log")
            comparer.stable, comparer.shadow = first, second
            deadline = time.monotonic() + 30
            while True:
                with contextlib.suppress(OSError):
                    assert comparer.get("/health/live")[0] == 200
                    break
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            return comparer

        yield start


def test_answers_that_agree_and_that_do_not(started: Callable[..., Comparer]) -> None:
    comparer = started(predicts(0, 1), predicts(0, 1))
    assert comparer.count("model_comparisons_total") == 0
    assert comparer.invoke({"inputs": [1, 2]})[0] == 204
    comparer.until("model_comparisons_total", 1)
    assert comparer.count("model_disagreements_total") == 0
    comparer.shadow.say = predicts(0, 0)
    comparer.invoke({"inputs": [1, 2]})
    comparer.until("model_disagreements_total", 1)
    comparer.until("model_comparisons_total", 2)
    assert comparer.count("model_compared_rows_total") == 4
    assert comparer.count("model_disagreeing_rows_total") == 1


def test_both_are_asked_what_was_asked(started: Callable[..., Comparer]) -> None:
    comparer = started(predicts(0), predicts(0))
    body = b'{"inputs": [[1.5]]}'
    headers = {"content-type": "application/json; charset=utf-8", "cookie": "secret=1"}
    comparer.ask("POST", "/invocations?format=x", body, headers)
    comparer.until("model_comparisons_total", 1)
    for server in (comparer.stable, comparer.shadow):
        ((path, got, content),) = server.asked
        assert (path, content) == ("/invocations?format=x", body)
        assert got["content-type"] == "application/json; charset=utf-8"
        assert "cookie" not in got


def test_the_inference_protocol(started: Callable[..., Comparer]) -> None:
    def says(value: float) -> Say:
        output = {"name": "p", "datatype": "FP64", "shape": [1], "data": [value]}
        return lambda *_: (200, json.dumps({"model_version": "1", "outputs": [output]}).encode())

    comparer = started(says(0.5), says(0.5 + 1e-12))
    length = {"inference-header-content-length": "2"}
    comparer.ask("POST", "/v2/models/churn/infer", b"{}", length)
    comparer.until("model_comparisons_total", 1)
    assert comparer.shadow.asked[0][1]["inference-header-content-length"] == "2"
    comparer.shadow.say = says(0.6)
    comparer.ask("POST", "/v2/models/churn/infer", b"{}")
    comparer.until("model_disagreements_total", 1)


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/ping"),
        ("POST", "/v2/models/churn/versions/1/infer"),
        ("GET", "/v2/models/churn/ready"),
        ("DELETE", "/x"),
    ],
)
def test_other_requests_are_ignored(
    started: Callable[..., Comparer], method: str, path: str
) -> None:
    comparer = started(predicts(0), predicts(0))
    assert comparer.ask(method, path, b"")[0] == 204
    comparer.invoke({})
    comparer.until("model_comparisons_total", 1)
    assert len(comparer.stable.asked) == 1


def test_statuses_are_compared_by_their_class(started: Callable[..., Comparer]) -> None:
    comparer = started(lambda *_: (400, b"no"), lambda *_: (422, b"never"))
    comparer.invoke({})
    comparer.until("model_comparisons_total", 1)
    comparer.shadow.say = lambda *_: (500, b"oops")
    comparer.invoke({})
    comparer.until("model_comparisons_total", 2)
    assert comparer.count("model_disagreements_total") == 1
    assert comparer.count("model_compared_rows_total") == 0


def test_a_side_that_gives_nothing_to_compare(started: Callable[..., Comparer]) -> None:
    comparer = started(predicts(0), lambda *_: (503, b"not ready"), COMPARE_SECONDS="1")
    comparer.invoke({})
    comparer.until("model_comparison_errors_total", 1, "shadow")

    def slow(*_: Any) -> tuple[int, bytes]:
        time.sleep(2)
        return 200, b""

    for number, say in enumerate((lambda *_: (200, b"<html>"), slow), start=2):
        comparer.shadow.say = say
        comparer.invoke({})
        comparer.until("model_comparison_errors_total", number, "shadow")
    comparer.shadow.say = predicts(0)
    comparer.stable.close()
    comparer.stable.say = lambda *_: (200, b"<html>")
    comparer.invoke({})
    comparer.until("model_comparison_errors_total", 1, "stable")
    assert comparer.count("model_comparisons_total") == 0


def test_a_connection_closed_at_the_other_end_is_made_again(
    started: Callable[..., Comparer],
) -> None:
    comparer = started(predicts(0), predicts(0), MAX_COMPARISONS="1")
    for number in range(1, 4):
        comparer.invoke({})
        comparer.until("model_comparisons_total", number)
        for told in (comparer.stable, comparer.shadow):
            port = told.port
            told.close()
            told.__init__(told.say, port)  # type: ignore[misc]
    assert comparer.count("model_comparison_errors_total", "stable") == 0


def test_too_many_at_a_time_are_dropped_and_answered_at_once(
    started: Callable[..., Comparer],
) -> None:
    gate = threading.Event()

    def waits(*_: Any) -> tuple[int, bytes]:
        gate.wait(20)
        return 200, b'{"predictions": [0]}'

    comparer = started(waits, predicts(0), MAX_HELD="2", MAX_COMPARISONS="1")
    began = time.monotonic()
    assert [comparer.invoke({})[0] for _ in range(5)] == [204] * 5
    assert time.monotonic() - began < 5
    assert comparer.count("model_comparisons_dropped_total") == 3
    wait_for(lambda: len(comparer.stable.asked) == 1)
    time.sleep(0.2)
    assert len(comparer.stable.asked) == 1
    gate.set()
    comparer.until("model_comparisons_total", 2)
    comparer.invoke({})
    comparer.until("model_comparisons_total", 3)


def test_a_request_that_is_too_long_or_cut_off_is_dropped(
    started: Callable[..., Comparer],
) -> None:
    comparer = started(predicts(0), predicts(0), MAX_COMPARED_BYTES="100", MAX_HELD="1")
    comparer.invoke(b"x" * 101)
    comparer.until("model_comparisons_dropped_total", 1)
    connection = http.client.HTTPConnection("127.0.0.1", comparer.port)
    connection.putrequest("POST", "/invocations")
    connection.putheader("content-length", "50")
    connection.endheaders(b"half")
    connection.close()
    comparer.until("model_comparisons_dropped_total", 2)
    comparer.invoke({})
    comparer.until("model_comparisons_total", 1)


def test_an_answer_that_is_too_long_is_an_error(started: Callable[..., Comparer]) -> None:
    comparer = started(predicts(0), predicts(*[0] * 500), MAX_COMPARED_BYTES="100")
    comparer.invoke({})
    comparer.until("model_comparison_errors_total", 1, "shadow")


def test_the_stability_of_what_is_predicted(started: Callable[..., Comparer]) -> None:
    comparer = started(predicts(0, 1), predicts(0, 0))
    assert math.isnan(comparer.count("model_prediction_psi"))
    for number in range(1, 201):
        comparer.invoke({})
        comparer.until("model_comparisons_total", number)
    assert comparer.count("model_prediction_psi") > 0.2
    assert comparer.count("model_disagreements_total") == 200


def test_it_ends_when_it_is_told_to(started: Callable[..., Comparer]) -> None:
    def never(*_: Any) -> tuple[int, bytes]:
        time.sleep(15)
        return 200, b""

    comparer = started(never, predicts(0))
    comparer.invoke({})
    comparer.process.send_signal(signal.SIGTERM)
    assert comparer.process.wait(10) == 0
    assert [event["event"] for event in comparer.events()] == ["start", "stopped"]


GOOD = {
    "MODEL_NAME": "churn",
    "STABLE_VERSION": "1",
    "SHADOW_VERSION": "2",
    "STABLE_URL": "http://churn-v1",
    "SHADOW_URL": "http://churn-v2:81",
}


def test_settings() -> None:
    settings = ComparerSettings.from_env(GOOD)
    assert (settings.stable, settings.shadow) == (("churn-v1", 80), ("churn-v2", 81))
    assert (settings.port, settings.held, settings.most) == (8080, 32, 4)


@pytest.mark.parametrize(
    "key, value, line",
    [
        ("MODEL_NAME", "", "MODEL_NAME is not set"),
        ("STABLE_URL", "churn", "STABLE_URL: 'churn' is not a URL such as http://churn-v1:80"),
        (
            "SHADOW_URL",
            "http://[",
            "SHADOW_URL: 'http://[' is not a URL such as http://churn-v1:80",
        ),
        ("PORT", "0", "PORT: '0' is not a whole number from 1 to 65535"),
        ("MAX_COMPARISONS", "x", "MAX_COMPARISONS: 'x' is not a whole number from 1 to 1024"),
    ],
)
def test_a_bad_setting_is_one_line(key: str, value: str, line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ComparerSettings.from_env(GOOD | {key: value})
    assert str(caught.value) == line


def test_a_port_in_use_is_one_line(started: Callable[..., Comparer]) -> None:
    comparer = started(predicts(0), predicts(0))
    env = {**os.environ, **GOOD, "HOST": "127.0.0.1", "PORT": str(comparer.port)}
    command = [sys.executable, "-m", "slipway_runtime.compare"]
    ended = subprocess.run(command, env=env | {"PYTHONPATH": str(IMAGE)}, capture_output=True)
    (line,) = ended.stdout.splitlines()
    expected = f"cannot listen on 127.0.0.1:{comparer.port}: Address already in use"
    assert (ended.returncode, json.loads(line)["event"]) == (1, expected)
