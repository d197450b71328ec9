"""Attacks on MLflow by its own API: paths that lead out, its own files, foreign hosts."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.e2e import harness
from tests.e2e.harness import PORTS, Walk


def mlflow(
    method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Send a request to MLflow whose path goes out as it is, byte for byte."""
    connection = http.client.HTTPConnection("127.0.0.1", PORTS["mlflow"], timeout=30)
    given = dict(headers or {})
    try:
        connection.putrequest(method, path, skip_host="host" in given, skip_accept_encoding=True)
        for name, value in {**given, "content-length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def call(path: str, **body: Any) -> tuple[int, Any]:
    """One call of MLflow's REST API."""
    text = json.dumps(body).encode()
    status, answer = mlflow("POST", f"/api/2.0/mlflow/{path}", text, harness.JSON_TYPE)
    return status, json.loads(answer) if answer.startswith("{") else answer


@pytest.fixture(scope="module")
def run(walk: Walk) -> Iterator[tuple[str, str]]:
    """An experiment and a run in it, with one artifact; deleted at the end."""
    _, made = call("experiments/create", name=f"attacks {uuid.uuid4()}")
    experiment = made["experiment_id"]
    _, made = call("runs/create", experiment_id=experiment, start_time=1)
    name = made["run"]["info"]["run_id"]
    where = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{name}/artifacts/note.txt"
    assert mlflow("PUT", where, b"a note")[0] == 200
    assert mlflow("GET", where) == (200, "a note")
    yield experiment, name
    mlflow("DELETE", where)
    call("experiments/delete", experiment_id=experiment)


TRAVERSALS = [
    "../../../../../../etc/passwd",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%252e%252e%252f%252e%252e%252f%252e%252e%252fetc%252fpasswd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "file:///etc/passwd",
    "x/../../../../../../proc/self/environ",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_mlflow_refuses_paths_that_lead_out(run: tuple[str, str], path: str) -> None:
    """By every endpoint that takes a path, to read, list, write and delete."""
    _, name = run
    where = f"/get-artifact?run_uuid={name}&path="
    assert mlflow("GET", f"{where}note.txt") == (200, "a note")
    asked = [
        ("GET", where + path),
        ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={name}&path={path}"),
    ]
    asked += [("GET", f"/api/2.0/mlflow/artifacts/list?run_id={name}&path={path}")]
    for api in ("/api", "/ajax-api"):
        artifacts = f"{api}/2.0/mlflow-artifacts"
        asked += [(method, f"{artifacts}/artifacts/{path}") for method in ("GET", "PUT", "DELETE")]
        asked += [("GET", f"{artifacts}/artifacts?path={path}")]
        asked += [("POST", f"{artifacts}/mpu/create/{path}")]
    for method, target in asked:
        status, text = mlflow(method, target, b"" if method in ("GET", "DELETE") else b"x")
        # 308: to the same path without doubled slashes, which lies within the artifacts.
        assert status in (308, 400, 404, 405), f"{method} {target}: {status} {text[:200]}"
        assert "root:" not in text and "AWS_" not in text


@pytest.mark.parametrize("location", ["file:///etc", "/proc/self", "file:///", "/data"])
def test_mlflow_hands_out_none_of_its_own_files(run: tuple[str, str], location: str) -> None:
    """MLflow takes an experiment whose artifacts lie in the server's own files; it must not give
    out what lies there. Nor does a model's version come from there.
    """
    status, made = call(
        "experiments/create", name=f"attacks {uuid.uuid4()}", artifact_location=location
    )
    assert status in (200, 400)
    try:
        if status == 200:
            number = made["experiment_id"]
            _, inner = call("runs/create", experiment_id=number, start_time=1)
            name = inner["run"]["info"]["run_id"]
            for path in ("passwd", "environ", "mlflow.db", "etc/passwd", *TRAVERSALS):
                status, text = mlflow("GET", f"/get-artifact?run_uuid={name}&path={path}")
                assert status in (400, 404), f"{path}: {status} {text[:200]}"
            listed = mlflow("GET", f"/api/2.0/mlflow/artifacts/list?run_id={name}")[1]
            assert "files" not in json.loads(listed), listed
        status, refused = call("model-versions/create", name="churn", source=location)
        assert status == 400 and "Invalid model version source" in refused["message"]
    finally:
        if isinstance(made, dict) and "experiment_id" in made:
            call("experiments/delete", experiment_id=made["experiment_id"])


def test_mlflow_answers_no_foreign_host(run: tuple[str, str]) -> None:
    """A page whose name is rebound to MLflow's address gets nothing, nor does one that posts."""
    search = "/api/2.0/mlflow/experiments/search"
    own = f"127.0.0.1:{PORTS['mlflow']}"
    asked = json.dumps({"max_results": 1}).encode()
    assert mlflow("POST", search, asked, harness.JSON_TYPE | {"host": own})[0] == 200
    for host in ("evil.example", f"evil.example:{PORTS['mlflow']}", "127.0.0.1.evil.example", ""):
        status, text = mlflow("POST", search, asked, harness.JSON_TYPE | {"host": host})
        assert status in (400, 403) and "experiments" not in text, (host, status, text)
    evil = harness.JSON_TYPE | {"host": own, "origin": "http://evil.example"}
    assert mlflow("POST", search, asked, evil)[0] == 403
