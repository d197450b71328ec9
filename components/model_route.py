"""The route of a model: who gets which share of its requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource

from settings.model import Model

from .manifests import common, comparer, istio
from .manifests import route as manifests
from .options import child

_API = "networking.istio.io/v1"


class Served(Protocol):
    """What a route must know of a server: its name in the cluster's DNS."""

    @property
    def host(self) -> pulumi.Output[str]: ...


class Edge(Protocol):
    """What a route must know of the mesh: its Gateway as `<namespace>/<name>`, and where the
    gateway's pods run.
    """

    gateway: pulumi.Output[str]
    ingress_namespace: pulumi.Output[str]


@dataclass(frozen=True)
class ModelRouteArgs:
    """What a route is made from.

    name: the model's. namespace: where its servers run. edge: the mesh. servers: version -> its
    ModelServer, for every version with a role. model: the roles, as in the configuration.
    comparer: of the model's shadow; None if it has none. sidecars: whether the pods have one.
    """

    name: str
    namespace: pulumi.Input[str]
    edge: Edge
    servers: Mapping[int, Served]
    model: Model
    comparer: Served | None = None
    sidecars: bool = False


class ModelRoute(pulumi.ComponentResource):
    """A VirtualService that splits a model's requests by weight, and a DestinationRule for each
    of its servers.

    Make it depend on the mesh, whose webhook must outlive it, and on the servers, which must be
    ready before they get traffic. A change of weight changes the VirtualService alone.

    Raises ValueError if stable or the canary has no server.
    """

    def __init__(
        self, name: str, args: ModelRouteArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:ModelRoute", name, None, opts)
        model, servers = args.model, args.servers
        routed = [model.stable, *([model.canary.version] if model.canary else [])]
        if missing := [version for version in routed if version not in servers]:
            raise ValueError(f"route of {args.name}: no server for version {missing[0]}")
        labels = common.labels("model-route", args.name, "route") | {common.MODEL_LABEL: args.name}

        def of_istio(
            part: str, kind: str, called: str, spec: common.Manifest, *after: pulumi.Resource
        ) -> CustomResource:
            return CustomResource(
                f"{name}-{part}",
                api_version=_API,
                kind=kind,
                metadata=common.metadata(called, args.namespace, labels),
                spec=spec,
                opts=child(self, after),
            )

        rules = [
            of_istio(
                f"v{version}-destination",
                "DestinationRule",
                f"{args.name}-v{version}",
                manifests.destination_rule(
                    server.host, held=model.scaling.to_zero, sidecars=args.sidecars
                ),
            )
            for version, server in servers.items()
        ]
        mirror = None
        if model.shadow and args.comparer:
            mirror = manifests.Mirror(args.comparer.host, model.shadow.percent)
            rules.append(
                of_istio(
                    "comparer-destination",
                    "DestinationRule",
                    comparer.name(args.name),
                    manifests.comparer_rule(mirror.host, sidecars=args.sidecars),
                )
            )
        of_istio(
            "virtual-service",
            "VirtualService",
            args.name,
            manifests.virtual_service(
                args.name,
                args.edge.gateway,
                servers[model.stable].host,
                servers[model.canary.version].host if model.canary else None,
                model.canary,
                model.sticky,
                mirror,
                model.scaling.cold_start_seconds if model.scaling.to_zero else None,
            ),
            *rules,
        )
        if model.sticky:
            # Beside the gateway's pods, or it is not heard.
            home = args.edge.ingress_namespace
            CustomResource(
                f"{name}-sticky",
                api_version="networking.istio.io/v1alpha3",
                kind="EnvoyFilter",
                metadata=common.metadata(f"{args.name}-sticky", home, labels),
                spec=manifests.sticky_filter(args.name, model.sticky, istio.ingress_selector()),
                opts=child(self),
            )
        self.register_outputs({})


def model_output(gateway_url: pulumi.Output[str], name: str, model: Model) -> dict[str, Any]:
    """A model as the stack puts it out: its url, its stable version, its weight, its canary and
    previous versions and its shadow's version and percentage where it has them, and the floors of
    its versions' replicas.
    """
    return {
        "url": pulumi.Output.concat(gateway_url, "/models/", name),
        "stable": model.stable,
        "canary": model.canary.version if model.canary else None,
        "weight": model.canary.weight if model.canary else 0,
        "previous": model.previous,
        "shadow": model.shadow.model_dump() if model.shadow else None,
        "floors": {str(version): least for version, least in model.floors.items()} or None,
    }
