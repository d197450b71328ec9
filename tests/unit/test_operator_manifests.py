"""What a Prometheus operator is told: objects of its kinds, by which every series gets the labels
that the bundled Prometheus gives.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.manifests import common, network, operator, prometheus, rules
from components.manifests import kube_state_metrics as states
from components.operator_monitoring import OperatorMonitoring, OperatorMonitoringArgs
from settings.model import Model
from settings.monitoring import Alerts, Operator
from tests.conftest import ROOT, Program, run

from .test_prometheus_manifests import Labels, relabelled

SCRAPED = ["istio-ingress", "mlflow", "models"]
MODELS = {"churn": Model(stable=1), "fraud": Model(stable=2)}
ALERTS = Alerts.model_validate(
    {"rules": [{"name": "TooLong", "promql": "up == 0", "after": "1.5h", "summary": "Too long"}]}
)
RULES = rules.groups(MODELS, ALERTS, operator.JOBS)
META = "__meta_kubernetes"
PROMETHEUS = json.loads(prometheus.configuration(SCRAPED, keda="keda"))
JOBS = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}

# What this project uses of the kinds' schemas, which are those of version 0.85.0:
# https://github.com/prometheus-operator/prometheus-operator/tree/v0.85.0/example/prometheus-operator-crd
DURATION = r"0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?"
ACTION = "replace|keep|drop|hashmod|labelmap|labeldrop|labelkeep|lowercase|uppercase"
RELABELING = {
    "action": ACTION,
    "sourceLabels": [r"[a-zA-Z_]\w*"],
    "targetLabel": r"[a-zA-Z_]\w*",
    "regex": ".+",
    "replacement": ".*",
}
ENDPOINT = {
    "interval": DURATION,
    "scrapeTimeout": DURATION,
    "relabelings": [RELABELING],
    "metricRelabelings": [RELABELING],
}
MONITOR = {"namespaceSelector": {"matchNames": ["[-a-z0-9]+"]}, "selector": {"matchLabels": None}}
RULE = {
    "record": r"[a-zA-Z_:][\w:]*",
    "alert": ".+",
    "expr": r"(.|\n)+",
    "for": DURATION,
    "labels": None,
    "annotations": None,
}
SCHEMAS: dict[str, Any] = {
    "PodMonitor": MONITOR | {"podMetricsEndpoints": [ENDPOINT]},
    "ServiceMonitor": MONITOR | {"endpoints": [ENDPOINT | {"port": ".+", "honorLabels": True}]},
    "PrometheusRule": {"groups": [{"name": ".+", "interval": DURATION, "rules": [RULE]}]},
}


def unlike(schema: Any, value: Any, path: str = "spec") -> list[str]:
    """Where `value` has another shape than `schema`: a pattern for text, a list of one kind of
    item, an object of no other keys, or None for an object of texts.
    """
    if schema is None:
        texts = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        return [] if texts else [path]
    if isinstance(schema, str):
        return [] if isinstance(value, str) and re.fullmatch(schema, value) else [path]
    if type(schema) is not type(value):
        return [path]
    if isinstance(schema, list):
        items = [(schema[0], item, f"{path}[{number}]") for number, item in enumerate(value)]
    elif not isinstance(schema, dict):
        return []
    else:
        items = [(schema[k], v, f"{path}.{k}") for k, v in value.items() if k in schema]
    unknown = [f"{path}.{k}" for k in value if k not in schema] if isinstance(schema, dict) else []
    return unknown + [fault for item in items for fault in unlike(*item)]


def installed(**arguments: Any) -> Program:
    def program() -> None:
        args = OperatorMonitoringArgs("models", SCRAPED, RULES, "monitoring", **arguments)
        OperatorMonitoring("operator", args)

    return run(program)


def test_the_objects_are_of_the_operators_kinds() -> None:
    program = installed(keda="keda")
    found = {(it.inputs["kind"], it.inputs["metadata"]["name"]) for it in program.custom()}
    assert found == {
        ("PodMonitor", "slipway-pods"),
        ("ServiceMonitor", "slipway-routes"),
        ("ServiceMonitor", "slipway-keda"),
        ("PrometheusRule", "slipway-rules"),
    }
    for it in program.custom():
        assert it.inputs["apiVersion"] == "monitoring.coreos.com/v1"
        assert it.inputs["metadata"]["namespace"] == "models"
        assert unlike(SCHEMAS[it.inputs["kind"]], it.inputs["spec"]) == []


@pytest.mark.parametrize(
    "kind, wrong, where",
    [
        ("PodMonitor", {"pod_metrics_endpoints": []}, "spec.pod_metrics_endpoints"),
        ("PodMonitor", {"selector": None}, "spec.selector"),
        (
            "PrometheusRule",
            {"groups": [{"name": "a", "interval": "1.5h"}]},
            "spec.groups[0].interval",
        ),
        (
            "ServiceMonitor",
            {"endpoints": [{"relabelings": [{"source_labels": ["a"]}]}]},
            "spec.endpoints[0].relabelings[0].source_labels",
        ),
    ],
)
def test_another_shape_would_be_found(kind: str, wrong: dict[str, Any], where: str) -> None:
    assert unlike(SCHEMAS[kind], wrong) == [where]


def test_the_operators_selectors_pick_the_objects() -> None:
    default = installed()
    assert [it.name for it in default.custom()] == [
        f"operator-{short}" for short in ("pods", "routes", "rules")
    ]
    for it in default.custom():
        assert it.inputs["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    other = installed(operator=Operator(labels={"prometheus": "main", "role": "x"}))
    for it in other.custom():
        labels = it.inputs["metadata"]["labels"]
        assert (labels["prometheus"], labels["role"]) == ("main", "x")
        assert "release" not in labels


def test_prometheus_of_the_operator_is_let_in() -> None:
    peer = operator.scrapers("observability")
    assert peer == network.pods(
        {
            "app.kubernetes.io/name": "prometheus",
            "app.kubernetes.io/managed-by": "prometheus-operator",
        },
        "observability",
    )


def of_operator(relabelings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Relabelings as the operator writes them into Prometheus' configuration."""
    keys = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    return [{keys.get(k, k): v for k, v in it.items()} for it in relabelings]


