"""What compares a shadow version's answers with stable's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings.model import Model

from . import sidecars
from .manifests import activator, common, mesh, network
from .manifests import comparer as manifests
from .manifests import model_server as servers
from .model_route import Served
from .model_server import Surroundings
from .options import child


@dataclass(frozen=True)
class ShadowComparerArgs:
    """What a comparer is made from.

    name: of the model whose requests it gets a copy of. surroundings: what it shares with the model
    servers. servers: version -> its ModelServer, for stable and the shadow. model: which versions
    these are, as in the configuration.
    """

    name: str
    surroundings: Surroundings
    servers: Mapping[int, Served]
    model: Model


class ShadowComparer(pulumi.ComponentResource):
    """A pod that asks stable and the shadow version for the same predictions and counts how they
    differ; its Service, and a policy that lets it reach these two and nothing else.

    No update waits for it to be ready: whatever ails it, a weight can be changed, and a route
    without it answers as well.

    Output: `host`, the Service's name in the cluster's DNS. Raises ValueError if the model has no
    shadow.
    """

    host: pulumi.Output[str]

    def __init__(
        self, name: str, args: ShadowComparerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:ShadowComparer", name, None, opts)
        if args.model.shadow is None:
            raise ValueError(f"comparer of {args.name}: it has no shadow")
        around, versions = args.surroundings, (args.model.stable, args.model.shadow.version)
        called, labels = manifests.name(args.name), manifests.labels(args.name)
        metadata = common.metadata(called, around.namespace, labels)
        quiet = common.metadata(called, around.namespace, labels, common.SKIP_AWAIT)

        account = ServiceAccount(
            f"{name}-account",
            metadata=metadata,
            automount_service_account_token=False,
            opts=child(self),
        )
        compared = [
            network.pods(servers.selector(args.name, version), around.namespace)
            for version in versions
        ]
        scaling, seconds = args.model.scaling, None
        if scaling.to_zero:
            compared.append(activator.peer(around.namespace))
            seconds = servers.REQUEST_SECONDS + scaling.cold_start_seconds
        spec = manifests.network_policy(args.name, around.clients, compared)
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=mesh.beside_sidecar(spec, around.scraper) if around.sidecars else spec,
            opts=child(self),
        )
        allowed: list[pulumi.Resource] = []
        if around.sidecars:
            rule = mesh.callers(servers.PORT, [sidecars.gateways()])
            selects = manifests.selector(args.name)
            allowed.append(around.sidecars.allow(self, name, metadata, selects, [rule]))
        service = Service(
            f"{name}-service",
            metadata=quiet,
            spec=manifests.service(args.name),
            opts=child(self),
        )
        stable, shadow = (
            (version, pulumi.Output.concat("http://", args.servers[version].host))
            for version in versions
        )
        workload = manifests.deployment(args.name, around.image, stable, shadow, seconds)
        Deployment(
            f"{name}-deployment",
            metadata=quiet,
            spec=mesh.injected(workload, around.sidecars.version) if around.sidecars else workload,
            opts=child(self, [account, policy, *allowed, service]),
        )
        self.host = pulumi.Output.concat(called, ".", around.namespace, ".svc.cluster.local")
        self.register_outputs({"host": self.host})
