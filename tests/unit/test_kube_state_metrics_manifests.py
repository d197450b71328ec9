"""kube-state-metrics: what it is asked for, what it may read, and the weights of the routes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.kube_state_metrics import KubeStateMetrics, KubeStateMetricsArgs
from components.manifests import common, network, prometheus, route
from components.manifests import kube_state_metrics as states
from components.manifests.route import Mirror
from settings.model import Canary
from settings.rollout import Sticky
from tests.conftest import run
from tests.unit.test_prometheus_manifests import STACK, Labels, jobs, relabelled


def told_weights(virtual_service: dict[str, Any]) -> list[tuple[Labels, int]]:
    """The series that kube-state-metrics makes of an object, and their values: its gauges, its
    paths (with an index from the end), and no sample where there is no value.
    """
    (resource,) = json.loads(states.custom_resources())["spec"]["resources"]
    (metric,) = resource["metrics"]

    def at(thing: Any, path: list[str]) -> Any:
        for part in path:
            if isinstance(thing, list):
                thing = thing[int(part)] if -len(thing) <= int(part) < len(thing) else None
            else:
                thing = (thing or {}).get(part)
        return thing

    def labelled(thing: Any, paths: dict[str, list[str]]) -> Labels:
        found = {name: at(thing, path) for name, path in paths.items()}
        return {name: value for name, value in found.items() if value is not None}

    gauge = metric["each"]["gauge"]
    name = f"{resource['metricNamePrefix']}_{metric['name']}"
    kind = {"customresource_kind": "VirtualService", "customresource_version": "v1"}
    common_labels = (
        {"__name__": name} | kind | labelled(virtual_service, resource["labelsFromPath"])
    )
    return [
        (common_labels | labelled(each, gauge["labelsFromPath"]), at(each, gauge["valueFrom"]))
        for each in at(virtual_service, gauge["path"]) or []
        if at(each, gauge["valueFrom"]) is not None
    ]


def weights(model: str | None, spec: dict[str, Any]) -> list[tuple[Labels, int]]:
    """What Prometheus keeps of them."""
    labels = {common.MODEL_LABEL: model} if model else {}
    made = {"metadata": {"name": "x", "namespace": "models", "labels": labels}, "spec": spec}
    kept = [(relabelled(states.metric_relabelings(), s), v) for s, v in told_weights(made)]
    return [(series, value) for series, value in kept if series is not None]


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from(["churn", "x-v1", "a"]),
    weight=st.none() | st.integers(0, 100),
    sticky=st.sampled_from([None, Sticky(header="x-user"), Sticky(cookie="ab", ttl="2h")]),
    mirror=st.sampled_from([None, Mirror("churn-comparer.models.svc.cluster.local", 20)]),
)
def test_a_routes_weights_are_those_of_its_versions(
    model: str, weight: int | None, sticky: Sticky | None, mirror: Mirror | None
) -> None:
    one, two = (f"{model}-v{version}.models.svc.cluster.local" for version in (1, 22))
    canary = None if weight is None else Canary(version=22, weight=weight)
    spec = route.virtual_service(model, "g", one, two if canary else None, canary, sticky, mirror)
    expected = {"1": 100} if weight is None else {"1": 100 - weight, "22": weight}
    series = {"__name__": "slipway_route_weight", "namespace": "models", "model_name": model}
    assert weights(model, spec) == [
        (series | {"model_version": version}, value) for version, value in expected.items()
    ]


@pytest.mark.parametrize(
    "model, spec",
    [
        (None, route.virtual_service("churn", "g", "churn-v1.models.svc")),
        ("churn", route.virtual_service("churn", "g", "shop.models.svc")),
        ("churn", {"http": []}),
        ("churn", {"tcp": [{"route": [{"destination": {"host": "churn-v1"}}]}]}),
        ("churn", {"http": [{"route": [{"destination": {"host": "churn-v1"}}]}]}),
    ],
)
def test_other_routes_have_no_weights(model: str | None, spec: dict[str, Any]) -> None:
    assert weights(model, spec) == []


def test_the_other_states_keep_their_labels() -> None:
    sample = {"__name__": "kube_pod_info", "namespace": "models", "pod": "p", "host_ip": "10.0.0.1"}
    assert relabelled(states.metric_relabelings(), sample) == sample
    assert jobs()["kube-state-metrics"]["honor_labels"] is True


def test_what_is_watched_may_be_read_and_nothing_else() -> None:
    rules = states.reader_rules() + states.definition_reader_rules()
    assert all(rule["verbs"] == ["list", "watch"] for rule in rules)
    readable = {kind for rule in rules for kind in rule["resources"]}
    command = states.deployment("i", "models", "{}", "m")["template"]["spec"]["containers"][0]
    (asked,) = [f for f in command["command"] if f.startswith("--resources=")]
    assert set(asked.removeprefix("--resources=").split(",")) == readable - {
        "virtualservices",
        "customresourcedefinitions",
    }
    assert not readable & {"*", "secrets", "configmaps"}


def test_kube_state_metrics_answers_prometheus_alone() -> None:
    program = run(
        lambda: KubeStateMetrics(
            "s", KubeStateMetricsArgs("monitoring", "image", {name: name for name in STACK})
        )
    )
    (rule,) = program.one("NetworkPolicy", "s-policy").inputs["spec"]["ingress"]
    assert rule["from"] == [network.pods(prometheus.selector(), "monitoring")]
    roles = {role.inputs["metadata"]["namespace"]: role for role in program.of("Role")}
    assert sorted(roles) == STACK
    assert all(role.inputs["rules"] == states.reader_rules() for role in roles.values())
    container = program.one("Deployment", "s-deployment").inputs["spec"]["template"]["spec"][
        "containers"
    ][0]
    command = container["command"]
    assert command[command.index("--namespaces") + 1] == ",".join(STACK)
    config = program.one("ConfigMap", "s-config").inputs["data"]
    (mount,) = container["volumeMounts"]
    (flag,) = [f for f in command if f.startswith("--custom-resource-state-config-file=")]
    assert flag.partition("=")[2] == f"{mount['mountPath']}/{next(iter(config))}"
    service = program.one("Service", "s-service").inputs
    port = int(service["spec"]["ports"][0]["port"])
    target = f"{service['metadata']['name']}.monitoring.svc:{port}"
    assert jobs()["kube-state-metrics"]["static_configs"] == [{"targets": [target]}]


def test_beside_another_one_it_tells_of_routes_alone() -> None:
    home = KubeStateMetricsArgs(
        "monitoring", "image", {"models": "models"}, [network.everywhere("else")], routes_only=True
    )
    program = run(lambda: KubeStateMetrics("s", home))
    (rule,) = program.one("NetworkPolicy", "s-policy").inputs["spec"]["ingress"]
    assert rule["from"] == [network.everywhere("else")]
    (role,) = program.of("Role")
    assert [rule["resources"] for rule in role.inputs["rules"]] == [["virtualservices"]]
    pod = program.one("Deployment", "s-deployment").inputs["spec"]["template"]["spec"]
    command = pod["containers"][0]["command"]
    assert "--custom-resource-state-only" in command
    assert not any(flag.startswith("--resources") for flag in command)
