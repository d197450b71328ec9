"""The pod builders: pure, and at the restricted level."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.manifests import (
    autoscaler,
    bucket,
    common,
    comparer,
    istio,
    kube_state_metrics,
    mlflow,
    model_server,
    network,
    prometheus,
    prometheus_server,
    route,
    training,
)
from components.manifests.model_server import Server
from settings.exposure import Exposure
from settings.model import Canary, Resources
from settings.monitoring import Prometheus
from settings.platform import Istio
from settings.scaling import Scaling

ROOT = Path(__file__).resolve().parents[2]
SERVER = Server("churn", 2, Resources(), Scaling())
PODS = {
    "model server": model_server.pod(SERVER, "image", "http://mlflow"),
    "mlflow": mlflow.pod("image", "claim", "s3://b", "http://s3", "keys", "hosts"),
    "training": training.job("image", "script", "map", "http://mlflow", "churn")["template"][
        "spec"
    ],
    "bucket": bucket.deployment("image", "b", "claim", "keys")["template"]["spec"],
    "comparer": comparer.pod("churn", "image", (1, "http://stable"), (2, "http://shadow")),
    "prometheus": prometheus_server.deployment(
        "image", "digest", "map", "claim", Prometheus(), ["rules"]
    )["template"]["spec"],
    "kube-state-metrics": kube_state_metrics.deployment("image", "models", "{}", "map")["template"][
        "spec"
    ],
}

# These ask the API server, and have a token for it.
ASKING = ("prometheus", "kube-state-metrics")


def test_no_manifest_needs_pulumi() -> None:
    code = (
        "import sys; sys.modules['pulumi'] = None; sys.path[:0] = ['components', '.'];"
        + "".join(
            f"import manifests.{path.stem};"
            for path in sorted((ROOT / "components" / "manifests").glob("[a-z]*.py"))
        )
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", PODS)
def test_pods_are_at_the_restricted_level(name: str) -> None:
    pod = PODS[name]
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True and security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is (name in ASKING)
    assert pod["enableServiceLinks"] is False
    for container in pod["containers"] + pod.get("initContainers", []):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {m["name"] for c in pod["containers"] for m in c["volumeMounts"]} <= volumes
    assert all(
        set(v) - {"name"} <= {"emptyDir", "configMap", "persistentVolumeClaim", "projected"}
        for v in pod["volumes"]
    )


@pytest.mark.parametrize("name", [name for name in PODS if name != "training"])
def test_pods_that_stay_are_probed(name: str) -> None:
    for container in PODS[name]["containers"]:
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)


def test_a_model_server_drains_within_its_grace_period() -> None:
    pod = PODS["model server"]
    env = {item["name"]: item["value"] for item in pod["containers"][0]["env"]}
    asleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert asleep >= 5
    assert (
        asleep + int(env["DRAIN_SECONDS"]) + int(env["GRACE_SECONDS"])
        < pod["terminationGracePeriodSeconds"]
    )
    assert (
        f"{env['REQUEST_SECONDS']}s" == route.virtual_service("m", "g", "h")["http"][-1]["timeout"]
    )


def test_a_model_server_knows_no_role_and_no_replicas() -> None:
    spec = model_server.deployment(SERVER, "image", "http://mlflow")
    text = json.dumps(
        [spec, model_server.service(SERVER), autoscaler.horizontal(SERVER), SERVER.labels]
    )
    assert "replicas" not in spec
    assert not any(word in text for word in ("stable", "canary", 'weight": 9', "role"))
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_the_fetch_is_told_what_the_server_serves() -> None:
    pod = PODS["model server"]
    command = pod["initContainers"][0]["command"]
    assert command[:3] == ["python", "-m", "slipway_runtime.fetch"]
    assert dict(zip(command[3::2], command[4::2], strict=True)) == {
        "--model": "churn", "--version": "2", "--out": "/models/churn", "--timeout": "120",
    }  # fmt: skip
    assert {"name": "MODEL_PATH", "value": "/models/churn"} in pod["containers"][0]["env"]
    assert pod["containers"][0]["volumeMounts"][0]["readOnly"] is True


def test_pickles_are_allowed_to_both_containers_or_to_none() -> None:
    def told(server: Server) -> tuple[bool, bool]:
        pod = model_server.pod(server, "image", "http://mlflow")
        (fetch,), (serve,) = pod["initContainers"], pod["containers"]
        env = {"name": "ALLOW_PICKLE", "value": "true"}
        assert "ALLOW_PICKLE" not in json.dumps(fetch) and "--allow" not in json.dumps(serve)
        return "--allow-pickle" in fetch["command"], env in serve["env"]

    assert told(SERVER) == (False, False)
    assert "pickle" not in json.dumps(PODS["model server"]).lower()
    assert told(Server("churn", 2, Resources(), Scaling(), allow_pickle=True)) == (True, True)


def test_limits() -> None:
    wanted = Resources(cpu="1.5", memory="1Gi", gpu=1)
    assert model_server.resources(wanted, gpu=True) == {
        "requests": {"cpu": "1.5", "memory": "1Gi"},
        "limits": {"cpu": "6000m", "memory": "1Gi", "nvidia.com/gpu": "1"},
    }
    assert "nvidia.com/gpu" not in model_server.resources(wanted, gpu=False)["limits"]


def test_the_autoscaler() -> None:
    spec = autoscaler.horizontal(
        Server("churn", 2, Resources(), Scaling(min=3, max=7, cpu=50, memory=60))
    )
    assert (spec["minReplicas"], spec["maxReplicas"], spec["scaleTargetRef"]["name"]) == (
        3,
        7,
        "churn-v2",
    )
    assert [m["resource"]["target"]["averageUtilization"] for m in spec["metrics"]] == [50, 60]
    assert spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_a_model_server_gets_out_to_the_name_server_and_mlflow_alone() -> None:
    policy = model_server.network_policy(
        SERVER, [network.everywhere("edge")], network.everywhere("mlflow"), 5000
    )
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    dns, tracking = policy["egress"]
    assert "to" not in dns and {(p["protocol"], p["port"]) for p in dns["ports"]} == {
        ("UDP", 53),
        ("TCP", 53),
    }
    assert tracking["ports"] == [{"protocol": "TCP", "port": 5000}]
    assert policy["ingress"] == [
        {"from": [network.everywhere("edge")], "ports": [{"protocol": "TCP", "port": 8080}]}
    ]


def test_no_peer_is_nobody() -> None:
    # An empty list of peers means everybody to Kubernetes; an empty list of rules means nobody.
    assert network.ingress({"a": "b"}, 80, [])["ingress"] == []


def test_nowhere_is_no_rule_at_all() -> None:
    # One empty rule would mean everywhere.
    assert network.nowhere() == {"policyTypes": ["Ingress", "Egress"], "egress": []}


@given(st.integers(0, 100))
def test_weights_add_up(weight: int) -> None:
    spec = route.virtual_service("churn", "g", "stable", "canary", Canary(version=2, weight=weight))
    _, by_header, by_weight = spec["http"]
    assert [d["weight"] for d in by_weight["route"]] == [100 - weight, weight]
    assert [d["destination"]["host"] for d in by_weight["route"]] == ["stable", "canary"]
    assert [d["destination"]["host"] for d in by_header["route"]] == ["canary"]
    assert by_header["match"] == [
        {"uri": {"prefix": "/models/churn/"}, "headers": {"x-canary": {"exact": "true"}}}
    ]


def test_a_model_without_a_canary_has_one_destination() -> None:
    blocked, only = route.virtual_service("churn", "edge/slipway", "stable")["http"]
    destination = {"host": "stable", "port": {"number": 80}}
    assert only["route"] == [{"destination": destination, "weight": 100}]
    assert only["rewrite"] == {"uri": "/"} and only["match"] == [
        {"uri": {"prefix": "/models/churn/"}}
    ]
    assert blocked["match"] == [{"uri": {"prefix": "/models/churn/metrics"}}]
    assert blocked["directResponse"] == {"status": 404}


def test_mlflow_keeps_no_providers_keys() -> None:
    (server,) = PODS["mlflow"]["containers"]
    assert {"name": "MLFLOW_ENABLE_AI_GATEWAY", "value": "false"} in server["env"]


@pytest.mark.parametrize(
    "urls, more",
    [
        ([None], ""),
        (["http://127.0.0.1:5001"], ",127.0.0.1:5001"),
        (["https://mlflow.example.com"], ",mlflow.example.com"),
    ],
)
def test_hosts_that_mlflow_answers_to(urls: list[str | None], more: str) -> None:
    inside = "mlflow:5000,mlflow.ns:5000,mlflow.ns.svc:5000,mlflow.ns.svc.cluster.local:5000"
    assert mlflow.allowed_hosts("ns", urls) == (
        f"{inside}{more},127.0.0.1:*,localhost:*,$(POD_IP):5000"
    )


def test_another_script_is_another_job() -> None:
    one, two = (
        training.job("i", script, "m", "u", "churn")["template"]["metadata"] for script in "ab"
    )
    assert one["annotations"] != two["annotations"]
    assert "ttlSecondsAfterFinished" not in training.job("i", "a", "m", "u", "churn")


def test_prometheus_takes_identity_from_kubernetes() -> None:
    config = json.loads(prometheus.configuration(["models"]))
    pods = config["scrape_configs"][1]
    assert pods["kubernetes_sd_configs"] == [{"role": "pod", "namespaces": {"names": ["models"]}}]
    targets = {
        rule["target_label"]: rule["source_labels"]
        for rule in pods["relabel_configs"]
        if "target_label" in rule
    }
    assert targets["model_name"] == ["__meta_kubernetes_pod_label_slipway_dev_model"]
    assert targets["model_version"] == ["__meta_kubernetes_pod_label_slipway_dev_version"]
    assert "honor_labels" not in pods
    assert prometheus.configuration(["models"]) == prometheus.configuration(["models"])


def test_prometheus_keeps_what_fits_its_volume() -> None:
    assert "--storage.tsdb.retention.size=3276MB" in PODS["prometheus"]["containers"][0]["command"]


@pytest.mark.parametrize(
    "keys, expected",
    [
        ({}, {"type": "ClusterIP"}),
        ({"service_type": "NodePort", "node_port": 30080}, {"type": "NodePort"}),
        (
            {"service_type": "LoadBalancer", "allow_from": ["10.0.0.0/8"]},
            {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]},
        ),
    ],
)
def test_exposure(keys: dict[str, Any], expected: dict[str, Any]) -> None:
    exposure = Exposure(**keys)
    spec = common.service({"a": "b"}, 80, "http", **exposure.model_dump(exclude={"url"}))
    assert {
        key: value for key, value in spec.items() if key not in ("selector", "ports")
    } == expected
    assert spec["ports"][0].get("nodePort") == exposure.node_port
    edge = istio.gateway_values(exposure, "{}")["service"]
    assert (
        edge["type"] == expected["type"] and edge["ports"][0].get("nodePort") == exposure.node_port
    )


def test_istio_runs_with_a_stock_envoy() -> None:
    values = istio.istiod_values(Istio(hub="hub.test/istio", tag="1.2.3"))
    assert values["env"] == {
        "PILOT_ENABLE_ALPN_FILTER": "false",
        "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    }
    assert values["meshConfig"]["defaultProviders"] == {} and values["telemetry"] == {
        "enabled": False
    }
    # A trace that is sampled has another request id, and clients are known by it.
    assert values["meshConfig"]["enableTracing"] is False
    assert (values["global"]["hub"], values["global"]["tag"]) == ("hub.test/istio", "1.2.3")
    assert istio.gateway()["selector"] == istio.gateway_values(Exposure(), "{}")["labels"]
