"""What Prometheus sees: its jobs, what they keep, its rules, and how long its data lasts."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.manifests import mlflow, network, prometheus, prometheus_server
from components.monitoring import Monitoring, MonitoringArgs
from settings.monitoring import Prometheus
from settings.types import duration_seconds
from tests.conftest import Program, run

ROOT = Path(__file__).resolve().parents[2]
SCRAPED = ["istio-ingress", "mlflow", "models"]
STACK = sorted([*SCRAPED, "monitoring"])
ALERTMANAGER = "http://alertmanager.monitoring.svc:9093"
Labels = dict[str, str]


def promtool(*arguments: str) -> str:
    """What promtool says; it must agree."""
    done = subprocess.run(
        [str(ROOT / ".slipway/bin/promtool"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def jobs(**arguments: Any) -> dict[str, Any]:
    text = prometheus.configuration(SCRAPED, **arguments)
    return {job["job_name"]: job for job in json.loads(text)["scrape_configs"]}


def relabelled(rules: list[dict[str, Any]], labels: Labels) -> Labels | None:
    """The labels after Prometheus' relabelling; None if the target or sample is dropped."""
    for rule in rules:
        action = rule.get("action", "replace")
        if action == "labeldrop":
            labels = {k: v for k, v in labels.items() if not re.fullmatch(rule["regex"], k)}
            continue
        value = ";".join(labels.get(source, "") for source in rule["source_labels"])
        found = re.fullmatch(rule.get("regex", "(.*)"), value)
        if action in ("keep", "drop"):
            if bool(found) is (action == "drop"):
                return None
        elif found:
            put = found.expand(rule.get("replacement", "$1").replace("$", "\\"))
            labels = labels | {rule["target_label"]: put}
    return labels


@pytest.mark.parametrize(
    "alertmanager, keda, rules",
    [*product([None, ALERTMANAGER], [None, "keda"], [[], ["rules-0.yml"]])],
)
def test_prometheus_takes_its_configuration(
    tmp_path: Path, alertmanager: str | None, keda: str | None, rules: list[str]
) -> None:
    given: dict[str, Any] = {"alertmanager": alertmanager, "keda": keda, "rules": rules}
    text = prometheus.configuration(SCRAPED, "monitoring", **given)
    (tmp_path / "prometheus.yml").write_text(text)
    promtool("check", "config", "--syntax-only", str(tmp_path / "prometheus.yml"))
    assert text == prometheus.configuration(list(SCRAPED), "monitoring", **given)
    always = {"prometheus", "pods", "kube-state-metrics", "kubelet", "cadvisor"}
    asked = {"alertmanager": alertmanager, "keda": keda}
    assert set(jobs(**given)) == always | {name for name, value in asked.items() if value}
    whole = json.loads(text)
    assert whole.get("rule_files") == ([f"{prometheus.RULES_AT}/rules-0.yml"] if rules else None)
    told = whole.get("alerting", {"alertmanagers": []})["alertmanagers"]
    reached = {
        "scheme": "http",
        "static_configs": [{"targets": ["alertmanager.monitoring.svc:9093"]}],
    }
    assert told == ([reached] if alertmanager else [])
    assert reached.items() <= jobs(**given).get("alertmanager", reached).items()
    assert (whole["global"]["evaluation_interval"], whole["global"]["scrape_interval"]) == (
        "15s",
        "15s",
    )
    pods = jobs(**given)["pods"]
    assert (pods["scrape_interval"], pods["scrape_timeout"]) == ("5s", "4s")


@pytest.mark.parametrize(
    "job, name",
    [
        ("kubelet", "kubelet_volume_stats_available_bytes"),
        ("kubelet", "kubelet_volume_stats_capacity_bytes"),
        ("cadvisor", "container_cpu_usage_seconds_total"),
        ("cadvisor", "container_memory_working_set_bytes"),
    ],
)
@settings(max_examples=60, deadline=None)
@given(namespace=st.sampled_from([*STACK, "keda", "kube-system", "models-2", "xmodels", ""]))
def test_of_nodes_only_what_is_used_is_kept(job: str, name: str, namespace: str) -> None:
    rules = jobs()[job]["metric_relabel_configs"]
    sample = {"__name__": name, "namespace": namespace, "pod": "p"}
    assert relabelled(rules, sample) == (sample if namespace in STACK else None)
    for other in (f"{name}_x", f"x_{name}", "kubelet_volume_stats_inodes", "pod_cpu_usage"):
        assert relabelled(rules, sample | {"__name__": other}) is None


