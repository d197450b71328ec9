"""The MLflow tracking server and model registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import PersistentVolumeClaim, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings_platform import Mlflow

from .manifests import common, network, prometheus
from .manifests import mlflow as manifests
from .options import child


class Bucket(Protocol):
    """A bucket's name, the URL of its S3 service, and the Secret with the keys, in MLflow's
    namespace.
    """

    bucket: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    credentials: pulumi.Output[str]


@dataclass(frozen=True)
class MlflowServerArgs:
    """What the tracking server needs.

    namespace: where it runs. image: one with the `mlflow` command.
    bucket: an ArtifactBucket, or another with its outputs.
    client_namespaces: whose pods may reach it. exposure: how the outside does.
    storage_class: of its database's volume; None means the cluster's default.
    scraper: the peer that reads the server's metrics, as a NetworkPolicy names it.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str]
    bucket: Bucket
    client_namespaces: tuple[pulumi.Input[str], ...] = ()
    exposure: Mlflow = field(default_factory=Mlflow)
    storage_class: str | None = None
    scraper: common.Manifest = field(default_factory=prometheus.peer)


class MlflowServer(pulumi.ComponentResource):
    """MLflow with its database on a volume and artifacts proxied to a bucket: clients need no
    keys to it.

    Outputs: `tracking_uri`, for clients in the cluster; `url`, for people.
    """

    tracking_uri: pulumi.Output[str]
    url: pulumi.Output[str]

    def __init__(
        self, name: str, args: MlflowServerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:MlflowServer", name, None, opts)
        exposure = args.exposure
        metadata = common.metadata(manifests.SERVER, args.namespace, manifests.labels())
        quiet = common.metadata(
            manifests.SERVER, args.namespace, manifests.labels(), common.SKIP_AWAIT
        )

        claim = PersistentVolumeClaim(
            f"{name}-volume",
            metadata=quiet,
            spec=common.volume_claim(exposure.size, args.storage_class),
            opts=child(self, holds_data=True),
        )
        account = ServiceAccount(
            f"{name}-account",
            metadata=metadata,
            automount_service_account_token=False,
            opts=child(self),
        )
        service = Service(
            f"{name}-service",
            metadata=quiet,
            spec=common.service(
                manifests.selector(),
                manifests.PORT,
                "http",
                service_type=exposure.service_type,
                node_port=exposure.node_port,
                allow_from=exposure.allow_from,
            ),
            opts=child(self),
        )
        clients = [
            network.everywhere(namespace) for namespace in (args.namespace, *args.client_namespaces)
        ] + [args.scraper]
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=network.ingress(
                manifests.selector(),
                manifests.PORT,
                clients + network.networks(exposure.allow_from),
            ),
            opts=child(self),
        )
        pod = manifests.pod(
            args.image,
            manifests.SERVER,
            pulumi.Output.concat("s3://", args.bucket.bucket),
            args.bucket.endpoint,
            args.bucket.credentials,
            pulumi.Output.from_input(args.namespace).apply(
                lambda it: manifests.allowed_hosts(it, [exposure.url])
            ),
        )
        deployment = Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=manifests.deployment(pod),
            opts=child(self, [claim, account, service, policy], timeout="5m"),
        )
        # By way of the Deployment: who takes the address gets it once the server answers.
        self.tracking_uri = pulumi.Output.all(deployment.id, args.namespace).apply(
            lambda parts: f"http://{manifests.SERVER}.{parts[1]}.svc.cluster.local:{manifests.PORT}"
        )
        self.url = pulumi.Output.from_input(exposure.url) if exposure.url else self.tracking_uri
        self.register_outputs({"tracking_uri": self.tracking_uri, "url": self.url})
