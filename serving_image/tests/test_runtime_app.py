"""The model server's HTTP without a model: limits, health, metrics, concurrency."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from slipway_runtime.app import ModelServer
from slipway_runtime.errors import ERROR_TYPES, RequestError
from slipway_runtime.settings import ServerSettings

SETTINGS = ServerSettings(
    "churn", "3", Path("/nowhere"), max_request_bytes=100, request_seconds=1, threads=4
)
LABELS = {"model_name": "churn", "model_version": "3"}


class Stub:
    """Scores by what the body says: echo it, wait for the gate, fail."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.seen: list[bytes] = []
        self.waiting = threading.Semaphore(0)

    async def score(self, body: bytes, content_type: str | None, request_id: str) -> bytes:
        self.seen.append(body)
        if body == b"wait":
            self.waiting.release()
            assert await asyncio.to_thread(self.gate.wait, 10)
        if body == b"slow":
            await asyncio.sleep(1.3)
        if body == b"bug":
            raise RuntimeError("sesame")
        if body == b"bad":
            raise RequestError(400, "BAD_REQUEST", "No.", "invalid_input")
        if body == b"id":
            return json.dumps({"predictions": request_id}).encode()
        return json.dumps({"predictions": body.decode()}).encode()

    async def infer(
        self, body: bytes, header_length: int | None, request_id: str
    ) -> tuple[bytes, int | None]:
        raise AssertionError("not asked for here")


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def server(stub: Stub) -> ModelServer:
    server = ModelServer(SETTINGS, stub, "3.17.2")
    server.started = True
    return server


@pytest.fixture
def client(server: ModelServer, client_of: Callable[[Any], Any]) -> Any:
    return client_of(server.app)


