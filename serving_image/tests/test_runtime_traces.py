"""Traces: the spans that real servers send to a real collector, by OTLP over HTTP."""

import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from slipway_runtime.settings import ServerSettings, SettingsError
from slipway_runtime.trace_context import Parent, parent_in, sampled_parent

from .collector import Collector, Span
from .serving import JSON, Running, serving

# A pyfunc without MLflow's class: what its folder holds is all there is to load.
TOUCHY = """
import logging

class Touchy:
    def predict(self, data, params=None):
        if data.iloc[0, 0] < 0:
            logging.getLogger("touchy").warning("that is too little")
            raise ValueError("too little")
        return [1.0] * len(data)

def _load_pyfunc(path):
    return Touchy()
"""
NAMES = ["a", "b"]
SERVER, INTERNAL = 2, 1
UNSET, ERROR = 0, 2
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
INFER = "/v2/models/churn/infer"


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved regression of two columns, which is compiled."""
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=NAMES)
    model = LinearRegression().fit(table, table["a"] - table["b"])
    path = tmp_path_factory.mktemp("linear") / "model"
    mlflow.sklearn.save_model(
        model,
        str(path),
        signature=mlflow.models.infer_signature(table, model.predict(table)),
        input_example=table.head(1),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )
    return path


@pytest.fixture(scope="module")
def touchy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that fails on what is less than 0; it is not compiled."""
    path = tmp_path_factory.mktemp("touchy") / "model"
    (path / "code").mkdir(parents=True)
    (path / "code" / "touchy_model.py").write_text(TOUCHY)
    (path / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: touchy_model\n    code: code\n"
        f"    python_version: {platform.python_version()}\n"
    )
    return path


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector().running() as running:
        yield running


