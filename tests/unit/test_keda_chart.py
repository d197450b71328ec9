"""The chart of KEDA: which rights are left of KEDA's own, patches, and what it is made of."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from local import keda_chart

RULES = [
    {"apiGroups": [""], "resources": ["pods", "secrets", "services"], "verbs": ["get", "list"]},
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"]},
    {"apiGroups": ["*"], "resources": ["*/scale"], "verbs": ["get", "update"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch", "create"]},
    {
        "apiGroups": ["keda.sh"],
        "resources": ["clustertriggerauthentications/status", "scaledobjects"],
        "verbs": ["get", "list", "watch", "update"],
    },
    {"apiGroups": ["apiregistration.k8s.io"], "resources": ["apiservices"], "verbs": ["update"]},
]


def test_the_operator_reads_no_secret_scales_two_kinds_and_makes_no_job() -> None:
    inside, whole = keda_chart.operator_rights(RULES)
    named = {name for rule in inside + whole for name in rule["resources"]}
    assert "secrets" not in named
    assert not [name for name in named if "*" in name]
    assert {"deployments/scale", "statefulsets/scale", "pods", "services"} <= named
    [jobs] = [rule for rule in inside if rule["resources"] == ["jobs"]]
    assert jobs["verbs"] == ["get", "list", "watch"]
    assert [rule["resources"] for rule in whole] == [
        ["clustertriggerauthentications/status"],
        ["apiservices"],
        ["apiservices"],
    ]
    writers = [rule for rule in whole if "update" in rule["verbs"] and "apiservices" in str(rule)]
    assert [rule["resourceNames"] for rule in writers] == [["v1beta1.external.metrics.k8s.io"]]


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "add", "path": "/a/b", "value": 1}, {"a": {"b": 1}, "l": ["x"]}),
        ({"op": "add", "path": "/l/-", "value": "y"}, {"a": {}, "l": ["x", "y"]}),
        ({"op": "add", "path": "/l/0", "value": "y"}, {"a": {}, "l": ["y", "x"]}),
        ({"op": "remove", "path": "/a"}, {"l": ["x"]}),
        ({"op": "remove", "path": "/l/0"}, {"a": {}, "l": []}),
    ],
)
def test_a_patch_is_applied(operation: dict[str, Any], result: dict[str, Any]) -> None:
    document: dict[str, Any] = {"a": {}, "l": ["x"]}
    keda_chart.patch(document, operation)
    assert document == result


def test_a_patch_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="move is neither add nor remove"):
        keda_chart.patch({}, {"op": "move", "path": "/a"})
    with pytest.raises(KeyError):
        keda_chart.patch({}, {"op": "add", "path": "/gone/b", "value": 1})


def deployment(name: str, volumes: list[dict[str, Any]]) -> dict[str, Any]:
    container = {
        "name": name,
        "image": f"ghcr.io/kedacore/{name}:latest",
        "args": ["--leader-elect"],
        "env": [{"name": "WATCH_NAMESPACE", "value": ""}, {"name": "EMPTY", "value": ""}],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8081}},
        "securityContext": {"readOnlyRootFilesystem": True},
    }
    pod = {"containers": [container], "volumes": volumes}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "keda"},
        "spec": {"replicas": 1, "template": {"spec": pod}},
    }


def named(kind: str, name: str, **rest: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": "keda"}, **rest}


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module with the manifests that the chart is made of, as short as they can be."""
    certificates = {"name": "certificates", "secret": {"secretName": "kedaorg-certs"}}
    account = {"kind": "ServiceAccount", "name": "keda-operator", "namespace": "keda"}
    others = {"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler"}
    definition = {
        "metadata": {"name": "scaledobjects.keda.sh", "annotations": {"made-by": "generator"}},
        "spec": {"versions": [{"schema": {"least": 1, "description": "as '{{ .name }}': x"}}]},
    }
    fix = [{"op": "add", "path": "/spec/versions/0/schema/most", "value": 3600}]
    target = {"path": "patches/fix.yaml", "target": {"name": "scaledobjects.keda.sh"}}
    files: dict[str, list[Any]] = {
        "rbac/role.yaml": [
            {**named("ClusterRole", "keda-operator"), "rules": RULES},
            {**named("Role", "keda-operator"), "rules": []},
        ],
        "service_account/service_account.yaml": [named("ServiceAccount", "keda-operator")],
        "manager/manager.yaml": [deployment("keda-operator", [certificates])],
        "manager/service.yaml": [named("Service", "keda-operator", spec={"ports": []})],
        "metrics-server/deployment.yaml": [deployment("keda-metrics-apiserver", [certificates])],
        "metrics-server/service.yaml": [named("Service", "keda-metrics-apiserver", spec={})],
        "metrics-server/api_service.yaml": [
            named("APIService", "x", spec={"service": {"name": "y", "namespace": "keda"}})
        ],
        "metrics-server/role.yaml": [named("ClusterRole", "reader", rules=[{"verbs": ["*"]}])],
        "metrics-server/role_binding.yaml": [
            named("ClusterRoleBinding", "delegator", subjects=[dict(account)]),
            named("ClusterRoleBinding", "hpa", subjects=[others]),
        ],
        "crd/kustomization.yaml": [{"patches": [target]}],
        "crd/patches/fix.yaml": [fix],
        "crd/bases/scaledobjects.yaml": [definition],
    }
    root = tmp_path / "v2@v2.21.0"
    for name, documents in files.items():
        path = root / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump_all(documents))
    (root / "LICENSE").write_text("Apache License")
    return root


