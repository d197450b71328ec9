"""From `up` to real predictions behind a canary route."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.e2e import harness
from tests.e2e.harness import CHURN, GATEWAY, MLFLOW, PROMETHEUS, Walk, raw, send, until

ROWS = 200


def test_up_prints_the_table(walk: Walk) -> None:
    """`up` ends in who answered how many requests, and where to go next."""
    rows = re.findall(
        r"^ +(\d+) +(\d+) +(\d+\.\d)% +(\d+) +(\d+\.\d) ms +(\d+\.\d) ms$", walk.up.out, re.M
    )
    assert [row[0] for row in rows] == ["1", "2"], harness.tail(walk.up.out, 20)
    assert sum(int(row[1]) for row in rows) == 300
    assert sum(float(row[2]) for row in rows) == pytest.approx(100, abs=0.2)
    assert {row[3] for row in rows} == {"0"}
    for _, _, _, _, p50, p95 in rows:
        assert 0 < float(p50) <= float(p95)
    assert f"300 predictions through {CHURN}" in walk.up.out
    for name, url in (("gateway", GATEWAY), ("mlflow", MLFLOW), ("prometheus", PROMETHEUS)):
        assert re.search(rf"^ +{name} +{re.escape(url)}$", walk.up.out, re.M)


def test_readme_request(walk: Walk) -> None:
    """The example body gets a prediction a row, and says who made it."""
    status, headers, text = raw(
        "POST", "/models/churn/invocations", harness.BODY, harness.JSON_TYPE
    )
    assert status == 200, text
    assert headers["x-model-name"] == "churn"
    assert headers["x-model-version"] in ("1", "2")
    rows = len(json.loads(harness.BODY)["dataframe_split"]["data"])
    predictions = json.loads(text)["predictions"]
    assert len(predictions) == rows
    assert set(predictions) <= {0, 1}


def test_the_other_doors(walk: Walk) -> None:
    """Health and version are reached through the gateway, MLflow and Prometheus on their own."""
    for path in ("ping", "health", "health/live", "health/ready", "health/startup"):
        assert raw("GET", f"/models/churn/{path}")[0] == 200, path
    assert raw("GET", "/models/churn/version")[2] == "3.17.2"
    with harness.http_client() as client:
        assert client.get(f"{MLFLOW}/health").text == "OK"
        assert client.get(f"{PROMETHEUS}/-/ready").status_code == 200


# Predictions


def customers() -> pd.DataFrame:
    """Rows like those of the demo, and rows at and beyond the edges of them."""
    rng = np.random.default_rng(20_261_121)
    count = ROWS - 10
    usual = pd.DataFrame(
        {
            "age": rng.integers(18, 91, count),
            "tenure_months": rng.integers(0, 121, count),
            "plan": rng.choice(["basic", "plus", "pro"], count),
            "contract": rng.choice(["monthly", "yearly"], count),
            "payment": rng.choice(["card", "transfer", "invoice"], count),
            "monthly_charge": rng.uniform(5, 130, count),
            "monthly_gigabytes": rng.lognormal(3, 0.8, count),
            "support_calls": rng.poisson(1.2, count),
            "late_payments": rng.poisson(0.8, count),
            "satisfaction": rng.uniform(1, 5, count),
        }
    )
    ordinary = [40, 24, "basic", "monthly", "card", 20.0, 20.0, 1, 0, 3.5]
    edges = [list(ordinary) for _ in range(10)]
    for row, (column, value) in enumerate(
        [
            (0, 0),
            (0, -(2**63)),
            (0, 2**63 - 1),
            (2, "no such plan"),
            (3, ""),
            (4, 'quoted "cärd" \\ \u2028 💳'),
            (5, 3e37),
            (6, 5e-324),
            (7, 10**9),
            (9, -0.0),
        ]
    ):
        edges[row][column] = value
    return pd.concat([usual, pd.DataFrame(edges, columns=usual.columns)], ignore_index=True).astype(
        {"age": "int64", "tenure_months": "int64"}
    )


@pytest.fixture(scope="module")
def loaded(walk: Walk) -> Iterator[dict[str, list[Any]]]:
    """What each version, loaded in this process from the stack's MLflow, predicts for the rows."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.setenv("NO_PROXY", "127.0.0.1")
        for name, value in walk.environment.items():
            if name.startswith("MLFLOW_"):
                patch.setenv(name, value)
        assert os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] == "false"
        import mlflow

        mlflow.set_tracking_uri(MLFLOW)
        yield {
            version: mlflow.pyfunc.load_model(f"models:/churn/{version}")
            .predict(customers())
            .tolist()
            for version in ("1", "2")
        }


