"""A bucket on S3 that holds data."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws.kms.key import Key
from pulumi_aws.s3.bucket import Bucket
from pulumi_aws.s3.bucket_lifecycle_configuration import BucketLifecycleConfiguration
from pulumi_aws.s3.bucket_ownership_controls import BucketOwnershipControls
from pulumi_aws.s3.bucket_policy import BucketPolicy
from pulumi_aws.s3.bucket_public_access_block import BucketPublicAccessBlock
from pulumi_aws.s3.bucket_server_side_encryption_configuration import (
    BucketServerSideEncryptionConfiguration,
)
from pulumi_aws.s3.bucket_versioning import BucketVersioning

from . import data_documents, documents
from .data_key import data_key
from .options import child


@dataclass(frozen=True)
class SecureBucketArgs:
    """Which bucket. bucket: its name. account, region: where it lies. alias: of its key.

    noncurrent_days: how long what was overwritten or deleted stays. abort_multipart_days: after
    which what an upload that broke off left goes.
    """

    bucket: str
    account: str
    region: str
    alias: str
    noncurrent_days: int
    abort_multipart_days: int


class SecureBucket(pulumi.ComponentResource):
    """A bucket under a key of its own, versioned, shut to the public, by TLS alone.

    It and the key outlive the stack, and so does what guards it: a bucket that is left behind is
    as shut as before.

    Outputs: `bucket`, `key`: the resources. `versioning`: what a replication waits for.
    """

    bucket: Bucket
    key: Key
    versioning: BucketVersioning

    def __init__(
        self, name: str, args: SecureBucketArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:SecureBucket", name, None, opts)
        self.key = data_key(
            self,
            f"{name}-key",
            alias=args.alias,
            purpose=f"the bucket {args.bucket}",
            account=args.account,
            region=args.region,
        )
        self.bucket = Bucket(
            f"{name}-bucket", bucket=args.bucket, opts=child(self, keep=True, fixed_name=True)
        )
        kept = child(self, keep=True)
        BucketOwnershipControls(
            f"{name}-ownership",
            bucket=self.bucket.id,
            rule={"object_ownership": "BucketOwnerEnforced"},
            opts=kept,
        )
        shut = BucketPublicAccessBlock(
            f"{name}-public-access",
            bucket=self.bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=kept,
        )
        self.versioning = BucketVersioning(
            f"{name}-versioning",
            bucket=self.bucket.id,
            versioning_configuration={"status": "Enabled"},
            opts=kept,
        )
        BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=self.bucket.id,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": self.key.arn,
                    },
                    "bucket_key_enabled": True,
                }
            ],
            opts=kept,
        )
        BucketPolicy(
            f"{name}-policy",
            bucket=self.bucket.id,
            policy=documents.text(
                data_documents.bucket_policy(args.bucket, args.region, self.key.arn)
            ),
            # Two changes of who gets in at the same time are a conflict to S3.
            opts=child(self, [shut], keep=True),
        )
        BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=self.bucket.id,
            rules=[
                {
                    "id": "old-versions",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "noncurrent_version_expiration": {"noncurrent_days": args.noncurrent_days},
                    "expiration": {"expired_object_delete_marker": True},
                },
                {
                    "id": "broken-uploads",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "abort_incomplete_multipart_upload": {
                        "days_after_initiation": args.abort_multipart_days
                    },
                },
            ],
            opts=child(self, [self.versioning], keep=True),
        )
        self.register_outputs({"bucket": self.bucket.bucket, "key_arn": self.key.arn})
