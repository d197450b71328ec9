"""Traces: what the configuration takes, and what the gateway and the servers are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.manifests import istio, model_server, tracing
from settings import SettingsError, parse
from settings.model import Resources
from settings.platform import Istio
from settings.scaling import Scaling
from settings.tracing import Collector, Tracing

BASE = {"context": "c", "registry": "r", "models": {"churn": {"stable": 1}}}
INSIDE = Collector.of("http://collector.observability.svc:4318")
OUTSIDE = Collector.of("https://otlp.example.com")
NOT_A_URL = (
    "is not a URL such as http://collector.observability.svc:4318: a host by its full name, "
    "no user, no path"
)


def faults(**keys: Any) -> list[str]:
    """What is said of these keys of `tracing`."""
    with pytest.raises(SettingsError) as caught:
        parse(BASE | {"tracing": keys})
    return [line.removeprefix("slipway:tracing.") for line in caught.value.faults]


def server(collector: Collector | None) -> model_server.Server:
    return model_server.Server("churn", 2, Resources(), Scaling(), collector=collector)


def env(collector: Collector | None) -> dict[str, Any]:
    """The environment of the server's container."""
    (container,) = model_server.pod(server(collector), "image", "http://mlflow")["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def test_off_by_default() -> None:
    found = parse(BASE).tracing
    assert found == Tracing() == parse(BASE | {"tracing": {}}).tracing
    assert found.collector is None


@pytest.mark.parametrize(
    "endpoint",
    [
        "collector.observability.svc:4318",
        "grpc://collector.observability.svc:4317",
        "http://collector:4318",
        "http://localhost",
        "http://10.0.0.1:4318",
        "http://user:secret@collector.example:4318",
        "http://collector.example:4318/v1/traces",
        "http://collector.example:4318?key=1",
        "http://collector.example:0",
        "http://collector.example:70000",
        "http://-.example",
        "http://collector.example\n",
        "",
        4318,
        True,
    ],
)
def test_an_endpoint_is_a_url_of_a_host(endpoint: object) -> None:
    shown = json.dumps(endpoint).replace("user:secret@", "***@").replace("?key=1", "?***")
    assert faults(endpoint=endpoint) == [f"endpoint: {shown} {NOT_A_URL}"]


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("https://a.b.svc:4318", "is inside the cluster, where no public authority"),
        ("http://collector.observability:4318", "is a Service by half its name; write <service>."),
    ],
)
def test_an_endpoint_that_could_not_work(endpoint: str, why: str) -> None:
    (line,) = faults(endpoint=endpoint)
    assert line.startswith(f'endpoint: "{endpoint}" {why}')


@pytest.mark.parametrize("sample", [0, 0.001, 100.1, -1, "1", True, None, float("nan")])
def test_a_sample_is_a_percentage(sample: object) -> None:
    (line,) = faults(endpoint=INSIDE.endpoint, sample=sample)
    assert line.startswith("sample: ")
    assert line.endswith(" is not a percentage from 0.01 to 100")


def test_a_sample_of_nothing() -> None:
    assert faults(sample=5) == ["sample: 5.0 needs an endpoint beside it"]
    (line,) = faults(endpoints="http://collector.example")
    assert line.startswith("endpoints: is not a known key; did you mean endpoint?")


@pytest.mark.parametrize(
    ("endpoint", "host", "port", "tls", "namespace"),
    [
        ("http://a.b.svc:4318", "a.b.svc.cluster.local", 4318, False, "b"),
        ("http://a.b.svc.cluster.local:1/", "a.b.svc.cluster.local", 1, False, "b"),
        ("https://otlp.example.com", "otlp.example.com", 443, True, None),
        ("http://otlp.example.com", "otlp.example.com", 80, False, None),
        ("https://a.b.svc.example.com:4318", "a.b.svc.example.com", 4318, True, None),
    ],
)
def test_a_collector_in_its_parts(
    endpoint: str, host: str, port: int, tls: bool, namespace: str | None
) -> None:
    collector = parse(BASE | {"tracing": {"endpoint": endpoint}}).tracing.collector
    assert collector is not None
    assert collector.endpoint == endpoint.rstrip("/")
    assert (collector.host, collector.port) == (host, port)
    assert (collector.tls, collector.namespace) == (tls, namespace)


