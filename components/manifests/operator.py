"""The objects by which a Prometheus operator that is there already scrapes this stack and evaluates
its rules: made from the bundled Prometheus' own configuration, so that every series gets the same
labels.

Their fields: https://prometheus-operator.dev/docs/api-reference/api/
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import common, network, prometheus
from . import kube_state_metrics as states
from .common import Manifest, Text

API_VERSION = "monitoring.coreos.com/v1"
NAME = "slipway"
ROUTES = "slipway-routes"  # the job of the weights
# The jobs that must be there: this stack's own, and of what kube-prometheus-stack brings those that
# go by the same names.
JOBS = ("kube-state-metrics", "kubelet", "pods", ROUTES)

# What an operator puts on every target of its own accord. Without it, a pod with several ports is
# one target, and only the job says what its series are called.
_ADDED = "container|endpoint|namespace|node|pod|service"
_CAMEL_CASE = {"source_labels": "sourceLabels", "target_label": "targetLabel"}


def labels(selected_by: Mapping[str, str]) -> dict[str, str]:
    """The labels of the objects; `selected_by` are those that the operator's selectors ask for."""
    return common.labels(NAME, NAME, "monitoring") | dict(selected_by)


def scrapers(namespace: Text) -> Manifest:
    """The peer that is every Prometheus of an operator in that namespace."""
    # Source of the labels: makeStatefulSetSpec in the operator's pkg/prometheus/server.
    return network.pods(
        {
            "app.kubernetes.io/name": "prometheus",
            "app.kubernetes.io/managed-by": "prometheus-operator",
        },
        namespace,
    )


def pod_monitor(namespaces: Sequence[str], *, sidecars: bool = False) -> Manifest:
    """The spec of the PodMonitor of all pods in these namespaces that are annotated to be
    scraped. sidecars: whether they have one.
    """
    config = prometheus.configuration(namespaces, sidecars=sidecars)
    return _monitor("podMetricsEndpoints", "pods", config)


def keda_monitor(keda: str) -> Manifest:
    """The spec of the ServiceMonitor of KEDA's operator, which runs in this namespace."""
    return _monitor("endpoints", "keda", prometheus.configuration([], keda=keda))


def routes_monitor(namespace: Text) -> Manifest:
    """The spec of the ServiceMonitor of the stack's own kube-state-metrics in this namespace, which
    tells of nothing but the weights of routes: the operator's stack brings another one.
    """
    config = json.loads(prometheus.configuration([]))
    job = _job(config, states.SERVER)
    endpoint = _endpoint(config, job, ROUTES) | {"port": "http", "honorLabels": True}
    return {
        "namespaceSelector": {"matchNames": [namespace]},
        "selector": {"matchLabels": states.labels()},
        "endpoints": [endpoint],
    }


def prometheus_rule(groups: Mapping[str, Any]) -> Manifest:
    """The spec of the PrometheusRule: these groups, in the shape of a rule file, evaluated as often
    as by the bundled Prometheus.
    """
    interval = json.loads(prometheus.configuration([]))["global"]["evaluation_interval"]
    return {"groups": [{"interval": interval} | group for group in groups["groups"]]}


def _monitor(endpoints: str, name: str, configuration: str) -> Manifest:
    config = json.loads(configuration)
    job = _job(config, name)
    (discovery,) = job["kubernetes_sd_configs"]
    return {
        "namespaceSelector": {"matchNames": discovery["namespaces"]["names"]},
        "selector": {},  # all of them: the job's own relabelings choose
        endpoints: [_endpoint(config, job, name)],
    }


def _job(config: Manifest, name: str) -> Manifest:
    (job,) = [each for each in config["scrape_configs"] if each["job_name"] == name]
    return dict(job)


def _endpoint(config: Manifest, job: Manifest, name: str) -> Manifest:
    """How the job is scraped; its series get `name` as their job."""
    general = config["global"]
    return {
        "interval": job.get("scrape_interval", general["scrape_interval"]),
        "scrapeTimeout": job.get("scrape_timeout", general["scrape_timeout"]),
        "relabelings": [
            {"action": "labeldrop", "regex": _ADDED},
            {"action": "replace", "targetLabel": "job", "replacement": name},
            *_converted(job.get("relabel_configs", [])),
        ],
        "metricRelabelings": _converted(job["metric_relabel_configs"]),
    }


def _converted(relabelings: Sequence[Manifest]) -> list[Manifest]:
    return [{_CAMEL_CASE.get(k, k): v for k, v in it.items()} for it in relabelings]
