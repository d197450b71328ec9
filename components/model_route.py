"""The route of a model: who gets which share of its requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource

from settings import Canary, Model

from .manifests import common
from .manifests import route as manifests
from .options import child

_API = "networking.istio.io/v1"


class Served(Protocol):
    """What a route must know of a server: its name in the cluster's DNS."""

    @property
    def host(self) -> pulumi.Output[str]: ...


@dataclass(frozen=True)
class ModelRouteArgs:
    """What a route is made from.

    model: its name. namespace: where its servers run. gateway: `<namespace>/<name>` of the Gateway.
    stable: the version that takes what the canary does not. canary: None means there is none.
    servers: version -> its ModelServer, for every version named.
    """

    model: str
    namespace: pulumi.Input[str]
    gateway: pulumi.Input[str]
    servers: Mapping[int, Served]
    stable: int
    canary: Canary | None = None


class ModelRoute(pulumi.ComponentResource):
    """A VirtualService that splits a model's requests by weight, and a DestinationRule for each
    of its servers.

    Make it depend on the mesh, whose webhook must outlive it, and on the servers, which must be
    ready before they get traffic. A change of weight changes the VirtualService alone.

    Raises ValueError if a version has no server.
    """

    def __init__(
        self, name: str, args: ModelRouteArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:ModelRoute", name, None, opts)
        versions = [args.stable, *([args.canary.version] if args.canary else [])]
        if missing := [version for version in versions if version not in args.servers]:
            raise ValueError(f"route of {args.model}: no server for version {missing[0]}")
        labels = common.labels("model-route", args.model, "route") | {
            common.MODEL_LABEL: args.model
        }

        rules = [
            CustomResource(
                f"{name}-v{version}-destination",
                api_version=_API,
                kind="DestinationRule",
                metadata=common.metadata(f"{args.model}-v{version}", args.namespace, labels),
                spec=manifests.destination_rule(args.servers[version].host),
                opts=child(self),
            )
            for version in versions
        ]
        CustomResource(
            f"{name}-virtual-service",
            api_version=_API,
            kind="VirtualService",
            metadata=common.metadata(args.model, args.namespace, labels),
            spec=manifests.virtual_service(
                args.model,
                args.gateway,
                args.servers[args.stable].host,
                args.servers[args.canary.version].host if args.canary else None,
                args.canary,
            ),
            opts=child(self, rules),
        )
        self.register_outputs({})


def model_output(gateway_url: pulumi.Output[str], name: str, model: Model) -> dict[str, Any]:
    """A model as the stack puts it out: its url, its stable version, and its canary and weight
    where it has one.
    """
    return {
        "url": pulumi.Output.concat(gateway_url, "/models/", name),
        "stable": model.stable,
        "canary": model.canary.version if model.canary else None,
        "weight": model.canary.weight if model.canary else 0,
    }
