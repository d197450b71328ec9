"""The autoscalers' specs, what KEDA gets, and that no budget blocks a drain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.manifests import autoscaler, common, keda, model_server, network, prometheus
from components.manifests.istio import INGRESS_NAMESPACE
from components.manifests.model_server import Server
from settings.model import Resources
from settings.scaling import Keda, ScaleDown, ScaleUp, Scaling

URL = "http://prometheus.monitoring.svc.cluster.local:9090"
DEFAULT = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 30},
            {"type": "Pods", "value": 2, "periodSeconds": 30},
        ],
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
    },
}

# The fields of a ScaledObject's spec that KEDA 2.21 knows, of those that are used here: what is
# within, as its kind's schema has it. `...` is a value, a set the values that it may have.
KNOWN: dict[str, Any] = {
    "scaleTargetRef": {"apiVersion": ..., "kind": ..., "name": ...},
    "minReplicaCount": ...,
    "maxReplicaCount": ...,
    "fallback": {
        "failureThreshold": ...,
        "replicas": ...,
        "behavior": {"static", "currentReplicas", "currentReplicasIfHigher"},
    },
    "advanced": {
        "restoreToOriginalReplicaCount": ...,
        "horizontalPodAutoscalerConfig": {"name": ..., "behavior": ...},
    },
    "triggers": [
        {
            "type": {"prometheus", "cpu", "memory"},
            "name": ...,
            "metricType": {"AverageValue", "Utilization"},
            "metadata": ...,
        }
    ],
}


def server(floor: int | None = None, **scaling: Any) -> Server:
    return Server("churn", 2, Resources(), Scaling(**scaling), floor=floor)


def scaled(floor: int | None = None, **scaling: Any) -> dict[str, Any]:
    return autoscaler.scaled_object(
        server(floor, **{"requests_per_second": 100} | scaling), prometheus_url=URL
    )


def unknown(spec: Any, known: Any, path: str = "spec") -> Iterator[str]:
    if isinstance(known, set) and spec not in known:
        yield f"{path}: {spec}"
    elif isinstance(known, list):
        for item in spec:
            yield from unknown(item, known[0], path)
    elif isinstance(known, dict):
        for key, value in spec.items():
            if key in known:
                yield from unknown(value, known[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"


def test_cpu_and_memory() -> None:
    spec = autoscaler.horizontal(server(min=3, max=7, cpu=50, memory=60))
    assert spec["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "churn-v2",
    }
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 7)
    assert [
        (m["type"], m["resource"]["name"], m["resource"]["target"]) for m in spec["metrics"]
    ] == [
        ("Resource", "cpu", {"type": "Utilization", "averageUtilization": 50}),
        ("Resource", "memory", {"type": "Utilization", "averageUtilization": 60}),
    ]


def test_beside_a_sidecar_the_server_alone_is_measured() -> None:
    one = server(cpu=50, memory=60)
    cpu, memory = autoscaler.horizontal(one, sidecars=True)["metrics"]
    assert cpu == {
        "type": "ContainerResource",
        "containerResource": {
            "name": "cpu",
            "container": "server",
            "target": {"type": "Utilization", "averageUtilization": 50},
        },
    }
    assert memory["containerResource"]["name"] == "memory"
    counted = server(cpu=50, memory=60, requests_per_second=5)
    triggers = autoscaler.scaled_object(counted, URL, sidecars=True)["triggers"]
    assert [trigger["metadata"] for trigger in triggers[1:]] == [
        {"value": "50", "containerName": "server"},
        {"value": "60", "containerName": "server"},
    ]
    containers = model_server.pod(one, "image", "http://mlflow")["containers"]
    assert "server" in [each["name"] for each in containers]


def test_up_at_once_and_down_slowly_by_default() -> None:
    assert autoscaler.horizontal(server())["behavior"] == DEFAULT
    config = scaled()["advanced"]["horizontalPodAutoscalerConfig"]
    assert config == {"name": "keda-hpa-churn-v2", "behavior": DEFAULT}


def test_paces_are_the_configurations() -> None:
    up = ScaleUp(stabilization="1m", percent=None, pods=5, period="10s")
    down = ScaleDown(stabilization="1h", percent=20, pods=1, period="30m")
    behavior = autoscaler.horizontal(server(up=up, down=down))["behavior"]
    assert behavior["scaleUp"] == {
        "stabilizationWindowSeconds": 60,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 5, "periodSeconds": 10}],
    }
    assert behavior["scaleDown"] == {
        "stabilizationWindowSeconds": 3600,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Percent", "value": 20, "periodSeconds": 1800},
            {"type": "Pods", "value": 1, "periodSeconds": 1800},
        ],
    }


def test_requests_beside_cpu_and_memory() -> None:
    spec = scaled(cpu=50, memory=60, requests_per_second=12.5, min=3, max=7)
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (3, 7)
    requests, cpu, memory = spec["triggers"]
    assert (requests["type"], requests["metricType"]) == ("prometheus", "AverageValue")
    assert requests["metadata"] == {
        "serverAddress": URL,
        "query": autoscaler.requests_query("churn", 2),
        "threshold": "12.5",
        "ignoreNullValues": "false",
    }
    assert cpu == {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}}
    assert memory == {"type": "memory", "metricType": "Utilization", "metadata": {"value": "60"}}
    # KEDA takes text in a trigger's metadata, and nothing else.
    assert all(isinstance(v, str) for t in spec["triggers"] for v in t["metadata"].values())


def test_pods_stay_when_the_scaled_object_goes() -> None:
    assert scaled()["advanced"]["restoreToOriginalReplicaCount"] is False


def test_without_prometheus_the_pods_stay_and_a_fallback_is_a_least() -> None:
    assert scaled(min=3)["fallback"] == {
        "failureThreshold": 3,
        "replicas": 3,
        "behavior": "currentReplicas",
    }
    assert scaled(fallback=6)["fallback"] == {
        "failureThreshold": 3,
        "replicas": 6,
        "behavior": "currentReplicasIfHigher",
    }


@pytest.mark.parametrize("scaling", [{}, {"fallback": 5, "up": ScaleUp(pods=None)}])
def test_keda_knows_every_field(scaling: dict[str, Any]) -> None:
    spec = scaled(**scaling)
    assert list(unknown(spec, KNOWN)) == []
    assert spec.keys() == KNOWN.keys()
    assert spec["fallback"].keys() == KNOWN["fallback"].keys()


def test_no_field_goes_unnoticed() -> None:
    spec = scaled() | {"cooldown": 3}
    spec["fallback"]["behavior"] = "currentreplicas"
    spec["triggers"][1]["metrictype"] = "Value"
    assert set(unknown(spec, KNOWN)) == {
        "spec.cooldown",
        "spec.fallback.behavior: currentreplicas",
        "spec.triggers.metrictype",
    }


def test_a_server_that_counts_no_requests_has_no_scaled_object() -> None:
    with pytest.raises(ValueError, match="churn-v2 does not scale by requests"):
        autoscaler.scaled_object(server(), URL)


@pytest.mark.parametrize(
    ("rate", "text"), [(100, "100"), (0.01, "0.01"), (1e6, "1000000"), (33.3, "33.3"), (10, "10")]
)
def test_a_threshold_has_no_exponent(rate: float, text: str) -> None:
    spec = scaled(requests_per_second=rate)
    assert spec["triggers"][0]["metadata"]["threshold"] == text


@given(st.floats(0.01, 1e6))
def test_a_threshold_is_the_rate_to_a_thousandth(rate: float) -> None:
    text = scaled(requests_per_second=rate)["triggers"][0]["metadata"]["threshold"]
    assert re.fullmatch(r"\d+(\.\d{1,3})?", text)
    assert float(text) > 0 and abs(float(text) - rate) <= 0.0005 * (1 + 1e-9)


def selectors(node: Any) -> list[Any]:
    """Every vector selector in an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        return [node]
    found = []
    for part in ("lhs", "rhs", "expr", "vector_selector", "vs", "args"):
        inner = getattr(node, part, None)
        for item in inner if isinstance(inner, list) else [inner] if inner is not None else []:
            found += selectors(item)
    return found