def copied(source: str, target: str) -> dict[str, Any]:
    return {"source_labels": [f"{META}_{source}"], "target_label": target}


# What the operator writes before a monitor's own relabelings: generatePodMonitorConfig and
# generateServiceMonitorConfig in its pkg/prometheus/promcfg.go.
RUNNING = {
    "action": "drop",
    "source_labels": [f"{META}_pod_phase"],
    "regex": "(Failed|Succeeded)",
}
BEFORE = {
    "podMetricsEndpoints": [
        {"source_labels": ["job"], "target_label": "__tmp_prometheus_job_name"},
        RUNNING,
        copied("namespace", "namespace"),
        copied("pod_container_name", "container"),
        copied("pod_name", "pod"),
        {"source_labels": [], "target_label": "job", "replacement": "models/slipway-pods"},
    ],
    "endpoints": [
        {"source_labels": ["job"], "target_label": "__tmp_prometheus_job_name"},
        copied("namespace", "namespace"),
        copied("service_name", "service"),
        copied("pod_name", "pod"),
        copied("pod_container_name", "container"),
        RUNNING,
        copied("service_name", "job"),
    ],
}


def seen(relabelings: list[dict[str, Any]], target: Labels, job: str) -> Labels | None:
    """The labels of a target once Prometheus has dropped what is for relabelling alone."""
    # A rule without source labels takes all there is for its value.
    relabelings = [{"source_labels": []} | it for it in relabelings]
    found = relabelled(relabelings, target | {"job": job, "__address__": "10.0.0.7:1"})
    if found is None:
        return None
    kept = ("__address__", "__metrics_path__")
    return {k: v for k, v in found.items() if v and (k in kept or not k.startswith("__"))}


def meta(name: str) -> str:
    return f"{META}_pod_{name}"


PODS = st.fixed_dictionaries(
    {
        f"{META}_namespace": st.sampled_from(SCRAPED),
        meta("name"): st.sampled_from(["churn-v1-abc", "istio-ingress-0"]),
        meta("ip"): st.just("10.0.0.7"),
        meta("container_name"): st.sampled_from(["server", "sidecar"]),
        meta("phase"): st.sampled_from(["Running", "Running", "Pending", "Succeeded", "Failed"]),
    },
    optional={
        meta("container_init"): st.sampled_from(["true", "false"]),
        meta("annotation_prometheus_io_scrape"): st.sampled_from(["true", "true", "false"]),
        meta("annotation_prometheus_io_port"): st.sampled_from(["8080", "15020", "none"]),
        meta("annotation_prometheus_io_path"): st.sampled_from(["/metrics", "/stats/prometheus"]),
        meta("label_slipway_dev_model"): st.just("churn"),
        meta("label_slipway_dev_version"): st.just("1"),
        meta("label_app"): st.sampled_from(["keda-operator", "other"]),
        meta("label_app_kubernetes_io_name"): st.sampled_from(["keda-operator", "model-server"]),
        f"{META}_service_name": st.just("a-service"),
    },
)