@pytest.fixture(scope="module")
def server(
    linear: Path, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A server of the compiled model that is proved, and sends its spans to the collector."""
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_SERVICE_NAME": "churn-v7",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=churn-v7-abc",
        "MAX_REQUEST_BYTES": "300000",
    }
    log = tmp_path_factory.mktemp("log") / "log"
    with serving(linear, log, **QUICK, **told) as running:
        running.wait_for_event("the compiled model answers as MLflow does")
        running.wait_until("/health/ready", 200)
        # The worker is told a moment later.
        time.sleep(0.3)
        yield running


def caller(sampled: bool = True) -> tuple[dict[str, str], str, str]:
    """Returns the headers of a caller with a trace, the trace's id and its span's id."""
    trace_id, span_id = f"{random.getrandbits(128) | 1:032x}", f"{random.getrandbits(64) | 1:016x}"
    return {"traceparent": f"00-{trace_id}-{span_id}-0{int(sampled)}"}, trace_id, span_id


def table(*rows: list[Any], **more: Any) -> bytes:
    return json.dumps({"dataframe_split": {"columns": NAMES, "data": rows}} | more).encode()


def received(collector: Collector, server: Running, trace_id: str) -> dict[str, Span]:
    """Returns a trace's spans by name, as soon as the server's is there."""

    def there() -> bool:
        return any(span.kind == SERVER for span in collector.of(trace_id))

    server.wait_for(there, "no span of the server", 20)
    spans = {span.name: span for span in collector.of(trace_id)}
    assert len(spans) == len(collector.of(trace_id))
    return spans


def check_tree(spans: dict[str, Span], tree: dict[str, str]) -> None:
    """Checks who is whose child (child: parent), and that no child is outside of its parent."""
    assert {name: span.kind for name, span in spans.items() if name in tree} == dict.fromkeys(
        tree, INTERNAL
    )
    for child, parent in tree.items():
        inner, outer = spans[child], spans[parent]
        assert inner.parent_id == outer.span_id, child
        assert outer.start <= inner.start <= inner.end <= outer.end, (child, parent)


def test_a_plain_request(server: Running, collector: Collector) -> None:
    headers, trace_id, parent = caller()
    before = time.time_ns()
    status, _, _ = server.invoke(table([1.0, 2.0], [3.0, 4.0]), **headers)
    after = time.time_ns()
    assert status == 200
    spans = received(collector, server, trace_id)
    assert set(spans) == {"POST /invocations", "parse", "predict"}
    span = spans["POST /invocations"]
    assert span.parent_id == parent
    assert (span.kind, span.status) == (SERVER, UNSET)
    assert before <= span.start <= span.end
    assert span.start <= after
    check_tree(spans, dict.fromkeys(("parse", "predict"), "POST /invocations"))
    assert spans["parse"].end <= spans["predict"].start
    assert span.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/invocations",
        "http.route": "/invocations",
        "http.response.status_code": 200,
        "slipway.model.name": "churn",
        "slipway.model.version": "7",
        "slipway.rows": 2,
        "slipway.compiled": True,
        "slipway.batch.requests": 1,
    }
    assert span.resource["service.name"] == "churn-v7"
    assert span.resource["k8s.pod.name"] == "churn-v7-abc"
    assert set(collector.paths) == {"/v1/traces"}


def test_what_mlflow_answers(server: Running, collector: Collector) -> None:
    """Through the model's process, whose steps are spans below the wait for it."""
    headers, trace_id, _ = caller()
    status, _, _ = server.invoke(table([1, 2], [3, 4], [5, 6], more=1), **headers)
    assert status == 200
    spans = received(collector, server, trace_id)
    steps = dict.fromkeys(("parse", "predict", "serialise"), "model process")
    assert set(spans) == {"POST /invocations", "model process", *steps}
    check_tree(spans, {"model process": "POST /invocations"} | steps)
    attributes = spans["POST /invocations"].attributes
    assert (attributes["slipway.rows"], attributes["slipway.compiled"]) == (3, False)


def test_a_request_with_a_large_body(server: Running, collector: Collector) -> None:
    """One that the compiled model answers off the event loop."""
    headers, trace_id, _ = caller()
    rows = [[1.25, 2.5]] * 8000
    assert server.invoke(table(*rows), **headers)[0] == 200
    spans = received(collector, server, trace_id)
    assert set(spans) == {"POST /invocations", "parse", "predict"}
    check_tree(spans, dict.fromkeys(("parse", "predict"), "POST /invocations"))
    attributes = spans["POST /invocations"].attributes
    assert (attributes["slipway.rows"], attributes["slipway.compiled"]) == (8000, True)


def test_the_inference_protocol(server: Running, collector: Collector) -> None:
    """Compiled and not; the path of one version too; and a question about the model."""
    tensors = [
        {"name": name, "shape": [2], "datatype": "FP64", "data": [1.0, 2.0]} for name in NAMES
    ]
    body = json.dumps({"inputs": tensors}).encode()
    headers, trace_id, _ = caller()
    path = "/v2/models/churn/versions/7/infer"
    assert server.ask("POST", path, body, JSON | headers)[0] == 200
    name = "POST /v2/models/{name}/versions/{version}/infer"
    spans = received(collector, server, trace_id)
    assert set(spans) == {name, "predict"}
    check_tree(spans, {"predict": name})
    assert spans[name].attributes["slipway.rows"] == 2
    assert spans[name].attributes["url.path"] == path

    headers, trace_id, _ = caller()
    asked = json.dumps({"inputs": tensors, "parameters": {"more": 1}}).encode()
    assert server.ask("POST", INFER, asked, JSON | headers)[0] == 200
    spans = received(collector, server, trace_id)
    assert "POST /v2/models/{name}/infer" in spans
    assert {"model process", "parse", "predict", "serialise"} <= set(spans)

    headers, trace_id, _ = caller()
    assert server.ask("GET", "/v2/models/churn", b"", headers)[0] == 200
    assert set(received(collector, server, trace_id)) == {"GET /v2/models/{name}"}


def test_errors(server: Running, collector: Collector) -> None:
    """A client's error is none of the server's; an unknown path is no name of a span."""
    headers, trace_id, _ = caller()
    assert server.invoke(b"{", **headers)[0] == 400
    span = received(collector, server, trace_id)["POST /invocations"]
    assert span.status == UNSET
    assert span.attributes["error.type"] == "invalid_input"
    assert span.attributes["http.response.status_code"] == 400

    headers, trace_id, _ = caller()
    assert server.ask("POST", "/v2/models/nobody/infer", b"{}", headers)[0] == 404
    (span,) = received(collector, server, trace_id).values()
    assert (span.name, span.status) == ("POST", UNSET)
    assert "http.route" not in span.attributes


def test_what_is_not_sampled_leaves_nothing(server: Running, collector: Collector) -> None:
    """No header, one that says no, and ones that say nothing; probes and metrics either way."""
    _, unsampled_trace, _ = caller()
    headers, trace_id, _ = caller(sampled=False)
    broken = [f"00-{'0' * 32}-{'1' * 16}-01", "01", "", f"zz-{'1' * 32}-{'1' * 16}-01", "é" * 55]
    seen = len({span.trace_id for span in collector.spans})
    for given_headers in ({}, headers, *({"traceparent": each} for each in broken)):
        assert server.invoke(table([1.0, 2.0]), **given_headers)[0] == 200
        assert server.invoke(table([1, 2], more=1), **given_headers)[0] == 200
    for path in ("/health/ready", "/metrics", "/ping"):
        probed, _, _ = caller()
        assert server.ask("GET", path, b"", probed)[0] == 200
    last, last_trace, _ = caller()
    assert server.invoke(table([1.0, 2.0]), **last)[0] == 200
    received(collector, server, last_trace)
    assert len({span.trace_id for span in collector.spans}) == seen + 1
    assert not collector.of(trace_id)
    assert not collector.of(unsampled_trace)


def test_answers_are_the_same_bytes(server: Running) -> None:
    """Sampled or not, by the compiled model and by MLflow."""
    for body in (table([1.5, 2.0]), table([1.5, 2.0], more=1)):
        headers, _, _ = caller()
        assert server.invoke(body, **headers)[2] == server.invoke(body)[2]


def test_a_failure_is_an_error_and_the_log_knows_its_trace(
    touchy: Path, collector: Collector, tmp_path: Path
) -> None:
    """The lines of the worker, of the model's process and of the model itself."""
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    with serving(touchy, tmp_path / "log", **QUICK, **told) as running:
        running.wait_until("/health/ready", 200)
        headers, trace_id, _ = caller()
        body = json.dumps({"dataframe_split": {"data": [[-1]]}}).encode()
        status, _, _ = running.invoke(body, **headers)
        assert status == 400
        span = received(collector, running, trace_id)["POST /invocations"]
        lines = [line for line in running.events() if line.get("trace_id") == trace_id]
        assert {"that is too little", "prediction failed"} <= {line["event"] for line in lines}
        assert {line["span_id"] for line in lines} == {span.span_id}
        assert span.attributes["error.type"] == "model_error"
        assert (span.attributes["http.response.status_code"], span.status) == (status, UNSET)
        # Without the variable, the service is called after the model and its version.
        assert span.resource["service.name"] == "churn-7"
        # The next request of the same process is not of that trace.
        count = len(lines)
        running.invoke(body)
        time.sleep(0.5)
        lines = [line for line in running.events() if line.get("trace_id") == trace_id]
        assert len(lines) == count
        # MLflow has an exporter of its own for the same variable.
        (model,) = running.children()["model_process"]
        environment = Path(f"/proc/{model}/environ").read_bytes().split(b"\0")
        assert b"MLFLOW_ENABLE_OTLP_EXPORTER=false" in environment


@pytest.mark.parametrize("state", ["away", "stalled"])
def test_a_collector_that_takes_nothing(linear: Path, tmp_path: Path, state: str) -> None:
    """Answers are as quick, what is kept is bounded and sent later, and the log says it once."""
    most = 64
    collector = Collector()
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_MAX_QUEUE_SIZE": str(most)}
    told |= {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with serving(linear, tmp_path / "log", **QUICK, **told) as running:
        running.wait_for_event("the compiled model answers as MLflow does")
        running.wait_until("/health/ready", 200)
        if state == "stalled":
            collector.stalled.set()
            with collector.running():
                _ask_often(running)
        else:
            _ask_often(running)
        running.wait_for_event("spans were not delivered")
        assert sum(line["event"] == "spans were not delivered" for line in running.events()) == 1
        assert not collector.spans
        collector.stalled.clear()
        with collector.running():
            headers, trace_id, _ = caller()
            assert running.invoke(table([1.0, 2.0]), **headers)[0] == 200
            received(collector, running, trace_id)
            # Those that were kept, and a batch that was tried all the while.
            assert len(collector.spans) <= most + 16 + 3
        assert running.stop() == 0


def _ask_often(running: Running) -> None:
    """Sends sampled and other requests in turn; the sampled ones may not be much slower."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    for number in range(400):
        sampled = number % 2 == 0
        headers, _, _ = caller(sampled)
        started = time.perf_counter()
        assert running.invoke(table([1.0, 2.0]), **headers)[0] == 200
        taken[sampled].append(time.perf_counter() - started)
    # 10 ms: far more than spans cost, far less than any wait for a collector.
    assert np.median(taken[True]) < np.median(taken[False]) + 0.01
    assert np.quantile(taken[True], 0.95) < 0.5


def test_what_is_left_is_sent_at_the_end(
    linear: Path, collector: Collector, tmp_path: Path
) -> None:
    """Long before it would be time to."""
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    with serving(linear, tmp_path / "log", **told) as running:
        running.wait_until("/health/ready", 200)
        headers, trace_id, _ = caller()
        assert running.invoke(table([1.0, 2.0]), **headers)[0] == 200
        time.sleep(0.5)
        assert not collector.of(trace_id)
        assert running.stop() == 0
    assert "POST /invocations" in {span.name for span in collector.of(trace_id)}


def test_a_collector_that_stalls_does_not_hold_up_the_end(linear: Path, tmp_path: Path) -> None:
    """What is left is lost, and the server ends within seconds."""
    collector = Collector()
    collector.stalled.set()
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
    with collector.running(), serving(linear, tmp_path / "log", **QUICK, **told) as running:
        running.wait_until("/health/ready", 200)
        headers, _, _ = caller()
        assert running.invoke(table([1.0, 2.0]), **headers)[0] == 200
        time.sleep(0.5)
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < 8


def test_off_imports_nothing_and_changes_nothing(tmp_path: Path) -> None:
    """What serves without an endpoint: no module of OpenTelemetry, the application itself, and the
    protocol that knows nothing of traces.
    """
    code = """
import sys
from slipway_runtime import worker
from slipway_runtime.app import ModelServer
from slipway_runtime.hot import HotProtocol
from slipway_runtime.settings import ServerSettings
settings = ServerSettings.from_env({"MODEL_NAME": "churn"})
server = ModelServer(settings, None)
app, protocol, tracer = worker._entrance(settings, server)
assert app is server.app and tracer is None
assert protocol.__mro__[1] is HotProtocol
own = ("opentelemetry", "slipway_runtime.tracing", "slipway_runtime.hot_traced")
assert not [name for name in sys.modules if name.startswith(own)]
print("nothing")
"""
    image = Path(__file__).resolve().parents[1]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(image)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "nothing\n", done.stderr


def test_settings() -> None:
    required = {"MODEL_NAME": "churn"}
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    assert not ServerSettings.from_env(required).traced
    assert ServerSettings.from_env(required | endpoint).traced
    assert not ServerSettings.from_env(required | endpoint | {"OTEL_SDK_DISABLED": "true"}).traced
    for bad in ("collector:4318", "grpc://collector", "http://user:secret@collector", "http://"):
        with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_ENDPOINT: is not a URL"):
            ServerSettings.from_env(required | {"OTEL_EXPORTER_OTLP_ENDPOINT": bad})


def test_variables_that_contradict_each_other(linear: Path, tmp_path: Path) -> None:
    """One line says so, and the server ends."""
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_MAX_QUEUE_SIZE": "8"}
    with serving(linear, tmp_path / "log", **told) as running:
        assert running.process.wait(60) == 1
        (line,) = [line for line in running.events() if line["level"] == "error"]
        assert line["event"].startswith("OTEL_BSP_* and OTEL_EXPORTER_OTLP_*: ")


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_traceparent(trace_id: int, span_id: int, flags: int) -> None:
    """Every valid one is understood; one that is longer, which Envoy does not know, is none."""
    text = f"{trace_id:032x}-{span_id:016x}-{flags:02x}".encode()
    expected = Parent(trace_id, span_id) if flags & 1 else None
    assert sampled_parent(b"00-" + text) == expected
    assert sampled_parent(b"01-" + text) == expected
    assert sampled_parent(b"01-" + text + b"-more") is None
    assert sampled_parent(b"00-" + text + b"-more") is None
    assert sampled_parent(b"ff-" + text) is None
    assert parent_in([(b"host", b"x"), (b"traceparent", b"00-" + text)]) == expected


@given(st.binary(max_size=80))
def test_what_is_no_traceparent(text: bytes) -> None:
    """Anything at all is read without a fault; what is understood has both ids."""
    found = sampled_parent(text)
    assert found is None or (found.trace_id and found.span_id)