def test_off_nothing_is_told_of_traces() -> None:
    assert "extensionProviders" not in istio.istiod_values(Istio())["meshConfig"]
    assert not [name for name in env(None) if name.startswith(("OTEL", "POD_NAME"))]
    off, on = (istio.istiod_values(Istio(), each) for each in (None, INSIDE))
    del on["meshConfig"]["extensionProviders"]
    assert json.dumps(on) == json.dumps(off)
    assert list(env(INSIDE))[: len(env(None))] == list(env(None))


@pytest.mark.parametrize(
    ("collector", "service"),
    [
        (INSIDE, "observability/collector.observability.svc.cluster.local"),
        (OUTSIDE, "istio-ingress/otlp.example.com"),
    ],
)
def test_the_mesh_knows_the_collector(collector: Collector, service: str) -> None:
    values = istio.istiod_values(Istio(), collector)
    (provider,) = values["meshConfig"]["extensionProviders"]
    assert provider["opentelemetry"] == {
        "service": service,
        "port": collector.port,
        "http": {"path": "/v1/traces", "timeout": "5s"},
    }
    assert values["meshConfig"]["enableTracing"] is False
    spec = tracing.telemetry(0.5, {"istio": "ingress"})
    (traced,) = spec["tracing"]
    assert traced["providers"] == [{"name": provider["name"]}]
    assert traced["randomSamplingPercentage"] == 0.5
    # With this one Envoy traces every request, whatever the percentage.
    assert "useRequestIdForTraceSampling" not in traced


def test_a_traced_request_keeps_its_id() -> None:
    (patch,) = tracing.steadfast_ids({"istio": "ingress"})["configPatches"]
    manager = patch["patch"]["value"]["typed_config"]
    assert manager["request_id_extension"]["typed_config"]["pack_trace_reason"] is False
    assert "x-client-trace-id" in json.dumps(manager["early_header_mutation_extensions"])


def test_a_collector_outside_is_made_known() -> None:
    entry = tracing.service_entry(OUTSIDE)
    assert (entry["hosts"], entry["location"]) == (["otlp.example.com"], "MESH_EXTERNAL")
    assert entry["ports"] == [{"number": 443, "name": "https", "protocol": "HTTPS"}]
    assert tracing.destination_rule(OUTSIDE)["trafficPolicy"]["tls"] == {
        "mode": "SIMPLE",
        "sni": "otlp.example.com",
        "subjectAltNames": ["otlp.example.com"],
    }
    assert tracing.destination_rule(INSIDE)["trafficPolicy"]["tls"] == {"mode": "DISABLE"}


def test_servers_are_told_by_the_standard_variables() -> None:
    told = env(INSIDE)
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.observability.svc:4318"
    assert told["OTEL_SERVICE_NAME"] == "churn-v2"
    assert told["OTEL_RESOURCE_ATTRIBUTES"] == "k8s.pod.name=$(POD_NAME)"
    assert told["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    # Kubernetes puts in only what was said before.
    assert list(told).index("POD_NAME") < list(told).index("OTEL_RESOURCE_ATTRIBUTES")


@pytest.mark.parametrize(
    ("collector", "expected"),
    [
        (
            INSIDE,
            {
                "ports": [{"protocol": "TCP", "port": 4318}],
                "to": [
                    {
                        "namespaceSelector": {
                            "matchLabels": {"kubernetes.io/metadata.name": "observability"}
                        }
                    }
                ],
            },
        ),
        (
            OUTSIDE,
            {
                "ports": [{"protocol": "TCP", "port": 443}],
                "to": [
                    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
                    {"ipBlock": {"cidr": "::/0", "except": ["fd00:ec2::254/128", "fe80::/10"]}},
                ],
            },
        ),
    ],
)
def test_servers_get_out_to_the_collector_alone(
    collector: Collector, expected: dict[str, Any]
) -> None:
    off, on = (
        model_server.network_policy(server(each), [], {"podSelector": {}}, 5000)
        for each in (None, collector)
    )
    assert on["egress"] == [*off["egress"], expected]
    assert on | {"egress": off["egress"]} == off
