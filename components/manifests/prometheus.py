"""The manifests of Prometheus: it finds pods by annotation and keeps its data on a volume."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from settings_types import memory_bytes

from . import common
from .common import MODEL_LABEL, VERSION_LABEL, Manifest, Text
from .istio import INGRESS_NAMESPACE

SERVER = "prometheus"
PORT = 9090
CONFIG_FILE = "prometheus.yml"
USER = 65534
_META = "__meta_kubernetes_pod"


def selector() -> dict[str, str]:
    """The labels that pick its pod."""
    return common.selector(SERVER, SERVER)


def labels() -> dict[str, str]:
    """The labels of its objects."""
    return common.labels(SERVER, SERVER, "monitoring")


def configuration(namespaces: Sequence[str]) -> str:
    """prometheus.yml, as JSON, which is YAML too, so that equal input gives equal bytes."""
    return json.dumps(
        {
            "global": {
                "scrape_interval": "5s",
                "scrape_timeout": "4s",
                "evaluation_interval": "15s",
            },
            "scrape_configs": [
                {"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{PORT}"]}]},
                {
                    "job_name": "pods",
                    "kubernetes_sd_configs": [
                        {"role": "pod", "namespaces": {"names": list(namespaces)}}
                    ],
                    "relabel_configs": _relabelings(),
                    # What a pod says of its own identity gives way to what Kubernetes says of it.
                    "metric_relabel_configs": [
                        {
                            "action": "labeldrop",
                            "regex": "exported_(model_name|model_version|pod|namespace)",
                        },
                        _counted_for("model_name", "$1"),
                        _counted_for("model_version", "$2"),
                    ],
                },
            ],
        },
        indent=2,
    )


def deployment(image: Text, config: str, config_map: Text, claim: Text, size: str) -> Manifest:
    """The spec of the Deployment. `size` is the volume's; the data may fill four fifths of it."""
    megabytes = memory_bytes(size) * 4 // 5 // 2**20
    pod = common.pod(
        SERVER,
        automountServiceAccountToken=True,  # it asks the API server for pods
        securityContext=common.pod_security(USER),
        terminationGracePeriodSeconds=60,
        containers=[
            common.container(
                SERVER,
                image,
                [
                    "/bin/prometheus",
                    f"--config.file=/etc/prometheus/{CONFIG_FILE}",
                    f"--web.listen-address=0.0.0.0:{PORT}",
                    "--storage.tsdb.path=/data",
                    f"--storage.tsdb.retention.size={megabytes}MB",
                    "--storage.tsdb.retention.time=30d",
                ],
                workingDir="/data",
                ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                resources={
                    "requests": {"cpu": "50m", "memory": "128Mi"},
                    "limits": {"cpu": "1", "memory": "512Mi"},
                },
                startupProbe=common.http_probe(
                    "/-/ready", "http", period=2, timeout=5, failures=60
                ),
                livenessProbe=common.http_probe(
                    "/-/healthy", "http", period=15, timeout=10, failures=4
                ),
                readinessProbe=common.http_probe(
                    "/-/ready", "http", period=5, timeout=5, failures=3
                ),
                volumeMounts=[
                    common.mount("config", "/etc/prometheus", read_only=True),
                    common.mount("data", "/data"),
                ],
            )
        ],
        volumes=[
            {"name": "config", "configMap": {"name": config_map}},
            common.claim_volume("data", claim),
        ],
    )
    annotations = {"slipway.dev/config-sha256": hashlib.sha256(config.encode()).hexdigest()}
    return common.single_replica(
        selector(), {"metadata": {"labels": labels(), "annotations": annotations}, "spec": pod}
    )


def pod_reader_rules() -> list[Manifest]:
    """The rules of the Role that lets it find pods, and nothing else."""
    return [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]


def _relabelings() -> list[Manifest]:
    annotation = f"{_META}_annotation_prometheus_io"
    return [
        {"action": "keep", "source_labels": [f"{annotation}_scrape"], "regex": "true"},
        {"action": "drop", "source_labels": [f"{_META}_container_init"], "regex": "true"},
        {
            "action": "drop",
            "source_labels": [f"{_META}_phase"],
            "regex": "Pending|Succeeded|Failed",
        },
        {
            "source_labels": [f"{_META}_ip", f"{annotation}_port"],
            "regex": r"(.+);(\d+)",
            "replacement": "$1:$2",
            "target_label": "__address__",
        },
        {
            "source_labels": [f"{annotation}_path"],
            "regex": "(.+)",
            "target_label": "__metrics_path__",
        },
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": [f"{_META}_name"], "target_label": "pod"},
        {"source_labels": [_label(MODEL_LABEL)], "target_label": "model_name"},
        {"source_labels": [_label(VERSION_LABEL)], "target_label": "model_version"},
    ]


def _counted_for(label: str, group: str) -> Manifest:
    """The label of a gateway's counter that says which model, or version, the answers came from.
    Only a gateway's word is taken for it.
    """
    service = r"outbound\|\d+\|\|([^.]+)-v(\d+)\.[^;]+"
    return {
        "action": "replace",
        "source_labels": ["namespace", "__name__", "cluster_name"],
        "regex": f"{INGRESS_NAMESPACE};envoy_cluster_upstream_rq[^;]*;{service}",
        "replacement": group,
        "target_label": label,
    }


def _label(name: str) -> str:
    return f"{_META}_label_" + "".join(c if c.isalnum() else "_" for c in name)