def test_nodes_are_asked_over_tls_with_the_pods_own_token() -> None:
    for job in (jobs()["kubelet"], jobs()["cadvisor"]):
        assert job["scheme"] == "https" and job["kubernetes_sd_configs"] == [{"role": "node"}]
        assert job["tls_config"] == {"ca_file": f"{prometheus.TOKEN}/ca.crt"}
        assert job["authorization"] == {"credentials_file": f"{prometheus.TOKEN}/token"}


@pytest.mark.parametrize(
    "labels, found",
    [
        ({"app_kubernetes_io_name": "keda-operator"}, True),
        ({"app": "keda-operator"}, True),
        ({"app": "keda-operator", "app_kubernetes_io_name": "keda"}, True),
        ({"app": "keda-operator-metrics-apiserver"}, False),
        ({}, False),
    ],
)
def test_keda_is_its_operator(labels: Labels, found: bool) -> None:
    job = jobs(keda="keda")["keda"]
    assert job["kubernetes_sd_configs"][0]["namespaces"] == {"names": ["keda"]}
    meta = {f"__meta_kubernetes_pod_label_{name}": value for name, value in labels.items()}
    target = meta | {"__meta_kubernetes_pod_ip": "10.0.0.1", "__address__": "10.0.0.1:9666"}
    seen = relabelled(job["relabel_configs"], target)
    assert (seen or {}).get("__address__") == ("10.0.0.1:8080" if found else None)
    kept = job["metric_relabel_configs"]
    assert relabelled(kept, {"__name__": "keda_scaler_errors_total", "namespace": "models"})
    assert relabelled(kept, {"__name__": "go_goroutines"}) is None


@pytest.mark.parametrize(
    "text, expected",
    [
        ("30d", "30d"),
        ("1.5h", "90m"),
        ("0.5d", "12h"),
        ("500ms", "500ms"),
        ("0.1ms", "1ms"),
        ("24h", "1d"),
        ("0.3s", "300ms"),
        ("999999999d", "36500d"),
    ],
)
def test_how_long_data_is_kept(text: str, expected: str) -> None:
    assert prometheus_server.retention(Prometheus(retention=text).retention) == expected


@settings(max_examples=60, deadline=None)
@given(st.decimals("0.001", 99999, places=3), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_prometheus_understands_every_time_of_the_configuration(number: Any, unit: str) -> None:
    made = prometheus_server.retention(f"{number}{unit}")
    assert re.fullmatch(r"[1-9]\d*(ms|s|m|h|d)", made)
    wanted = min(duration_seconds(f"{number}{unit}"), 36_500 * 86_400)
    assert 0 <= duration_seconds(made) - wanted < 0.001 + 1e-6


def test_of_nodes_the_metrics_may_be_read_and_nothing_else() -> None:
    assert prometheus_server.node_reader_rules() == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
    ]


def group(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "rules": [{"record": "a:b", "expr": "up", "labels": {"x": "y" * size}}]}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 700_000), max_size=6))
def test_rules_are_divided_among_files_that_an_object_holds(sizes: list[int]) -> None:
    groups = [group(str(number), size) for number, size in enumerate(sizes)]
    files = prometheus_server.rule_files({"groups": groups})
    assert [g for text in files.values() for g in json.loads(text)["groups"]] == groups
    assert all(len(text) <= prometheus_server.MOST_RULES for text in files.values())
    assert len(files) <= max(1, len(sizes)) and bool(files) is bool(sizes)


