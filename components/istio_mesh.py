"""Istio's control plane and the gateway at the cluster's edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.helm.v3 import Release
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings.exposure import Gateway
from settings.platform import Istio
from settings.tracing import Tracing

from .gateway_tracing import GatewayTracing, GatewayTracingArgs
from .isolated_namespace import IsolatedNamespace, IsolatedNamespaceArgs
from .manifests import common, mesh, prometheus
from .manifests import istio as manifests
from .options import chart, child


@dataclass(frozen=True)
class IstioMeshArgs:
    """What the mesh needs.

    istio: where the charts lie and which images they run. exposure: how the gateway is reached.
    scraper: the peer that reads the gateway's metrics, as a NetworkPolicy names it.
    served_namespace: whose Services the gateway counts the answers of. tracing: where traces go,
    if anywhere. meshed: name -> namespace, of those whose pods get sidecars, with `istio.sidecars`.
    """

    istio: Istio = field(default_factory=Istio)
    exposure: Gateway = field(default_factory=Gateway)
    scraper: common.Manifest = field(default_factory=prometheus.peer)
    served_namespace: pulumi.Input[str] = "models"
    tracing: Tracing = field(default_factory=Tracing)
    meshed: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)


class IstioMesh(pulumi.ComponentResource):
    """Istio from its own charts, and a Gateway for plain HTTP or HTTPS.

    With `istio.sidecars` the pods of the meshed namespaces speak to each other and to the gateway
    by mutual TLS alone, and nobody may ask any of them whom no policy names; Istio's CNI plugin is
    put on each node for it, in a namespace that may do so. Make these pods after the mesh, or they
    have no sidecar.

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
        tls, sidecars = args.exposure.tls, args.istio.sidecars
        meshed = dict(args.meshed) if sidecars else {}
        policies = [
            NetworkPolicy(
                f"{name}-{workload}-policy",
                metadata=common.metadata(workload, namespace, common.OWNED),
                spec=spec,
                opts=child(self),
            )
            for workload, namespace, spec in (
                ("istiod", system.namespace, manifests.istiod_policy(*meshed.values())),
                (
                    manifests.INGRESS,
                    ingress.namespace,
                    manifests.ingress_policy(args.scraper, tls),
                ),
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
        members: list[pulumi.Resource] = [istiod]
        if sidecars:
            node = IsolatedNamespace(
                f"{name}-cni", IsolatedNamespaceArgs(mesh.CNI_NAMESPACE, "privileged"), parent
            )
            members.append(
                release("istio-cni", "istio-cni", node.namespace, mesh.cni_values(args.istio), base)
            )
        edge = release(
            manifests.INGRESS,
            "gateway",
            ingress.namespace,
            manifests.gateway_values(args.exposure, counted, tls, args.istio),
            istiod,
            # A balancer may give an address after minutes, or never: nothing here needs it.
            skip_await=args.exposure.service_type == "LoadBalancer",
        )
        CustomResource(
            f"{name}-gateway",
            api_version="networking.istio.io/v1",
            kind="Gateway",
            metadata=common.metadata(manifests.GATEWAY, ingress.namespace, common.OWNED),
            spec=manifests.gateway(tls),
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
        if sidecars:
            guards: list[tuple[str, str, pulumi.Input[str], common.Manifest]] = [
                ("strict", "PeerAuthentication", system.namespace, mesh.strict())
            ]
            for short, namespace in meshed.items():
                guards.append((f"{short}-nobody", "AuthorizationPolicy", namespace, mesh.nobody()))
            for part, kind, home, spec in guards:
                CustomResource(
                    f"{name}-{part}",
                    api_version="security.istio.io/v1",
                    kind=kind,
                    metadata=common.metadata("default", home, common.OWNED),
                    spec=spec,
                    opts=child(self, members),
                )
        if collector := args.tracing.collector:
            traced = GatewayTracingArgs(
                ingress.namespace, collector, args.tracing.sample, (istiod, edge)
            )
            GatewayTracing(f"{name}-tracing", traced, parent)
        self.ingress_namespace = ingress.namespace
        self.gateway = pulumi.Output.concat(ingress.namespace, "/", manifests.GATEWAY)
        inside = pulumi.Output.concat(
            "https://" if tls else "http://",
            manifests.INGRESS,
            ".",
            ingress.namespace,
            ".svc.cluster.local",
        )
        self.url = pulumi.Output.from_input(args.exposure.url) if args.exposure.url else inside
        self.register_outputs(
            {"gateway": self.gateway, "ingress_namespace": self.ingress_namespace, "url": self.url}
        )
