"""Has the gateway start traces."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource

from settings.tracing import Collector

from .manifests import common, istio
from .manifests import tracing as manifests
from .options import child


@dataclass(frozen=True)
class GatewayTracingArgs:
    """What the gateway's traces need.

    namespace: where its pods are. collector: where traces go. sample: percent of the requests
    that are traced. after: what Istio's kinds depend on.
    """

    namespace: pulumi.Input[str]
    collector: Collector
    sample: float
    after: tuple[pulumi.Resource, ...]


class GatewayTracing(pulumi.ComponentResource):
    """A Telemetry for the gateway's pods, an EnvoyFilter that keeps requests' ids as they are, and
    what leads to the collector.

    The mesh's configuration must name the provider (`manifests.istio.istiod_values`).
    """

    def __init__(
        self, name: str, args: GatewayTracingArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:GatewayTracing", name, None, opts)
        selector = istio.ingress_selector()

        def of_istio(
            part: str, version: str, kind: str, spec: common.Manifest, *more: pulumi.Resource
        ) -> CustomResource:
            return CustomResource(
                f"{name}-{part}",
                api_version=version,
                kind=kind,
                metadata=common.metadata(f"tracing-{part}", args.namespace, common.OWNED),
                spec=spec,
                opts=child(self, [*args.after, *more]),
            )

        networking = "networking.istio.io/v1"
        spec = manifests.destination_rule(args.collector)
        before = [of_istio("destination", networking, "DestinationRule", spec)]
        if args.collector.namespace is None:
            spec = manifests.service_entry(args.collector)
            before.append(of_istio("entry", networking, "ServiceEntry", spec))
        # Before the first request is traced, or its client would get another name.
        spec = manifests.steadfast_ids(selector)
        before.append(of_istio("ids", "networking.istio.io/v1alpha3", "EnvoyFilter", spec))
        spec = manifests.telemetry(args.sample, selector)
        of_istio("telemetry", "telemetry.istio.io/v1", "Telemetry", spec, *before)
        self.register_outputs({})
