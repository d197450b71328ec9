"""Drift, through real servers over HTTP: what is counted on every way, and what never is."""

import json
import math
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from slipway_runtime import drift_profile, fetch, modelfile
from slipway_runtime.tracking import TrackingServer
from slipway_runtime.training_profile import PROFILE_KEY, make_profile

from .serving import JSON, Running, serving

NAMES = ["a", "b", "c"]
FLOOR = 1e-4
SAMPLE = re.compile(r'(\w+)\{bin="(\d+)",feature="([^"]+)",model_name="churn",model_version="7"\}')
PATHS = ("plain", "native", "inference", "inference native")


def training_data(rows: int = 4000, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    table = pd.DataFrame(random.normal(size=(rows, 3)), columns=NAMES)
    table["b"] = random.exponential(size=rows).round(1)
    return table


def save(folder: Path, profile: object) -> tuple[Path, Any]:
    """Saves a classifier of three numbers, and returns it and where."""
    table = training_data()
    model = LogisticRegression().fit(table, (table["a"] + table["b"] > 1).astype(int))
    mlflow.sklearn.save_model(
        model,
        str(folder / "model"),
        signature=mlflow.models.infer_signature(table, model.predict(table)),
        input_example=table.head(2),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
        metadata=None if profile is None else {PROFILE_KEY: profile},
    )
    return folder / "model", model


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    table = training_data()
    _, model = save(tmp_path_factory.mktemp("first"), None)
    return make_profile(table, model.predict(table))


@pytest.fixture(scope="module")
def server(profile: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with two workers and two model processes that looks at every row."""
    path, _ = save(tmp_path_factory.mktemp("model"), profile)
    log = tmp_path_factory.mktemp("log") / "log"
    with serving(path, log, WORKERS="2", MODEL_PROCESSES="2", DRIFT_ROWS="1000") as running:
        running.wait_until("/health/ready", 200)

        def proved() -> bool:
            events = [line["event"] for line in running.events()]
            return events.count("the compiled model answers as MLflow does") == 2

        running.wait_for(proved, "not proved")
        yield running


def drift(server: Running, name: str) -> dict[str, list[float]]:
    """Returns the values of one of drift's metrics, by feature and in the order of the bins."""
    found: dict[str, dict[int, float]] = {}
    for key, value in server.samples().items():
        if (match := SAMPLE.fullmatch(key)) and match[1] == name:
            found.setdefault(match[3], {})[int(match[2])] = value
    return {
        feature: [bins[at] for at in range(len(bins))] for feature, bins in sorted(found.items())
    }


def observed(server: Running) -> dict[str, list[float]]:
    return drift(server, "model_drift_observations_total")


def total(server: Running) -> int:
    """Returns the most observations of a feature."""
    return int(max(map(sum, observed(server).values()), default=0))


def body(rows: pd.DataFrame, way: str) -> tuple[str, bytes]:
    """Returns the path and the body of a request that goes one of `PATHS`."""
    data = rows.to_numpy().tolist()
    if way.startswith("inference"):
        tensors = [
            {"name": name, "shape": [len(rows)], "datatype": "FP64", "data": list(column)}
            for name, column in zip(NAMES, zip(*data, strict=True), strict=True)
        ]
        extra = {} if way == "inference" else {"parameters": {"x": 1}}
        return "/v2/models/churn/infer", json.dumps({"inputs": tensors} | extra).encode()
    request: dict[str, Any] = {"dataframe_split": {"columns": NAMES, "data": data}}
    if way == "native":
        request["more"] = 1
    return "/invocations", json.dumps(request).encode()


def send(server: Running, rows: pd.DataFrame, way: str, size: int = 100) -> list[Any]:
    """Sends rows in requests of so many; returns the predictions once all are counted."""
    before = total(server)
    found: list[Any] = []
    for start in range(0, len(rows), size):
        path, content = body(rows[start : start + size], way)
        status, _, answer = server.ask("POST", path, content, JSON)
        assert status == 200, answer
        parsed = json.loads(answer)
        found += parsed["predictions"] if way in PATHS[:2] else parsed["outputs"][0]["data"]
    server.wait_for(lambda: total(server) == before + len(rows), "not all rows are counted", 10)
    return found


def psi(server: Running, before: dict[str, list[float]]) -> dict[str, float]:
    """Returns the index of each feature of what was counted since, as the recording rule does."""
    expected = drift(server, "model_drift_expected_ratio")
    found = {}
    for feature, counts in observed(server).items():
        gained = [now - then for now, then in zip(counts, before[feature], strict=True)]
        shares = [max(count / sum(gained), FLOOR) for count in gained]
        pairs = zip(shares, (max(share, FLOOR) for share in expected[feature]), strict=True)
        found[feature] = sum((p - q) * math.log(p / q) for p, q in pairs)
    return found


def test_the_series_are_there_before_any_request(server: Running, profile: str) -> None:
    features = json.loads(profile)["features"]
    expected = drift(server, "model_drift_expected_ratio")
    assert set(expected) == {"a", "b", "c", "prediction"}
    assert expected == {name: feature["shares"] for name, feature in features.items()}
    assert set(observed(server)) == set(expected)
    counted = [line for line in server.events() if line["event"] == "drift is counted"]
    assert [line["features"] for line in counted] == [4, 4]


@pytest.mark.parametrize("way", PATHS[:3])
def test_the_index_is_small_until_the_data_shift(server: Running, way: str) -> None:
    before = observed(server)
    same = training_data(900, seed=5)
    send(server, same, way)
    assert max(psi(server, before).values()) < 0.1
    before = observed(server)
    send(server, same.assign(a=same["a"] + 0.8), way)
    found = psi(server, before)
    assert found["a"] > 0.2
    assert found["prediction"] > 0.1
    assert max(found["b"], found["c"]) < 0.1


@pytest.mark.parametrize("way", PATHS)
def test_every_row_is_in_its_bin(server: Running, profile: str, way: str) -> None:
    features = json.loads(profile)["features"]
    rows = training_data(200, seed=3)
    before, compiled = observed(server), server.samples()
    predictions = send(server, rows, way, size=7)
    gained = {
        name: [now - then for now, then in zip(counts, before[name], strict=True)]
        for name, counts in observed(server).items()
    }
    for name, feature in features.items():
        values = predictions if name == "prediction" else rows[name]
        bins = len(feature["shares"])
        at = np.searchsorted(feature["edges"], np.asarray(values), side="left")
        assert gained[name] == np.bincount(at, minlength=bins).tolist(), name
    key = 'model_compiled_predictions_total{model_name="churn",model_version="7"}'
    by_compiled = server.samples()[key] - compiled[key]
    assert (by_compiled > 0) == (way in ("plain", "inference"))


def test_a_request_without_a_prediction_is_not_counted(server: Running) -> None:
    before = observed(server)
    content = {"dataframe_split": {"columns": NAMES, "data": [[0.0, 0.0, 0.0], [None, 0.0, 0.0]]}}
    status, _, _ = server.invoke(content)
    assert status >= 400
    time.sleep(1.2)
    assert observed(server) == before


def test_answers_are_those_of_a_server_without(
    server: Running, profile: str, tmp_path: Path
) -> None:
    path, _ = save(tmp_path, None)
    rows = training_data(300, seed=9)
    with serving(path, tmp_path / "log") as plain:
        plain.wait_for_event("the compiled model answers as MLflow does")
        for way in PATHS[:3]:
            for part in (rows[:1], rows[:40], rows):
                url, content = body(part, way)
                with_it, without = [
                    each.ask("POST", url, content, JSON) for each in (server, plain)
                ]
                assert (with_it[0], with_it[2]) == (200, without[2])
                assert set(with_it[1]) == set(without[1])
        # Without a profile there is no series, and no word of it.
        assert not [name for name in plain.samples() if "drift" in name]
        assert not [line for line in plain.events() if "drift" in line["event"]]


@pytest.mark.parametrize("bad", ["{", "a mapping", "a file"])
def test_a_bad_profile_is_refused_and_the_model_served(
    profile: str, tmp_path: Path, bad: str
) -> None:
    given: object = {"{": "{", "a mapping": json.loads(profile), "a file": profile}[bad]
    path, model = save(tmp_path, given)
    if bad == "a file":
        # It goes before the metadata.
        (path / "slipway_profile.json").write_text('{"slipway_profile": 2}')
    with serving(path, tmp_path / "log") as server:
        server.wait_for_event("ready")
        server.wait_until("/health/ready", 200)
        rows = training_data(10)
        for way in PATHS[:2]:
            url, content = body(rows, way)
            status, _, answer = server.ask("POST", url, content, JSON)
            assert (status, json.loads(answer)["predictions"]) == (
                200,
                model.predict(rows).tolist(),
            )
        assert not [name for name in server.samples() if "drift" in name]
        (refused,) = [line for line in server.events() if "refused" in line["event"]]
        assert refused["level"].lower() == "warning"
        assert refused["reason"]


def test_a_model_that_is_not_compiled_and_processes_that_start_again(
    table_model: Path, tmp_path: Path
) -> None:
    """Of texts and numbers; its profile is in a file, and of a column more than it has."""
    path = tmp_path / "model"
    shutil.copytree(table_model, path)
    inputs = pd.DataFrame({"amount": np.arange(100.0), "count": range(100), "gone": range(100)})
    profile = make_profile(inputs, np.arange(100.0), bins=4)
    (path / "slipway_profile.json").write_text(profile)
    rows = [[0.5, 1, "a"], [60.0, 2, "b"], [1e6, 99, "c"]]
    content = {"dataframe_split": {"columns": ["amount", "count", "kind"], "data": rows}}
    with serving(path, tmp_path / "log") as server:
        server.wait_until("/health/ready", 200)
        assert server.invoke(content)[0] == 200
        server.wait_for(lambda: total(server) == 3, "not counted", 10)
        found = observed(server)
        assert found["amount"] == [1, 0, 1, 1, 0]
        assert found["count"] == [2, 0, 0, 1, 0]
        assert sum(found.pop("prediction")) == 3
        assert set(found) == {"amount", "count"}
        for module, counted in (("worker", 6), ("model_process", 9)):
            (process,) = server.children()[module]
            os.kill(process, signal.SIGKILL)
            server.wait_for(
                lambda m=module, p=process: server.children()[m] not in ([], [p]), "not again"
            )
            server.wait_until("/health/ready", 200)
            assert server.invoke(content)[0] == 200
            server.wait_for(lambda n=counted: total(server) == n, "counts were lost", 10)


def test_few_rows_a_second_are_looked_at(profile: str, tmp_path: Path) -> None:
    path, _ = save(tmp_path, profile)
    with serving(path, tmp_path / "log", DRIFT_ROWS="5") as server:
        server.wait_for_event("the compiled model answers as MLflow does")
        url, content = body(training_data(100), "plain")
        started = time.monotonic()
        while time.monotonic() - started < 2.5:
            assert server.ask("POST", url, content, JSON)[0] == 200
        seconds = time.monotonic() - started
        time.sleep(1.2)
        assert 10 <= total(server) <= 5 * (seconds + 2)


def test_it_is_switched_off(profile: str, tmp_path: Path) -> None:
    path, _ = save(tmp_path, profile)
    with serving(path, tmp_path / "log", DRIFT_ROWS="0") as server:
        server.wait_for_event("the compiled model answers as MLflow does")
        assert not [name for name in server.samples() if "drift" in name]


def test_many_outputs_and_an_unnamed_tensor(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(500, 2))
    targets = np.stack([rows.sum(axis=1), rows[:, 0]], axis=1)
    model = LinearRegression().fit(rows, targets)
    path = tmp_path / "model"
    mlflow.sklearn.save_model(
        model,
        str(path),
        signature=mlflow.models.infer_signature(rows, model.predict(rows)),
        input_example=rows[:2],
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
        metadata={PROFILE_KEY: make_profile(rows, model.predict(rows))},
    )
    with serving(path, tmp_path / "log", DRIFT_ROWS="1000") as server:
        server.wait_until("/health/ready", 200)
        before = observed(server)
        assert set(before) == {"0", "1", "prediction[0]", "prediction[1]"}
        # A table goes by its columns' order there, whatever they are called.
        contents: list[dict[str, Any]] = [
            {"inputs": rows.tolist()},
            {"inputs": rows.tolist(), "more": 1},
            {"dataframe_split": {"data": rows.tolist()}},
            {"dataframe_split": {"columns": ["x", "y"], "data": rows.tolist()}},
        ]
        for number, content in enumerate(contents, 1):
            assert server.invoke(content)[0] == 200
            server.wait_for(lambda n=number: total(server) == 500 * n, "not counted", 10)
            assert max(psi(server, before).values()) < 0.01


@pytest.mark.parametrize("named", [False, True])
def test_no_signature_and_requests_that_name_no_columns_or_others(
    tmp_path: Path, named: bool
) -> None:
    """The model goes by the places alone, so identical data are no drift."""
    rows = np.random.default_rng(0).normal(size=(500, 2))
    model = LinearRegression().fit(rows, rows.sum(axis=1))
    inputs = pd.DataFrame(rows, columns=["a", "b"]) if named else rows
    path = tmp_path / "model"
    mlflow.sklearn.save_model(
        model,
        str(path),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
        metadata={PROFILE_KEY: make_profile(inputs, model.predict(rows))},
    )
    with serving(path, tmp_path / "log", DRIFT_ROWS="1000") as server:
        server.wait_until("/health/ready", 200)
        before = observed(server)
        contents: list[dict[str, Any]] = [
            {"inputs": rows.tolist()},
            {"instances": rows.tolist()},
            {"dataframe_split": {"data": rows.tolist()}},
            {"dataframe_split": {"columns": ["x", "y"], "data": rows.tolist()}},
        ]
        for number, content in enumerate(contents, 1):
            assert server.invoke(content)[0] == 200
            server.wait_for(lambda n=number: total(server) == 500 * n, "not counted", 10)
        assert len(before) == 3
        assert max(psi(server, before).values()) < 0.01


def test_scalars_are_one_row(profile: str, tmp_path: Path) -> None:
    path, _ = save(tmp_path, profile)
    with serving(path, tmp_path / "log", DRIFT_ROWS="1000") as server:
        server.wait_until("/health/ready", 200)
        assert server.invoke({"inputs": {"a": 1.0, "b": 2.0, "c": 3.0}})[0] == 200
        server.wait_for(lambda: total(server) == 1, "not counted", 10)
        assert [sum(bins) for bins in observed(server).values()] == [1, 1, 1, 1]


def test_a_version_is_given_a_profile_when_it_is_registered_already(
    tracking: Any, profile: str, tmp_path: Path
) -> None:
    mlflow.set_tracking_uri(tracking.uri)
    model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            model, name="late", serialization_format="skops", pip_requirements=["scikit-learn"]
        )
    version = mlflow.register_model(logged.model_uri, "late")
    (tmp_path / drift_profile.FILE).write_text(profile)
    mlflow.MlflowClient(tracking.uri).log_model_artifact(
        logged.model_id, str(tmp_path / drift_profile.FILE)
    )
    out = tmp_path / "out"
    fetch.fetch(TrackingServer(tracking.uri, 5), "late", int(version.version), out)
    found = drift_profile.load(out, modelfile.read(out))
    assert found == drift_profile.parse(profile)