def test_promtool_reads_the_rule_files(tmp_path: Path) -> None:
    files = prometheus_server.rule_files({"groups": [group("é", 500_000), group("b", 500_000)]})
    assert list(files) == ["rules-0.yml", "rules-1.yml"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        assert "1 rules found" in promtool("check", "rules", str(tmp_path / name))


def test_a_group_that_no_file_holds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rules: group big has 9\d{5} bytes, and a file holds 9"):
        prometheus_server.rule_files({"groups": [group("big", 900_000)]})


def test_mlflow_counts_its_requests() -> None:
    pod = mlflow.pod("image", "claim", "s3://b", "http://s3", "keys", "hosts")
    template = mlflow.deployment(pod)["template"]
    (container,) = pod["containers"]
    at = container["command"].index("--expose-prometheus") + 1
    writable = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert any(container["command"][at].startswith(f"{path}/") for path in writable)
    assert "prometheus-flask-exporter==" in (ROOT / "serving_image/requirements.in").read_text()
    # The kubelet puts in what the pod is called by, and the guard knows no other address.
    assert container["env"][0]["name"] == "POD_IP"
    assert "$(POD_IP):5000" in mlflow.allowed_hosts("ns", [])
    meta = "__meta_kubernetes_pod"
    found = {
        f"{meta}_annotation_" + re.sub(r"\W", "_", name): value
        for name, value in template["metadata"]["annotations"].items()
    }
    target = relabelled(prometheus.pod_relabelings(), found | {f"{meta}_ip": "10.0.0.1"})
    assert target is not None and target["__address__"] == "10.0.0.1:5000"
    assert "__metrics_path__" not in target


RULES = {"groups": [group("a", 1)]}
GRAFANA = network.pods({"app.kubernetes.io/name": "grafana"}, "monitoring")


def monitored(**arguments: Any) -> Program:
    def program() -> None:
        scraped = {name: name for name in SCRAPED}
        Monitoring("m", MonitoringArgs("monitoring", "image", scraped, **arguments))

    return run(program)


def test_prometheus_finds_what_it_scrapes_and_its_clients_find_it() -> None:
    program = monitored(rules=RULES, alertmanager=ALERTMANAGER, keda="keda", clients=[GRAFANA])
    text = program.one("ConfigMap", "m-config").inputs["data"]["prometheus.yml"]
    assert text == prometheus.configuration(
        SCRAPED, alertmanager=ALERTMANAGER, keda="keda", rules=["rules-0.yml"]
    )
    roles = {role.inputs["metadata"]["namespace"] for role in program.of("Role")}
    assert roles == {*SCRAPED, "keda"}
    (nodes,) = program.of("ClusterRole")
    assert nodes.inputs["rules"] == prometheus_server.node_reader_rules()
    (binding,) = program.of("ClusterRoleBinding")
    assert binding.inputs["roleRef"]["name"] == nodes.inputs["metadata"]["name"]
    (rule,) = program.one("NetworkPolicy", "m-policy").inputs["spec"]["ingress"]
    assert rule == {"from": [GRAFANA], "ports": [{"protocol": "TCP", "port": 9090}]}
    pod = program.one("Deployment", "m-deployment").inputs["spec"]["template"]["spec"]
    rules = next(v for v in pod["volumes"] if v["name"] == "rules")
    assert rules["projected"] == {"sources": [{"configMap": {"name": "prometheus-rules-0"}}]}
    assert program.one("ConfigMap", "m-rules-0").inputs["metadata"]["name"] == "prometheus-rules-0"


def test_other_rules_are_read_by_another_pod() -> None:
    before, after = monitored(rules=RULES), monitored(rules={"groups": [group("a", 2)]})
    changed = [r.name for r in before.custom() if r != after.one(r.kind, r.name)]
    assert sorted(changed) == ["m-deployment", "m-rules-0"]
    again = monitored(rules=RULES)
    assert [r for r in again.custom() if r != before.one(r.kind, r.name)] == []
    assert (
        not monitored()
        .one("ConfigMap", "m-config")
        .inputs["data"]["prometheus.yml"]
        .count("rule_files")
    )
