"""The bucket of the models' artifacts, on a cluster without S3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import PersistentVolumeClaim, Secret, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings import Settings
from settings.platform import ArtifactBucketSettings, Images

from .manifests import bucket as manifests
from .manifests import common, mesh, mlflow, mlflow_backup, network
from .options import child
from .sidecars import Sidecars
from .sidecars import account as account_of


@dataclass(frozen=True)
class BucketKeys:
    """The bucket's only credentials. They are kept secret, whether they come as secrets or not."""

    access_key: pulumi.Input[str]
    secret_key: pulumi.Input[str]


@dataclass(frozen=True)
class ArtifactBucketArgs:
    """What the bucket needs.

    namespace: where it runs; only the tracking server of that namespace may reach it, and it
        reaches nobody.
    keys: its credentials. bucket: its name, and the size of its volume. image: of versitygw.
    storage_class: of the volume; None means the cluster's default.
    sidecars: of the mesh that the pod is in, if it has one.
    clients: labels of more pods of the namespace that may reach it.
    """

    namespace: pulumi.Input[str]
    keys: BucketKeys
    bucket: ArtifactBucketSettings = field(default_factory=ArtifactBucketSettings)
    image: pulumi.Input[str] = Images().versitygw
    storage_class: str | None = None
    sidecars: Sidecars | None = None
    clients: Sequence[dict[str, str]] = ()


class ArtifactBucket(pulumi.ComponentResource):
    """An S3 bucket on a volume, served by versitygw.

    Outputs: `bucket`, its name; `endpoint`, the URL of the S3 service; `credentials`, the name of
    a Secret in the same namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. New keys make
    a new Secret under a new name, so the pods that read it are renewed.
    """

    bucket: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    credentials: pulumi.Output[str]

    def __init__(
        self, name: str, args: ArtifactBucketArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:ArtifactBucket", name, None, opts)
        metadata = common.metadata(manifests.GATEWAY, args.namespace, manifests.labels())
        quiet = common.metadata(
            manifests.GATEWAY, args.namespace, manifests.labels(), common.SKIP_AWAIT
        )

        secret = Secret(
            f"{name}-credentials",
            metadata={"namespace": args.namespace, "labels": manifests.labels()},
            string_data={
                "AWS_ACCESS_KEY_ID": pulumi.Output.secret(args.keys.access_key),
                "AWS_SECRET_ACCESS_KEY": pulumi.Output.secret(args.keys.secret_key),
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.credentials = secret.metadata.apply(lambda metadata: metadata.name or "")
        claim = PersistentVolumeClaim(
            f"{name}-volume",
            metadata=quiet,
            spec=common.volume_claim(args.bucket.size, args.storage_class),
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
            spec=common.service(manifests.selector(), manifests.PORT, "http"),
            opts=child(self),
        )
        spec = (
            network.ingress(
                manifests.selector(),
                manifests.PORT,
                [
                    network.pods(labels, args.namespace)
                    for labels in (mlflow.selector(), *args.clients)
                ],
            )
            | network.nowhere()
        )
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=mesh.beside_sidecar(spec) if args.sidecars else spec,
            opts=child(self),
        )
        allowed: list[pulumi.Resource] = []
        if args.sidecars:
            rule = mesh.callers(manifests.PORT, [account_of(mlflow.SERVER, args.namespace)])
            pods = manifests.selector()
            allowed.append(args.sidecars.allow(self, name, metadata, pods, [rule]))
        workload = manifests.deployment(
            args.image, args.bucket.name, manifests.GATEWAY, self.credentials
        )
        deployment = Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=mesh.injected(workload, args.sidecars.version) if args.sidecars else workload,
            opts=child(self, [claim, account, service, policy, *allowed], timeout="5m"),
        )
        self.bucket = pulumi.Output.from_input(args.bucket.name)
        # By way of the Deployment: who takes the address gets it once the bucket is there.
        self.endpoint = pulumi.Output.all(deployment.id, args.namespace).apply(
            lambda parts: (
                f"http://{manifests.GATEWAY}.{parts[1]}.svc.cluster.local:{manifests.PORT}"
            )
        )
        self.register_outputs(
            {"bucket": self.bucket, "endpoint": self.endpoint, "credentials": self.credentials}
        )


def bucket_of(
    stack: Settings,
    namespace: pulumi.Input[str],
    keys: BucketKeys,
    sidecars: Sidecars | None,
) -> ArtifactBucketArgs:
    """The bucket as the stack configures it, which backups of MLflow reach where there are any."""
    return ArtifactBucketArgs(
        namespace,
        keys,
        stack.artifact_bucket,
        stack.images.versitygw,
        stack.storage_class,
        sidecars,
        (mlflow_backup.selector(),) if stack.mlflow.backups else (),
    )
