"""A Helm chart of KEDA, made of the manifests in its own module: the operator, the adapter that
serves its metrics to the HorizontalPodAutoscaler, their rights, and the CRDs.

Names and values are those of KEDA's own chart, which can stand in its place. What a ScaledObject
on a Prometheus query does not need is left out: admission webhooks, and the right to read every
Secret and every other object of the cluster. Run as `python -m local.keda_chart CONFIG CHART`.
"""

from __future__ import annotations

import copy
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]

OPERATOR = "keda-operator"
ADAPTER = "keda-operator-metrics-apiserver"
ADAPTER_ACCOUNT = "keda-metrics-server"
METRICS = "v1beta1.external.metrics.k8s.io"
CERTIFICATES = "kedaorg-certs"
USER = 65532

RELEASE_NAMESPACE = "{{ .Release.Namespace }}"
LABELS = {
    "app.kubernetes.io/part-of": OPERATOR,
    "app.kubernetes.io/version": "{{ .Chart.AppVersion }}",
    "app.kubernetes.io/managed-by": "{{ .Release.Service }}",
}
# Resources of rights that are not of a namespace.
CLUSTER_WIDE = ("clustertriggerauthentications", "clustercloudeventsources")
# Rights that serve other uses of KEDA: Secrets of triggers, targets of other kinds, webhooks.
UNUSED = ("secrets", "external", "validatingwebhookconfigurations", "apiservices", "*", "*/scale")


def values(version: str) -> Document:
    """The chart's default values."""

    def image(repository: str) -> Document:
        return {"registry": "ghcr.io", "repository": repository, "tag": version}

    resources = {
        "requests": {"cpu": "100m", "memory": "100Mi"},
        "limits": {"cpu": "1", "memory": "1000Mi"},
    }
    return {
        "image": {
            "keda": image("kedacore/keda"),
            "metricsApiServer": image("kedacore/keda-metrics-apiserver"),
            "pullPolicy": "IfNotPresent",
        },
        # Commas between several; none: every one.
        "watchNamespace": "",
        "clusterDomain": "cluster.local",
        "operator": {"replicaCount": 1},
        "metricsServer": {"replicaCount": 1},
        "resources": {"operator": resources, "metricServer": copy.deepcopy(resources)},
    }


def templates(config: Path) -> dict[str, str]:
    """File name → text of each template, from the manifests below `config`."""
    role, local_role = _read(config / "rbac/role.yaml")
    in_namespaces, cluster_wide = operator_rights(role["rules"])
    subject = _subject(OPERATOR)
    [account] = _read(config / "service_account/service_account.yaml")
    [operator] = _read(config / "manager/manager.yaml")
    [operator_service] = _read(config / "manager/service.yaml")
    [adapter] = _read(config / "metrics-server/deployment.yaml")
    [adapter_service] = _read(config / "metrics-server/service.yaml")
    [api_service] = _read(config / "metrics-server/api_service.yaml")
    [reader] = _read(config / "metrics-server/role.yaml")
    bindings = _read(config / "metrics-server/role_binding.yaml")
    adapter_account = copy.deepcopy(account)
    adapter_account["metadata"]["name"] = ADAPTER_ACCOUNT
    for rule in reader["rules"]:
        rule["verbs"] = ["get", "list"]
    for binding in bindings:
        if binding["subjects"][0]["name"] == OPERATOR:
            binding["subjects"] = [_subject(ADAPTER_ACCOUNT)]
    local_role["rules"].append(
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}
    )
    adapter_service["metadata"] |= {"name": ADAPTER, "labels": {"app.kubernetes.io/name": ADAPTER}}
    adapter_service["spec"]["selector"] = {"app": ADAPTER}
    api_service["spec"]["service"]["name"] = ADAPTER
    return {
        "rights.yaml": _dump(
            account,
            _role("ClusterRole", OPERATOR, in_namespaces),
            _role("ClusterRole", f"{OPERATOR}-minimal", cluster_wide),
            _binding("ClusterRoleBinding", f"{OPERATOR}-minimal", "ClusterRole", subject),
            local_role,
            _binding("RoleBinding", f"{OPERATOR}-certs", "Role", subject, role=OPERATOR),
            adapter_account,
            reader,
            *bindings,
        ),
        "watched.yaml": _watched(subject),
        "operator.yaml": _dump(_operator(operator), operator_service),
        "adapter.yaml": _dump(_adapter(adapter), adapter_service, api_service),
    }


