"""Monitoring by a Prometheus operator that the cluster runs already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource

from settings.monitoring import Operator

from .manifests import common
from .manifests import operator as manifests
from .options import child


@dataclass(frozen=True)
class OperatorMonitoringArgs:
    """What the operator is told.

    namespace: where its objects lie. scraped: the namespaces whose annotated pods it reads. rules:
    in the shape of a rule file, {"groups": [...]}. routes: the namespace of the kube-state-metrics
    that tells of the routes' weights. keda: that of KEDA's operator; None without KEDA. operator:
    by which labels it selects. sidecars: whether these pods have one.
    """

    namespace: pulumi.Input[str]
    scraped: Sequence[str]
    rules: Mapping[str, Any]
    routes: pulumi.Input[str]
    keda: str | None = None
    operator: Operator = field(default_factory=Operator)
    sidecars: bool = False


class OperatorMonitoring(pulumi.ComponentResource):
    """A PodMonitor, a ServiceMonitor of the routes' weights, one of KEDA where it is there, and a
    PrometheusRule. The Prometheus that reads them is none of this stack's.
    """

    def __init__(
        self, name: str, args: OperatorMonitoringArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:OperatorMonitoring", name, None, opts)
        labels = manifests.labels(args.operator.labels)

        def create(kind: str, short: str, spec: common.Manifest) -> None:
            CustomResource(
                f"{name}-{short}",
                api_version=manifests.API_VERSION,
                kind=kind,
                metadata=common.metadata(f"{manifests.NAME}-{short}", args.namespace, labels),
                spec=spec,
                opts=child(self),
            )

        pods = manifests.pod_monitor(sorted(args.scraped), sidecars=args.sidecars)
        create("PodMonitor", "pods", pods)
        create("ServiceMonitor", "routes", manifests.routes_monitor(args.routes))
        if args.keda:
            create("ServiceMonitor", "keda", manifests.keda_monitor(args.keda))
        create("PrometheusRule", "rules", manifests.prometheus_rule(args.rules))
        self.register_outputs({})
