"""Istio's control plane and the gateway at the cluster's edge."""

from __future__ import annotations

from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.helm.v3 import Release
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings_exposure import Exposure
from settings_platform import Istio
from settings_tracing import Tracing

from .gateway_tracing import GatewayTracing, GatewayTracingArgs
from .isolated_namespace import IsolatedNamespace, IsolatedNamespaceArgs
from .manifests import common, prometheus
from .manifests import istio as manifests
from .options import chart, child


@dataclass(frozen=True)
class IstioMeshArgs:
    """What the mesh needs.

    istio: where the charts lie and which images they run. exposure: how the gateway is reached.
    scraper: the peer that reads the gateway's metrics, as a NetworkPolicy names it.
    served_namespace: whose Services the gateway counts the answers of. tracing: where traces go,
    if anywhere.
    """

    istio: Istio = field(default_factory=Istio)
    exposure: Exposure = field(default_factory=Exposure)
    scraper: common.Manifest = field(default_factory=prometheus.peer)
    served_namespace: pulumi.Input[str] = "models"
    tracing: Tracing = field(default_factory=Tracing)


class IstioMesh(pulumi.ComponentResource):
    """Istio from its own charts, and a Gateway for plain HTTP.

    Everything of Istio's kinds must depend on it: its webhook refuses their removal once istiod
    is gone.

    Outputs: `gateway`, as routes name it; `ingress_namespace`; `url`, where requests go.
    """

    gateway: pulumi.Output[str]
    ingress_namespace: pulumi.Output[str]
    url: pulumi.Output[str]

    def __init__(
        self, name: str, args: IstioMeshArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:IstioMesh", name, None, opts)
        parent = pulumi.ResourceOptions(parent=self)
        system = IsolatedNamespace(
            f"{name}-system", IsolatedNamespaceArgs(manifests.SYSTEM_NAMESPACE), parent
        )
        ingress = IsolatedNamespace(
            f"{name}-ingress", IsolatedNamespaceArgs(manifests.INGRESS_NAMESPACE), parent
        )
        policies = [
            NetworkPolicy(
                f"{name}-{workload}-policy",
                metadata=common.metadata(workload, namespace, common.OWNED),
                spec=spec,
                opts=child(self),
            )
            for workload, namespace, spec in (
                ("istiod", system.namespace, manifests.istiod_policy()),
                (manifests.INGRESS, ingress.namespace, manifests.ingress_policy(args.scraper)),
            )
        ]

        def release(
            part: str,
            directory: str,
            namespace: pulumi.Output[str],
            values: common.Manifest,
            *after: pulumi.Resource,
            skip_await: bool = False,
        ) -> Release:
            return Release(
                f"{name}-{part}",
                name=part,
                chart=chart(f"{args.istio.charts}/{directory}"),
                namespace=namespace,
                values=values,
                timeout=300,
                max_history=3,
                skip_await=skip_await,
                opts=child(self, after),
            )

        counted = pulumi.Output.from_input(args.served_namespace).apply(manifests.counted_requests)
        base = release("istio-base", "base", system.namespace, manifests.base_values(), *policies)
        istiod = release(
            "istiod",
            "istio-control/istio-discovery",
            system.namespace,
            manifests.istiod_values(args.istio, args.tracing.collector),
            base,
        )
        edge = release(
            manifests.INGRESS,
            "gateway",
            ingress.namespace,
            manifests.gateway_values(args.exposure, counted),
            istiod,
            # A balancer may give an address after minutes, or never: nothing here needs it.
            skip_await=args.exposure.service_type == "LoadBalancer",
        )
        CustomResource(
            f"{name}-gateway",
            api_version="networking.istio.io/v1",
            kind="Gateway",
            metadata=common.metadata(manifests.GATEWAY, ingress.namespace, common.OWNED),
            spec=manifests.gateway(),
            opts=child(self, [istiod, edge]),
        )
        CustomResource(
            f"{name}-fail-open",
            api_version="networking.istio.io/v1alpha3",
            kind="EnvoyFilter",
            metadata=common.metadata("fail-open", ingress.namespace, common.OWNED),
            spec=manifests.fail_open(),
            opts=child(self, [istiod, edge]),
        )
        if collector := args.tracing.collector:
            traced = GatewayTracingArgs(
                ingress.namespace, collector, args.tracing.sample, (istiod, edge)
            )
            GatewayTracing(f"{name}-tracing", traced, parent)
        self.ingress_namespace = ingress.namespace
        self.gateway = pulumi.Output.concat(ingress.namespace, "/", manifests.GATEWAY)
        inside = pulumi.Output.concat(
            "http://", manifests.INGRESS, ".", ingress.namespace, ".svc.cluster.local"
        )
        self.url = pulumi.Output.from_input(args.exposure.url) if args.exposure.url else inside
        self.register_outputs(
            {"gateway": self.gateway, "ingress_namespace": self.ingress_namespace, "url": self.url}
        )