def test_the_models_tell_customers_apart(loaded: dict[str, list[Any]]) -> None:
    """The next test could not fail if all predictions were alike."""
    for predictions in loaded.values():
        assert len(predictions) == ROWS
        assert set(predictions) == {0, 1}
    assert loaded["1"] != loaded["2"]


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records", "csv"])
def test_served_predictions_are_the_models(
    loaded: dict[str, list[Any]], version: str, form: str
) -> None:
    """The gateway's predictions are those of the model loaded in process, row by row."""
    rows = customers()
    content = {"content-type": "text/csv" if form == "csv" else "application/json"}
    if form == "csv":
        # An empty cell of a CSV is a missing value, which the model was not asked about above.
        keep = [row for row in range(ROWS) if rows["contract"][row]]
        body = rows.loc[keep].to_csv(index=False).encode()
    else:
        keep = list(range(ROWS))
        table: Any = rows.to_dict(orient="records")
        if form == "dataframe_split":
            table = {"columns": list(rows.columns), "data": rows.to_numpy().tolist()}
        body = json.dumps({form: table}).encode()
    canary = {"x-canary": "true"} if version == "2" else {}
    with harness.http_client() as client:
        for _ in range(100):
            answer = client.post(CHURN, content=body, headers=content | canary)
            assert answer.status_code == 200, answer.text
            if answer.headers["x-model-version"] == version:
                break
    assert answer.headers["x-model-version"] == version
    assert answer.json() == {"predictions": [loaded[version][row] for row in keep]}


def test_one_row_at_a_time(loaded: dict[str, list[Any]]) -> None:
    """A row's prediction does not depend on the rows that it comes with."""
    split = customers().to_dict(orient="split")
    with harness.http_client() as client:
        for row in [*range(0, ROWS - 10, 10), *range(ROWS - 10, ROWS)]:
            table = {"columns": split["columns"], "data": [split["data"][row]]}
            answer = client.post(
                CHURN,
                content=json.dumps({"dataframe_split": table}),
                headers=harness.JSON_TYPE,
            )
            assert answer.status_code == 200, answer.text
            version = answer.headers["x-model-version"]
            assert answer.json() == {"predictions": [loaded[version][row]]}, (row, version)


# Routes


def test_header_always_reaches_the_canary(walk: Walk) -> None:
    """`x-canary: true` is not a matter of weight."""
    assert walk.weight() not in (None, 100)
    assert send(100, headers={"x-canary": "true"}) == {"2": 100}


def test_another_header_value_is_split(walk: Walk) -> None:
    """Only `true` names the canary: stable answers most of what says something else."""
    answered = send(100, headers={"x-canary": "false"})
    assert answered["1"] > answered["2"], answered


@pytest.mark.parametrize("headers", [{}, {"x-canary": "true"}], ids=["any", "canary"])
@pytest.mark.parametrize(
    "path",
    [
        "/models/churn/metrics",
        "/models/churn/metrics/",
        "/models/churn/metrics?name=x",
        "/models/churn//metrics",
        "//models/churn/metrics",
        "/models//churn///metrics",
        "/models/churn/./metrics",
        "/models/churn/%2e/metrics",
        "/models/churn/ping/../metrics",
        "/models/churn/ping/%2e%2e/metrics",
        "/models/churn/%6detrics",
        "/models/churn/%6Detrics",
        "/models/churn/metri%63s",
        "/models/churn/%256detrics",
        "/models/churn%2fmetrics",
        "/models/churn/%2fmetrics",
        "/models/churn/%5cmetrics",
        "/models/churn/metrics;a=b",
        "/models/churn/METRICS",
        "/metrics",
    ],
)
def test_metrics_stay_inside(walk: Walk, path: str, headers: dict[str, str]) -> None:
    """However the path is written, the gateway hands out no metrics."""
    status, _, text = raw("GET", path, headers=headers)
    assert "model_predictions_total" not in text
    assert status == 404, text


def test_no_such_model(walk: Walk) -> None:
    """Only what the stack serves is reached, under its whole name."""
    for path in ("/models/nope/invocations", "/models/churn2/invocations", "/invocations", "/"):
        assert raw("POST", path, harness.BODY, harness.JSON_TYPE)[0] == 404, path


