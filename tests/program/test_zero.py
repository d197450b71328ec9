"""Models that may scale to zero against recording mocks: what that adds, what it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pulumi
import pytest

from components import Activator, ActivatorArgs, ModelServer, ModelServerArgs, Surroundings
from components.manifests import prometheus
from settings.model import Model
from settings.scaling import Scaling
from tests.conftest import Program, run

from .test_program import IMAGE, PLATFORM, changed, model, names, namespace, route, server

Deploy = Callable[..., Program]
ZERO = {"scaling": {"min": 0, "requests_per_second": 10}}
HEADER = "x-slipway-server"


def activator() -> set[tuple[str, str]]:
    parts = {
        "ServiceAccount": "account",
        "NetworkPolicy": "policy",
        "Service": "service",
        "PodDisruptionBudget": "budget",
        "Deployment": "deployment",
    }
    own = {(kind, f"activator-{part}") for kind, part in parts.items()}
    return own | {("Activator", "activator")}


def asleep(name: str) -> set[tuple[str, str]]:
    """A server that KEDA scales, with a Service of its pods alone."""
    by_cpu = ("HorizontalPodAutoscaler", f"{name}-autoscaler")
    by_requests = ("ScaledObject", f"{name}-autoscaler")
    return server(name) - {by_cpu} | {by_requests, ("Service", f"{name}-pods")}


KEDA = {
    ("Keda", "keda"),
    *namespace("keda-system"),
    *(("NetworkPolicy", f"keda-{part}-policy") for part in ("operator", "adapter")),
    ("Release", "keda-release"),
    ("Role", "monitoring-keda-role"),
    ("RoleBinding", "monitoring-keda-binding"),
}


def labels(program: Program, name: str) -> dict[str, str]:
    template = program.one("Deployment", f"{name}-deployment").inputs["spec"]["template"]
    found: dict[str, str] = template["metadata"]["labels"]
    return found


def picks(program: Program, service: str, pods: str) -> bool:
    selector = program.one("Service", service).inputs["spec"]["selector"].items()
    return bool(selector <= labels(program, pods).items())


def test_what_is_there_for_a_model_that_may_have_no_pod(deploy: Deploy) -> None:
    program = deploy(models={"churn": model() | ZERO, "fraud": model(7, None)})
    expected = PLATFORM | KEDA | activator() | asleep("churn-v1") | asleep("churn-v2")
    assert names(program) == expected | server("fraud-v7") | route("churn", 1, 2) | route(
        "fraud", 7
    )


def test_nothing_of_it_without_such_a_model(deploy: Deploy) -> None:
    by_requests = {"scaling": {"requests_per_second": 10}}
    program = deploy(models={"churn": model() | by_requests, "fraud": model(7, None)})
    text = repr([resource.inputs for resource in program.resources.values()])
    for word in ("activator", "serves.slipway.dev", HEADER, "failoverPriority", "pollingInterval"):
        assert word not in text


def test_other_models_stay_as_they_are(deploy: Deploy) -> None:
    before = deploy(models={"fraud": model(7, None) | {"scaling": {"requests_per_second": 1}}})
    after = deploy(
        models={
            "churn": model() | ZERO,
            "fraud": model(7, None) | {"scaling": {"requests_per_second": 1}},
        }
    )
    added = activator() | asleep("churn-v1") | asleep("churn-v2") | route("churn", 1, 2)
    rules = {"monitoring-rules-0", "monitoring-deployment"}
    own = {name for kind, name in added if kind not in ("Activator", "ModelServer", "ModelRoute")}
    assert set(changed(before, after)) == own | rules


def test_a_weight_changes_the_virtual_service_alone(deploy: Deploy) -> None:
    before = deploy(models={"churn": model(weight=10) | ZERO})
    after = deploy(models={"churn": model(weight=25) | ZERO})
    assert changed(before, after) == ["churn-virtual-service"]


def test_who_is_reached_by_which_service(deploy: Deploy) -> None:
    program = deploy(models={"churn": model() | ZERO})
    for version, other in (("churn-v1", "churn-v2"), ("churn-v2", "churn-v1")):
        assert picks(program, f"{version}-service", version)
        assert picks(program, f"{version}-service", "activator")
        assert not picks(program, f"{version}-service", other)
        assert picks(program, f"{version}-pods", version)
        assert not picks(program, f"{version}-pods", "activator")
        assert not picks(program, f"{version}-pods", other)
        deployment = program.one("Deployment", f"{version}-deployment").inputs["spec"]
        assert deployment["selector"]["matchLabels"] == {
            "app.kubernetes.io/name": "model-server",
            "app.kubernetes.io/instance": version,
        }
        behind = program.one("Service", f"{version}-pods").inputs
        assert behind["metadata"]["name"] == f"{version}-pods"
        assert behind["spec"]["publishNotReadyAddresses"] is True
        assert behind["metadata"]["annotations"]["networking.istio.io/exportTo"] == "~"
    assert picks(program, "activator-service", "activator")
    assert not any(picks(program, "activator-service", f"churn-v{n}") for n in (1, 2))
    # Prometheus would take the activator for a server of one model, and a mutation for a rollout.
    assert not any(key.startswith("slipway.dev/") for key in labels(program, "activator"))


def test_the_service_waits_for_all_that_it_picks(deploy: Deploy) -> None:
    program = deploy(models={"churn": model(1, None) | ZERO, "fraud": model(7, None)})
    needed = set(program.one("Service", "churn-v1-service").depends_on)
    assert needed >= {"churn-v1-deployment", "churn-v1-pods", "activator-deployment"}
    assert "churn-v1-service" not in program.one("Deployment", "churn-v1-deployment").depends_on
    # Elsewhere the pods drain before the Service goes.
    assert "fraud-v7-service" in program.one("Deployment", "fraud-v7-deployment").depends_on


def test_the_route_says_whom_a_request_is_for_and_has_time(deploy: Deploy) -> None:
    zero = {"scaling": ZERO["scaling"] | {"cold_start": "45s"}}
    program = deploy(models={"churn": model() | zero, "fraud": model()})
    rules = program.one("VirtualService", "churn-virtual-service").inputs["spec"]["http"]
    assert "timeout" not in rules[0]
    for rule in rules[1:]:
        assert rule["timeout"] == "75s"
        for each in rule["route"]:
            host = each["destination"]["host"]
            assert each["headers"]["request"] == {"set": {HEADER: host}}
            assert each["headers"]["response"] == {"remove": ["x-envoy-ratelimited"]}
    for version in (1, 2):
        name = f"churn-v{version}-destination"
        policy = program.one("DestinationRule", name).inputs["spec"]["trafficPolicy"]
        (first,) = policy["loadBalancer"]["localityLbSetting"]["failoverPriority"]
        key, _, value = first.partition("=")
        assert labels(program, f"churn-v{version}")[key] == value
        assert labels(program, "activator")[key] != value
        # Without outliers Istio sets no priorities; with a share, pods that start do not count.
        assert policy["outlierDetection"]["minHealthPercent"] == 1
    others = program.one("VirtualService", "fraud-virtual-service").inputs["spec"]["http"]
    assert {rule["timeout"] for rule in others[1:]} == {"30s"} and HEADER not in repr(others)


def test_the_activator_knows_its_servers_and_reaches_no_other(deploy: Deploy) -> None:
    zero = {"scaling": ZERO["scaling"] | {"cold_start": "2m"}}
    program = deploy(models={"churn": model() | zero, "fraud": model(7, None)})
    deployment = program.one("Deployment", "activator-deployment").inputs["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    env = {item["name"]: item["value"] for item in container["env"]}
    assert container["image"] == IMAGE and deployment["replicas"] == 2
    assert json.loads(env["SERVERS"]) == {
        f"churn-v{n}": {
            "model": "churn",
            "version": str(n),
            "url": f"http://churn-v{n}-pods:80",
            "seconds": 120,
        }
        for n in (1, 2)
    }
    policy = program.one("NetworkPolicy", "activator-policy").inputs["spec"]
    requests, own = policy["ingress"]
    sources = [peer["podSelector"]["matchLabels"] for peer in requests["from"]]
    assert sources[0] == {"istio": "ingress"} and requests["ports"][0]["port"] == 8080
    assert sources[1]["app.kubernetes.io/instance"] == "churn-comparer" and len(sources) == 2
    assert [peer["podSelector"]["matchLabels"] for peer in own["from"]] == [
        {"app": "keda-operator"},
        prometheus.selector(),
    ]
    assert own["ports"] == [{"protocol": "TCP", "port": 8081}]
    name_server, servers = policy["egress"]
    assert {port["port"] for port in name_server["ports"]} == {53}
    reached = {it["podSelector"]["matchLabels"]["app.kubernetes.io/instance"]
               for it in servers["to"]}  # fmt: skip
    assert reached == {"churn-v1", "churn-v2"} and servers["ports"][0]["port"] == 8080


def test_servers_let_the_activator_in_where_it_asks_them(deploy: Deploy) -> None:
    program = deploy(models={"churn": model(1, None) | ZERO, "fraud": model(7, None)})

    def admitted(name: str) -> bool:
        (rule,) = program.one("NetworkPolicy", f"{name}-policy").inputs["spec"]["ingress"]
        has = labels(program, "activator").items()
        return any(peer["podSelector"]["matchLabels"].items() <= has for peer in rule["from"])

    assert admitted("churn-v1") and not admitted("fraud-v7")


def test_a_comparer_waits_as_long_as_a_request_may(deploy: Deploy) -> None:
    shadow = {"shadow": {"version": 3}}
    program = deploy(models={"churn": model() | shadow | ZERO, "fraud": model() | shadow})

    def told(name: str) -> dict[str, str]:
        spec = program.one("Deployment", f"{name}-comparer-deployment").inputs["spec"]
        (container,) = spec["template"]["spec"]["containers"]
        return {item["name"]: item["value"] for item in container["env"]}

    assert told("churn")["COMPARE_SECONDS"] == "90"
    assert "COMPARE_SECONDS" not in told("fraud")
    for name, most in (("churn", 3), ("fraud", 2)):
        policy = program.one("NetworkPolicy", f"{name}-comparer-policy").inputs["spec"]
        assert len(policy["egress"][1]["to"]) == most


def test_a_floor_changes_the_autoscaler_alone() -> None:
    def serve(floor: int | None) -> Program:
        around = Surroundings(
            "models", IMAGE, "http://mlflow", "mlflow", prometheus.peer(), "http://p"
        )
        scaling = Scaling(min=0, requests_per_second=10)
        args = ModelServerArgs("churn", 2, around, scaling=scaling, floor=floor)
        return run(lambda: ModelServer("churn-v2", args))

    before, after = serve(None), serve(1)
    assert changed(before, after) == ["churn-v2-autoscaler"]
    for program, least in ((before, 0), (after, 1)):
        spec = program.one("ScaledObject", "churn-v2-autoscaler").inputs["spec"]
        assert spec["minReplicaCount"] == least


def test_no_activator_for_nobody() -> None:
    args = ActivatorArgs("models", IMAGE, prometheus.peer(), {"churn": Model(stable=1)})
    assert args.servers == []
    with pytest.raises(ValueError, match="activator: no model has a min of 0"):
        run(lambda: Activator("activator", args, pulumi.ResourceOptions()))
