"""KEDA, which scales model servers by the requests a second that Prometheus counts."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.helm.v3 import Release
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings import scaling as settings

from .isolated_namespace import IsolatedNamespace, IsolatedNamespaceArgs
from .manifests import common
from .manifests import keda as manifests
from .options import chart, child


@dataclass(frozen=True)
class KedaArgs:
    """What KEDA needs.

    keda: where its chart lies and which images it runs. watched_namespace: where the model servers
    run, whose ScaledObjects it obeys. scraper: the peer that reads its metrics, as a NetworkPolicy
    names it.
    """

    keda: settings.Keda
    watched_namespace: pulumi.Input[str]
    scraper: common.Manifest


class Keda(pulumi.ComponentResource):
    """KEDA from its own chart, in a namespace of its own: the operator, and the adapter that hands
    its metrics to Kubernetes.

    Every ScaledObject must depend on it: only a running operator lets go of one that is deleted.
    A cluster has room for one such adapter: this is not for one that runs KEDA already.

    Output: `namespace`. `peer`: who asks Prometheus, as the policy there names it.
    """

    namespace: pulumi.Output[str]
    peer: common.Manifest = manifests.operator_peer()

    def __init__(
        self, name: str, args: KedaArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:Keda", name, None, opts)
        home = IsolatedNamespace(
            f"{name}-system",
            IsolatedNamespaceArgs(manifests.NAMESPACE),
            pulumi.ResourceOptions(parent=self),
        )
        policies = [
            NetworkPolicy(
                f"{name}-{part}-policy",
                metadata=common.metadata(called, home.namespace, common.OWNED),
                spec=spec,
                opts=child(self),
            )
            for part, called, spec in (
                ("operator", manifests.OPERATOR, manifests.operator_policy(args.scraper)),
                ("adapter", manifests.ADAPTER, manifests.adapter_policy()),
            )
        ]
        Release(
            f"{name}-release",
            name="keda",
            chart=chart(args.keda.chart),
            namespace=home.namespace,
            values=manifests.values(args.keda, args.watched_namespace),
            timeout=300,
            max_history=3,
            opts=child(self, policies),
        )
        self.namespace = home.namespace
        self.register_outputs({"namespace": self.namespace})
