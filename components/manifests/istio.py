"""The values of Istio's charts, the Gateway, and who may reach istiod."""

from __future__ import annotations

import json
import re

from settings.exposure import Exposure, GatewayTls
from settings.platform import Istio
from settings.tracing import Collector

from . import common, mesh, network, tracing
from .common import Manifest, Text
from .model_server import SERVICE_PORT

SYSTEM_NAMESPACE = mesh.SYSTEM_NAMESPACE
INGRESS_NAMESPACE = "istio-ingress"
INGRESS = "istio-ingress"
GATEWAY = "slipway"
HTTP_PORT = 80
HTTPS_PORT = 443
METRICS_PORT = mesh.METRICS_PORT
XDS_PORT = mesh.XDS_PORT
WEBHOOK_PORT = 15017
# Istio's name for the certificate that the mesh gives to the gateway's own pod: no Secret, no file,
# and the next one is there before it ends. Source: BuiltinGatewaySecretTypeURI, what the Gateway
# API's tls-terminate-mode ISTIO_SIMPLE comes to.
_OWN_CERTIFICATE = "builtin://"


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
    values: Manifest = {
        "autoscaleEnabled": False,
        "replicaCount": istio.replicas,
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
            "defaultPodDisruptionBudget": {"enabled": istio.replicas > 1},
        },
    }
    if istio.replicas > 1:
        values |= {"pdb": _budget(), **_spread({"app": "istiod"})}
    return _merged(values, mesh.sidecar_values()) if istio.sidecars else values


def gateway_values(
    exposure: Exposure, counted: Text, tls: GatewayTls | None = None, settings: Istio | None = None
) -> Manifest:
    """Values of chart `gateway`: the Envoy at the cluster's edge. Its image is istiod's to fill
    in. `counted` is the proxy's configuration that `counted_requests` gives.
    """
    istio = settings or Istio()
    replicas = istio.replicas
    version = {mesh.VERSION: istio.tag} if istio.sidecars else {}
    return {
        "name": INGRESS,
        "labels": ingress_selector(),
        "autoscaling": {"enabled": False},
        "replicaCount": replicas,
        **({"podDisruptionBudget": _budget()} if replicas > 1 else {}),
        **(_spread(ingress_selector()) if replicas > 1 else {}),
        "podAnnotations": {"proxy.istio.io/config": counted, **version},
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
            "ports": _ports(exposure.node_port, tls),
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


def gateway(tls: GatewayTls | None = None) -> Manifest:
    """The spec of the Gateway: plain HTTP for every host, or HTTPS with at least TLS 1.2, to which
    plain HTTP leads or where there is none.
    """
    plain = {"port": {"number": HTTP_PORT, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    if tls is None:
        return {"selector": ingress_selector(), "servers": [plain]}
    server = {
        "port": {"number": HTTPS_PORT, "name": "https", "protocol": "HTTPS"},
        "hosts": ["*"],
        "tls": {
            "mode": "SIMPLE",
            "minProtocolVersion": "TLSV1_2",
            "credentialName": tls.secret or _OWN_CERTIFICATE,
        },
    }
    redirect = [plain | {"tls": {"httpsRedirect": True}}] if tls.redirect else []
    return {"selector": ingress_selector(), "servers": [server, *redirect]}


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


def istiod_policy(*namespaces: Text) -> Manifest:
    """The spec of istiod's NetworkPolicy: gateways, and sidecars in `namespaces`, fetch their
    configuration and certificates, API servers call the webhooks.
    """
    served = [gateways(), *map(network.everywhere, namespaces)]
    return {
        "podSelector": {"matchLabels": {"app": "istiod"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": served, "ports": [network.tcp(XDS_PORT)]},
            {"ports": [network.tcp(WEBHOOK_PORT)]},
        ],
    }


def ingress_policy(scrapers: Manifest, tls: GatewayTls | None = None) -> Manifest:
    """The spec of the gateway's NetworkPolicy: requests from anywhere, metrics for `scrapers`."""
    open_to_all = [network.tcp(port["targetPort"]) for port in _ports(None, tls)]
    return {
        "podSelector": {"matchLabels": {"istio": "ingress"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": open_to_all},
            {"from": [scrapers], "ports": [network.tcp(METRICS_PORT)]},
        ],
    }


def _ports(node_port: int | None, tls: GatewayTls | None) -> list[Manifest]:
    """The ports of the gateway's Service; `node_port` leads to the first."""
    plain = {"name": "http2", "port": HTTP_PORT, "protocol": "TCP", "targetPort": HTTP_PORT}
    safe = {"name": "https", "port": HTTPS_PORT, "protocol": "TCP", "targetPort": HTTPS_PORT}
    ports = [safe, *([plain] if tls.redirect else [])] if tls else [plain]
    return [ports[0] | ({"nodePort": node_port} if node_port else {}), *ports[1:]]


def _budget() -> Manifest:
    return {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"}


def _spread(selects: dict[str, str]) -> Manifest:
    """The values that keep the pods of a chart on different nodes, and in different zones."""
    zones = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selects},
        "matchLabelKeys": ["pod-template-hash"],
    }
    return {"affinity": common.apart(selects), "topologySpreadConstraints": [zones]}


def _merged(values: Manifest, more: Manifest) -> Manifest:
    """Values with more values, objects within objects."""
    both = {key for key in values.keys() & more.keys() if isinstance(values[key], dict)}
    return values | more | {key: _merged(values[key], more[key]) for key in both}