def test_the_query_counts_this_version_and_only_where_the_gateway_is_read() -> None:
    query = autoscaler.requests_query("churn", 2)
    tree = promql_parser.parse(query)
    assert isinstance(tree, promql_parser.BinaryExpr) and str(tree.op) == "and"
    found = [
        {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        for selector in selectors(tree)
    ]
    assert {
        "__name__": "envoy_cluster_upstream_rq_completed|model_predictions_total",
        "model_name": "churn",
        "model_version": "2",
    } in found
    assert 'up{namespace="istio-ingress"}' in query and INGRESS_NAMESPACE == "istio-ingress"
    assert "vector(0)" in query


@given(low=st.integers(2, 500), span=st.integers(0, 400), floor=st.none() | st.integers(1, 500))
def test_a_floor_raises_the_least_and_never_beyond_the_most(
    low: int, span: int, floor: int | None
) -> None:
    high = min(low + span, 500)
    spec = autoscaler.horizontal(server(floor, min=low, max=high))
    assert spec["minReplicas"] == min(max(low, floor or 0), high)
    assert spec["maxReplicas"] == high
    by_requests = scaled(floor, min=low, max=high)
    assert by_requests["minReplicaCount"] == spec["minReplicas"]
    assert by_requests["fallback"]["replicas"] >= by_requests["minReplicaCount"]


def test_the_deployment_says_no_replicas_whoever_scales_it() -> None:
    for which in (server(), server(requests_per_second=100), server(5)):
        assert "replicas" not in model_server.deployment(which, "image", "http://mlflow")


@given(st.integers(2, 500))
def test_a_drain_finds_a_ready_pod_that_may_go_and_any_that_is_not_ready(replicas: int) -> None:
    budget = common.disruption_budget(server().selector)
    assert budget.keys() == {"maxUnavailable", "unhealthyPodEvictionPolicy", "selector"}
    must_be_ready = replicas - budget["maxUnavailable"]
    assert replicas - must_be_ready == 1 and must_be_ready >= 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["selector"]["matchLabels"] == server().selector


@pytest.mark.parametrize(
    ("name", "registry", "repository", "tag"),
    [
        ("ghcr.io/kedacore/keda:2.21.0", "ghcr.io", "kedacore/keda", "2.21.0"),
        ("127.0.0.1:5000/keda:2.21.0", "127.0.0.1:5000", "keda", "2.21.0"),
        ("127.0.0.1:5000/keda", "127.0.0.1:5000", "keda", ""),
        ("localhost/a/keda:1", "localhost", "a/keda", "1"),
        ("kedacore/keda:2.21.0", "docker.io", "kedacore/keda", "2.21.0"),
        ("keda", "docker.io", "keda", ""),
        ("ghcr.io/keda:1@sha256:ab", "ghcr.io", "keda:1@sha256", "ab"),
        ("ghcr.io/keda@sha256:ab", "ghcr.io", "keda@sha256", "ab"),
    ],
)
def test_an_image_in_the_charts_three_parts(
    name: str, registry: str, repository: str, tag: str
) -> None:
    parts = keda.image(name)
    assert parts == {"registry": registry, "repository": repository, "tag": tag}
    # The chart's template: "{{ registry }}/{{ repository }}:{{ tag }}".
    if tag and name.count("/"):
        assert f"{registry}/{repository}:{tag}".endswith(name)


def test_keda_watches_one_namespace_and_reads_no_foreign_secret() -> None:
    values = keda.values(Keda(), "models")
    assert values["watchNamespace"] == "models"
    assert values["webhooks"] == {"enabled": False}
    for part in ("operator", "metricServer"):
        assert values["permissions"][part] == {"restrict": {"secret": True}}
        assert values["resources"][part].keys() == {"requests", "limits"}
    assert values["rbac"]["enabledCustomScaledRefKinds"] is False
    assert values["image"]["keda"]["repository"] == "kedacore/keda"
    assert values["image"]["metricsApiServer"]["repository"] == "kedacore/keda-metrics-apiserver"
    assert values["prometheus"]["operator"] == {"enabled": True, "port": keda.METRICS_PORT}


def test_who_reaches_keda_and_whom_it_reaches() -> None:
    scrapers = network.pods(prometheus.selector(), "monitoring")
    asked, scraped = keda.operator_policy(scrapers)["ingress"]
    assert asked == {
        "from": [network.pods({"app": "keda-operator-metrics-apiserver"}, "keda")],
        "ports": [{"protocol": "TCP", "port": 9666}],
    }
    assert scraped == {"from": [scrapers], "ports": [{"protocol": "TCP", "port": 8080}]}
    # The control plane's own network is known to no cluster's user.
    assert keda.adapter_policy()["ingress"] == [{"ports": [{"protocol": "TCP", "port": 6443}]}]
    assert keda.operator_peer() == network.pods({"app": "keda-operator"}, "keda")
