"""Preflight: one line for a cluster that is not there and a version that is not registered."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pulumi
import pytest

import preflight
from settings import Settings, parse

REMEDY = (
    "start the one-machine cluster with `make up`, "
    "or name another: pulumi config set slipway:context <name>"
)


@pytest.fixture
def mlflow() -> Iterator[str]:
    """An MLflow that knows versions 1 and 2 of churn."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            url = urlsplit(self.path)
            churn = parse_qs(url.query)["filter"] == ["name='churn'"]
            body = {"model_versions": [{"version": "1"}, {"version": "2"}]} if churn else {}
            self.send_response(200 if url.path == "/api/2.0/mlflow/model-versions/search" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Something that listens, and a kubeconfig whose context `here` leads to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = f"http://127.0.0.1:{listener.getsockname()[1]}"
        kubeconfig(tmp_path, monkeypatch, server)
        yield server


def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    path = tmp_path / "kubeconfig"
    contexts = [{"name": "here", "context": {"cluster": "c", "user": "u"}}]
    path.write_text(
        json.dumps(
            {"contexts": contexts, "clusters": [{"name": "c", "cluster": {"server": server}}]}
        )
    )
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'absent'}:{path}")


@pytest.fixture
def charts(tmp_path: Path) -> str:
    for chart in preflight.CHARTS:
        (tmp_path / "charts" / chart).mkdir(parents=True)
        (tmp_path / "charts" / chart / "Chart.yaml").touch()
    return str(tmp_path / "charts")


def stack(charts: str, **keys: Any) -> Settings:
    return parse({"context": "here", "registry": "r", "istio": {"charts": charts}, **keys})


def test_all_is_well_and_quick(api_server: str, mlflow: str, charts: str) -> None:
    models = {f"m{n}": {"stable": 1} for n in range(5)} | {
        "churn": {"stable": 1, "canary": {"version": 2}}
    }
    trained = {f"m{n}": (1,) for n in range(5)}
    started = time.monotonic()
    preflight.check(stack(charts, models=models, mlflow={"url": mlflow}), trained)
    assert time.monotonic() - started < 1


def test_versions_that_are_not_registered(api_server: str, mlflow: str, charts: str) -> None:
    models = {"churn": {"stable": 1, "canary": {"version": 99}}, "fraud": {"stable": 7}}
    with pytest.raises(pulumi.RunError) as caught:
        preflight.check(stack(charts, models=models, mlflow={"url": mlflow}), {})
    assert str(caught.value).splitlines() == [
        "slipway:models.churn.canary.version: 99 is not a registered version of churn "
        "(registered: 1, 2); "
        "register it in MLflow first, or name one that is",
        "slipway:models.fraud.stable: 7 is not a registered version of fraud (registered: none); "
        "register it in MLflow first, or name one that is",
    ]


def test_versions_of_every_role_are_asked_for(api_server: str, mlflow: str, charts: str) -> None:
    roles = {"stable": 2, "previous": 1, "shadow": {"version": 9}, "canary": {"version": 8}}
    with pytest.raises(pulumi.RunError) as caught:
        preflight.check(stack(charts, models={"churn": roles}, mlflow={"url": mlflow}), {})
    assert [line.partition(" is not")[0] for line in str(caught.value).splitlines()] == [
        "slipway:models.churn.canary.version: 8",
        "slipway:models.churn.shadow.version: 9",
    ]
    roles = {"stable": 2, "previous": 7}
    with pytest.raises(pulumi.RunError, match="slipway:models.churn.previous: 7 is not a reg"):
        preflight.check(stack(charts, models={"churn": roles}, mlflow={"url": mlflow}), {})


def test_versions_that_this_update_trains_need_not_be_there_yet() -> None:
    def empty(_: str) -> dict[str, Any]:
        return {}

    assert preflight.version_faults("churn", {"stable": 1, "canary": 2}, (1, 2), empty) == []
    assert len(preflight.version_faults("churn", {"stable": 1, "canary": 3}, (1, 2), empty)) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", None])