@pytest.mark.parametrize("job", ["pods", "keda"])
@given(target=PODS)
def test_every_series_has_the_labels_that_the_bundled_prometheus_gives(
    job: str, target: Labels
) -> None:
    spec = operator.pod_monitor(SCRAPED) if job == "pods" else operator.keda_monitor("keda")
    kind = "podMetricsEndpoints" if job == "pods" else "endpoints"
    (endpoint,) = spec[kind]
    bundled = JOBS[job]
    own = of_operator(endpoint["relabelings"])
    theirs = seen([*BEFORE[kind], *own], target, "podMonitor/models/slipway-pods/0")
    assert theirs == seen(bundled["relabel_configs"], target, job)
    assert of_operator(endpoint["metricRelabelings"]) == bundled["metric_relabel_configs"]


def test_a_pod_with_two_ports_is_one_target() -> None:
    pod = {
        f"{META}_namespace": "models",
        meta("name"): "churn-v1-abc",
        meta("ip"): "10.0.0.7",
        meta("phase"): "Running",
        meta("annotation_prometheus_io_scrape"): "true",
        meta("annotation_prometheus_io_port"): "8080",
        meta("label_slipway_dev_model"): "churn",
        meta("label_slipway_dev_version"): "1",
    }
    (endpoint,) = operator.pod_monitor(SCRAPED)["podMetricsEndpoints"]
    chain = [*BEFORE["podMetricsEndpoints"], *of_operator(endpoint["relabelings"])]
    one, other = (
        seen(chain, pod | {meta("container_name"): name}, "x") for name in ("server", "sidecar")
    )
    assert one == other
    assert one == {
        "__address__": "10.0.0.7:8080",
        "job": "pods",
        "namespace": "models",
        "pod": "churn-v1-abc",
        "model_name": "churn",
        "model_version": "1",
    }


@pytest.mark.parametrize("job", ["pods", "keda"])
def test_it_is_scraped_where_and_as_often_as_by_the_bundled_prometheus(job: str) -> None:
    spec = operator.pod_monitor(SCRAPED) if job == "pods" else operator.keda_monitor("keda")
    (endpoint,) = spec["podMetricsEndpoints" if job == "pods" else "endpoints"]
    general = PROMETHEUS["global"]
    for ours, theirs in (("interval", "scrape_interval"), ("scrapeTimeout", "scrape_timeout")):
        assert endpoint[ours] == JOBS[job].get(theirs, general[theirs])
    (discovery,) = JOBS[job]["kubernetes_sd_configs"]
    assert spec["namespaceSelector"]["matchNames"] == discovery["namespaces"]["names"]


def test_rules_are_the_same_and_evaluated_as_often() -> None:
    groups = operator.prometheus_rule(RULES)["groups"]
    assert [it["rules"] for it in groups] == [it["rules"] for it in RULES["groups"]]
    assert [it["interval"] for it in groups] == [
        it.get("interval", PROMETHEUS["global"]["evaluation_interval"]) for it in RULES["groups"]
    ]


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps(operator.prometheus_rule(RULES)))
    checked = subprocess.run(
        [str(ROOT / ".slipway/bin/promtool"), "check", "rules", str(file)],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_job_is_missed_that_goes_by_another_name() -> None:
    (missing,) = [
        rule
        for group in RULES["groups"]
        for rule in group["rules"]
        if rule.get("alert") == "TargetMissing"
    ]
    absent = set(re.findall(r'absent\(up\{job="([^"]+)"', missing["expr"]))
    assert absent == set(operator.JOBS)


def test_weights_of_routes_come_from_a_service_and_keep_their_own_labels() -> None:
    spec = operator.routes_monitor("models")
    (endpoint,) = spec["endpoints"]
    assert endpoint["honorLabels"] is True
    assert of_operator(endpoint["metricRelabelings"]) == states.metric_relabelings()
    service = common.service(states.selector(), states.PORT, "http")
    assert endpoint["port"] in [port["name"] for port in service["ports"]]
    # The operator's stack has another kube-state-metrics, which is not part of this stack.
    assert spec["selector"]["matchLabels"]["app.kubernetes.io/part-of"] == "slipway"
    assert spec["selector"]["matchLabels"].items() <= states.labels().items()
    assert spec["namespaceSelector"]["matchNames"] == ["models"]
    target = {f"{META}_namespace": "models", f"{META}_service_name": states.SERVER}
    chain = [*BEFORE["endpoints"], *of_operator(endpoint["relabelings"])]
    assert seen(chain, target, "x") == {"__address__": "10.0.0.7:1", "job": "slipway-routes"}


def test_labels_are_ours_and_the_operators() -> None:
    assert operator.labels({"a": "b"}) == common.labels("slipway", "slipway", "monitoring") | {
        "a": "b"
    }
