"""The manifests of tracing: what has the gateway start traces, and the model servers go on with
them.

The gateway decides which requests are traced and says so in their `traceparent`; the servers
follow. Source: Istio's Telemetry and MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider.
"""

from __future__ import annotations

from collections.abc import Mapping

from settings.tracing import Collector

from . import network
from .common import Manifest

PROVIDER = "slipway-otlp"
_PATH = "/v1/traces"
_POD = "POD_NAME"
_TYPES = "type.googleapis.com/envoy.extensions"
_MANAGER = "filters.network.http_connection_manager.v3.HttpConnectionManager"
# Whoever sends it would have a request traced, whatever the percentage.
_FORCES = "x-client-trace-id"


def provider(collector: Collector, entry_namespace: str) -> Manifest:
    """The entry of the mesh configuration's `extensionProviders`.

    entry_namespace: where the ServiceEntry of a collector outside of the cluster is.
    """
    return {
        "name": PROVIDER,
        "opentelemetry": {
            "service": f"{collector.namespace or entry_namespace}/{collector.host}",
            "port": collector.port,
            "http": {"path": _PATH, "timeout": "5s"},
        },
    }


def telemetry(sample: float, selector: Mapping[str, str]) -> Manifest:
    """The spec of the Telemetry of the gateway's pods: traces of `sample` percent."""
    traced = {
        "providers": [{"name": PROVIDER}],
        "randomSamplingPercentage": sample,
        "enableIstioTags": False,
    }
    return {"selector": {"matchLabels": dict(selector)}, "tracing": [traced]}


def steadfast_ids(selector: Mapping[str, str]) -> Manifest:
    """The spec of an EnvoyFilter for the gateway's pods: a traced request keeps its id.

    Envoy would write into `x-request-id` that it has sampled a request, and that id names clients
    (`route.sticky_filter`). Istio's own `useRequestIdForTraceSampling: false` would not do: with it
    every request is traced. Source: Envoy's `UuidRequestIdConfig.pack_trace_reason`.
    """
    ids = {"@type": f"{_TYPES}.request_id.uuid.v3.UuidRequestIdConfig", "pack_trace_reason": False}
    mutation = {
        "@type": f"{_TYPES}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        "mutations": [{"remove": _FORCES}],
    }
    manager = {
        "@type": f"{_TYPES}.{_MANAGER}",
        "request_id_extension": {"typed_config": ids},
        "early_header_mutation_extensions": [
            {"name": "slipway.nobody-forces-a-trace", "typed_config": mutation}
        ],
    }
    of_http = {"name": "envoy.filters.network.http_connection_manager"}
    return {
        "workloadSelector": {"labels": dict(selector)},
        "configPatches": [
            {
                "applyTo": "NETWORK_FILTER",
                "match": {
                    "context": "GATEWAY",
                    "listener": {"filterChain": {"filter": of_http}},
                },
                "patch": {"operation": "MERGE", "value": {"typed_config": manager}},
            }
        ],
    }


def service_entry(collector: Collector) -> Manifest:
    """The spec of the ServiceEntry of a collector outside of the cluster, for its namespace."""
    protocol = "HTTPS" if collector.tls else "HTTP"
    return {
        "hosts": [collector.host],
        "exportTo": ["."],
        "location": "MESH_EXTERNAL",
        "resolution": "DNS",
        "ports": [{"number": collector.port, "name": protocol.lower(), "protocol": protocol}],
    }


def destination_rule(collector: Collector) -> Manifest:
    """The spec of the DestinationRule of a collector: TLS, if it speaks that, with a certificate
    of an authority that everybody knows, and little patience with one that is away.
    """
    tls = {"mode": "SIMPLE", "sni": collector.host, "subjectAltNames": [collector.host]}
    return {
        "host": collector.host,
        "exportTo": ["."],
        "trafficPolicy": {
            "tls": tls if collector.tls else {"mode": "DISABLE"},
            "connectionPool": {
                "tcp": {"maxConnections": 16, "connectTimeout": "1s"},
                "http": {"http1MaxPendingRequests": 64, "http2MaxRequests": 64},
            },
        },
    }


def environment(collector: Collector, service: str) -> list[Manifest]:
    """What a model server is told, by OpenTelemetry's own variables. `service` is its name."""
    own_name = {"fieldRef": {"fieldPath": "metadata.name"}}
    return [
        {"name": _POD, "valueFrom": own_name},
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": collector.endpoint},
        {"name": "OTEL_SERVICE_NAME", "value": service},
        {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": f"k8s.pod.name=$({_POD})"},
    ]


def way_out(collector: Collector) -> Manifest:
    """The egress rule that lets a model server reach the collector: its port, and, inside the
    cluster, its namespace; outside of it every address but those of the machine itself, where a
    cloud gives its nodes their credentials: a policy knows no names.
    """
    to = [
        network.off_the_machine(),
        {"ipBlock": {"cidr": "::/0", "except": ["fd00:ec2::254/128", "fe80::/10"]}},
    ]
    if collector.namespace:
        to = [network.everywhere(collector.namespace)]
    return {"ports": [network.tcp(collector.port)], "to": to}
