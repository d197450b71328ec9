"""Scale to zero: the ScaledObject, the Services' names, and the activator's pod."""

from __future__ import annotations

import json
from typing import Any

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.manifests import activator, alert_rules, autoscaler, common, model_server, route
from components.manifests.model_server import Server
from settings.model import Model, Resources
from settings.monitoring import Alerts
from settings.scaling import Scaling
from settings.types import MAX_MODEL_NAME, MAX_VERSION

URL = "http://prometheus:9090"
ZERO: dict[str, Any] = {"min": 0, "requests_per_second": 50}


def server(name: str = "churn", version: int = 2, **scaling: Any) -> Server:
    return Server(name, version, Resources(), Scaling(**ZERO | scaling))


def trigger(spec: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [it for it in spec["triggers"] if it.get("name") == name]
    return dict(found)


def test_the_last_pod_goes_after_the_idle_time_and_keda_looks_often() -> None:
    spec = autoscaler.scaled_object(server(idle="10m"), URL)
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 10)
    assert (spec["pollingInterval"], spec["cooldownPeriod"]) == (2, 600)
    assert spec["initialCooldownPeriod"] == 600
    assert [it["type"] for it in spec["triggers"]] == [
        "prometheus",
        "metrics-api",
        "cpu",
        "memory",
    ]


def test_who_waits_wakes() -> None:
    spec = autoscaler.scaled_object(server(cold_start="30s"), URL)
    waiting = trigger(spec, "waiting")
    assert waiting["metricType"] == "AverageValue"
    assert waiting["metadata"] == {
        "url": "http://activator.models.svc:8081/waiting/churn-v2",
        "valueLocation": "waiting",
        "targetValue": "1500",
        "aggregateFromKubeServiceEndpoints": "true",
        "aggregationType": "sum",
    }
    # KEDA takes the second label of the host, up to the next dot, for the namespace.
    host = waiting["metadata"]["url"].removeprefix("http://").partition("/")[0]
    assert host.split(".")[1] == activator.NAMESPACE
    assert activator.service()["ports"][0]["port"] == activator.OWN_PORT


@given(st.floats(0.01, 1e6), st.integers(5, 240))
def test_the_waiting_ask_for_no_more_replicas_than_their_rate(rate: float, seconds: int) -> None:
    spec = autoscaler.scaled_object(server(requests_per_second=rate, cold_start=f"{seconds}s"), URL)
    target = float(trigger(spec, "waiting")["metadata"]["targetValue"])
    assert target >= 1 and target >= rate * seconds * (1 - 1e-6) - 0.001


def test_a_fallback_stands_where_it_is_configured_alone() -> None:
    assert "fallback" not in autoscaler.scaled_object(server(), URL)
    spec = autoscaler.scaled_object(server(fallback=3), URL)
    assert spec["fallback"] == {
        "failureThreshold": 3,
        "replicas": 3,
        "behavior": "currentReplicasIfHigher",
    }


def test_what_is_under_way_keeps_the_pods() -> None:
    query = trigger(autoscaler.scaled_object(server(), URL), "requests")["metadata"]["query"]
    tree = promql_parser.parse(query)
    assert isinstance(tree, promql_parser.BinaryExpr) and str(tree.op) == "and"
    assert 'model_active_requests{model_name="churn",model_version="2"}' in query
    assert "model_active_requests" not in autoscaler.requests_query("churn", 2)


def test_a_service_of_the_pods_alone_has_a_name_that_fits() -> None:
    assert server().pods_service == "churn-v2-pods"
    longest = server("a" * MAX_MODEL_NAME, MAX_VERSION)
    other = server("a" * MAX_MODEL_NAME, MAX_VERSION - 1)
    assert len(longest.name) == 63
    assert len(longest.pods_service) <= 63 and longest.pods_service != other.pods_service
    # A label's name has 63 characters at most.
    (label,) = longest.reached_by
    assert len(label.removeprefix(common.SERVES_LABEL)) == 63


def test_a_server_with_pods_at_all_times_is_as_it_was() -> None:
    for scaling in (Scaling(), Scaling(requests_per_second=5)):
        which = Server("churn", 2, Resources(), scaling)
        assert which.reached_by == which.selector
        template = model_server.deployment(which, "image", "uri")["template"]
        assert list(template["metadata"]["labels"].items()) == list(which.labels.items())
        assert model_server.service(which)["selector"] == which.selector
    policy = route.destination_rule("host")["trafficPolicy"]
    assert "loadBalancer" not in policy and "minHealthPercent" not in policy["outlierDetection"]


def test_the_pod_is_restricted_and_asks_nothing_of_kubernetes() -> None:
    spec = activator.deployment([server(), server("fraud")], "image")["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["resources"]["limits"]["memory"] == "256Mi"
    env = {item["name"]: item["value"] for item in container["env"]}
    assert sorted(json.loads(env["SERVERS"])) == ["churn-v2", "fraud-v2"]
    # What a server works on has its whole time after the pod is told to go.
    longest = model_server.PRE_STOP_SECONDS + int(env["REQUEST_SECONDS"])
    assert spec["terminationGracePeriodSeconds"] > longest
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (ports["http"], ports["own"]) == (int(env["PORT"]), int(env["OWN_PORT"]))


def test_equal_servers_in_any_order_give_equal_bytes() -> None:
    one, two = server(), server("fraud")
    first, second = (
        json.dumps(activator.pod(order, "image"), sort_keys=True)
        for order in ([one, two], [two, one])
    )
    assert first == second


@pytest.mark.parametrize("asleep", [False, True])
def test_pauses_are_no_alert_of_a_model_that_may_have_no_pod(asleep: bool) -> None:
    scaling = Scaling(**ZERO) if asleep else Scaling()
    models = {"churn": Model(stable=1, scaling=scaling), "fraud": Model(stable=1)}
    found = {
        rule["alert"]: rule["expr"]
        for group in alert_rules.groups(models, Alerts(), alert_rules.JOBS)
        for rule in group["rules"]
    }
    assert ('model_name!~"churn"' in found["ModelTrafficStopped"]) == asleep
    assert ('deployment="activator"' in found["PlatformDown"]) == asleep
