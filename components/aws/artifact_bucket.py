"""The bucket of the models' artifacts, on S3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.s3.bucket_logging import BucketLogging
from pulumi_aws.s3.bucket_replication_config import BucketReplicationConfig

from settings.aws.storage import Bucket as BucketSettings
from settings.aws.storage import Replica

from . import data_documents, documents, naming
from .options import child
from .secure_bucket import SecureBucket, SecureBucketArgs


@dataclass(frozen=True)
class ArtifactBucketArgs:
    """Which bucket.

    prefix: of the stack's fixed names. account, region: where it lies. bucket: as configured.
    replica_provider: of the replica's region; needed where there is one.
    """

    prefix: str
    account: str
    region: str
    bucket: BucketSettings = field(default_factory=BucketSettings)
    replica_provider: pulumi.ProviderResource | None = None


class ArtifactBucket(pulumi.ComponentResource):
    """The bucket, and if configured its copy in another region.

    Outputs: `bucket`, its name, known once it is there. Plain: `name`; `region`; `destination`,
    where MLflow's artifacts lie; `endpoint` and `credentials` are None, for AWS' own endpoint and
    a pod's identity.

    Raises ValueError if a replica has no provider.
    """

    bucket: pulumi.Output[str]
    key_arn: pulumi.Output[str]
    name: str
    region: str
    destination: str
    endpoint: None = None
    credentials: None = None

    def __init__(
        self, name: str, args: ArtifactBucketArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:ArtifactBucket", name, None, opts)
        self.name = naming.bucket(args.bucket.name, args.prefix, args.account)
        self.region = args.region
        self.destination = f"s3://{self.name}/{data_documents.PREFIX}"

        def secure(
            part: str, called: str, region: str, opts: pulumi.ResourceOptions
        ) -> SecureBucket:
            wanted = SecureBucketArgs(
                bucket=called,
                account=args.account,
                region=region,
                alias=f"{args.prefix}-artifacts",
                noncurrent_days=args.bucket.noncurrent_days,
                abort_multipart_days=args.bucket.abort_multipart_days,
            )
            return SecureBucket(f"{name}-{part}", wanted, opts)

        primary = secure("primary", self.name, args.region, child(self))
        self.bucket = primary.bucket.bucket
        self.key_arn = primary.key.arn
        if args.bucket.access_logs:
            BucketLogging(
                f"{name}-logging",
                bucket=primary.bucket.id,
                target_bucket=args.bucket.access_logs,
                target_prefix=f"{self.name}/",
                opts=child(self),
            )
        if args.bucket.replica:
            if args.replica_provider is None:
                raise ValueError(f"{name}: a replica takes a provider of its region")
            elsewhere = pulumi.ResourceOptions.merge(
                child(self), pulumi.ResourceOptions(providers=[args.replica_provider])
            )
            replica = args.bucket.replica
            called = naming.replica(replica.name, self.name, replica.region)
            copy = secure("replica", called, replica.region, elsewhere)
            self._replicate(name, args.account, primary, copy, called, replica)
        self.register_outputs({"bucket": self.bucket, "destination": self.destination})

    def _replicate(
        self,
        name: str,
        account: str,
        primary: SecureBucket,
        copy: SecureBucket,
        called: str,
        replica: Replica,
    ) -> None:
        trust = documents.trust_service(
            "s3.amazonaws.com",
            {
                "StringEquals": {"aws:SourceAccount": account},
                "ArnEquals": {"aws:SourceArn": data_documents.bucket_arn(self.name, self.region)},
            },
        )
        role = Role(
            f"{name}-replication-role",
            assume_role_policy=documents.text([trust]),
            opts=child(self),
        )
        policy = RolePolicy(
            f"{name}-replication-policy",
            role=role.name,
            policy=documents.text(
                data_documents.replicate(
                    self.name,
                    self.region,
                    primary.key.arn,
                    called,
                    replica.region,
                    copy.key.arn,
                )
            ),
            opts=child(self),
        )
        markers = "Enabled" if replica.delete_markers else "Disabled"
        BucketReplicationConfig(
            f"{name}-replication",
            bucket=primary.bucket.id,
            role=role.arn,
            rules=[
                {
                    "id": "everything",
                    "status": "Enabled",
                    "priority": 1,
                    "filter": {"prefix": ""},
                    "delete_marker_replication": {"status": markers},
                    "source_selection_criteria": {
                        "sse_kms_encrypted_objects": {"status": "Enabled"}
                    },
                    "destination": {
                        "bucket": copy.bucket.arn,
                        "encryption_configuration": {"replica_kms_key_id": copy.key.arn},
                    },
                }
            ],
            opts=child(self, [policy, primary.versioning, copy.versioning]),
        )

    @property
    def writing(self) -> list[documents.Statement]:
        """What MLflow may do with the bucket."""
        return data_documents.write_artifacts(self.name, self.region, self.key_arn)

    def reading(self, experiments: Sequence[str] | None) -> list[documents.Statement]:
        """What the servers of a model may do with it; None means every experiment's artifacts."""
        return data_documents.read_artifacts(self.name, self.region, self.key_arn, experiments)
