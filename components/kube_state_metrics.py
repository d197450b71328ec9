"""kube-state-metrics, which tells Prometheus the state of the stack's objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from . import access
from .manifests import common, network, prometheus
from .manifests import kube_state_metrics as manifests
from .options import child

_CLUSTER_ROLE = "slipway-kube-state-metrics"


@dataclass(frozen=True)
class KubeStateMetricsArgs:
    """What kube-state-metrics needs.

    namespace: where it runs. image: of kube-state-metrics. watched: name -> namespace, of the
    namespaces whose objects it tells of. scrapers: the peers that may ask it; none: the stack's
    Prometheus beside it. routes_only: it tells of nothing but the weights of routes, for a cluster
    that has another one.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str]
    watched: Mapping[str, pulumi.Input[str]]
    scrapers: Sequence[common.Manifest] = ()
    routes_only: bool = False


class KubeStateMetrics(pulumi.ComponentResource):
    """kube-state-metrics, which its scrapers alone may ask. It may list and watch the objects that
    it tells of, in the namespaces it watches, and the definitions of custom resources.

    Besides its own metrics there is `slipway_route_weight`, the share of a model's live requests
    that goes to a version, in percent.
    """

    def __init__(
        self, name: str, args: KubeStateMetricsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:KubeStateMetrics", name, None, opts)
        metadata = common.metadata(manifests.SERVER, args.namespace, manifests.labels())
        quiet = common.metadata(
            manifests.SERVER, args.namespace, manifests.labels(), common.SKIP_AWAIT
        )
        custom = manifests.custom_resources()

        account = ServiceAccount(
            f"{name}-account",
            metadata=metadata,
            automount_service_account_token=False,
            opts=child(self),
        )
        bindings: list[pulumi.Resource] = [
            access.grant(
                self,
                f"{name}-{short}",
                common.metadata(manifests.SERVER, args.watched[short], manifests.labels()),
                manifests.reader_rules(args.routes_only),
                manifests.SERVER,
                args.namespace,
            )
            for short in sorted(args.watched)
        ]
        bindings.append(
            access.grant(
                self,
                f"{name}-definitions",
                {"name": _CLUSTER_ROLE, "labels": manifests.labels()},
                manifests.definition_reader_rules(),
                manifests.SERVER,
                args.namespace,
            )
        )
        config = ConfigMap(
            f"{name}-config",
            metadata=metadata,
            data={manifests.CONFIG_FILE: custom},
            opts=child(self),
        )
        service = Service(
            f"{name}-service",
            metadata=quiet,
            spec=common.service(manifests.selector(), manifests.PORT, "http"),
            opts=child(self),
        )
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=network.ingress(
                manifests.selector(),
                manifests.PORT,
                args.scrapers or [prometheus.peer(args.namespace)],
            ),
            opts=child(self),
        )
        namespaces = pulumi.Output.all(*(args.watched[short] for short in sorted(args.watched)))
        Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=manifests.deployment(
                args.image,
                namespaces.apply(",".join),
                custom,
                manifests.SERVER,
                args.routes_only,
            ),
            opts=child(self, [account, *bindings, config, service, policy], timeout="5m"),
        )
        self.register_outputs({})