def operator_rights(rules: list[Document]) -> tuple[list[Document], list[Document]]:
    """The rules that the operator needs in the namespaces it watches, and in the whole cluster."""
    in_namespaces, cluster_wide = [], []
    for rule in rules:
        if rule["resources"] == ["jobs"]:
            # Its controller of ScaledJobs waits for them; it is given none to make.
            rule = {**rule, "verbs": ["get", "list", "watch"]}
        whole = [name for name in rule["resources"] if name.split("/")[0] in CLUSTER_WIDE]
        rest = [name for name in rule["resources"] if name not in (*whole, *UNUSED)]
        if whole:
            cluster_wide.append({**rule, "resources": whole})
        if rest:
            in_namespaces.append({**rule, "resources": rest})
    scale = {"apiGroups": ["apps"], "resources": ["deployments/scale", "statefulsets/scale"]}
    in_namespaces.append({**scale, "verbs": ["get", "list", "watch", "patch", "update"]})
    registration = {"apiGroups": ["apiregistration.k8s.io"], "resources": ["apiservices"]}
    cluster_wide += [
        {**registration, "verbs": ["get", "list", "watch"]},
        # It writes its own authority into its own registration.
        {**registration, "verbs": ["patch", "update"], "resourceNames": [METRICS]},
    ]
    return in_namespaces, cluster_wide


def custom_resources(config: Path) -> dict[str, str]:
    """File name → template of each CRD, with the patches that KEDA applies to two of them.

    Templates, because Helm never changes what stands in a chart's `crds`, nor marks it as its own;
    kept when the release goes, because with a CRD go all objects of its kind.
    """
    found = {}
    patches = _read(config / "crd/kustomization.yaml")[0]["patches"]
    for path in sorted((config / "crd/bases").glob("*.yaml")):
        [definition] = _read(path)
        for entry in patches:
            if entry["target"]["name"] == definition["metadata"]["name"]:
                for operation in _read(config / "crd" / entry["path"])[0]:
                    patch(definition, operation)
        annotations = definition["metadata"].setdefault("annotations", {})
        annotations["helm.sh/resource-policy"] = "keep"
        text = yaml.safe_dump(definition, sort_keys=False, width=2**16)
        found[path.name] = text.replace("{{", '{{ "{{" }}')
    return found


def patch(document: Any, operation: Document) -> None:
    """Apply one operation of a JSON patch (RFC 6902), `add` or `remove`, to `document`.

    Raises ValueError for any other one, KeyError or IndexError where its path leads nowhere.
    """
    *parents, last = operation["path"].lstrip("/").split("/")
    for key in parents:
        document = document[int(key) if isinstance(document, list) else key]
    match operation["op"], document:
        case "add", list():
            document.insert(len(document) if last == "-" else int(last), operation["value"])
        case "add", _:
            document[last] = operation["value"]
        case "remove", list():
            del document[int(last)]
        case "remove", _:
            del document[last]
        case other, _:
            raise ValueError(f"patch: {other} is neither add nor remove")


def _operator(deployment: Document) -> Document:
    container = _common(deployment, OPERATOR, OPERATOR, "operator", "keda", "operator")
    container["args"] += [
        "--enable-webhook-patching=false",
        f"--operator-service-name={OPERATOR}",
        f"--metrics-server-service-name={ADAPTER}",
        "--k8s-cluster-domain={{ .Values.clusterDomain }}",
    ]
    # It reads Secrets for the environment of what it scales, which no query needs.
    container["env"].append({"name": "KEDA_RESTRICT_SECRET_ACCESS", "value": "true"})
    container["ports"].append({"name": "metricsservice", "containerPort": 9666})
    container["readinessProbe"] |= {"initialDelaySeconds": 2, "periodSeconds": 3}
    return deployment


def _adapter(deployment: Document) -> Document:
    container = _common(
        deployment, ADAPTER, ADAPTER_ACCOUNT, "metricsServer", "metricsApiServer", "metricServer"
    )
    container["args"].append(
        f"--metrics-service-address={OPERATOR}.{RELEASE_NAMESPACE}.svc."
        "{{ .Values.clusterDomain }}:9666"
    )
    container["readinessProbe"] |= {"initialDelaySeconds": 2, "periodSeconds": 3}
    # Not the authority's key; and no start before the operator has made the rest.
    for volume in deployment["spec"]["template"]["spec"]["volumes"]:
        if "secret" in volume:
            names = ("ca.crt", "tls.crt", "tls.key")
            volume["secret"]["items"] = [{"key": name, "path": name} for name in names]
    return deployment


