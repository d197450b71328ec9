"""The values of Istio's charts, the Gateway, and who may reach istiod."""

from __future__ import annotations

import json
import re

from settings_exposure import Exposure
from settings_platform import Istio
from settings_tracing import Collector

from . import network, tracing
from .common import Manifest, Text
from .model_server import SERVICE_PORT

SYSTEM_NAMESPACE = "istio-system"
INGRESS_NAMESPACE = "istio-ingress"
INGRESS = "istio-ingress"
GATEWAY = "slipway"
HTTP_PORT = 80
METRICS_PORT = 15020
XDS_PORT = 15012
WEBHOOK_PORT = 15017


def ingress_selector() -> dict[str, str]:
    """The labels that the gateway's chart gives to its pods, and that the Gateway picks them by."""
    return {"app": INGRESS, "istio": "ingress"}


def base_values() -> Manifest:
    """Values of chart `base`: the kinds and the validating webhook."""
    return {"global": {"istioNamespace": SYSTEM_NAMESPACE}, "defaultRevision": "default"}


def istiod_values(istio: Istio, collector: Collector | None = None) -> Manifest:
    """Values of chart `istio-discovery`: the control plane, without telemetry filters that a
    stock Envoy lacks. `collector`: of traces, where there is one.
    """
    providers = [tracing.provider(collector, INGRESS_NAMESPACE)] if collector else []
    return {
        "autoscaleEnabled": False,
        "replicaCount": 1,
        "env": {"PILOT_ENABLE_ALPN_FILTER": "false", "PILOT_ENABLE_METADATA_EXCHANGE": "false"},
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},
        },
        "seccompProfile": {"type": "RuntimeDefault"},
        "telemetry": {"enabled": False},
        "meshConfig": {
            "defaultProviders": {},
            "enablePrometheusMerge": False,
            # Nothing is traced but what a Telemetry says (see `tracing`): sampling would rewrite
            # some of the requests' ids, which name clients (see `route.sticky_filter`).
            "enableTracing": False,
            # A path that hides behind escapes or doubled slashes is plain before any route sees it.
            "pathNormalization": {"normalization": "DECODE_AND_MERGE_SLASHES"},
            **({"extensionProviders": providers} if providers else {}),
        },
        "global": {
            "hub": istio.hub,
            "tag": istio.tag,
            "istioNamespace": SYSTEM_NAMESPACE,
            "defaultPodDisruptionBudget": {"enabled": False},
        },
    }


def gateway_values(exposure: Exposure, counted: Text) -> Manifest:
    """Values of chart `gateway`: the Envoy at the cluster's edge. Its image is istiod's to fill
    in. `counted` is the proxy's configuration that `counted_requests` gives.
    """
    port = {"name": "http2", "port": HTTP_PORT, "protocol": "TCP", "targetPort": HTTP_PORT}
    return {
        "name": INGRESS,
        "labels": ingress_selector(),
        "autoscaling": {"enabled": False},
        "replicaCount": 1,
        "podAnnotations": {"proxy.istio.io/config": counted},
        "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "resources": {
            "requests": {"cpu": "100m", "memory": "96Mi"},
            "limits": {"cpu": "2", "memory": "512Mi"},
        },
        "securityContext": {
            "seccompProfile": {"type": "RuntimeDefault"},
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "service": {
            "type": exposure.service_type,
            "ports": [port | ({"nodePort": exposure.node_port} if exposure.node_port else {})],
            "loadBalancerSourceRanges": exposure.allow_from
            if exposure.service_type == "LoadBalancer"
            else [],
        },
    }


def counted_requests(namespace: str) -> str:
    """The proxy's configuration, as JSON, that has the gateway count the answers of each Service in
    `namespace`: all of them (`upstream_rq_completed`), and those of each status and class of
    status. Istio leaves these counters of Envoy out.
    """
    cluster = rf"cluster\.outbound\|{SERVICE_PORT}\|\|[^.]+\.{re.escape(namespace)}\.svc\.[^;]+;"
    answers = r"\.upstream_rq_(completed|[1-5]xx|[1-5]\d\d)"
    return json.dumps({"proxyStatsMatcher": {"inclusionRegexps": [cluster + answers]}})


def gateway() -> Manifest:
    """The spec of the Gateway: plain HTTP for every host."""
    server = {"port": {"number": HTTP_PORT, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    return {"selector": ingress_selector(), "servers": [server]}


def fail_open() -> Manifest:
    """The spec of an EnvoyFilter: where no server of a version is ready, requests go to those there
    are. A kubelet that starts again calls all its pods unready for a moment, though they serve.
    """
    patch = {"common_lb_config": {"healthy_panic_threshold": {"value": 1}}}
    return {
        "workloadSelector": {"labels": ingress_selector()},
        "configPatches": [
            {
                "applyTo": "CLUSTER",
                "match": {"context": "GATEWAY"},
                "patch": {"operation": "MERGE", "value": patch},
            }
        ],
    }


def gateways() -> Manifest:
    """The gateways' pods, as a NetworkPolicy names them."""
    return network.pods({"istio": "ingress"}, INGRESS_NAMESPACE)


def istiod_policy() -> Manifest:
    """The spec of istiod's NetworkPolicy: gateways fetch their configuration, API servers call
    the webhooks.
    """
    return {
        "podSelector": {"matchLabels": {"app": "istiod"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": [gateways()], "ports": [network.tcp(XDS_PORT)]},
            {"ports": [network.tcp(WEBHOOK_PORT)]},
        ],
    }


def ingress_policy(scrapers: Manifest) -> Manifest:
    """The spec of the gateway's NetworkPolicy: requests from anywhere, metrics for `scrapers`."""
    return {
        "podSelector": {"matchLabels": {"istio": "ingress"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": [network.tcp(HTTP_PORT)]},
            {"from": [scrapers], "ports": [network.tcp(METRICS_PORT)]},
        ],
    }
