"""Who watches the stack, and who is told: one Prometheus and what belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from settings import Settings

from .alertmanager import Alertmanager, AlertmanagerArgs
from .grafana import Grafana, GrafanaArgs
from .keda import Keda
from .kube_state_metrics import KubeStateMetrics, KubeStateMetricsArgs
from .manifests import common, grafana, keda, network, operator, prometheus, rules
from .monitoring import Monitoring, MonitoringArgs
from .operator_monitoring import OperatorMonitoring, OperatorMonitoringArgs


def scraper(stack: Settings, namespace: pulumi.Input[str]) -> common.Manifest:
    """The peer that reads metrics, as a NetworkPolicy names it: the stack's Prometheus in
    `namespace`, or the operator's.
    """
    if stack.monitoring == "operator":
        return operator.scrapers(stack.operator.namespace)
    return prometheus.peer(namespace)


@dataclass(frozen=True)
class ObservabilityArgs:
    """What there is to watch.

    stack: its configuration. namespace: where what watches runs. scraped: name -> namespace, of the
    namespaces whose annotated pods are read. secrets: a receiver's name -> the URL or key that it
    is reached by. keda: where a model scales by requests. password: of Grafana, where it is
    enabled.
    """

    stack: Settings
    namespace: pulumi.Input[str]
    scraped: Mapping[str, pulumi.Input[str]]
    secrets: pulumi.Input[Mapping[str, str]] | None = None
    keda: Keda | None = None
    password: pulumi.Input[str] | None = None


class Observability(pulumi.ComponentResource):
    """A Prometheus and an Alertmanager of the stack's own, or, with `monitoring: operator`, what
    the operator of another one needs; the same rules either way. And Grafana, where it is enabled.

    Outputs: `url`, where people find Prometheus, `inside_url`, where pods do, and `grafana_url`,
    None without Grafana.
    """

    url: pulumi.Output[str]
    inside_url: pulumi.Output[str]
    grafana_url: pulumi.Output[str] | None = None

    def __init__(
        self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:Observability", name, None, opts)
        stack, alerts = args.stack, args.stack.alerts
        theirs = stack.monitoring == "operator"
        groups = rules.groups(stack.models, alerts, *([operator.JOBS] if theirs else []))
        part = pulumi.ResourceOptions(parent=self)
        told = None
        if theirs:
            OperatorMonitoring(
                f"{name}-operator",
                OperatorMonitoringArgs(
                    args.namespace,
                    sorted(args.scraped),
                    groups,
                    args.namespace,
                    keda.NAMESPACE if args.keda else None,
                    stack.operator,
                    stack.istio.sidecars,
                ),
                part,
            )
            self.url = pulumi.Output.from_input(stack.prometheus.url or "")
            self.inside_url = pulumi.Output.from_input(
                stack.operator.url or stack.prometheus.url or ""
            )
        else:
            panels = network.pods(grafana.selector(), args.namespace)
            clients = [panels] if stack.grafana.enabled else []
            alertmanager = Alertmanager(
                "alertmanager",
                AlertmanagerArgs(
                    args.namespace,
                    stack.images.alertmanager,
                    alerts,
                    args.secrets,
                    stack.storage_class,
                    clients,
                ),
                part,
            )
            told = alertmanager.url
            watch = Monitoring(
                "monitoring",
                MonitoringArgs(
                    args.namespace,
                    stack.images.prometheus,
                    args.scraped,
                    stack.prometheus,
                    stack.storage_class,
                    groups,
                    told,
                    args.keda.namespace if args.keda else None,
                    clients + ([args.keda.peer] if args.keda else []),
                    stack.istio.sidecars,
                ),
                # It stood alone once: what it holds is taken over.
                pulumi.ResourceOptions(
                    parent=self, aliases=[pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)]
                ),
            )
            self.url, self.inside_url = watch.url, watch.inside_url
        KubeStateMetrics(
            f"{name}-states",
            KubeStateMetricsArgs(
                args.namespace,
                stack.images.kube_state_metrics,
                dict(args.scraped) | ({} if theirs else {"monitoring": args.namespace}),
                [scraper(stack, args.namespace)],
                routes_only=theirs,
            ),
            part,
        )
        if stack.grafana.enabled:
            shown = Grafana(
                "grafana",
                GrafanaArgs(
                    args.namespace,
                    self.inside_url,
                    args.password or "",
                    stack.images.grafana,
                    stack.grafana,
                    told,
                ),
                part,
            )
            self.grafana_url = shown.url
        self.register_outputs({"url": self.url, "inside_url": self.inside_url})
