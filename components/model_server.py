"""The servers of one version of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.autoscaling.v2 import HorizontalPodAutoscaler
from pulumi_kubernetes.core.v1 import Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from settings.model import Resources
from settings.scaling import Scaling
from settings.tracing import Tracing

from . import sidecars
from .activator import Activator
from .manifests import (
    activator,
    autoscaler,
    common,
    comparer,
    istio,
    mesh,
    mlflow,
    network,
    placement,
)
from .manifests import model_server as manifests
from .options import child
from .sidecars import Sidecars


@dataclass(frozen=True)
class Store:
    """A bucket that model servers read. artifacts: where it is. access: service account, as in
    `churn-v1`, -> what lets its pods in, which they wait for.
    """

    artifacts: manifests.Artifacts
    access: Mapping[str, pulumi.Resource] = field(default_factory=dict)


@dataclass(frozen=True)
class Surroundings:
    """What all model servers of a stack share.

    namespace: where they run. image: the serving image. tracking_uri: the MLflow that versions
    are fetched from, in tracking_namespace. scraper: the peer that reads their metrics.
    prometheus_url: where KEDA's operator asks Prometheus, inside the cluster and without a path.
    keda: what ScaledObjects depend on, where a model scales by requests. activator: who holds
    requests, where a model's servers may have no pod. tracing: where traces go, if anywhere. gpu:
    the nodes with GPUs, where the stack knows them. store: the bucket that they read; None means
    that MLflow passes artifacts on. sidecars: of the mesh that the pods are in, if they have any.
    cuda: the serving image of models with GPUs; None means that it is `image`.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str]
    tracking_uri: pulumi.Input[str]
    tracking_namespace: pulumi.Input[str]
    scraper: common.Manifest
    prometheus_url: pulumi.Input[str]
    keda: pulumi.Resource | None = None
    activator: Activator | None = None
    tracing: Tracing = field(default_factory=Tracing)
    sidecars: Sidecars | None = None
    gpu: placement.GpuPool | None = None
    store: Store | None = None
    cuda: pulumi.Input[str] | None = None

    @property
    def clients(self) -> list[common.Manifest]:
        """Who may reach every server, as a NetworkPolicy names them: gateways and Prometheus."""
        return [istio.gateways(), self.scraper]


@dataclass(frozen=True)
class ModelServerArgs:
    """What a model server is made from.

    model, version: a registered version; they name everything. surroundings: what it shares with
    the others. resources, scaling, allow_pickle: as in the configuration. floor: replicas at
    least, whatever the scaling's min says; None means no floor but that.
    """

    model: str
    version: int
    surroundings: Surroundings
    resources: Resources = field(default_factory=Resources)
    scaling: Scaling = field(default_factory=Scaling)
    allow_pickle: bool = False
    floor: int | None = None