def test_the_chart_has_values_for_what_the_stack_sets(module: Path, tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    keda_chart.write(module / "config", chart)
    assert yaml.safe_load((chart / "Chart.yaml").read_text())["version"] == "2.21.0"
    values = yaml.safe_load((chart / "values.yaml").read_text())
    assert values["image"]["keda"] == {
        "registry": "ghcr.io",
        "repository": "kedacore/keda",
        "tag": "2.21.0",
    }
    text = "".join(path.read_text() for path in (chart / "templates").glob("*.yaml"))
    for key in (
        "image.keda.repository",
        "image.metricsApiServer.tag",
        "toJson .Values.resources.operator",
        "toJson .Values.resources.metricServer",
        "operator.replicaCount",
        "watchNamespace | quote",
    ):
        assert key in text, key
    # Quoted, Helm would fill in a text where an object or a number is due.
    assert "'{{ toJson" not in text
    assert "'{{ .Values.operator.replicaCount" not in text
    assert "namespace: keda\n" not in text
    assert "&id" not in text


def test_a_crd_is_a_template_that_helm_updates_and_keeps(module: Path, tmp_path: Path) -> None:
    keda_chart.write(module / "config", tmp_path / "chart")
    assert not (tmp_path / "chart/crds").exists()
    text = (tmp_path / "chart/templates/crds/scaledobjects.yaml").read_text()
    # What Helm makes of it: an action that is a text is that text.
    rendered = re.sub(r"{{ (.*?) }}", lambda action: json.loads(action[1]), text)
    definition = yaml.safe_load(rendered)
    assert definition["metadata"]["annotations"] == {
        "made-by": "generator",
        "helm.sh/resource-policy": "keep",
    }
    assert definition["spec"]["versions"][0]["schema"] == {
        "least": 1,
        "most": 3600,
        "description": "as '{{ .name }}': x",
    }


def test_the_adapter_has_rights_and_files_of_its_own(module: Path) -> None:
    found = keda_chart.templates(module / "config")
    assert "ca.key" not in found["adapter.yaml"]
    assert "key: tls.key" in found["adapter.yaml"]
    assert "serviceAccountName: keda-metrics-server" in found["adapter.yaml"]
    assert "KEDA_RESTRICT_SECRET_ACCESS" in found["operator.yaml"]
    documents = list(yaml.safe_load_all(found["rights.yaml"]))
    [delegator] = [entry for entry in documents if entry["metadata"]["name"] == "delegator"]
    assert delegator["subjects"][0]["name"] == "keda-metrics-server"
    [reader] = [entry for entry in documents if entry["metadata"]["name"] == "reader"]
    assert reader["rules"] == [{"verbs": ["get", "list"]}]
