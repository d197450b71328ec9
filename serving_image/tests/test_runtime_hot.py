"""The short cut for plain requests, over real sockets: what it takes, what it leaves, the same."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

from .inference_protocol.stock_client import check_with_stock_client
from .serving import JSON, Running, serving

NAMES = ["a", "b", "c"]
ROW = [0.25, -1.5, 3.0]
COMPILED = 'model_compiled_predictions_total{model_name="churn",model_version="7"}'
ALL = 'model_predictions_total{model_name="churn",model_version="7"}'


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A saved forest, and the model itself."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(200, 3)), columns=NAMES)
    model = RandomForestRegressor(20, random_state=0).fit(table, table["a"] * table["b"])
    path = tmp_path_factory.mktemp("forest") / "model"
    mlflow.sklearn.save_model(
        model,
        str(path),
        signature=mlflow.models.infer_signature(table, model.predict(table)),
        input_example=table.head(2),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )
    return path, model


@pytest.fixture(scope="module")
def server(forest: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose compiled model was proved, with two workers."""
    log = tmp_path_factory.mktemp("log") / "log"
    with serving(forest[0], log, WORKERS="2", MAX_REQUEST_BYTES="300000") as running:
        running.wait_until("/health/ready", 200)
        running.wait_for(
            lambda: (
                sum(
                    line["event"].startswith("the compiled model answers")
                    for line in running.events()
                )
                == 2
            ),
            "not proved",
        )
        yield running


def compiled(server: Running) -> float:
    """Returns how many predictions the compiled model made; they are counted a bit later."""
    time.sleep(0.2)
    return server.samples()[COMPILED]


def expected(model: Any, rows: list[list[float]]) -> bytes:
    prediction = model.predict(pd.DataFrame(rows, columns=NAMES)).tolist()
    return json.dumps({"predictions": prediction}).encode()


def table(rows: list[list[Any]]) -> bytes:
    return json.dumps({"dataframe_split": {"columns": NAMES, "data": rows}}).encode()


def http(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def plain(body: bytes) -> bytes:
    length = f"content-length: {len(body)}"
    return http("/invocations", body, "content-type: application/json", length)


class Wire:
    """A connection on which bytes are sent as they are given."""

    def __init__(self, server: Running) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self.file = self.socket.makefile("rb")

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self.file.readline().split()[1])
        headers: dict[str, str] = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(":")
            assert name.lower() not in headers, name
            headers[name.lower()] = value.strip()
        return status, headers, self.file.read(int(headers["content-length"]))


@pytest.fixture
def connection(server: Running) -> Iterator[Wire]:
    found = Wire(server)
    yield found
    found.file.close()
    found.socket.close()


def test_a_plain_request_is_answered_by_the_compiled_model(
    server: Running, forest: tuple[Path, Any]
) -> None:
    time.sleep(0.2)
    before = server.samples()
    status, headers, content = server.invoke(table([ROW]))
    assert (status, content) == (200, expected(forest[1], [ROW]))
    assert headers["content-type"] == "application/json"
    assert (headers["x-model-name"], headers["x-model-version"]) == ("churn", "7")
    assert "date" in headers
    time.sleep(0.2)
    after = server.samples()
    assert (after[COMPILED] - before[COMPILED], after[ALL] - before[ALL]) == (1, 1)


def test_the_answer_is_the_same_either_way(server: Running, forest: tuple[Path, Any]) -> None:
    rows = [[*ROW[:2], at / 7] for at in range(40)]
    records = [dict(zip(NAMES, row, strict=True)) for row in rows]
    bodies: list[tuple[bytes, bool]] = [
        (table(rows), True),
        (json.dumps({"dataframe_records": records}).encode(), True),
        (json.dumps({"dataframe_split": {"columns": NAMES, "data": rows}, "x": 1}).encode(), False),
        (table([[str(value) for value in row] for row in rows]), False),
    ]
    for body, plainly in bodies:
        before = compiled(server)
        status, _, content = server.invoke(body)
        assert (status, content) == (200, expected(forest[1], rows))
        assert (compiled(server) > before) == plainly


