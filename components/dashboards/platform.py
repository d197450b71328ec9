"""The dashboard of what the models stand on: the gateway, the registry, the cluster, those who
measure, and GPUs where there are any.
"""

from __future__ import annotations

from typing import Any

from .board import FAILURES, GATEWAY, RED, REGISTRY, SERVING, YELLOW, finished, frame
from .panels import Box, Section, Series, graph, number
from .platform_measuring import alertmanager, keda, prometheus

UID = "slipway-platform"

_FULL = ((0.8, YELLOW), (0.9, RED))
_NODE = "* on (namespace, pod) group_left (node) max by (namespace, pod, node) (kube_pod_info)"
_CPU = "rate(container_cpu_usage_seconds_total{%s}[$__rate_interval])"
_MEMORY = "container_memory_working_set_bytes{%s}"
_CONTAINER = 'container!="",container!="POD"'


def platform_dashboard() -> dict[str, Any]:
    """The dashboard of the platform, without variables but the data source."""
    board = frame(UID, "Slipway / Platform", "What the models stand on.")
    sections = [
        Section("Now", _now()),
        Section("Gateway", _gateway()),
        Section("MLflow and the bucket", _registry()),
        Section("Cluster", _cluster()),
        Section("Prometheus", prometheus()),
        Section("Alertmanager", alertmanager()),
        Section("KEDA", keda(), collapsed=True),
        Section("GPU", _gpu(), collapsed=True),
    ]
    return finished(board, sections)


def _now() -> list[Box]:
    mlflow = f'kube_pod_container_status_ready{{namespace="{REGISTRY}",container="mlflow"}}'
    return [
        number(
            "Gateways",
            "Gateway pods that serve; 0 is bad: nothing is answered.",
            "none",
            "sum(envoy_server_live)",
            steps=SERVING,
        ),
        number(
            "MLflow",
            "1 if MLflow serves; 0 is bad: no new pod of a model can start.",
            "none",
            f"sum({mlflow})",
            steps=SERVING,
        ),
        number(
            "Targets missing",
            "What Prometheus is to read and does not reach; any is bad.",
            "none",
            "count(up) - sum(up)",
            steps=((1, RED),),
        ),
        number(
            "Pods not ready",
            "Pods of the stack that do not serve and have not finished; any for long is bad.",
            "none",
            f"sum({_not_ready()})",
            steps=((1, YELLOW),),
        ),
        number(
            "Fullest volume",
            "How full the fullest volume is; above 90 % is bad.",
            "percentunit",
            f"max({_fill()})",
            steps=_FULL,
        ),
        number(
            "Alerts",
            "Alerts that fire, of models and platform; any is bad.",
            "none",
            'count(ALERTS{alertstate="firing"}) or vector(0)',
            steps=((1, RED),),
        ),
    ]


def _gateway() -> list[Box]:
    answers = f'envoy_cluster_upstream_rq{{namespace="{GATEWAY}",model_name!="",%s}}'
    by_class = answers % 'response_code_class!=""'
    failed = answers % 'response_code_class="5xx"'
    arrived = f'envoy_cluster_upstream_rq_completed{{namespace="{GATEWAY}",model_name!=""}}'
    refused = " + ".join(
        f"sum by (pod) (rate({kind}_update_rejected[$__rate_interval]))"
        for kind in ("envoy_cluster_manager_cds", "envoy_listener_manager_lds")
    )
    return [
        graph(
            "Answers by class",
            "Answers a second for models, by class of status; 5xx is bad, 4xx is the client's.",
            "reqps",
            Series(
                f"sum by (response_code_class) (rate({by_class}[$__rate_interval]))",
                "{{response_code_class}}",
            ),
        ),
        graph(
            "Failures",
            "The share of all answers with a status of 500 or more; above 1 % is bad.",
            "percentunit",
            Series(
                f"(sum(rate({failed}[$__rate_interval])) or vector(0))"
                f" / sum(rate({arrived}[$__rate_interval]))",
                "failed",
            ),
            steps=FAILURES,
        ),
        graph(
            "Connections",
            "Connections of clients to each gateway pod; a fall to 0, or a steady rise, is bad.",
            "none",
            Series("sum by (pod) (envoy_server_total_connections)", "{{pod}}"),
        ),
        graph(
            "Configuration refused",
            "Updates of routes and clusters a second that a gateway pod refused; any is bad: it "
            "serves an older configuration than the stack's.",
            "ops",
            Series(refused, "{{pod}}"),
            steps=((0.001, RED),),
        ),
        *_use(GATEWAY, "pod", "of each gateway pod; near 100 % is bad: requests wait, or fail"),
    ]