def samples(client: Any) -> dict[tuple[str, str], float]:
    """Returns the server's samples by name and by the label that is not a model's."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = dict(sample.labels)
            if sample.name.startswith("model_"):
                assert {name: labels.pop(name) for name in LABELS} == LABELS
            found[sample.name, next(iter(labels.values()), "")] = sample.value
    return found


def test_health_follows_the_models_life(server: ModelServer, client: Any) -> None:
    paths = ("/health/live", "/health/startup", "/health/ready", "/ping", "/health")

    def statuses() -> list[int]:
        return [client.get(path).status_code for path in paths]

    server.started = False
    assert statuses() == [200, 503, 503, 503, 503]
    server.started = True
    assert statuses() == [200, 200, 200, 200, 200]
    server.others_loading = lambda: True
    assert statuses() == [200, 503, 503, 200, 200]
    server.others_loading = lambda: False
    server.draining = True
    assert statuses() == [200, 200, 503, 200, 200]


def test_draining_still_answers_and_closes_connections(server: ModelServer, client: Any) -> None:
    assert "connection" not in client.post("/invocations", content=b"x").headers
    server.draining = True
    answer = client.post("/invocations", content=b"x")
    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"


def test_before_the_model_is_loaded_predictions_are_503(server: ModelServer, client: Any) -> None:
    server.started = False
    answer = client.post("/invocations", content=b"x")
    assert answer.status_code == 503
    assert answer.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-model-version"] == "3"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/invocations", 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/invocations", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/ping", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/nothing", 404, "ENDPOINT_NOT_FOUND"),
        ("POST", "/invocations/", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "/docs", 404, "ENDPOINT_NOT_FOUND"),
    ],
)
def test_other_methods_and_paths(
    client: Any, method: str, path: str, status: int, code: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error_code", "message"}
    assert answer.json()["error_code"] == code
    assert answer.headers["x-model-name"] == "churn"
    assert ("allow" in answer.headers) == (status == 405)


def chunks(size: int) -> Any:
    """Sends ``size`` bytes without announcing how many."""

    async def send() -> Any:
        for _ in range(size // 10):
            yield b"0123456789"

    return send()


def test_the_longest_body_allowed(client: Any) -> None:
    assert client.post("/invocations", content=b"x" * 100).status_code == 200
    assert client.post("/invocations", content=chunks(100)).status_code == 200


@pytest.mark.parametrize(
    ("content", "headers", "closes"),
    [
        (b"x" * 101, {}, False),
        (chunks(110), {}, False),
        (b"x" * 401, {}, True),
        (chunks(500), {}, True),
        (b"x" * 101, {"expect": "100-continue"}, True),
    ],
    ids=["announced", "chunked", "announced, far too long", "chunked, far too long", "expect"],
)
def test_longer_bodies_are_413(
    client: Any, stub: Stub, content: Any, headers: dict[str, str], closes: bool
) -> None:
    answer = client.post("/invocations", content=content, headers=headers)
    assert answer.status_code == 413
    assert answer.json() == {
        "error_code": "PAYLOAD_TOO_LARGE",
        "message": "The body is longer than 100 bytes.",
    }
    assert (answer.headers.get("connection") == "close") == closes
    assert not stub.seen
    assert samples(client)["model_prediction_errors_total", "payload_too_large"] == 1


@pytest.mark.parametrize(
    ("content_type", "few", "many"),
    [
        ("application/json", b"[1,2,3,4,5,6,7]", b"[1,2,3,4,5,6,7,8,9]"),
        ("application/json", b"[[[[[[[[ ]]]]]]]]", b"[[[[[[[[[ ]]]]]]]]]"),
        ("application/json", b"[{},{},{}]".ljust(20), b"[{},{},{},{}, {}]"),
        ("text/csv", b"a,b\n1,2\n3,4\n5,6", b"a,b\n1,2\n3,4\n5,6\n7,8"),
    ],
)
def test_more_values_than_allowed_are_413(
    client_of: Callable[[Any], Any], stub: Stub, content_type: str, few: bytes, many: bytes
) -> None:
    server = ModelServer(replace(SETTINGS, max_values=8), stub)
    server.started = True
    client = client_of(server.app)
    headers = {"content-type": content_type}
    assert client.post("/invocations", content=few, headers=headers).status_code == 200
    answer = client.post("/invocations", content=many, headers=headers)
    assert answer.status_code == 413
    assert answer.json()["message"] == "The body has more than 8 values."
    assert stub.seen == [few]


def test_a_prediction_too_slow_is_504(client: Any) -> None:
    answer = client.post("/invocations", content=b"slow")
    assert answer.status_code == 504
    assert answer.json()["error_code"] == "DEADLINE_EXCEEDED"
    assert samples(client)["model_prediction_errors_total", "timeout"] == 1


def test_a_bug_is_500_without_its_message(client: Any) -> None:
    answer = client.post("/invocations", content=b"bug")
    assert answer.status_code == 500
    body = {"error_code": "INTERNAL_ERROR", "message": "Internal error."}
    assert answer.json() == body | {"request_id": answer.headers["x-request-id"]}


@pytest.mark.parametrize(
    ("given", "kept"),
    [("3f0c-77", True), ("", False), ("a b", False), ("x" * 129, False), ("<script>", False)],
)
def test_a_request_keeps_its_id_or_gets_one(client: Any, given: str, kept: bool) -> None:
    answer = client.post("/invocations", content=b"id", headers={"x-request-id": given})
    request_id = answer.json()["predictions"]
    assert (request_id == given) == kept
    assert 0 < len(request_id) <= 128
    refused = client.post("/invocations", content=b"bad", headers={"x-request-id": given})
    assert (refused.headers["x-request-id"] == given) == kept
    # An id is for what the log has more about.
    assert set(refused.json()) == {"error_code", "message"}


def test_every_series_exists_at_zero(client: Any) -> None:
    found = samples(client)
    names = ("model_predictions_total", "model_active_requests", "model_input_size_bytes_count")
    for name in (*names, "model_prediction_latency_seconds_count"):
        assert found[name, ""] == 0
    for kind in ERROR_TYPES:
        assert found["model_prediction_errors_total", kind] == 0
    assert ("process_resident_memory_bytes", "") in found


def test_metrics_count_each_answer_once(client: Any) -> None:
    for body in (b"x", b"xyz", b"bad", b"bug"):
        client.post("/invocations", content=body)
    client.get("/invocations")
    client.get("/ping")
    found = samples(client)
    assert found["model_predictions_total", ""] == 4
    assert found["model_prediction_latency_seconds_count", ""] == 4
    assert 0 < found["model_prediction_latency_seconds_sum", ""] < 4
    assert found["model_input_size_bytes_sum", ""] == 10
    assert found["model_prediction_errors_total", "invalid_input"] == 1
    assert found["model_prediction_errors_total", "internal"] == 1
    assert found["model_active_requests", ""] == 0
    bounds = [
        float(label) for name, label in found if name == "model_prediction_latency_seconds_bucket"
    ]
    assert (min(bounds), sorted(bounds)[-2]) == (0.001, 10.0)


def test_a_version_of_metrics_that_is_none(client: Any) -> None:
    answer = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=x"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_length_of_thousands_of_digits(client: Any) -> None:
    headers = {"content-length": "0" * 5000 + "1"}
    assert client.post("/invocations", content=b"x", headers=headers).status_code == 200


def test_bodies_together_are_bounded(server: ModelServer, client: Any, stub: Stub) -> None:
    """Five bodies of the longest kind at a time: four times its length is held, not more."""
    threading.Timer(0.7, stub.gate.set).start()
    body = b"wait"
    server.held_bytes = 4 * SETTINGS.max_request_bytes - 2 * len(body)
    answers = client.requests([("POST", "/invocations", {"content": body})] * 5)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503]
    assert server.held_bytes == 4 * SETTINGS.max_request_bytes - 2 * len(body)


def test_open_metrics_where_it_is_asked_for(client: Any) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = client.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert client.get("/metrics").headers["content-type"].startswith("text/plain")


def test_predictions_do_not_hold_up_health(server: ModelServer, client: Any, stub: Stub) -> None:
    """Four predictions hang; health and metrics answer all the same."""

    def release() -> None:
        for _ in range(4):
            assert stub.waiting.acquire(timeout=5)
        # In a loop of its own: the client's is busy with the four.
        seen["active"] = server.metrics.active._value.get()
        seen["live"] = asyncio.run(_status(server, "/health/live"))
        stub.gate.set()

    seen: dict[str, float] = {}
    helper = threading.Thread(target=release)
    helper.start()
    answers = client.requests(
        [("POST", "/invocations", {"content": b"wait"})] * 4 + [("GET", "/health/live", {})]
    )
    helper.join()
    assert [answer.status_code for answer in answers] == [200] * 5
    assert seen == {"active": 4, "live": 200}
    assert samples(client)["model_active_requests", ""] == 0


async def _status(server: ModelServer, path: str) -> int:
    import httpx

    transport = httpx.ASGITransport(server.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return (await client.get(path)).status_code


def test_answers_are_not_mixed_up(client: Any, stub: Stub) -> None:
    bodies = [f"request {number}" for number in range(200)]
    answers = client.requests([("POST", "/invocations", {"content": body}) for body in bodies])
    assert [answer.json()["predictions"] for answer in answers] == bodies
    assert sorted(stub.seen) == sorted(body.encode() for body in bodies)


def test_a_client_that_leaves_is_not_counted(server: ModelServer, client: Any) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/invocations",
        "headers": [],
        "query_string": b"",
    }
    asyncio.run(server.app(scope, receive, send))  # type: ignore[arg-type]
    assert samples(client)["model_predictions_total", ""] == 0
    assert samples(client)["model_active_requests", ""] == 0


def test_limits_are_the_settings(client_of: Callable[[Any], Any], stub: Stub) -> None:
    server = ModelServer(replace(SETTINGS, max_request_bytes=10), stub)
    server.started = True
    assert client_of(server.app).post("/invocations", content=b"x" * 11).status_code == 413