def test_requests_on_one_connection(connection: Wire, forest: tuple[Path, Any]) -> None:
    """Plain, left to MLflow, wrong and other requests, in turn."""
    slow = json.dumps({"dataframe_split": {"columns": NAMES, "data": [ROW]}, "x": 1}).encode()
    for _ in range(3):
        for body in (table([ROW]), slow):
            connection.send(plain(body))
            assert connection.answer()[::2] == (200, expected(forest[1], [ROW]))
        connection.send(plain(b"{"))
        assert connection.answer()[0] == 400
        connection.send(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.answer()[::2] == (200, b"\n")


def test_pipelined_requests_are_answered_in_order(
    connection: Wire, forest: tuple[Path, Any]
) -> None:
    rows = [[float(at), 0.5, -0.5] for at in range(12)]
    slow = [
        json.dumps({"dataframe_split": {"columns": NAMES, "data": [row]}, "x": 1}).encode()
        for row in rows
    ]
    bodies = [slow[at] if at % 3 == 1 else table([row]) for at, row in enumerate(rows)]
    connection.send(b"".join(plain(body) for body in bodies))
    for row in rows:
        assert connection.answer()[::2] == (200, expected(forest[1], [row]))


def test_requests_of_many_connections_at_once(server: Running, forest: tuple[Path, Any]) -> None:
    """They are predicted together, and each gets its own answer; some leave before."""
    wires = [Wire(server) for _ in range(40)]
    rows = [[float(at), 0.25 * at, -1.0] for at in range(40)]
    for turn in range(20):
        for at, wire in enumerate(wires):
            wire.send(plain(table([rows[at], rows[(at + turn) % 40]][: 1 + (at % 2)])))
        for at, wire in enumerate(wires):
            asked = [rows[at], rows[(at + turn) % 40]][: 1 + (at % 2)]
            if turn in (0, 19):
                assert wire.answer()[::2] == (200, expected(forest[1], asked))
            else:
                assert wire.answer()[0] == 200
    for at, wire in enumerate(wires):
        wire.send(plain(table([rows[at]])))
        if at % 3 == 0:
            wire.file.close()
            wire.socket.close()
    for at, wire in enumerate(wires):
        if at % 3:
            assert wire.answer()[::2] == (200, expected(forest[1], [rows[at]]))
            wire.file.close()
            wire.socket.close()
    assert server.get("/health/ready")[0] == 200


def test_a_request_in_pieces(connection: Wire, forest: tuple[Path, Any]) -> None:
    request = plain(table([ROW]))
    for at in range(0, len(request), 7):
        connection.send(request[at : at + 7])
        time.sleep(0.001)
    assert connection.answer()[::2] == (200, expected(forest[1], [ROW]))


def test_a_body_that_does_not_come(forest: tuple[Path, Any], tmp_path: Path) -> None:
    """It has a deadline, and what is received of it is not cut off when the server stops."""
    with serving(forest[0], tmp_path / "log", REQUEST_SECONDS="2") as server:
        server.wait_for_event("the compiled model answers as MLflow does")
        half = Wire(server)
        request = plain(table([ROW]))
        half.send(request[:-5])
        status, _, content = half.answer()
        assert (status, json.loads(content)["error_code"]) == (504, "DEADLINE_EXCEEDED")
        late = Wire(server)
        late.send(request[:-5])
        time.sleep(0.1)
        server.process.terminate()
        time.sleep(0.5)
        late.send(request[-5:])
        assert late.answer()[::2] == (200, expected(forest[1], [ROW]))
        assert server.process.wait(20) == 0


def test_a_body_without_a_length(connection: Wire, forest: tuple[Path, Any]) -> None:
    body = table([ROW])
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    header = "transfer-encoding: chunked"
    connection.send(http("/invocations", chunk, "content-type: application/json", header))
    assert connection.answer()[::2] == (200, expected(forest[1], [ROW]))


def test_a_client_that_waits_for_100_continue(connection: Wire, forest: tuple[Path, Any]) -> None:
    body = table([ROW])
    headers = [f"content-length: {len(body)}", "expect: 100-continue"]
    connection.send(http("/invocations", b"", "content-type: application/json", *headers))
    assert connection.file.readline().startswith(b"HTTP/1.1 100")
    assert connection.file.readline() == b"\r\n"
    connection.send(body)
    assert connection.answer()[::2] == (200, expected(forest[1], [ROW]))


@pytest.mark.parametrize("last", ["connection: close", "HTTP/1.0"])
def test_the_last_request_of_a_connection(
    connection: Wire, forest: tuple[Path, Any], last: str
) -> None:
    request = plain(table([ROW]))
    if last == "HTTP/1.0":
        request = request.replace(b"HTTP/1.1", b"HTTP/1.0")
    else:
        request = request.replace(b"host: x", b"host: x\r\nconnection: close")
    connection.send(request)
    assert connection.answer()[::2] == (200, expected(forest[1], [ROW]))
    assert connection.file.read() == b""


def test_many_rows_are_worked_on_off_the_event_loop(
    server: Running, forest: tuple[Path, Any]
) -> None:
    rows = np.random.default_rng(1).normal(size=(3000, 3)).tolist()
    before = compiled(server)
    status, _, content = server.invoke(table(rows))
    assert (status, content) == (200, expected(forest[1], rows))
    # Too large for the short cut, and still the compiled model's.
    assert compiled(server) == before + 1


@pytest.mark.parametrize(
    ("method", "path", "content_type", "status"),
    [
        ("POST", "/invocations", "text/plain", 415),
        ("POST", "/invocations", "application/json; charset=latin-1", 415),
        ("POST", "/invocations", None, 415),
        ("PUT", "/invocations", "application/json", 405),
        ("POST", "/invocation", "application/json", 404),
        ("POST", "/v2/models/other/infer", "application/json", 404),
        ("POST", "/v2/models/churn/versions/8/infer", "application/json", 404),
    ],
)
def test_what_is_no_prediction_request(
    server: Running, method: str, path: str, content_type: str | None, status: int
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    answer = server.ask(method, path, table([ROW]), headers)
    assert answer[0] == status


def test_a_body_too_long(server: Running) -> None:
    assert server.invoke(b" " * 300_001)[0] == 413


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400(server: Running, connection: Wire, garbage: bytes) -> None:
    connection.send(garbage)
    assert connection.file.readline().split()[1:2] in ([b"400"], [b"505"])
    assert server.get("/health/live")[0] == 200


def test_metrics_are_those_of_all_workers(server: Running) -> None:
    time.sleep(0.2)
    before = server.samples()
    for at in range(40):
        # Each on a connection of its own, so both workers get some.
        assert server.invoke(table([[float(at), 0.0, 0.0]]))[0] == 200
    seen = {compiled(server) for _ in range(10)}
    assert seen == {before[COMPILED] + 40}
    after = server.samples()
    name = 'model_prediction_latency_seconds_count{model_name="churn",model_version="7"}'
    assert after[name] - before[name] == 40
    assert after['model_compiled{engine="trees",model_name="churn",model_version="7"}'] == 1
    assert after['model_compiled{engine="linear",model_name="churn",model_version="7"}'] == 0
    assert after['model_active_requests{model_name="churn",model_version="7"}'] == 0
    text = server.get("/metrics")[2].decode()
    assert "# HELP model_predictions_total Prediction requests answered" in text
    assert "Multiprocess metric" not in text
    assert after["process_resident_memory_bytes"] > 100e6


def test_the_stock_client_of_the_inference_protocol(server: Running) -> None:
    before = compiled(server)
    check_with_stock_client(f"127.0.0.1:{server.port}", "churn", "7")
    assert compiled(server) > before


def test_inference_in_json(server: Running, forest: tuple[Path, Any]) -> None:
    inputs = [
        {"name": name, "shape": [2], "datatype": "FP64", "data": [value, 0.0]}
        for name, value in zip(NAMES, ROW, strict=True)
    ]
    for path in ("/v2/models/churn/infer", "/v2/models/churn/versions/7/infer"):
        status, headers, content = server.ask(
            "POST", path, json.dumps({"id": "5", "inputs": inputs}).encode(), JSON
        )
        assert (status, headers["content-type"]) == (200, "application/json")
        answer = json.loads(content)
        assert (answer["id"], answer["model_name"], answer["model_version"]) == ("5", "churn", "7")
        rows = pd.DataFrame([ROW, [0.0] * 3], columns=NAMES)
        assert answer["outputs"][0]["data"] == forest[1].predict(rows).tolist()
    status, _, content = server.ask("POST", path, b'{"inputs": []}', JSON)
    assert status == 400
    assert set(json.loads(content)) == {"error"}