def _registry() -> list[Box]:
    ready = f'kube_pod_container_status_ready{{namespace="{REGISTRY}",container!="train"}}'
    restarts = f'kube_pod_container_status_restarts_total{{namespace="{REGISTRY}"}}'
    return [
        graph(
            "Ready",
            "1 while the container serves, and, dashed, while Prometheus reaches it; 0 is bad: no "
            "new pod of a model can start. Models that run go on.",
            "none",
            Series(f"max by (container) ({ready})", "{{container}}"),
            Series(f'max by (pod) (up{{namespace="{REGISTRY}"}})', "{{pod}} reached", dashed=True),
            top=1,
        ),
        *_use(REGISTRY, "container", "of each container; near 100 % is bad"),
        graph(
            "Restarts",
            "Restarts of each container in the last hour; any is bad.",
            "none",
            Series(f"sum by (container) (increase({restarts}[1h]))", "{{container}}"),
            steps=((1, RED),),
        ),
    ]


def _cluster() -> list[Box]:
    cpu, memory = (f"sum by (namespace, pod) ({it % _CONTAINER})" for it in (_CPU, _MEMORY))
    restarts = "increase(kube_pod_container_status_restarts_total[1h])"
    return [
        graph(
            "CPU by namespace",
            "CPUs that the stack's pods use, by namespace; all the nodes have is bad.",
            "none",
            Series(f"sum by (namespace) ({_CPU % _CONTAINER})", "{{namespace}}"),
        ),
        graph(
            "Memory by namespace",
            "Memory that the stack's pods use, by namespace; all the nodes have is bad.",
            "bytes",
            Series(f"sum by (namespace) ({_MEMORY % _CONTAINER})", "{{namespace}}"),
        ),
        graph(
            "Volumes",
            "How full each volume is; above 90 % is bad.",
            "percentunit",
            Series(_fill(), "{{namespace}}/{{persistentvolumeclaim}}"),
            steps=_FULL,
            top=1,
        ),
        graph(
            "CPU by node",
            "CPUs that the stack's pods use, by node; one node far above the others is bad.",
            "none",
            Series(f"sum by (node) ({cpu} {_NODE})", "{{node}}"),
        ),
        graph(
            "Memory by node",
            "Memory that the stack's pods use, by node; one node far above the others is bad.",
            "bytes",
            Series(f"sum by (node) ({memory} {_NODE})", "{{node}}"),
        ),
        graph(
            "Pods not ready, and restarts",
            "Pods that do not serve and have not finished, and, dashed, restarts in the last "
            "hour, by namespace; any for long is bad.",
            "none",
            Series(f"sum by (namespace) ({_not_ready()})", "{{namespace}} not ready"),
            Series(
                f"sum by (namespace) ({restarts})",
                "{{namespace}} restarts",
                dashed=True,
            ),
        ),
    ]


def _gpu() -> list[Box]:
    where = "Empty without GPUs and NVIDIA's DCGM exporter, which `gpu.exporter` brings."
    name = "{{Hostname}} GPU {{gpu}}"
    fields = "by (Hostname, gpu)"
    used, free = (f"sum {fields} (DCGM_FI_DEV_FB_{it})" for it in ("USED", "FREE"))
    return [
        graph(
            "GPU use",
            "How much of the time each GPU computes; near 0 with requests is bad: it is paid for "
            f"and idle. {where}",
            "percent",
            Series(f"max {fields} (DCGM_FI_DEV_GPU_UTIL)", name),
            top=100,
        ),
        graph(
            "GPU memory",
            "How full the memory of each GPU is; near 100 % is bad: the next model does not fit. "
            f"{where}",
            "percentunit",
            Series(f"{used} / ({used} + {free})", name),
            steps=_FULL,
            top=1,
        ),
        graph(
            "GPU temperature",
            f"The temperature of each GPU; above 85 °C is bad: it slows down. {where}",
            "celsius",
            Series(f"max {fields} (DCGM_FI_DEV_GPU_TEMP)", name),
            steps=((85, RED),),
        ),
    ]


def _use(namespace: str, by: str, what: str) -> list[Box]:
    """CPU and memory in `namespace` as shares of their limits."""
    here = f'namespace="{namespace}",{_CONTAINER}'
    limits = f'kube_pod_container_resource_limits{{{here},resource="%s"}}'
    return [
        graph(
            f"{title} against the limit",
            f"{title} {what}.",
            "percentunit",
            Series(
                f"sum by ({by}) ({used % here}) / sum by ({by}) ({limits % resource})",
                f"{{{{{by}}}}}",
            ),
            steps=_FULL,
            top=1,
        )
        for title, resource, used in (("CPU", "cpu", _CPU), ("Memory", "memory", _MEMORY))
    ]


def _fill() -> str:
    available, capacity = (
        f"max by (namespace, persistentvolumeclaim) (kubelet_volume_stats_{it}_bytes)"
        for it in ("available", "capacity")
    )
    return f"1 - {available} / {capacity}"


def _not_ready() -> str:
    finished_ones = 'kube_pod_status_phase{phase="Succeeded"} == 1'
    waiting = 'kube_pod_status_ready{condition="false"}'
    return f"{waiting} unless on (namespace, pod) ({finished_ones})"
