"""Sidecars and TLS at the gateway, against recording mocks: what is there with them, and that
nothing is without.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from settings import SettingsError, parse
from tests.conftest import CONTEXT, Program

from .test_program import changed, model

Deploy = Callable[..., Program]
SIDECARS = CONTEXT["istio"] | {"sidecars": True}
MODELS = {"churn": model(), "fraud": model(7, None) | {"shadow": {"version": 8, "percent": 5}}}
NIGHT = {
    "night": model(1, None)
    | {"scaling": {"min": 0, "max": 3, "requests_per_second": 5, "cold_start": "90s"}}
}


def spec(program: Program, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = program.one(kind, name).inputs["spec"]
    return found


def principals(program: Program, name: str) -> list[str]:
    """The service accounts that a policy lets in, less what they have in common."""
    rules = spec(program, "AuthorizationPolicy", f"{name}-callers")["rules"]
    return [
        each.removeprefix("cluster.local/ns/")
        for rule in rules
        for source in rule.get("from", [])
        for each in source["source"].get("principals", [])
    ]


def test_what_is_off_is_not_there(deploy: Deploy) -> None:
    off = {"sidecars": False, "replicas": 1}
    plain = deploy(models=MODELS, demo=True)
    said = deploy(models=MODELS, demo=True, istio=CONTEXT["istio"] | off, gateway={"tls": {}})
    assert changed(plain, said) == []
    assert not plain.of("AuthorizationPolicy") and not plain.of("PeerAuthentication")
    assert "istio-injection" not in json.dumps([each.inputs for each in plain.of("Namespace")])


def test_everybody_shows_a_certificate_and_nobody_is_let_in(deploy: Deploy) -> None:
    program = deploy(models=MODELS, istio=SIDECARS)
    assert spec(program, "PeerAuthentication", "mesh-strict") == {"mtls": {"mode": "STRICT"}}
    where = program.one("PeerAuthentication", "mesh-strict").inputs["metadata"]
    assert (where["namespace"], where["name"]) == ("istio-system", "default")
    for name in ("models", "mlflow"):
        namespace = program.one("Namespace", f"{name}-namespace").inputs["metadata"]
        assert namespace["labels"]["istio-injection"] == "enabled"
        assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        assert spec(program, "AuthorizationPolicy", f"mesh-{name}-nobody") == {}
    cni = program.one("Namespace", "mesh-cni-namespace").inputs["metadata"]
    assert cni["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    watching = program.one("Namespace", "monitoring-namespace").inputs["metadata"]
    assert "istio-injection" not in watching["labels"]


def test_who_may_ask_whom(deploy: Deploy) -> None:
    program = deploy(models=MODELS | NIGHT, istio=SIDECARS)
    gateway = "istio-ingress/sa/istio-ingress"
    assert principals(program, "churn-v1") == [gateway, "models/sa/churn-comparer"]
    assert principals(program, "fraud-v8") == [gateway, "models/sa/fraud-comparer"]
    assert principals(program, "fraud-comparer") == [gateway]
    holder = "models/sa/activator"
    assert principals(program, "night-v1") == [gateway, "models/sa/night-comparer", holder]
    assert principals(program, "activator") == [gateway, "models/sa/night-comparer"]
    assert principals(program, "artifacts") == ["mlflow/sa/mlflow"]
    own, models = spec(program, "AuthorizationPolicy", "mlflow-callers")["rules"]
    assert own["from"] == [{"source": {"namespaces": ["mlflow"]}}]
    assert own["to"] == [{"operation": {"ports": ["5000"]}}]
    # A model's pod is a stranger's code: it fetches, and registers nothing.
    assert models["from"] == [{"source": {"namespaces": ["models"]}}]
    assert models["to"] == [{"operation": {"ports": ["5000"], "methods": ["GET", "HEAD"]}}]
    # KEDA, which has no sidecar, gets to the one port that takes no certificate.
    plain = spec(program, "PeerAuthentication", "activator-plain")
    assert plain["portLevelMtls"] == {"8081": {"mode": "PERMISSIVE"}}
    assert [each.name for each in program.of("PeerAuthentication")] == [
        "mesh-strict",
        "activator-plain",
    ]


def test_every_pod_with_a_sidecar_reaches_istiod_and_is_scraped_through_it(deploy: Deploy) -> None:
    program = deploy(models=MODELS | NIGHT, demo=True, istio=SIDECARS)
    served = spec(program, "NetworkPolicy", "mesh-istiod-policy")["ingress"][0]["from"]
    assert len(served) == 3
    for name in ("churn-v1", "fraud-comparer", "activator", "artifacts", "demo"):
        policy = spec(program, "NetworkPolicy", f"{name}-policy")
        assert any(
            rule["ports"] == [{"protocol": "TCP", "port": 15012}] for rule in policy["egress"]
        ), name
    for name in ("churn-v1", "fraud-comparer", "activator", "mlflow"):
        policy = spec(program, "NetworkPolicy", f"{name}-policy")
        (asked,) = [rule for rule in policy["ingress"] if rule["ports"][0]["port"] == 15020]
        (scraper,) = asked["from"]
        assert scraper["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "prometheus"


def test_pods_and_kinds_of_the_mesh_come_after_it(deploy: Deploy) -> None:
    program = deploy(models=MODELS | NIGHT, demo=True, istio=SIDECARS)
    mesh = {"mesh-istiod", "mesh-istio-cni", "mesh-istio-ingress"}
    kinds = ("AuthorizationPolicy", "PeerAuthentication")
    for made in (each for kind in kinds for each in program.of(kind)):
        expected = mesh if not made.name.startswith("mesh-") else mesh - {"mesh-istio-ingress"}
        assert expected <= set(made.depends_on), made.name
    components = [
        each
        for each in program.resources.values()
        if each.kind in ("ModelServer", "MlflowServer", "ArtifactBucket", "TrainingJob")
        or each.kind in ("Activator", "ShadowComparer")
    ]
    assert len(components) == 10
    for each in components:
        assert mesh <= set(each.depends_on), each.name
    assert "churn-v1-callers" in program.one("Deployment", "churn-v1-deployment").depends_on


def test_another_version_of_istio_renews_who_has_its_proxy(deploy: Deploy) -> None:
    """A pod keeps the proxy that it began with: the version stands in each template, but for the
    Job's, which would run once more.
    """
    before = deploy(models=MODELS | NIGHT, demo=True, istio=SIDECARS)
    after = deploy(models=MODELS | NIGHT, demo=True, istio=SIDECARS | {"tag": "1.31.2"})
    injected = [
        each.name
        for each in before.of("Deployment")
        if "sidecar.istio.io/inject" in json.dumps(each.inputs)
    ]
    assert {"mlflow-deployment", "churn-v1-deployment", "activator-deployment"} < set(injected)
    assert {"artifacts-deployment", "fraud-comparer-deployment"} < set(injected)
    renewed = set(changed(before, after))
    assert set(injected) < renewed
    assert not any(
        before.one("Job", each.name) for each in before.of("Job") if each.name in renewed
    )
    (gateway,) = [each for each in after.of("Release") if each.name == "mesh-istio-ingress"]
    assert gateway.inputs["values"]["podAnnotations"]["slipway.dev/istio"] == "1.31.2"
    plain = deploy(models=MODELS)
    assert "slipway.dev/istio" not in json.dumps([each.inputs for each in plain.resources.values()])


def test_a_sidecar_counts_for_no_autoscaler(deploy: Deploy) -> None:
    program = deploy(models=MODELS | NIGHT, istio=SIDECARS)
    metrics = spec(program, "HorizontalPodAutoscaler", "churn-v1-autoscaler")["metrics"]
    assert {each["type"] for each in metrics} == {"ContainerResource"}
    triggers = spec(program, "ScaledObject", "night-v1-autoscaler")["triggers"]
    assert [it["metadata"]["containerName"] for it in triggers[2:]] == ["server", "server"]


def test_a_weight_changes_the_route_alone(deploy: Deploy) -> None:
    before, after = (
        deploy(models={"churn": model(weight=weight)}, istio=SIDECARS) for weight in (10, 50)
    )
    assert changed(before, after) == ["churn-virtual-service"]


@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort"])
def test_an_exposed_mlflow_takes_who_comes_from_outside(deploy: Deploy, kind: str) -> None:
    exposed = {"service_type": kind, "allow_from": ["10.0.0.0/8"]}
    program = deploy(models=MODELS, istio=SIDECARS, mlflow=exposed)
    plain = spec(program, "PeerAuthentication", "mlflow-plain")
    assert plain["portLevelMtls"] == {"5000": {"mode": "PERMISSIVE"}}
    rules = spec(program, "AuthorizationPolicy", "mlflow-callers")["rules"]
    assert rules[2]["from"] == [{"source": {"notPrincipals": ["*"]}}]


def test_servers_are_asked_by_mutual_tls(deploy: Deploy) -> None:
    for keys, mode in ((SIDECARS, "ISTIO_MUTUAL"), (CONTEXT["istio"], "DISABLE")):
        rules = deploy(models=MODELS, istio=keys).of("DestinationRule")
        assert len(rules) == 5
        assert {each.inputs["spec"]["trafficPolicy"]["tls"]["mode"] for each in rules} == {mode}


def test_a_sleeping_server_is_asked_at_one_pod(deploy: Deploy) -> None:
    program = deploy(models=NIGHT, istio=SIDECARS)
    service = program.one("Service", "night-v1-pods").inputs
    assert service["spec"]["ports"][0]["appProtocol"] == "tcp"
    assert service["metadata"]["annotations"]["networking.istio.io/exportTo"] == "."


def test_prometheus_does_not_take_a_sidecar_for_a_gateway(deploy: Deploy) -> None:
    program = deploy(models=MODELS, istio=SIDECARS)
    text = program.one("ConfigMap", "monitoring-config").inputs["data"]["prometheus.yml"]
    (pods,) = [job for job in json.loads(text)["scrape_configs"] if job["job_name"] == "pods"]
    first = pods["metric_relabel_configs"][0]
    assert (first["action"], first["regex"]) == ("drop", "(mlflow|models);(envoy|istio)_.+")


@pytest.mark.parametrize(
    ("tls", "name"),
    [({"certificate": "mesh"}, "builtin://"), ({"secret": "gateway-tls"}, "gateway-tls")],
)
@pytest.mark.parametrize("redirect", [False, True])
def test_https_alone(deploy: Deploy, tls: dict[str, Any], name: str, redirect: bool) -> None:
    gateway = {
        "service_type": "NodePort",
        "node_port": 30443,
        "url": "https://models.example.com",
        "tls": tls | {"redirect": redirect},
    }
    program = deploy(models=MODELS, gateway=gateway)
    server, *plain = spec(program, "Gateway", "mesh-gateway")["servers"]
    assert server["port"]["number"] == 443
    assert server["tls"] == {
        "mode": "SIMPLE",
        "minProtocolVersion": "TLSV1_2",
        "credentialName": name,
    }
    assert [each["tls"] for each in plain] == ([{"httpsRedirect": True}] if redirect else [])
    values = program.one("Release", "mesh-istio-ingress").inputs["values"]
    ports = [(each["port"], each.get("nodePort")) for each in values["service"]["ports"]]
    assert ports == [(443, 30443), *([(80, None)] if redirect else [])]
    allowed = spec(program, "NetworkPolicy", "mesh-istio-ingress-policy")["ingress"][0]["ports"]
    assert [each["port"] for each in allowed] == ([443, 80] if redirect else [443])
    assert program.outputs["gateway_url"] == "https://models.example.com"


def test_two_of_each_in_two_zones(deploy: Deploy) -> None:
    program = deploy(models=MODELS, istio=CONTEXT["istio"] | {"replicas": 2})
    for name, pods in (("mesh-istiod", {"app": "istiod"}), ("mesh-istio-ingress", None)):
        values = program.one("Release", name).inputs["values"]
        assert values["replicaCount"] == 2
        (spread,) = values["topologySpreadConstraints"]
        assert spread["topologyKey"] == "topology.kubernetes.io/zone"
        assert pods is None or spread["labelSelector"]["matchLabels"] == pods
        budget = values["podDisruptionBudget"] if pods is None else values["pdb"]
        assert budget["maxUnavailable"] == 1
        assert values["affinity"]["podAntiAffinity"]


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        (
            {"gateway": {"url": "http://models.example.com", "tls": {"secret": "a"}}},
            'slipway:gateway.url: "http://models.example.com" is not an https:// URL, and with tls '
            "the gateway speaks HTTPS",
        ),
        (
            {"gateway": {"tls": {"redirect": True}}},
            'slipway:gateway.tls: {"redirect": true} takes one of certificate: mesh and secret: '
            "<name of a Secret>",
        ),
        (
            {"gateway": {"tls": {"certificate": "mesh", "secret": "a"}}},
            'slipway:gateway.tls: {"certificate": "mesh", "secret": "a"} takes one of certificate: '
            "mesh and secret: <name of a Secret>",
        ),
        (
            {"gateway": {"tls": {"secret": "No Name"}}},
            "slipway:gateway.tls.secret: \"No Name\" is not a Secret's name of a-z, 0-9, '-', '.'",
        ),
        (
            {"istio": {"sidecars": "yes"}},
            'slipway:istio.sidecars: "yes" is not true or false',
        ),
        (
            {"istio": {"replicas": 0}},
            "slipway:istio.replicas: 0 is not a whole number of replicas from 1 to 500",
        ),
    ],
)
def test_bad_input_is_one_line(keys: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse({"context": "a", "registry": "a.test", **keys})
    assert caught.value.faults == [fault]
