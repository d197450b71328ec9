"""Traces on the real cluster, under load: the gateway's spans and the servers' are of one trace, a
collector that is gone harms nobody, and clients keep their version while they are traced.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.e2e.harness import BODY, CHURN, JSON_TYPE, Load, Walk, http_client, run, until

NAMESPACE = "observability"
SERVER, CLIENT = 2, 3

# Envoy sends in chunks.
RECEIVER = """
import http.server, json
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
def plain(attributes):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def body(self):
        if "content-length" in self.headers:
            return self.rfile.read(int(self.headers["content-length"]))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found
    def do_POST(self):
        request = ExportTraceServiceRequest.FromString(self.body())
        found = ""
        for group in request.resource_spans:
            resource = plain(group.resource.attributes)
            for scope in group.scope_spans:
                for span in scope.spans:
                    found += json.dumps({
                        "path": self.path,
                        "service": resource["service.name"],
                        "pod": resource.get("k8s.pod.name", ""),
                        "name": span.name,
                        "kind": span.kind,
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                    }) + "\\n"
        # In one piece: another request's may come at the same time.
        with open("/tmp/spans", "ab", buffering=0) as file:
            file.write(found.encode())
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 4318), Handler).serve_forever()
"""


@dataclass(frozen=True)
class Span:
    """A span as the collector got it; see RECEIVER."""

    path: str
    service: str
    pod: str
    name: str
    kind: int
    trace: str
    id: str
    parent: str


@pytest.fixture(scope="module", autouse=True)
def collector(walk: Walk) -> Iterator[None]:
    """A pod in a namespace of its own that keeps the spans it is sent; and the stack as it was."""
    image = json.loads(walk.pulumi("stack", "output", "--json").out)["serving_image"]
    labels = {"app": "collector"}
    metadata = {"name": "collector", "namespace": NAMESPACE, "labels": labels}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "collector",
                    "image": image,
                    "command": ["python", "-u", "-c", RECEIVER],
                    "readinessProbe": {"tcpSocket": {"port": 4318}, "periodSeconds": 1},
                }
            ],
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": labels, "ports": [{"port": 4318}]},
    }
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [home, pod, service]})
    words = ["kubectl", "--context", "slipway", "apply", "-f", "-"]
    run(words, walk.environment, stdin=text)
    walk.kubectl("wait", "-n", NAMESPACE, "pod/collector", "--for=condition=Ready", "--timeout=60s")
    before = walk.stack_file.read_text()
    yield
    walk.stack_file.write_text(before)
    walk.deploy()
    walk.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")


def configure(walk: Walk, tracing: dict[str, Any] | None) -> None:
    """Write the section into the stack file; half of the requests go to the canary, and clients
    stay with their version.
    """
    content = yaml.safe_load(walk.stack_file.read_text())
    config = content["config"]
    config.pop("slipway:tracing", None)
    if tracing:
        config["slipway:tracing"] = tracing
        churn = config["slipway:models"]["churn"]
        churn["canary"] = {"version": 2, "weight": 50}
        churn["sticky"] = {"cookie": "side"}
    walk.stack_file.write_text(yaml.safe_dump(content, sort_keys=False))


def spans(walk: Walk) -> list[Span]:
    """What the collector has."""
    words = ["exec", "-n", NAMESPACE, "collector", "--", "sh", "-c", "cat /tmp/spans || true"]
    lines = walk.kubectl(*words).out.splitlines(keepends=True)
    # The last one may be half written.
    return [Span(**json.loads(line)) for line in lines if line.endswith("\n")]


def test_the_servers_go_on_with_the_gateways_traces(walk: Walk) -> None:
    """Switched on under load: nobody notices, and each version's spans hang on the gateway's."""
    configure(walk, {"endpoint": f"http://collector.{NAMESPACE}.svc:4318", "sample": 100})
    began = time.monotonic()

    def found() -> dict[str, tuple[Span, list[Span]]]:
        """A span of each server, with all spans of its trace; of traces that are all there."""
        everything = spans(walk)
        whole = {}
        for span in everything:
            if span.kind == SERVER and span.service.startswith("churn-"):
                trace = [each for each in everything if each.trace == span.trace]
                if any(each.id == span.parent for each in trace):
                    whole[span.service] = (span, trace)
        return whole

    with Load() as load:
        walk.deploy()
        # istiod hears of its configuration within a minute or two.
        until("traces through both servers", lambda: len(found()) == 2, 180, 3)
    load.assert_no_failure()
    walk.note(
        f"traces: {time.monotonic() - began:.0f} s from configuration to spans; "
        f"{len(load.answers)} requests meanwhile, none failed"
    )
    for version in (1, 2):
        span, trace = found()[f"churn-v{version}"]
        assert span.name == "POST /invocations"
        assert span.pod in walk.pods(version)
        (parent,) = [each for each in trace if each.id == span.parent]
        assert parent.service.startswith("istio-ingress"), parent
        assert parent.kind == CLIENT
        steps = {each.name for each in trace if each.parent == span.id}
        assert "predict" in steps or "model process" in steps, trace
    assert {span.path for span in spans(walk)} == {"/v1/traces"}


def test_clients_keep_their_version_while_all_are_traced(walk: Walk) -> None:
    """The cookie of the first answer leads to the same version; the ids are not written into."""
    versions = set()
    with http_client() as client:
        for _ in range(30):
            client.cookies.clear()
            answers = [client.post(CHURN, content=BODY, headers=JSON_TYPE) for _ in range(4)]
            seen = {answer.headers["x-model-version"] for answer in answers}
            assert len(seen) == 1, seen
            versions |= seen
            # Version 4 of a UUID says so at this place, where Envoy would put a 9 for a trace.
            assert client.cookies["side"][14] == "4"
    assert versions == {"1", "2"}


def test_a_request_cannot_be_forced_to_be_traced(walk: Walk) -> None:
    """With a sample of 0.01 percent, neither by the caller's own trace nor by Envoy's header."""
    content = yaml.safe_load(walk.stack_file.read_text())
    content["config"]["slipway:tracing"]["sample"] = 0.01
    walk.stack_file.write_text(yaml.safe_dump(content, sort_keys=False))
    walk.deploy()
    trace = "ab" * 16
    forcing = {"traceparent": f"00-{trace}-{'cd' * 8}-01", "x-client-trace-id": "mine"}

    def quiet() -> bool:
        before = len(spans(walk))
        with Load(per_second=40) as load:
            time.sleep(3)
        load.assert_no_failure()
        # What the gateway has, it sends every five seconds.
        time.sleep(6)
        return len(spans(walk)) - before < 20

    until("fewer spans", quiet, 120)
    # One of a later version, which Envoy does not know and hands on as it is.
    later = {"traceparent": f"01-{trace}-{'cd' * 8}-01-more"}
    with http_client() as client:
        for number in range(100):
            headers = JSON_TYPE | (later if number % 2 else forcing)
            assert client.post(CHURN, content=BODY, headers=headers).status_code == 200
    time.sleep(7)
    assert len([span for span in spans(walk) if span.trace == trace]) < 10
    configure(walk, {"endpoint": f"http://collector.{NAMESPACE}.svc:4318", "sample": 100})
    walk.deploy()


def test_a_collector_that_is_gone_harms_nobody(walk: Walk) -> None:
    """First its pod, then its Service and all."""
    times: dict[str, float] = {}
    with Load() as load:
        for what in ("", "pod/collector", f"namespace/{NAMESPACE}"):
            if what:
                words = ["delete", what, "--wait=true"]
                walk.kubectl(*words, *(["-n", NAMESPACE] if what.startswith("pod") else []))
            since = time.monotonic()
            time.sleep(10)
            taken = [answer.seconds for answer in load.answers if answer.at >= since]
            times[what or "there"] = statistics.median(taken)
    load.assert_no_failure()
    walk.note("traces: p50 with the collector " + ", without ".join(
        f"{what}: {seconds * 1000:.1f} ms" for what, seconds in times.items()
    ))  # fmt: skip
    # Who waited for a collector would wait a second to connect, or five for its answer.
    assert max(times.values()) < 0.5, times


def test_switched_off_it_is_as_before(walk: Walk) -> None:
    """Under load too; no pod and no object of Istio's knows of traces any more."""
    configure(walk, None)
    with Load() as load:
        walk.deploy()
    load.assert_no_failure()
    # Where the scaler has added one, the update ends before the last of the old pods goes.
    for version in (1, 2):
        until(
            "no pod that traces",
            lambda: "OTEL" not in json.dumps(list(walk.servers(version).values())),  # noqa: B023
        )
    assert not walk.objects("telemetries.telemetry.istio.io", "istio-ingress")
    shown = walk.kubectl("get", "configmap", "istio", "-n", "istio-system", "-o", "yaml").out
    assert "slipway-otlp" not in shown
    walk.pulumi("preview", "--expect-no-changes")