def _common(
    deployment: Document, name: str, account: str, part: str, image: str, resources: str
) -> Document:
    """Name, image, place and security of a Deployment of one container, which is returned."""
    labels = {"app": name, "app.kubernetes.io/name": name}
    deployment["metadata"] |= {"name": name, "labels": dict(labels)}
    spec = deployment["spec"]
    spec["replicas"] = f"@{{.Values.{part}.replicaCount}}@"
    spec["selector"] = {"matchLabels": {"app": name}}
    spec["template"]["metadata"] = {"labels": {**labels, **LABELS}}
    pod = spec["template"]["spec"]
    pod["serviceAccountName"] = account
    pod["automountServiceAccountToken"] = True
    pod["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    [container] = pod["containers"]
    where = f".Values.image.{image}"
    container["name"] = name
    container["image"] = (
        f"{{{{ with {where}.registry }}}}{{{{ . }}}}/{{{{ end }}}}"
        f"{{{{ {where}.repository }}}}:{{{{ {where}.tag | default .Chart.AppVersion }}}}"
    )
    container["imagePullPolicy"] = "{{ .Values.image.pullPolicy }}"
    container["resources"] = f"@{{toJson .Values.resources.{resources}}}@"
    for entry in container["env"]:
        if entry["name"] == "WATCH_NAMESPACE":
            entry["value"] = "@{.Values.watchNamespace | quote}@"
    container["env"] = [entry for entry in container["env"] if entry.get("value") != ""]
    made: Document = container
    return made


def _watched(subject: Document) -> str:
    """What binds the operator's rights: in each watched namespace, else in the whole cluster."""
    of_one = _binding("RoleBinding", OPERATOR, "ClusterRole", subject)
    of_one["metadata"]["namespace"] = "{{ . }}"
    # Inside the range `.` is the namespace.
    one = _dump(of_one).replace("{{ .Release", "{{ $.Release").replace("{{ .Chart", "{{ $.Chart")
    every = _dump(_binding("ClusterRoleBinding", OPERATOR, "ClusterRole", subject))
    return (
        '{{- if .Values.watchNamespace }}\n{{- range splitList "," .Values.watchNamespace }}\n'
        f"---\n{one}{{{{- end }}}}\n{{{{- else }}}}\n---\n{every}{{{{- end }}}}\n"
    )


def _role(kind: str, name: str, rules: list[Document]) -> Document:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "rules": rules,
    }


def _binding(
    kind: str, name: str, role_kind: str, subject: Document, *, role: str = ""
) -> Document:
    metadata = {"name": name}
    if kind == "RoleBinding":
        metadata["namespace"] = RELEASE_NAMESPACE
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": role_kind, "name": role or name},
        "subjects": [subject],
    }


def _subject(account: str) -> Document:
    return {"kind": "ServiceAccount", "name": account, "namespace": RELEASE_NAMESPACE}


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice out twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _dump(*documents: Document) -> str:
    """The documents as one template: in the release's namespace, with its labels."""
    texts = []
    for document in documents:
        metadata = document["metadata"]
        metadata["labels"] = {**metadata.get("labels", {}), **LABELS}
        if metadata.get("namespace") == "keda":
            metadata["namespace"] = RELEASE_NAMESPACE
        service = document.get("spec", {}).get("service", {})
        if service.get("namespace") == "keda":
            service["namespace"] = RELEASE_NAMESPACE
        text = yaml.dump(document, Dumper=_Plain, sort_keys=False, width=2**16)
        # What Helm fills in as it is, and not as a text.
        texts.append(re.sub(r"'@\{(.*?)\}@'", r"{{ \1 }}", text))
    return "---\n".join(texts)


def _read(path: Path) -> list[Any]:
    return [entry for entry in yaml.load_all(path.read_text(), yaml.CSafeLoader) if entry]


def write(config: Path, chart: Path) -> None:
    """Write the chart of the KEDA whose manifests stand below `config`."""
    module = config.resolve().parent
    version = module.name.rpartition("@v")[2]
    metadata = {
        "apiVersion": "v2",
        "name": "keda",
        "description": "KEDA, for ScaledObjects on Prometheus queries",
        "version": version,
        "appVersion": version,
    }
    files = {
        "Chart.yaml": yaml.safe_dump(metadata, sort_keys=False),
        "values.yaml": yaml.safe_dump(values(version), sort_keys=False),
        **{f"templates/{name}": text for name, text in templates(config).items()},
        **{f"templates/crds/{name}": text for name, text in custom_resources(config).items()},
    }
    for name, text in files.items():
        path = chart / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copy(module / "LICENSE", chart / "LICENSE")
    (chart / "LICENSE").chmod(0o644)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