class ModelServer(pulumi.ComponentResource):
    """Pods that serve one version of a model, their Service, and what guards and scales them.

    It knows no role and no weight: a promotion moves a route and leaves it alone. An update waits
    until every pod is ready, or fails after four minutes with what stands in the way. On removal
    the pods drain first, and only then go the Service and the policy they were reached through.

    With `scaling.requests_per_second` it is scaled by KEDA, and with `scaling.min` 0 down to no
    pod. Then its Service has the activator's pods too, comes after the pods, which must have the
    label that it picks them by, and goes before them; another Service is of its pods alone. A
    change from
    one kind of autoscaler to the other makes the new one before the old one goes; while there are
    two, Kubernetes lets neither act, and the pods stay as many as they are.

    Output: `host`, the Service's name in the cluster's DNS.
    """

    host: pulumi.Output[str]

    def __init__(
        self, name: str, args: ModelServerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:ModelServer", name, None, opts)
        around = args.surroundings
        server = manifests.Server(
            args.model,
            args.version,
            args.resources,
            args.scaling,
            args.allow_pickle,
            args.floor,
            around.tracing.collector,
            around.gpu,
            around.store.artifacts if around.store else None,
        )
        reading = around.store.access.get(server.name) if around.store else None
        metadata = common.metadata(server.name, around.namespace, server.labels)

        account = ServiceAccount(
            f"{name}-account",
            metadata=metadata,
            automount_service_account_token=False,
            opts=child(self),
        )
        clients = [
            *around.clients,
            # Whether there is one or not: a shadow that comes or goes changes no server.
            network.pods(comparer.selector(args.model), around.namespace),
        ]
        if args.scaling.to_zero:
            clients.append(activator.peer(around.namespace))
        tracking = network.pods(mlflow.selector(), around.tracking_namespace)
        spec = manifests.network_policy(server, clients, tracking, mlflow.PORT)
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=mesh.beside_sidecar(spec, around.scraper) if around.sidecars else spec,
            opts=child(self),
        )
        allowed = self._allow(name, args, server, metadata) if around.sidecars else []

        def service(*after: pulumi.Resource) -> Service:
            return Service(
                f"{name}-service",
                metadata=common.metadata(
                    server.name, around.namespace, server.labels, common.SKIP_AWAIT
                ),
                spec=manifests.service(server),
                opts=child(self, after),
            )

        reached = [] if args.scaling.to_zero else [service()]
        budget = PodDisruptionBudget(
            f"{name}-budget",
            metadata=metadata,
            spec=common.disruption_budget(server.selector),
            opts=child(self),
        )
        image = around.cuda if args.resources.gpu and around.cuda else around.image
        workload = manifests.deployment(server, image, around.tracking_uri)
        deployment = Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=mesh.injected(workload, around.sidecars.version) if around.sidecars else workload,
            opts=child(
                self,
                [account, policy, *allowed, *reached, budget, *([reading] if reading else [])],
                timeout="4m",
            ),
        )
        if args.scaling.to_zero:
            behind = Service(
                f"{name}-pods",
                metadata=common.metadata(
                    server.pods_service,
                    around.namespace,
                    server.labels,
                    # The gateway need not know of it.
                    common.SKIP_AWAIT
                    | {"networking.istio.io/exportTo": "." if around.sidecars else "~"},
                ),
                spec=manifests.pods_service(server, sidecars=around.sidecars is not None),
                opts=child(self),
            )
            holding = [around.activator.deployment] if around.activator else []
            service(deployment, behind, *holding)
        if args.scaling.requests_per_second is None:
            HorizontalPodAutoscaler(
                f"{name}-autoscaler",
                metadata=metadata,
                spec=autoscaler.horizontal(server, sidecars=around.sidecars is not None),
                opts=child(self, [deployment]),
            )
        else:
            CustomResource(
                f"{name}-autoscaler",
                api_version="keda.sh/v1alpha1",
                kind="ScaledObject",
                metadata=metadata,
                spec=autoscaler.scaled_object(
                    server, around.prometheus_url, sidecars=around.sidecars is not None
                ),
                # A component's dependencies are not its children's.
                opts=child(self, [deployment, *([around.keda] if around.keda else [])]),
            )
        self.host = pulumi.Output.concat(server.name, ".", around.namespace, ".svc.cluster.local")
        self.register_outputs({"host": self.host})

    def _allow(
        self, name: str, args: ModelServerArgs, server: manifests.Server, metadata: common.Manifest
    ) -> list[pulumi.Resource]:
        """Who may ask these pods: the gateway, the model's comparer, and who holds requests."""
        around = args.surroundings
        if around.sidecars is None:
            return []
        callers: list[pulumi.Input[str]] = [
            sidecars.gateways(),
            sidecars.account(comparer.name(args.model), around.namespace),
        ]
        if args.scaling.to_zero:
            callers.append(sidecars.account(activator.NAME, around.namespace))
        rule = mesh.callers(manifests.PORT, callers)
        return [around.sidecars.allow(self, name, metadata, server.selector, [rule])]
