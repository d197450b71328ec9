"""What Prometheus scrapes, and what it makes of the labels that it finds.

Its configuration: https://prometheus.io/docs/prometheus/latest/configuration/configuration/
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlsplit

from . import common, network
from . import kube_state_metrics as states
from .common import MODEL_LABEL, VERSION_LABEL, Manifest, Text
from .istio import INGRESS_NAMESPACE

SERVER = "prometheus"
PORT = 9090

_KEDA_PORT = 8080
_META = "__meta_kubernetes_pod"
RULES_AT = "/etc/prometheus-rules"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  (where it is mounted)


def selector() -> dict[str, str]:
    """The labels that pick its pod."""
    return common.selector(SERVER, SERVER)


def peer(namespace: Text = "monitoring") -> Manifest:
    """Its pods in that namespace, as a NetworkPolicy names them."""
    return network.pods(selector(), namespace)


def labels() -> dict[str, str]:
    """The labels of its objects."""
    return common.labels(SERVER, SERVER, "monitoring")


def configuration(
    namespaces: Sequence[str],
    home: str = "monitoring",
    *,
    alertmanager: str | None = None,
    keda: str | None = None,
    rules: Sequence[str] = (),
    verify_kubelets: bool = True,
    sidecars: bool = False,
) -> str:
    """prometheus.yml, as JSON, which is YAML too, so that equal input gives equal bytes.

    namespaces: whose annotated pods are scraped. home: where Prometheus runs, beside
    kube-state-metrics; of what nodes say, these namespaces alone are kept. alertmanager: where it
    is reached, as in http://alertmanager.monitoring.svc:9093. keda: the namespace of KEDA's
    operator. rules: the names of the rule files. verify_kubelets: whether the certificates of the
    kubelets are of the cluster's authority. sidecars: whether the pods have one, which tells what
    its pod counts.
    """
    jobs = [
        _static("prometheus", f"127.0.0.1:{PORT}"),
        {
            "job_name": "pods",
            "scrape_interval": "5s",
            "scrape_timeout": "4s",
            "kubernetes_sd_configs": [_pods_of(namespaces)],
            "relabel_configs": pod_relabelings(),
            "metric_relabel_configs": [
                *(_own_words(namespaces) if sidecars else []),
                *metric_relabelings(),
            ],
        },
        _static("kube-state-metrics", f"{states.SERVER}.{home}.svc:{states.PORT}")
        | {"honor_labels": True, "metric_relabel_configs": states.metric_relabelings()},
        *_node_jobs(sorted({*namespaces, home}), verify_kubelets),
    ]
    whole: Manifest = {
        "global": {
            "scrape_interval": "15s",
            "scrape_timeout": "10s",
            "evaluation_interval": "15s",
        },
        "scrape_configs": jobs,
    }
    if alertmanager:
        where = urlsplit(alertmanager)
        job = _static("alertmanager", where.netloc) | {"scheme": where.scheme}
        jobs.append(job)
        whole["alerting"] = {"alertmanagers": [{k: job[k] for k in ("scheme", "static_configs")}]}
    if keda:
        jobs.append(_keda_job(keda))
    if rules:
        whole["rule_files"] = [f"{RULES_AT}/{name}" for name in rules]
    return json.dumps(whole, indent=2)


def pod_relabelings() -> list[Manifest]:
    """The `relabel_configs` of pods that are found by annotation: `prometheus.io/scrape`, `/port`
    and `/path`. Each target gets the labels namespace and pod, and model_name and model_version
    where its pod serves a version.
    """
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


def metric_relabelings() -> list[Manifest]:
    """The `metric_relabel_configs` of these pods: what a pod says of its own identity gives way to
    what Kubernetes says of it, and a gateway's counters get the model and version they are about.
    """
    return [
        {"action": "labeldrop", "regex": "exported_(model_name|model_version|pod|namespace)"},
        _counted_for("model_name", "$1"),
        _counted_for("model_version", "$2"),
    ]


def _own_words(namespaces: Sequence[str]) -> list[Manifest]:
    """What a sidecar says of itself is left out: it would be taken for what a gateway counts."""
    inside = "|".join(each for each in namespaces if each != INGRESS_NAMESPACE)
    names = {"source_labels": ["namespace", "__name__"]}
    return [{"action": "drop", **names, "regex": f"({inside});(envoy|istio)_.+"}]


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


def _static(job: str, target: str) -> Manifest:
    return {"job_name": job, "static_configs": [{"targets": [target]}]}


def _pods_of(namespaces: Sequence[str]) -> Manifest:
    return {"role": "pod", "namespaces": {"names": list(namespaces)}}


def _node_jobs(namespaces: Sequence[str], verify: bool) -> list[Manifest]:
    """Two pages of every kubelet: volumes; and what containers use, by cAdvisor. That is read
    where metrics-server reads it, in a fiftieth of the bytes of /metrics/cadvisor.
    """
    pages = {
        "kubelet": ("/metrics", "kubelet_volume_stats_(available|capacity)_bytes"),
        "cadvisor": (
            "/metrics/resource",
            "container_(cpu_usage_seconds_total|memory_working_set_bytes)",
        ),
    }
    return [
        {
            "job_name": job,
            "scheme": "https",
            "metrics_path": path,
            "authorization": {"credentials_file": f"{TOKEN}/token"},
            "tls_config": {"ca_file": f"{TOKEN}/ca.crt"}
            if verify
            else {"insecure_skip_verify": True},
            "kubernetes_sd_configs": [{"role": "node"}],
            "metric_relabel_configs": [
                {
                    "action": "keep",
                    "source_labels": ["__name__", "namespace"],
                    "regex": f"{names};({'|'.join(namespaces)})",
                }
            ],
            # The page tells when each value was taken, and a series that is gone ends at once.
            "track_timestamps_staleness": True,
        }
        for job, (path, names) in pages.items()
    ]


def _keda_job(namespace: str) -> Manifest:
    """KEDA's operator. What it counts names the namespaces of what it scales, so its own pod's
    names none.
    """
    names = [_label("app.kubernetes.io/name"), _label("app")]
    return {
        "job_name": "keda",
        "kubernetes_sd_configs": [_pods_of([namespace])],
        "relabel_configs": [
            {
                "action": "keep",
                "source_labels": names,
                "regex": "keda-operator;.*|.*;keda-operator",
            },
            {
                "action": "drop",
                "source_labels": [f"{_META}_phase"],
                "regex": "Pending|Succeeded|Failed",
            },
            {
                "source_labels": [f"{_META}_ip"],
                "replacement": f"$1:{_KEDA_PORT}",
                "target_label": "__address__",
            },
        ],
        "metric_relabel_configs": [
            {"action": "keep", "source_labels": ["__name__"], "regex": "keda_.+"}
        ],
    }
