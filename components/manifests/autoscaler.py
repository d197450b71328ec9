"""What keeps a model server as large as its load: a HorizontalPodAutoscaler on CPU and memory, or a
ScaledObject of KEDA on the requests a second too.
"""

from __future__ import annotations

from settings_scaling import Pace
from settings_types import duration_seconds

from .common import Manifest, Text
from .istio import INGRESS_NAMESPACE
from .model_server import Server

# Queries in a row that Prometheus leaves unanswered before the fallback counts. Until then, as for
# every metric that is not to be had, Kubernetes adds pods by the others and takes none away.
FAILURES = 3


def horizontal(server: Server) -> Manifest:
    """The spec of the HorizontalPodAutoscaler, autoscaling/v2."""
    return {
        "scaleTargetRef": _target(server),
        "minReplicas": server.min_replicas,
        "maxReplicas": server.scaling.max,
        "metrics": [
            _utilization("cpu", server.scaling.cpu),
            _utilization("memory", server.scaling.memory),
        ],
        "behavior": behavior(server),
    }


def scaled_object(server: Server, prometheus_url: Text) -> Manifest:
    """The spec of the ScaledObject, keda.sh/v1alpha1 of KEDA 2.21, from which KEDA makes the
    HorizontalPodAutoscaler `keda-hpa-<name of the server>`.

    prometheus_url: where KEDA's operator asks, without a path. It asks whenever Kubernetes wants
    the metric, so neither a polling interval nor a cool-down has a meaning here: both are about
    zero pods.

    Raises ValueError if the server has no `requests_per_second`.
    """
    scaling = server.scaling
    if scaling.requests_per_second is None:
        raise ValueError(f"{server.name} does not scale by requests: no requests_per_second")
    return {
        "scaleTargetRef": _target(server),
        "minReplicaCount": server.min_replicas,
        "maxReplicaCount": scaling.max,
        "fallback": {
            "failureThreshold": FAILURES,
            "replicas": max(server.min_replicas, scaling.fallback or 0),
            "behavior": "currentReplicasIfHigher" if scaling.fallback else "currentReplicas",
        },
        "advanced": {
            # As many pods stay when the ScaledObject goes, for whoever scales them next.
            "restoreToOriginalReplicaCount": False,
            "horizontalPodAutoscalerConfig": {
                "name": f"keda-hpa-{server.name}",
                "behavior": behavior(server),
            },
        },
        "triggers": [
            {
                "type": "prometheus",
                "name": "requests",
                "metricType": "AverageValue",
                "metadata": {
                    "serverAddress": prometheus_url,
                    "query": requests_query(server.model, server.version),
                    "threshold": _decimal(scaling.requests_per_second),
                    # The query itself says 0 where nothing came: no answer is no zero.
                    "ignoreNullValues": "false",
                },
            },
            _trigger("cpu", scaling.cpu),
            _trigger("memory", scaling.memory),
        ],
    }


def requests_query(model: str, version: int) -> str:
    """PromQL: the requests a second that this version is to bear, over the last minute; one value.

    It is the greater of what arrived for it at the gateway, answered or not, and of what its
    servers answered, for a comparer asks them past the gateway; 0 if there was neither. It is
    nothing at all where Prometheus has not read the gateway for at least half of that minute:
    what nobody counted is not 0, and a rate that begins in the window is too low.
    """
    counters = "envoy_cluster_upstream_rq_completed|model_predictions_total"
    chosen = f'__name__=~"{counters}",model_name="{model}",model_version="{version}"'
    # The gateway's counters and the servers' are of different namespaces.
    counted = f"max(sum by (namespace) (rate({{{chosen}}}[1m])))"
    gateway = f'up{{namespace="{INGRESS_NAMESPACE}"}}'
    watched = f"max(max_over_time({gateway}[30s] offset 30s)) == 1"
    return f"({counted} or vector(0)) and {watched}"


def behavior(server: Server) -> Manifest:
    """How quickly pods come and go, as autoscaling/v2 says it."""
    return {"scaleUp": _rules(server.scaling.up), "scaleDown": _rules(server.scaling.down)}


def _rules(pace: Pace) -> Manifest:
    steps = {"Percent": pace.percent, "Pods": pace.pods}
    period = int(duration_seconds(pace.period))
    return {
        "stabilizationWindowSeconds": int(duration_seconds(pace.stabilization)),
        "selectPolicy": "Max",
        "policies": [
            {"type": kind, "value": value, "periodSeconds": period}
            for kind, value in steps.items()
            if value is not None
        ],
    }


def _target(server: Server) -> Manifest:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": server.name}


def _utilization(resource: str, percent: int) -> Manifest:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}


def _trigger(resource: str, percent: int) -> Manifest:
    return {"type": resource, "metricType": "Utilization", "metadata": {"value": str(percent)}}


def _decimal(number: float) -> str:
    """A number without an exponent, to a thousandth, the finest that Kubernetes counts in."""
    return f"{number:.3f}".rstrip("0").rstrip(".")
