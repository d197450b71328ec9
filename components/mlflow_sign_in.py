"""The sign-in in front of MLflow: nobody from outside gets there without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap, Secret, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from settings.mlflow import Mlflow
from settings.platform import Images

from .manifests import common, mesh, mlflow
from .manifests import mlflow_sign_in as manifests
from .model_route import Edge
from .options import child, inside_url
from .sidecars import Sidecars, gateways


@dataclass(frozen=True)
class MlflowSignInArgs:
    """What the sign-in needs.

    namespace: MLflow's. edge: the mesh. settings: MLflow's, with a sign-in. secrets: an object with
    the keys of `manifests.secret_names`; it is kept secret, whether it comes as a secret or not.
    authorities: PEM that vouches for the issuer, if no public authority does. image: of
    oauth2-proxy 7.15. sidecars: of the mesh that the pods are in, if they have any.
    """

    namespace: pulumi.Input[str]
    edge: Edge
    settings: Mlflow
    secrets: pulumi.Input[Any]
    authorities: str | None = None
    image: pulumi.Input[str] = Images().oauth2_proxy
    sidecars: Sidecars | None = None


class MlflowSignIn(pulumi.ComponentResource):
    """oauth2-proxy between the gateway and MLflow, on a host of its own.

    Other secrets make a new Secret under a new name, so the pods that read it are renewed, and all
    sign in once more. Make it depend on MLflow, and on the mesh, whose webhook must outlive its
    VirtualService.

    Raises ValueError where the settings have no sign-in.
    """

    def __init__(
        self, name: str, args: MlflowSignInArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:MlflowSignIn", name, None, opts)
        sign_in = args.settings.sign_in
        if sign_in is None:
            raise ValueError("MLflow's settings have no sign_in")
        labels = manifests.labels()
        metadata = common.metadata(manifests.SERVER, args.namespace, labels)
        quiet = common.metadata(manifests.SERVER, args.namespace, labels, common.SKIP_AWAIT)
        upstream = inside_url(mlflow.SERVER, args.namespace, mlflow.PORT)
        given = pulumi.Output.secret(args.secrets)
        secret = Secret(
            f"{name}-secrets",
            metadata={"namespace": args.namespace, "labels": labels},
            immutable=True,
            string_data={key: _picked(given, key) for key in manifests.secret_names(sign_in)},
            opts=pulumi.ResourceOptions(parent=self),
        )
        secret_name = secret.metadata.apply(lambda it: it.name or "")
        files = pulumi.Output.all(upstream, secret_name).apply(
            lambda found: manifests.files(args.settings, found[0], found[1], args.authorities)
        )
        config = ConfigMap(f"{name}-config", metadata=metadata, data=files, opts=child(self))
        account = ServiceAccount(
            f"{name}-account",
            metadata=metadata,
            automount_service_account_token=False,
            opts=child(self),
        )
        service = Service(
            f"{name}-service",
            metadata=quiet,
            spec=common.service(manifests.selector(), manifests.PORT, "http"),
            opts=child(self),
        )
        spec = manifests.network_policy(args.namespace, sign_in.oidc)
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=mesh.beside_sidecar(spec) if args.sidecars else spec,
            opts=child(self),
        )
        before: list[pulumi.Resource] = [account, config, service, policy]
        if args.sidecars:
            rule = mesh.callers(manifests.PORT, [gateways()])
            before.append(args.sidecars.allow(self, name, metadata, manifests.selector(), [rule]))
        PodDisruptionBudget(
            f"{name}-disruption-budget",
            metadata=metadata,
            spec=common.disruption_budget(manifests.selector()),
            opts=child(self),
        )
        workload = manifests.deployment(
            args.image,
            manifests.SERVER,
            secret_name,
            files.apply(manifests.digest),
        )
        deployment = Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=mesh.injected(workload, args.sidecars.version) if args.sidecars else workload,
            opts=child(self, before, timeout="5m"),
        )
        host = pulumi.Output.concat(manifests.SERVER, ".", args.namespace, ".svc.cluster.local")
        CustomResource(
            f"{name}-virtual-service",
            api_version="networking.istio.io/v1",
            kind="VirtualService",
            metadata=metadata,
            spec=manifests.virtual_service(sign_in.host, args.edge.gateway, host),
            opts=child(self, [deployment]),
        )
        self.register_outputs({})


def _picked(given: pulumi.Output[Any], key: str) -> pulumi.Output[str]:
    return given.apply(lambda found: str(found[key]))
