"""What keeps a model server as large as its load: a HorizontalPodAutoscaler on CPU and memory, or a
ScaledObject of KEDA on the requests a second too.
"""

from __future__ import annotations

from settings.scaling import Pace
from settings.types import duration_seconds

from . import activator
from .common import Manifest, Text
from .istio import INGRESS_NAMESPACE
from .model_server import CONTAINER, Server

# Queries in a row that Prometheus leaves unanswered before the fallback counts. Until then, as for
# every metric that is not to be had, Kubernetes adds pods by the others and takes none away.
FAILURES = 3

# How often KEDA asks whether a version without pods is wanted.
POLLING_SECONDS = 2


def horizontal(server: Server, *, sidecars: bool = False) -> Manifest:
    """The spec of the HorizontalPodAutoscaler, autoscaling/v2. sidecars: whether the pods have one,
    whose share of their requests would else dilute the server's.
    """
    return {
        "scaleTargetRef": _target(server),
        "minReplicas": server.min_replicas,
        "maxReplicas": server.scaling.max,
        "metrics": [
            _utilization("cpu", server.scaling.cpu, sidecars),
            _utilization("memory", server.scaling.memory, sidecars),
        ],
        "behavior": behavior(server),
    }


def scaled_object(server: Server, prometheus_url: Text, *, sidecars: bool = False) -> Manifest:
    """The spec of the ScaledObject, keda.sh/v1alpha1 of KEDA 2.21, from which KEDA makes the
    HorizontalPodAutoscaler `keda-hpa-<name of the server>`.

    prometheus_url: where KEDA's operator asks, without a path. It asks whenever Kubernetes wants
    the metric, so a polling interval and a cool-down have a meaning only where there may be zero
    pods. There a fallback is left out, unless one is configured: KEDA would wake every version
    while Prometheus is away, and takes no pod away then without it too. sidecars: see `horizontal`.

    Raises ValueError if the server has no `requests_per_second`.
    """
    scaling = server.scaling
    if scaling.requests_per_second is None:
        raise ValueError(f"{server.name} does not scale by requests: no requests_per_second")
    return {
        "scaleTargetRef": _target(server),
        "minReplicaCount": server.min_replicas,
        "maxReplicaCount": scaling.max,
        **_to_zero(server),
        **(_fallback(server) if scaling.fallback or not scaling.to_zero else {}),
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
                    "query": requests_query(
                        server.model, server.version, under_way=scaling.to_zero
                    ),
                    "threshold": _decimal(scaling.requests_per_second),
                    # The query itself says 0 where nothing came: no answer is no zero.
                    "ignoreNullValues": "false",
                },
            },
            *([_waiting(server, scaling.requests_per_second)] if scaling.to_zero else []),
            _trigger("cpu", scaling.cpu, sidecars),
            _trigger("memory", scaling.memory, sidecars),
        ],
    }


def requests_query(model: str, version: int, *, under_way: bool = False) -> str:
    """PromQL: the requests a second that this version is to bear, over the last minute; one value.

    It is the greater of what arrived for it at the gateway, answered or not, and of what its
    servers answered, for a comparer asks them past the gateway; 0 if there was neither. It is
    nothing at all where Prometheus has not read the gateway for at least half of that minute:
    what nobody counted is not 0, and a rate that begins in the window is too low.

    under_way: more than 0 too while a server works on a request, by a thousandth for each: the
    counters know of a request when it is over.
    """
    counters = "envoy_cluster_upstream_rq_completed|model_predictions_total"
    chosen = f'__name__=~"{counters}",model_name="{model}",model_version="{version}"'
    # The gateway's counters and the servers' are of different namespaces.
    counted = f"max(sum by (namespace) (rate({{{chosen}}}[1m])))"
    gateway = f'up{{namespace="{INGRESS_NAMESPACE}"}}'
    watched = f"max(max_over_time({gateway}[30s] offset 30s)) == 1"
    whole = f"({counted} or vector(0))"
    if under_way:
        active = f'model_active_requests{{model_name="{model}",model_version="{version}"}}'
        whole = f"({whole} + 0.001 * (sum({active}) or vector(0)))"
    return f"{whole} and {watched}"


def behavior(server: Server) -> Manifest:
    """How quickly pods come and go, as autoscaling/v2 says it."""
    return {"scaleUp": _rules(server.scaling.up), "scaleDown": _rules(server.scaling.down)}


def _to_zero(server: Server) -> Manifest:
    if not server.scaling.to_zero:
        return {}
    idle = server.scaling.idle_seconds
    # KEDA would else take the pods of a server that it has just been told of at once, and requests
    # that are under way would wait for a cold start.
    again = {"cooldownPeriod": idle, "initialCooldownPeriod": idle}
    return {"pollingInterval": POLLING_SECONDS, **again}


def _fallback(server: Server) -> Manifest:
    wanted = server.scaling.fallback
    return {
        "fallback": {
            "failureThreshold": FAILURES,
            "replicas": max(server.min_replicas, wanted or 0),
            "behavior": "currentReplicasIfHigher" if wanted else "currentReplicas",
        }
    }


def _waiting(server: Server, rate: float) -> Manifest:
    """The trigger on requests that are held. One replica is to bear as many as arrive for it within
    a whole cold start, so that a slow start asks for no more replicas than the rate will.
    """
    return {
        "type": "metrics-api",
        "name": "waiting",
        "metricType": "AverageValue",
        "metadata": {
            "url": activator.waiting_url(server.name),
            "valueLocation": "waiting",
            "targetValue": _decimal(max(1.0, rate * server.scaling.cold_start_seconds)),
            # Each of its pods is asked for its own requests.
            "aggregateFromKubeServiceEndpoints": "true",
            "aggregationType": "sum",
        },
    }


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


def _utilization(resource: str, percent: int, of_container: bool) -> Manifest:
    target = {"type": "Utilization", "averageUtilization": percent}
    if of_container:
        measured = {"name": resource, "container": CONTAINER, "target": target}
        return {"type": "ContainerResource", "containerResource": measured}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}


def _trigger(resource: str, percent: int, of_container: bool) -> Manifest:
    where = {"containerName": CONTAINER} if of_container else {}
    metadata = {"value": str(percent), **where}
    return {"type": resource, "metricType": "Utilization", "metadata": metadata}


def _decimal(number: float) -> str:
    """A number without an exponent, to a thousandth, the finest that Kubernetes counts in."""
    return f"{number:.3f}".rstrip("0").rstrip(".")