def test_an_mlflow_that_does_not_answer_is_no_fault(
    api_server: str, charts: str, url: str | None
) -> None:
    preflight.check(stack(charts, models={"churn": {"stable": 9}}, mlflow={"url": url}), {})


@pytest.mark.parametrize(
    "answer",
    [{"model_versions": [{}]}, {"model_versions": None}, {"model_versions": [{"version": "x"}]}],
)
def test_an_answer_that_makes_no_sense_is_no_fault(answer: dict[str, Any]) -> None:
    assert preflight.version_faults("churn", {"stable": 1}, (), lambda _: answer) == []


def test_a_context_that_is_not_there(api_server: str) -> None:
    assert preflight.cluster_faults("prod") == [
        f'slipway:context: "prod" is no context of the kubeconfig (there: here); {REMEDY}'
    ]


def test_no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    (fault,) = preflight.cluster_faults("here")
    assert (
        fault
        == f"slipway:context: no kubeconfig can be read (there is no {tmp_path / 'none'}); {REMEDY}"
    )


def test_a_kubeconfig_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad").write_text("- [")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "bad"))
    (fault,) = preflight.cluster_faults("here")
    assert (
        fault.startswith("slipway:context: no kubeconfig can be read (while parsing")
        and "\n" not in fault
    )


def test_an_api_server_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig(tmp_path, monkeypatch, "https://127.0.0.1:1")
    assert preflight.cluster_faults("here") == [
        'slipway:context: the API server of "here" at https://127.0.0.1:1 '
        "does not answer (Connection refused); " + REMEDY
    ]


def test_an_api_server_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # it accepts, and never speaks TLS
        kubeconfig(tmp_path, monkeypatch, f"https://127.0.0.1:{listener.getsockname()[1]}")
        (fault,) = preflight.cluster_faults("here", timeout=0.2)
    assert "does not answer (" in fault and "timed out" in fault


def test_charts_that_are_not_there(tmp_path: Path, charts: str) -> None:
    assert preflight.chart_faults("istio.charts", charts, preflight.CHARTS) == []
    (fault,) = preflight.chart_faults("istio.charts", str(tmp_path), preflight.CHARTS)
    assert fault.startswith(f'slipway:istio.charts: "{tmp_path}" has no chart base; `make up` puts')


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "Bearer t"),
        (
            {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "a:b"},
            "Basic YWRhOmE6Yg==",
        ),
        ({"MLFLOW_TRACKING_USERNAME": "ada"}, None),
    ],
)
def test_it_signs_in_to_mlflow_and_to_nobody_else(
    env: dict[str, str], wanted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    seen: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("authorization")))
            self.send_response(302 if self.path == "/asked" else 200)
            self.send_header("location", f"http://localhost:{server.server_port}/elsewhere")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert preflight._get(f"http://127.0.0.1:{server.server_port}/asked") == {}
    finally:
        server.shutdown()
        server.server_close()
    assert seen == [("/asked", wanted), ("/elsewhere", None)]


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({}, ["bucketAccessKey", "bucketSecretKey"]),
        ({"grafana": {"enabled": True}}, ["bucketAccessKey", "bucketSecretKey", "grafanaPassword"]),
        (
            {"mlflow": {"database": {"host": "db.test", "sslmode": "require"}}},
            ["bucketAccessKey", "bucketSecretKey", "mlflowDatabasePassword"],
        ),
    ],
)
def test_all_secrets_that_lack_are_named_before_anything_is_made(
    api_server: str, charts: str, keys: dict[str, Any], wanted: list[str]
) -> None:
    def read(key: str) -> object:
        raise pulumi.RunError(f"slipway:{key}: is not set")

    with pytest.raises(pulumi.RunError) as caught:
        preflight.check(stack(charts, **keys), {}, {}, {}, read)
    assert str(caught.value).splitlines() == [f"slipway:{key}: is not set" for key in wanted]
    preflight.check(stack(charts, **keys), {}, {}, {}, lambda _: "there")


def test_the_program_has_its_secrets_looked_at() -> None:
    text = (Path(__file__).parents[2] / "__main__.py").read_text()
    assert re.search(r"^preflight\.check\(.*, secret\)$", text, re.M)
