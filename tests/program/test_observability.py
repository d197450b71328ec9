"""What watches the stack, against recording mocks: of its own, the operator's, Grafana, KEDA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.conftest import Program

from .test_program import changed, model

Deploy = Callable[..., Program]
THEIRS = {"monitoring": "operator", "prometheus": {"url": "https://prometheus.example"}}
MODELS = {"churn": model()}


def test_a_weight_changes_no_rule_and_no_configuration(deploy: Deploy) -> None:
    before, after = (deploy(models={"churn": model(weight=weight)}) for weight in (10, 50))
    assert changed(before, after) == ["churn-virtual-service"]
    promoted = deploy(models={"churn": model(2, None)})
    touched = {name for name in changed(before, promoted) if not name.startswith("churn-")}
    assert touched == set()


def test_rules_reach_prometheus_as_files(deploy: Deploy) -> None:
    text = str(deploy(models=MODELS).one("ConfigMap", "monitoring-rules-0").inputs["data"])
    assert "ModelAvailabilityBurningFast" in text
    assert "churn" in text


def test_what_prometheus_holds_is_taken_over_from_where_it_stood(deploy: Deploy) -> None:
    program = deploy(models=MODELS)
    assert program.one("Monitoring", "monitoring").parent == "observability"
    # What it holds hangs on it, and goes with it.
    assert program.one("PersistentVolumeClaim", "monitoring-volume").parent == "monitoring"
    (alias,) = program.one("Monitoring", "monitoring").aliases
    assert "Observability" not in alias


def test_the_operators_prometheus_reads_the_same_and_nothing_is_our_own(deploy: Deploy) -> None:
    program = deploy(models=MODELS, **THEIRS)
    kinds = {r.kind for r in program.resources.values()}
    assert {"PodMonitor", "ServiceMonitor", "PrometheusRule"} <= kinds
    names = {r.name for r in program.of("Deployment")}
    assert "monitoring-deployment" not in names
    assert "alertmanager-deployment" not in names
    assert "observability-states-deployment" in names, "the weights of the routes are told still"
    assert not any(r.name.startswith("monitoring-") for r in program.of("Namespace"))
    assert program.outputs["prometheus_url"] == "https://prometheus.example"
    for name in ("churn-v1-policy", "mlflow-policy", "mesh-istio-ingress-policy"):
        spec = str(program.one("NetworkPolicy", name).inputs["spec"])
        assert "prometheus-operator" in spec, name
    monitor = program.one("PodMonitor", "observability-operator-pods").inputs
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_grafana_is_there_where_it_is_asked_for(deploy: Deploy) -> None:
    without = deploy(models=MODELS)
    assert not any("grafana" in r.name for r in without.resources.values())
    assert "grafana_url" not in without.outputs
    enabled = {"enabled": True, "url": "https://grafana.example"}
    program = deploy(models=MODELS, grafana=enabled, grafanaPassword="of-the-tests")
    assert program.outputs["grafana_url"] == "https://grafana.example"
    holding = [r for r in program.resources.values() if "of-the-tests" in str(r.inputs)]
    assert {r.kind for r in holding} == {"Secret"}
    assert all(r.secret for r in holding)
    prometheus = str(program.one("NetworkPolicy", "monitoring-policy").inputs["spec"])
    assert "grafana" in prometheus
    assert "grafana" in str(program.one("NetworkPolicy", "alertmanager-policy").inputs["spec"])
    assert "grafana" not in str(without.one("NetworkPolicy", "alertmanager-policy").inputs["spec"])


def test_keda_is_there_where_a_model_asks_for_it(deploy: Deploy) -> None:
    scaling: dict[str, Any] = {"scaling": {"requests_per_second": 100}}
    program = deploy(models={"churn": model() | scaling, "fraud": model(7, None)})
    assert program.one("Release", "keda-release")
    assert "keda-release" in program.one("ScaledObject", "churn-v1-autoscaler").depends_on
    assert "keda-release" not in program.one("Deployment", "fraud-v7-deployment").depends_on
    assert "keda-operator" in str(program.one("NetworkPolicy", "monitoring-policy").inputs["spec"])


def test_receivers_are_reached_by_secrets(deploy: Deploy) -> None:
    alerts = {"receivers": {"chat": {"kind": "slack", "channel": "#ml"}}, "default": "chat"}
    hook = "https://hooks.example/of-the-tests"
    program = deploy(models=MODELS, alerts=alerts, alertSecrets={"chat": hook})
    holding = [r for r in program.resources.values() if hook in str(r.inputs)]
    assert [r.name for r in holding] == ["alertmanager-secrets"]
    assert holding[0].secret
