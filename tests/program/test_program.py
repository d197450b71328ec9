"""The whole program against recording mocks: which resources, under which names, with what in
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components import __all__ as public
from components.keda import Keda, KedaArgs
from components.manifests import autoscaler, prometheus
from components.model_server import ModelServer, ModelServerArgs, Surroundings
from settings.scaling import Keda as KedaSettings
from settings.scaling import Scaling
from tests.conftest import DIGEST, ROOT, SECRETS, Program, run

Deploy = Callable[..., Program]
IMAGE = f"registry.test:5000/slipway/serving@{DIGEST}"


def model(stable: int = 1, canary: int | None = 2, weight: int = 10) -> dict[str, Any]:
    return {"stable": stable} | (
        {"canary": {"version": canary, "weight": weight}} if canary else {}
    )


def server(name: str) -> set[tuple[str, str]]:
    parts = {
        "ServiceAccount": "account",
        "NetworkPolicy": "policy",
        "Service": "service",
        "PodDisruptionBudget": "budget",
        "Deployment": "deployment",
        "HorizontalPodAutoscaler": "autoscaler",
    }
    return {(kind, f"{name}-{part}") for kind, part in parts.items()} | {("ModelServer", name)}


def route(name: str, *versions: int) -> set[tuple[str, str]]:
    rules = {("DestinationRule", f"{name}-v{version}-destination") for version in versions}
    return {("ModelRoute", name), ("VirtualService", f"{name}-virtual-service")} | rules


def namespace(name: str) -> set[tuple[str, str]]:
    return {
        ("IsolatedNamespace", name),
        ("Namespace", f"{name}-namespace"),
        ("NetworkPolicy", f"{name}-default-deny"),
    }


CLUSTER_ROLE = (("", "role"), ("Binding", "binding"))

PLATFORM = (
    {("kubernetes", "cluster"), ("docker-build", "builder")}
    | namespace("models")
    | namespace("mlflow")
    | namespace("monitoring")
    | namespace("mesh-system")
    | namespace("mesh-ingress")
    | {("IstioMesh", "mesh"), ("Gateway", "mesh-gateway"), ("EnvoyFilter", "mesh-fail-open")}
    | {("Release", f"mesh-{part}") for part in ("istio-base", "istiod", "istio-ingress")}
    | {("NetworkPolicy", f"mesh-{part}-policy") for part in ("istiod", "istio-ingress")}
    | {("ServingImage", "serving"), ("Image", "serving-image")}
    | {("ArtifactBucket", "artifacts"), ("Secret", "artifacts-credentials")}
    | {("MlflowServer", "mlflow"), ("Monitoring", "monitoring"), ("ConfigMap", "monitoring-config")}
    | {
        (kind, f"{owner}-{part}")
        for owner in ("alertmanager", "artifacts", "mlflow", "monitoring")
        for kind, part in (
            ("PersistentVolumeClaim", "volume"),
            ("ServiceAccount", "account"),
            ("Service", "service"),
            ("NetworkPolicy", "policy"),
            ("Deployment", "deployment"),
        )
    }
    | {
        (kind, f"monitoring-{scraped}-{part}")
        for scraped in ("models", "istio-ingress", "mlflow")
        for kind, part in (("Role", "role"), ("RoleBinding", "binding"))
    }
    | {("ConfigMap", "monitoring-rules-0"), ("ConfigMap", "alertmanager-config")}
    | {(f"ClusterRole{kind}", f"monitoring-nodes-{part}") for kind, part in CLUSTER_ROLE}
    | {("Observability", "observability"), ("Alertmanager", "alertmanager")}
    | {("KubeStateMetrics", "observability-states")}
    | {
        (kind, f"observability-states-{part}")
        for kind, part in (
            ("ConfigMap", "config"),
            ("ServiceAccount", "account"),
            ("Service", "service"),
            ("NetworkPolicy", "policy"),
            ("Deployment", "deployment"),
        )
    }
    | {
        (f"ClusterRole{kind}", f"observability-states-definitions-{part}")
        for kind, part in CLUSTER_ROLE
    }
    | {
        (kind, f"observability-states-{watched}-{part}")
        for watched in ("models", "istio-ingress", "mlflow", "monitoring")
        for kind, part in (("Role", "role"), ("RoleBinding", "binding"))
    }
)
DEMO = {
    ("TrainingJob", "demo"),
    ("ConfigMap", "demo-script"),
    ("ServiceAccount", "demo-account"),
    ("NetworkPolicy", "demo-policy"),
    ("Job", "demo-job"),
}


def names(program: Program) -> set[tuple[str, str]]:
    return {(resource.kind, resource.name) for resource in program.resources.values()}


def changed(old: Program, new: Program) -> list[str]:
    """Custom resources that an update would create, change or delete."""
    before, after = ({r.name: r for r in program.custom()} for program in (old, new))
    return sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))


def test_one_model(deploy: Deploy) -> None:
    program = deploy(demo=True, models={"churn": model()})
    assert names(program) == PLATFORM | DEMO | server("churn-v1") | server("churn-v2") | route(
        "churn", 1, 2
    )


def test_three_models(deploy: Deploy) -> None:
    models = {"churn": model(), "fraud": model(7, None), "x-v1": model(2, 3, 0)}
    program = deploy(models=models)
    expected = PLATFORM | server("churn-v1") | server("churn-v2") | server("fraud-v7")
    expected |= (
        server("x-v1-v2")
        | server("x-v1-v3")
        | route("churn", 1, 2)
        | route("fraud", 7)
        | route("x-v1", 2, 3)
    )
    assert names(program) == expected


def test_no_model(deploy: Deploy) -> None:
    assert names(deploy()) == PLATFORM


def test_outputs(deploy: Deploy) -> None:
    exposed = {
        "gateway": {"service_type": "NodePort", "node_port": 30080, "url": "http://127.0.0.1:8080"},
        "mlflow": {"service_type": "NodePort", "url": "http://127.0.0.1:5001"},
    }
    assert deploy(models={"churn": model(), "fraud": model(7, None)}, **exposed).outputs == {
        "gateway_url": "http://127.0.0.1:8080",
        "mlflow_url": "http://127.0.0.1:5001",
        "prometheus_url": "http://prometheus.monitoring.svc.cluster.local:9090",
        "serving_image": IMAGE,
        "models": {
            "churn": {
                "url": "http://127.0.0.1:8080/models/churn",
                "stable": 1,
                "canary": 2,
                "weight": 10,
            },
            "fraud": {"url": "http://127.0.0.1:8080/models/fraud", "stable": 7, "weight": 0},
        },
    }


def test_a_weight_changes_the_virtual_service_alone(deploy: Deploy) -> None:
    before = deploy(models={"churn": model(weight=10), "fraud": model()})
    after = deploy(models={"churn": model(weight=25), "fraud": model()})
    assert changed(before, after) == ["churn-virtual-service"]
    split = after.one("VirtualService", "churn-virtual-service").inputs["spec"]["http"][-1]["route"]
    assert [destination["weight"] for destination in split] == [75, 25]


def test_a_promotion_leaves_the_promoted_server_alone(deploy: Deploy) -> None:
    before = deploy(demo=True, models={"churn": model(1, 2, 100)})
    after = deploy(demo=True, models={"churn": model(2, None)})
    gone = {name for _, name in server("churn-v1")} - {"churn-v1"} | {"churn-v1-destination"}
    assert set(changed(before, after)) == gone | {"churn-virtual-service"}
    assert {r.name for r in after.custom()} == {r.name for r in before.custom()} - gone


def test_nothing_edited_is_nothing_changed(deploy: Deploy) -> None:
    models = {"churn": model(), "fraud": model()}
    assert changed(deploy(demo=True, models=models), deploy(demo=True, models=models)) == []


def test_requests_are_keda_s_to_scale_by(deploy: Deploy) -> None:
    def scaled(**scaling: Any) -> Program:
        return deploy(models={"churn": model() | {"scaling": scaling}, "fraud": model(7, None)})

    before, after = scaled(), scaled(requests_per_second=100, fallback=3)
    objects = {r.name for r in after.of("ScaledObject")}
    assert objects == {"churn-v1-autoscaler", "churn-v2-autoscaler"}
    assert {r.name for r in after.of("HorizontalPodAutoscaler")} == {"fraud-v7-autoscaler"}
    made = after.one("ScaledObject", "churn-v2-autoscaler")
    assert made.inputs["apiVersion"] == "keda.sh/v1alpha1"
    assert made.inputs["metadata"]["name"] == "churn-v2"
    assert made.inputs["spec"]["scaleTargetRef"]["name"] == "churn-v2"
    asked = made.inputs["spec"]["triggers"][0]["metadata"]
    assert asked["query"] == autoscaler.requests_query("churn", 2)
    assert asked["serverAddress"] == "http://prometheus.monitoring.svc.cluster.local:9090"
    assert "churn-v2-deployment" in made.depends_on
    # The Deployment stays as it is: no pod restarts, and it says no replicas before or after.
    for program in (before, after):
        assert "replicas" not in program.one("Deployment", "churn-v2-deployment").inputs["spec"]
    assert before.one("Deployment", "churn-v2-deployment").inputs == (
        after.one("Deployment", "churn-v2-deployment").inputs
    )
    assert not any(r.type.startswith("kubernetes:keda.sh") for r in before.resources.values())


def test_a_pace_changes_its_own_autoscalers_alone(deploy: Deploy) -> None:
    pace = {"scaling": {"down": {"stabilization": "10m"}}}
    before = deploy(models={"churn": model(), "fraud": model(7, None)})
    after = deploy(models={"churn": model() | pace, "fraud": model(7, None)})
    assert changed(before, after) == ["churn-v1-autoscaler", "churn-v2-autoscaler"]
    down = after.one("HorizontalPodAutoscaler", "churn-v1-autoscaler").inputs["spec"]["behavior"]
    assert down["scaleDown"]["stabilizationWindowSeconds"] == 600


@pytest.mark.parametrize(
    ("kind", "least", "scaling"),
    [
        ("HorizontalPodAutoscaler", "minReplicas", Scaling()),
        ("ScaledObject", "minReplicaCount", Scaling(requests_per_second=10)),
    ],
)
def test_a_floor_changes_the_autoscaler_alone(kind: str, least: str, scaling: Scaling) -> None:
    def serve(floor: int | None) -> Program:
        around = Surroundings(
            "models", IMAGE, "http://mlflow", "mlflow", prometheus.peer(), "http://p"
        )
        args = ModelServerArgs("churn", 2, around, scaling=scaling, floor=floor)
        return run(lambda: ModelServer("churn-v2", args))

    before, after = serve(None), serve(5)
    assert changed(before, after) == ["churn-v2-autoscaler"]
    for program, replicas in ((before, 2), (after, 5)):
        assert program.one(kind, "churn-v2-autoscaler").inputs["spec"][least] == replicas


def test_a_floor_is_of_a_version_and_changes_no_pod(deploy: Deploy) -> None:
    before = deploy(models={"churn": model()})
    after = deploy(models={"churn": model() | {"floors": {"2": 5, "9": 3}}})
    assert changed(before, after) == ["churn-v2-autoscaler"]


def test_keda() -> None:
    program = run(lambda: Keda("keda", KedaArgs(KedaSettings(), "models", prometheus.peer())))
    assert names(program) == {
        ("Keda", "keda"),
        *namespace("keda-system"),
        *(("NetworkPolicy", f"keda-{part}-policy") for part in ("operator", "adapter")),
        ("Release", "keda-release"),
    }
    assert program.one("Namespace", "keda-system-namespace").inputs["metadata"]["name"] == "keda"
    release = program.one("Release", "keda-release")
    assert (release.inputs["name"], release.inputs["namespace"]) == ("keda", "keda")
    assert release.inputs["chart"] == "./.slipway/charts/keda"
    assert release.inputs["values"]["watchNamespace"] == "models"
    # Reached from the first second, and by nobody else until the last.
    policies = {p.name for p in program.of("NetworkPolicy") if p.name.endswith("-policy")}
    assert policies <= set(release.depends_on)
    assert {p.inputs["metadata"]["namespace"] for p in program.of("NetworkPolicy")} == {"keda"}
    home = Keda.peer["namespaceSelector"]["matchLabels"]
    assert home == {"kubernetes.io/metadata.name": "keda"}


def test_pickles_allowed_change_this_models_pods_alone(deploy: Deploy) -> None:
    before = deploy(models={"churn": model(), "fraud": model()})
    after = deploy(models={"churn": model() | {"allow_pickle": True}, "fraud": model()})
    assert changed(before, after) == ["churn-v1-deployment", "churn-v2-deployment"]
    for name in changed(before, after):
        pod = after.one("Deployment", name).inputs["spec"]["template"]["spec"]
        assert pod["initContainers"][0]["command"][-1] == "--allow-pickle"
        assert {"name": "ALLOW_PICKLE", "value": "true"} in pod["containers"][0]["env"]


def test_a_new_image_reaches_every_pod(deploy: Deploy) -> None:
    program = deploy(demo=True, models={"churn": model()})
    for name in ("churn-v1-deployment", "churn-v2-deployment", "mlflow-deployment"):
        pod = program.one("Deployment", name).inputs["spec"]["template"]["spec"]
        assert {c["image"] for c in pod["containers"] + pod.get("initContainers", [])} == {IMAGE}
    job = program.one("Job", "demo-job")
    assert job.inputs["metadata"]["annotations"]["pulumi.com/replaceUnready"] == "true"
    assert job.replace_on_changes == ("spec",) and job.delete_before_replace


def test_secrets_stay_secret(deploy: Deploy) -> None:
    program = deploy(demo=True, models={"churn": model()})
    credentials = program.one("Secret", "artifacts-credentials")
    assert credentials.inputs["stringData"] == {
        "AWS_ACCESS_KEY_ID": SECRETS["bucketAccessKey"],
        "AWS_SECRET_ACCESS_KEY": SECRETS["bucketSecretKey"],
    }
    assert any(path.startswith("stringData") for path in credentials.secret)
    for resource in program.resources.values():
        if resource is not credentials:
            assert not any(value in repr(resource.inputs) for value in SECRETS.values()), (
                resource.name
            )
    assert not any(value in repr(program.outputs) for value in SECRETS.values())


@pytest.mark.parametrize("key", SECRETS)
def test_a_secret_that_is_not_set_is_one_line(deploy: Deploy, key: str) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        deploy(**{key: None})
    remedy = f"pulumi config set --secret slipway:{key} <value>"
    assert str(caught.value) == f"slipway:{key}: is not set; set it: {remedy}"


def test_bad_configuration_registers_nothing(deploy: Deploy) -> None:
    registered = Program()
    with pytest.raises(pulumi.RunError) as caught:
        deploy(registered, models={"churn": model(weight=110)})
    assert registered.resources == {}
    line = "slipway:models.churn.canary.weight: 110 is not a whole percentage from 0 to 100"
    assert str(caught.value) == line


def test_every_resource_has_its_place(deploy: Deploy) -> None:
    program = deploy(demo=True, models={"churn": model()})
    for resource in program.resources.values():
        if resource.type.startswith("pulumi:providers:"):
            continue
        component = resource.type.startswith("slipway:")
        assert resource.provider == (
            "" if component else "builder" if resource.kind == "Image" else "cluster"
        )
        if not component:
            assert resource.parent != "slipway-test", f"{resource.name} has no component"
            assert resource.name.startswith(f"{resource.parent}-"), resource.name
    assert program.one("kubernetes", "cluster").inputs["context"] == "test"


def test_fixed_names_are_deleted_before_they_are_made_again(deploy: Deploy) -> None:
    program = deploy(demo=True, models={"churn": model()})
    for resource in program.custom():
        if "name" in (
            resource.inputs.get("metadata") or resource.inputs
        ) and resource.type.startswith("kubernetes:"):
            assert resource.delete_before_replace, resource.name


def test_no_two_objects_share_a_name(deploy: Deploy) -> None:
    program = deploy(
        demo=True, models={"churn": model(), "churn-v1": model(2, 3), "fraud": model(7, None)}
    )
    objects = [
        (r.kind, r.inputs["metadata"].get("namespace"), r.inputs["metadata"]["name"])
        for r in program.custom()
        if "name" in (r.inputs.get("metadata") or {})
    ]
    assert len(objects) == len(set(objects))


def test_the_order_of_things(deploy: Deploy) -> None:
    program = deploy(demo=True, models={"churn": model()})

    def needs(kind: str, name: str) -> set[str]:
        return set(program.one(kind, name).depends_on)

    assert "mesh-istio-base" in needs("Release", "mesh-istiod")
    assert "mesh-istiod" in needs("Release", "mesh-istio-ingress")
    assert {"mesh-istiod", "mesh-istio-ingress"} <= needs("Gateway", "mesh-gateway")
    assert "artifacts-deployment" in needs("Deployment", "mlflow-deployment")
    assert "mlflow-deployment" in needs("Job", "demo-job")
    assert "demo-job" in needs("ModelServer", "churn-v1")
    # On removal the order is reversed: pods first, then what they are reached and guarded by.
    assert {"churn-v1-service", "churn-v1-policy", "churn-v1-budget"} <= needs(
        "Deployment", "churn-v1-deployment"
    )
    # The webhook of a mesh that is gone would refuse the removal of routes.
    assert {"mesh-istiod", "mesh-gateway", "churn-v1-deployment", "churn-v2-deployment"} <= needs(
        "ModelRoute", "churn"
    )
    assert {"churn-v1-destination", "churn-v2-destination"} <= needs(
        "VirtualService", "churn-virtual-service"
    )


def test_services_are_not_awaited_for_pods_await_them(deploy: Deploy) -> None:
    for service in deploy(models={"churn": model()}).of("Service"):
        assert service.inputs["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"


def test_a_rollout_that_stands_still_fails_in_minutes(deploy: Deploy) -> None:
    deployment = deploy(models={"churn": model()}).one("Deployment", "churn-v1-deployment")
    assert deployment.timeouts == ("4m", "4m")
    assert deployment.inputs["spec"]["progressDeadlineSeconds"] == 180


def test_namespaces_are_shut(deploy: Deploy) -> None:
    program = deploy()
    spaces = {space.inputs["metadata"]["name"]: space for space in program.of("Namespace")}
    assert set(spaces) == {"istio-system", "istio-ingress", "mlflow", "models", "monitoring"}
    for space in spaces.values():
        assert (
            space.inputs["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        )
    shut = {
        policy.inputs["metadata"]["namespace"]
        for policy in program.of("NetworkPolicy")
        if policy.inputs["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    }
    assert shut == set(spaces)


def test_prometheus_reads_pods_where_it_must_and_nothing_else(deploy: Deploy) -> None:
    program = deploy()
    roles = {
        role.inputs["metadata"]["namespace"]: role.inputs["rules"]
        for role in program.of("Role")
        if role.name.startswith("monitoring-")
    }
    assert set(roles) == {"models", "istio-ingress", "mlflow"}
    (nodes,) = [
        role.inputs["rules"]
        for role in program.of("ClusterRole")
        if role.name.startswith("monitoring-")
    ]
    assert {verb for rule in nodes for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert {kind for rule in nodes for kind in rule["resources"]} == {"nodes", "nodes/metrics"}
    assert all(
        rules == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
        for rules in roles.values()
    )
    for binding in program.of("RoleBinding"):
        assert binding.inputs["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io"
        assert binding.inputs["subjects"][0]["namespace"] == "monitoring"


def test_the_image(deploy: Deploy) -> None:
    image = deploy(builder="slipway").one("Image", "serving-image").inputs
    assert image["buildOnPreview"] is False
    (export,) = image["exports"]
    assert export["registry"]["names"] == ["registry.test:5000/slipway/serving:latest"]
    assert export["registry"]["push"] is True
    assert image["context"] == {"location": "serving_image"} and image["builder"] == {
        "name": "slipway"
    }


def test_charts_come_from_the_project(deploy: Deploy) -> None:
    charts = {release.inputs["name"]: release.inputs["chart"] for release in deploy().of("Release")}
    assert charts == {
        "istio-base": "./charts/istio/base",
        "istiod": "./charts/istio/istio-control/istio-discovery",
        "istio-ingress": "./charts/istio/gateway",
    }


def test_the_picture_stays_small() -> None:
    assert len((ROOT / "__main__.py").read_text().splitlines()) <= 100
    assert sorted(public) == list(public)
    for path in (*ROOT.glob("*.py"), *(ROOT / "components").rglob("*.py")):
        assert len(path.read_text().splitlines()) <= 300, path
        assert "import pulumi_kubernetes as" not in path.read_text(), path


def test_labels_reach_every_object_and_restart_no_pod(deploy: Deploy) -> None:
    plain = deploy(models={"churn": model()})
    mine = {"slipway.dev/owner": "risk", "app.kubernetes.io/part-of": "mine"}
    labelled = deploy(models={"churn": model()}, labels=mine)
    assert plain.resources.keys() == labelled.resources.keys()
    for key, before in plain.resources.items():
        after = labelled.resources[key].inputs
        if "metadata" not in before.inputs:
            assert after == before.inputs
            continue
        own = before.inputs["metadata"].get("labels", {})
        assert after["metadata"]["labels"] == mine | own, key
        assert {**after, "metadata": 0} == {**before.inputs, "metadata": 0}