GOOD = json.loads(harness.BODY)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code", "word"),
    [
        (b"{", "application/json", 400, "BAD_REQUEST", "JSON"),
        (b"", "application/json", 400, "BAD_REQUEST", "JSON"),
        (b'{"rows": []}', "application/json", 400, "BAD_REQUEST", "dataframe_split"),
        (
            json.dumps({**GOOD, "instances": []}).encode(),
            "application/json",
            400,
            "BAD_REQUEST",
            "exactly one",
        ),
        (
            json.dumps({"dataframe_split": {"columns": ["age"], "data": [[40]]}}).encode(),
            "application/json",
            400,
            "INVALID_PARAMETER_VALUE",
            "missing",
        ),
        (b"<row/>", "text/xml", 415, "", "text/csv"),
    ],
    ids=["broken", "empty", "no table", "two tables", "columns missing", "xml"],
)
def test_bad_input_gets_a_clear_error(
    walk: Walk, body: bytes, content_type: str, status: int, code: str, word: str
) -> None:
    """The runtime's own error comes through the gateway, with its author, and without a trace."""
    got, headers, text = raw(
        "POST", "/models/churn/invocations", body, {"content-type": content_type}
    )
    assert got == status, text
    error = json.loads(text)
    assert set(error) == {"error_code", "message"}
    assert not code or error["error_code"] == code
    assert word in error["message"]
    assert "Traceback" not in text
    assert headers["x-model-name"] == "churn"
    assert headers["x-model-version"] in ("1", "2")


# Monitoring


def predictions_total() -> dict[tuple[str, str, str], float]:
    """model_predictions_total by model, version and pod, of pods that are gone too."""
    with harness.http_client() as client:
        answer = client.get(
            f"{PROMETHEUS}/api/v1/query",
            params={"query": "last_over_time(model_predictions_total[15m])"},
        )
    answer.raise_for_status()
    return {
        (
            series["metric"]["model_name"],
            series["metric"]["model_version"],
            series["metric"]["pod"],
        ): float(series["value"][1])
        for series in answer.json()["data"]["result"]
    }


def totals() -> dict[tuple[str, str], float]:
    """The same, by model and version."""
    found: dict[tuple[str, str], float] = {}
    for (model, version, _), value in predictions_total().items():
        found[model, version] = found.get((model, version), 0) + value
    return found


def test_prometheus_counts_what_was_sent(walk: Walk) -> None:
    """Prometheus sees every pod of both versions, and its counts grow by what was sent."""
    wanted = {*walk.pods(1), *walk.pods(2)}
    until(
        "every pod in Prometheus",
        lambda: wanted <= {pod for _, _, pod in predictions_total()},
    )
    assert set(totals()) == {("churn", "1"), ("churn", "2")}
    time.sleep(6)  # a scrape interval, so that what went before is counted
    start = totals()
    sent = send(60) + send(40, headers={"x-canary": "true"})
    assert sent["1"] > 0 and sent["2"] >= 40
    wants = {("churn", version): start["churn", version] + sent[version] for version in "12"}
    until("the counts in Prometheus", lambda: totals() == wants, seconds=20)


def test_prometheus_reads_no_stranger(walk: Walk) -> None:
    """All targets are up: itself, what watches the cluster, the model servers' pods, the
    gateway's and MLflow's.
    """

    def active() -> list[dict[str, Any]]:
        with harness.http_client() as client:
            answer = client.get(f"{PROMETHEUS}/api/v1/targets", params={"state": "active"})
        targets: list[dict[str, Any]] = answer.json()["data"]["activeTargets"]
        return targets

    # A pod that the autoscaler has just added is unknown until its first scrape.
    until(
        "every target up", lambda: {target["health"] for target in active()} == {"up"}, seconds=30
    )
    targets = active()
    assert {target["labels"].get("namespace", "") for target in targets} == {
        "",
        "models",
        "istio-ingress",
        "mlflow",
    }


# Again


def test_second_up_changes_nothing(walk: Walk) -> None:
    """With nothing edited, all the commands find nothing to do."""

    def identities() -> set[tuple[str, str, str]]:
        return {
            (kind, item["metadata"]["name"], item["metadata"]["uid"])
            for kind in ("pods", "virtualservices", "deployments", "services")
            for item in walk.objects(kind, "models", "app.kubernetes.io/managed-by=pulumi")
        }

    was = identities()
    configured = walk.stack_file.read_text()
    again = walk.local("up")
    walk.note(f"up again, nothing edited: {again.seconds:.1f} s")
    assert not re.search(r"\b(created|updated|replaced|deleted)\b", again.out), again.out
    assert re.search(r"^ +\d+ unchanged$", again.out, re.M)
    assert walk.stack_file.read_text() == configured
    preview = walk.pulumi("preview", "--expect-no-changes")
    up = walk.deploy("--expect-no-changes")
    walk.note(f"preview, nothing edited: {preview.seconds:.1f} s; pulumi up: {up.seconds:.1f} s")
    assert {entry for entry in was if entry[0] != "pods"} <= identities()
