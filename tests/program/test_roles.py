"""The roles of versions against recording mocks: what each adds, and what a change changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components import ModelRoute, ModelRouteArgs, ShadowComparer, ShadowComparerArgs, Surroundings
from components.manifests import prometheus
from settings.model import Model
from tests.conftest import Program, run

from .test_program import IMAGE, PLATFORM, changed, model, names, route, server

Deploy = Callable[..., Program]
SHADOW = {"shadow": {"version": 2, "percent": 50}}
STICKY = {"sticky": {"cookie": "ab"}}


def comparer(name: str) -> set[tuple[str, str]]:
    parts = {
        "ServiceAccount": "account",
        "NetworkPolicy": "policy",
        "Service": "service",
        "Deployment": "deployment",
    }
    own = {(kind, f"{name}-comparer-{part}") for kind, part in parts.items()}
    return own | {
        ("ShadowComparer", f"{name}-comparer"),
        ("DestinationRule", f"{name}-comparer-destination"),
    }


def http(program: Program, name: str = "churn") -> list[dict[str, Any]]:
    spec = program.one("VirtualService", f"{name}-virtual-service").inputs["spec"]
    found: list[dict[str, Any]] = spec["http"]
    return found


def hosts(program: Program) -> set[str]:
    """The Services that answer requests for churn."""
    return {
        each["destination"]["host"].partition(".")[0]
        for rule in http(program)
        for each in rule.get("route", [])
    }


def test_a_previous_version_has_a_server_and_no_requests(deploy: Deploy) -> None:
    program = deploy(models={"churn": model(2, None) | {"previous": 1}})
    expected = PLATFORM | server("churn-v2") | server("churn-v1") | route("churn", 1, 2)
    assert names(program) == expected
    assert hosts(program) == {"churn-v2"}
    assert "churn-v1" not in repr(http(program))
    assert program.outputs["models"]["churn"]["previous"] == 1


def test_a_promotion_that_keeps_the_version_before_changes_the_route_alone(
    deploy: Deploy,
) -> None:
    before = deploy(models={"churn": model(1, 2, 100)})
    after = deploy(models={"churn": model(2, None) | {"previous": 1}})
    assert changed(before, after) == ["churn-virtual-service"]
    back = deploy(models={"churn": model(1, None)})
    assert hosts(back) == {"churn-v1"} and "churn-virtual-service" in changed(after, back)


def test_a_shadow_has_a_server_a_comparer_and_a_copy_of_the_requests(deploy: Deploy) -> None:
    program = deploy(models={"churn": model(1, None) | SHADOW, "fraud": model()})
    expected = PLATFORM | server("churn-v1") | server("churn-v2") | comparer("churn")
    expected |= route("churn", 1, 2) | server("fraud-v1") | server("fraud-v2")
    assert names(program) == expected | route("fraud", 1, 2)
    assert hosts(program) == {"churn-v1"}
    (mirrored,) = [rule for rule in http(program) if "mirror" in rule]
    host = "churn-comparer.models.svc.cluster.local"
    assert mirrored["mirror"] == {"host": host, "port": {"number": 80}}
    assert mirrored["mirrorPercentage"] == {"value": 50}
    assert not any("mirror" in rule for rule in http(program, "fraud"))
    rule = program.one("DestinationRule", "churn-comparer-destination").inputs["spec"]
    assert rule["host"] == host
    assert program.outputs["models"]["churn"]["shadow"] == {"version": 2, "percent": 50}


def test_a_comparer_is_told_whom_to_ask_and_let_out_to_them_alone(deploy: Deploy) -> None:
    program = deploy(models={"churn": model(3, None) | {"shadow": {"version": 7}}})
    pod = program.one("Deployment", "churn-comparer-deployment").inputs["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    env = {item["name"]: item["value"] for item in container["env"]}
    assert container["image"] == IMAGE
    assert (env["STABLE_VERSION"], env["SHADOW_VERSION"]) == ("3", "7")
    assert env["STABLE_URL"] == "http://churn-v3.models.svc.cluster.local"
    assert env["SHADOW_URL"] == "http://churn-v7.models.svc.cluster.local"
    policy = program.one("NetworkPolicy", "churn-comparer-policy").inputs["spec"]
    peers = [peer["podSelector"]["matchLabels"] for peer in policy["egress"][1]["to"]]
    selectors = [
        program.one("Deployment", f"churn-v{version}-deployment").inputs["spec"]["selector"]
        for version in (3, 7)
    ]
    assert peers == [selector["matchLabels"] for selector in selectors]


def test_servers_let_their_models_comparer_in(deploy: Deploy) -> None:
    program = deploy(models={"churn": model(1, None) | SHADOW})
    labels = program.one("Deployment", "churn-comparer-deployment").inputs["spec"]["template"][
        "metadata"
    ]["labels"]
    for version in (1, 2):
        (rule,) = program.one("NetworkPolicy", f"churn-v{version}-policy").inputs["spec"]["ingress"]
        admitted = [peer["podSelector"]["matchLabels"].items() for peer in rule["from"]]
        assert any(selects <= labels.items() for selects in admitted)


def test_a_shadow_that_comes_or_goes_leaves_the_servers_alone(deploy: Deploy) -> None:
    before = deploy(models={"churn": model()})
    after = deploy(models={"churn": model() | SHADOW})
    added = {name for kind, name in comparer("churn") if kind != "ShadowComparer"}
    assert set(changed(before, after)) == added | {"churn-virtual-service"}


def test_no_update_waits_for_a_comparer(deploy: Deploy) -> None:
    program = deploy(models={"churn": model() | SHADOW})
    deployment = program.one("Deployment", "churn-comparer-deployment")
    assert deployment.inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    for kind, name in (("ModelRoute", "churn"), ("VirtualService", "churn-virtual-service")):
        needed = program.one(kind, name).depends_on
        assert "churn-comparer-deployment" not in needed
    assert "churn-comparer-destination" in needed


@pytest.mark.parametrize("sticky", [{"cookie": "ab"}, {"header": "x-user"}])
def test_a_sticky_model_has_a_filter_beside_the_gateway(
    deploy: Deploy, sticky: dict[str, str]
) -> None:
    program = deploy(models={"churn": model() | {"sticky": sticky}, "fraud": model()})
    found = program.one("EnvoyFilter", "churn-sticky").inputs
    assert found["metadata"]["namespace"] == "istio-ingress"
    fail_open = program.one("EnvoyFilter", "mesh-fail-open").inputs
    assert found["spec"]["workloadSelector"] == fail_open["spec"]["workloadSelector"]
    assert {filter.name for filter in program.of("EnvoyFilter")} == {
        "mesh-fail-open",
        "churn-sticky",
    }
    # Istio's webhook must outlive it.
    assert "mesh-istiod" in program.one("ModelRoute", "churn").depends_on


def test_a_weight_changes_the_virtual_service_alone_whatever_the_roles(deploy: Deploy) -> None:
    for more in (STICKY, SHADOW, STICKY | SHADOW):
        programs = [
            deploy(models={"churn": model(weight=weight) | more}) for weight in (0, 10, 100)
        ]
        for before, after in zip(programs, programs[1:], strict=False):
            assert changed(before, after) == ["churn-virtual-service"]


def test_the_end_of_a_canary_leaves_the_filter_alone(deploy: Deploy) -> None:
    before = deploy(models={"churn": model(1, 2, 100) | STICKY})
    after = deploy(models={"churn": model(2, None) | STICKY | {"previous": 1}})
    assert changed(before, after) == ["churn-virtual-service"]
    patches = after.one("EnvoyFilter", "churn-sticky").inputs["spec"]["configPatches"]
    patched = {p["match"]["routeConfiguration"]["vhost"]["route"]["name"] for p in patches}
    assert not patched & {rule["name"] for rule in http(after)}


def test_a_shadow_that_becomes_the_canary_keeps_its_server(deploy: Deploy) -> None:
    before = deploy(models={"churn": model(1, None) | SHADOW})
    after = deploy(models={"churn": model(1, 2, 5)})
    gone = {name for kind, name in comparer("churn") if kind != "ShadowComparer"}
    assert set(changed(before, after)) == gone | {"churn-virtual-service"}


def test_a_route_needs_a_server_for_each_version_that_answers() -> None:
    def program() -> None:
        class Mesh:
            gateway = ingress_namespace = pulumi.Output.from_input("x")

        served = Model.model_validate({"stable": 1, "canary": {"version": 2}})
        ModelRoute("churn", ModelRouteArgs("churn", "models", Mesh(), {}, served))

    with pytest.raises(ValueError, match="route of churn: no server for version 1"):
        run(program)


def test_a_comparer_needs_a_shadow() -> None:
    def program() -> None:
        around = Surroundings(
            "models", "image", "http://mlflow", "mlflow", prometheus.peer(), "http://prometheus"
        )
        alone = Model.model_validate({"stable": 1})
        ShadowComparer("churn-comparer", ShadowComparerArgs("churn", around, {}, alone))

    with pytest.raises(ValueError, match="comparer of churn: it has no shadow"):
        run(program)
