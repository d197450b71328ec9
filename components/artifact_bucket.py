"""The bucket of the models' artifacts, on a cluster without S3."""

from __future__ import annotations

from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import PersistentVolumeClaim, Secret, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings_platform import ArtifactBucketSettings, Images

from .manifests import bucket as manifests
from .manifests import common, mlflow, network
from .options import child


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
    """

    namespace: pulumi.Input[str]
    keys: BucketKeys
    bucket: ArtifactBucketSettings = field(default_factory=ArtifactBucketSettings)
    image: pulumi.Input[str] = Images().versitygw
    storage_class: str | None = None


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
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=network.ingress(
                manifests.selector(),
                manifests.PORT,
                [network.pods(mlflow.selector(), args.namespace)],
            )
            | network.nowhere(),
            opts=child(self),
        )
        deployment = Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=manifests.deployment(
                args.image, args.bucket.name, manifests.GATEWAY, self.credentials
            ),
            opts=child(self, [claim, account, service, policy], timeout="5m"),
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
