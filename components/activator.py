"""What holds requests for versions that have no pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from settings.model import Model

from . import sidecars
from .manifests import activator as manifests
from .manifests import common, comparer, istio, mesh, network
from .manifests.model_server import PORT, Server
from .options import child
from .sidecars import Sidecars


@dataclass(frozen=True)
class ActivatorArgs:
    """What an activator is made from.

    namespace: where the model servers run. image: the serving image. scraper: the peer that reads
    its metrics. models: as in the configuration; those whose servers may have no pod are its.
    sidecars: of the mesh that the pods are in, if they have any.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str]
    scraper: common.Manifest
    models: Mapping[str, Model]
    sidecars: Sidecars | None = None

    @property
    def servers(self) -> list[Server]:
        """The servers that it holds requests for, in the order of their names."""
        found = [
            Server(name, version, model.resources, model.scaling)
            for name, model in self.models.items()
            if model.scaling.to_zero
            for version in model.versions
        ]
        return sorted(found, key=lambda server: server.name)


class Activator(pulumi.ComponentResource):
    """Pods that hold the requests for versions without a pod, and hand them over when one is there.

    It wakes nobody itself: KEDA asks it how many requests wait. The Services of the versions take
    its pods among theirs, so make it before them. It may ask nothing of the API server.

    Raises ValueError if no model's servers may have no pod.
    """

    def __init__(
        self, name: str, args: ActivatorArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:Activator", name, None, opts)
        servers = args.servers
        if not servers:
            raise ValueError(f"{name}: no model has a min of 0")
        metadata = common.metadata(manifests.NAME, args.namespace, manifests.labels())
        quiet = common.metadata(
            manifests.NAME, args.namespace, manifests.labels(), common.SKIP_AWAIT
        )
        account = ServiceAccount(
            f"{name}-account",
            metadata=metadata,
            automount_service_account_token=False,
            opts=child(self),
        )
        names = sorted({server.model for server in servers})
        comparers = [network.pods(comparer.selector(model), args.namespace) for model in names]
        spec = manifests.network_policy(
            servers, [istio.gateways(), *comparers], args.scraper, args.namespace
        )
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=mesh.beside_sidecar(spec, args.scraper) if args.sidecars else spec,
            opts=child(self),
        )
        allowed: list[pulumi.Resource] = []
        if args.sidecars:
            asking = [sidecars.account(comparer.name(model), args.namespace) for model in names]
            rules = [
                mesh.callers(PORT, [sidecars.gateways(), *asking]),
                # KEDA has no sidecar. Its operator is one of the two that the policy above lets in.
                mesh.callers(manifests.OWN_PORT),
            ]
            pods = manifests.selector()
            allowed = [
                args.sidecars.allow(self, name, metadata, pods, rules),
                args.sidecars.leave_plain(self, name, metadata, pods, manifests.OWN_PORT),
            ]
        service = Service(
            f"{name}-service", metadata=quiet, spec=manifests.service(), opts=child(self)
        )
        budget = PodDisruptionBudget(
            f"{name}-budget",
            metadata=metadata,
            spec=common.disruption_budget(manifests.selector()),
            opts=child(self),
        )
        workload = manifests.deployment(servers, args.image)
        self.deployment = Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=mesh.injected(workload, args.sidecars.version) if args.sidecars else workload,
            opts=child(self, [account, policy, *allowed, service, budget], timeout="4m"),
        )
        self.register_outputs({})
