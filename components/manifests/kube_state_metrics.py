"""The manifests of kube-state-metrics, which says in metrics what the API server says of the
stack's objects: replicas, restarts, autoscalers, budgets, claims, and the weights of the routes.

Its custom resource metrics:
https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/extend/customresourcestate-metrics.md
"""

from __future__ import annotations

import hashlib
import json

from . import common
from .common import MODEL_LABEL, Manifest, Text

SERVER = "kube-state-metrics"
PORT = 8080
CONFIG_FILE = "custom-resources.yml"
USER = 65534
WEIGHT = "slipway_route_weight"

_TELEMETRY_PORT = 8081
_CONFIG_AT = "/etc/kube-state-metrics"
_HOST = "destination_host"

# API group -> the kinds that are watched there.
_WATCHED = {
    "": ["persistentvolumeclaims", "pods"],
    "apps": ["deployments"],
    "autoscaling": ["horizontalpodautoscalers"],
    "batch": ["jobs"],
    "policy": ["poddisruptionbudgets"],
}
_ROUTES = {"networking.istio.io": ["virtualservices"]}


def selector() -> dict[str, str]:
    """The labels that pick its pod."""
    return common.selector(SERVER, SERVER)


def labels() -> dict[str, str]:
    """The labels of its objects."""
    return common.labels(SERVER, SERVER, "monitoring")


def custom_resources() -> str:
    """Its configuration of custom resources, as JSON, which is YAML too: a gauge for each
    destination of the last entry of a VirtualService, which is the one that splits by weight.
    """
    weight = {
        "name": WEIGHT.partition("_")[2],
        "help": "The share of a model's live requests that its route gives to a version, in %.",
        # The routes of other people have no weights, no model, or no entries.
        "errorLogV": 10,
        "each": {
            "type": "Gauge",
            "gauge": {
                "path": ["spec", "http", "-1", "route"],
                "valueFrom": ["weight"],
                "labelsFromPath": {_HOST: ["destination", "host"]},
            },
        },
    }
    resource = {
        "groupVersionKind": {
            "group": "networking.istio.io",
            "version": "v1",
            "kind": "VirtualService",
        },
        "metricNamePrefix": WEIGHT.partition("_")[0],
        "labelsFromPath": {
            "namespace": ["metadata", "namespace"],
            "model_name": ["metadata", "labels", MODEL_LABEL],
        },
        "metrics": [weight],
    }
    return json.dumps(
        {"kind": "CustomResourceStateMetrics", "spec": {"resources": [resource]}}, indent=2
    )


def metric_relabelings() -> list[Manifest]:
    """The `metric_relabel_configs` of its job in Prometheus: a weight is its model version's, which
    stands in the name of the server it goes to. Its labels are then namespace, model_name and
    model_version. A weight of no model is dropped.
    """
    return [
        {
            "source_labels": ["__name__", _HOST],
            "regex": rf"{WEIGHT};[^.]+-v(\d+)(?:\..*)?",
            "target_label": "model_version",
        },
        {
            "action": "drop",
            "source_labels": ["__name__", "model_name", "model_version"],
            "regex": f"{WEIGHT};(?:;.*|.+;)",
        },
        {"action": "labeldrop", "regex": f"customresource_(?:group|kind|version)|{_HOST}"},
    ]


def reader_rules(routes_only: bool = False) -> list[Manifest]:
    """The rules of its Role in each namespace: it lists and watches, and reads no secret."""
    return [
        {"apiGroups": [group], "resources": kinds, "verbs": ["list", "watch"]}
        for group, kinds in (_ROUTES if routes_only else _WATCHED | _ROUTES).items()
    ]


def definition_reader_rules() -> list[Manifest]:
    """The rules of its ClusterRole: it waits for the definition of a kind before it asks for that
    kind, and definitions are in no namespace.
    """
    return [
        {
            "apiGroups": ["apiextensions.k8s.io"],
            "resources": ["customresourcedefinitions"],
            "verbs": ["list", "watch"],
        }
    ]


def deployment(
    image: Text, namespaces: Text, custom: str, config_map: Text, routes_only: bool = False
) -> Manifest:
    """The spec of the Deployment. It keeps nothing, so a new pod comes before the old one goes.

    namespaces: whose objects it tells of, with commas between them. custom: the text of
    `custom_resources`, which `config_map` holds. routes_only: it tells of nothing but the weights.
    """
    kinds = sorted(kind for kinds in _WATCHED.values() for kind in kinds)
    told = "--custom-resource-state-only" if routes_only else f"--resources={','.join(kinds)}"
    pod = common.pod(
        SERVER,
        automountServiceAccountToken=True,  # all that it does is to ask the API server
        securityContext=common.pod_security(USER),
        containers=[
            common.container(
                SERVER,
                image,
                [
                    "/kube-state-metrics",
                    f"--port={PORT}",
                    f"--telemetry-port={_TELEMETRY_PORT}",
                    "--namespaces",
                    namespaces,
                    told,
                    f"--custom-resource-state-config-file={_CONFIG_AT}/{CONFIG_FILE}",
                ],
                ports=[
                    {"name": "http", "containerPort": PORT, "protocol": "TCP"},
                    {"name": "telemetry", "containerPort": _TELEMETRY_PORT, "protocol": "TCP"},
                ],
                resources={
                    "requests": {"cpu": "10m", "memory": "48Mi"},
                    "limits": {"cpu": "250m", "memory": "192Mi"},
                },
                startupProbe=common.http_probe(
                    "/healthz", "http", period=2, timeout=5, failures=60
                ),
                # Not /livez: it fails while the API server is away, which no restart mends.
                livenessProbe=common.http_probe(
                    "/healthz", "http", period=15, timeout=10, failures=4
                ),
                readinessProbe=common.http_probe(
                    "/readyz", "telemetry", period=5, timeout=5, failures=3
                ),
                volumeMounts=[common.mount("config", _CONFIG_AT, read_only=True)],
            )
        ],
        volumes=[{"name": "config", "configMap": {"name": config_map}}],
    )
    annotations = {"slipway.dev/config-sha256": hashlib.sha256(custom.encode()).hexdigest()}
    return {
        "replicas": 1,
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 240,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
        "selector": {"matchLabels": selector()},
        "template": {"metadata": {"labels": labels(), "annotations": annotations}, "spec": pod},
    }
