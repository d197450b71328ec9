"""Who may do what with what holds data: statements for roles, and policies of bucket, key and
repository. Pure: ARNs may be text or Outputs.

Actions, condition keys: https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from .arns import partition
from .documents import Statement, allow

Arn: TypeAlias = Any  # a str, or a Pulumi Output of one

# MLflow's artifacts, and nothing else, lie under it.
PREFIX = "mlflow"


def bucket_arn(bucket: str, region: str) -> str:
    """The ARN of a bucket by its name."""
    return f"arn:{partition(region)}:s3:::{bucket}"


def owner_alone(account: str, region: str) -> list[Statement]:
    """The policy of a key: the account that has it decides by IAM who uses it, and no other."""
    return [
        {
            "Sid": "AccountDecidesByIam",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{partition(region)}:iam::{account}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    ]


def bucket_policy(bucket: str, region: str, key: Arn) -> list[Statement]:
    """The policy of a bucket: TLS 1.2 at least, and nothing written but under `key`.

    What is put without a word about encryption gets the bucket's own, which is that key.
    """
    arn = bucket_arn(bucket, region)
    everything = [arn, f"{arn}/*"]
    encryption = "s3:x-amz-server-side-encryption"

    def deny(sid: str, action: str, resources: list[str], condition: dict[str, Any]) -> Statement:
        return {
            "Sid": sid,
            "Effect": "Deny",
            "Principal": "*",
            "Action": action,
            "Resource": resources,
            "Condition": condition,
        }

    def put(sid: str, key: str, value: Arn) -> Statement:
        # Where a request does not hold the key, StringNotEquals is true; Null asks for it.
        condition = {"StringNotEquals": {key: value}, "Null": {key: "false"}}
        return deny(sid, "s3:PutObject", [f"{arn}/*"], condition)

    return [
        deny("TlsOnly", "s3:*", everything, {"Bool": {"aws:SecureTransport": "false"}}),
        deny("NoOldTls", "s3:*", everything, {"NumericLessThan": {"s3:TlsVersion": "1.2"}}),
        put("KmsOnly", encryption, "aws:kms"),
        put("OwnKeyOnly", f"{encryption}-aws-kms-key-id", key),
        deny(
            "NoKeyOfClients",
            "s3:PutObject",
            [f"{arn}/*"],
            {"Null": {f"{encryption}-customer-algorithm": "false"}},
        ),
    ]


def write_artifacts(bucket: str, region: str, key: Arn) -> list[Statement]:
    """What MLflow may do: all with the objects under PREFIX, nothing beside it.

    What it deletes stays as a noncurrent version, which it can't delete.
    """
    arn = bucket_arn(bucket, region)
    return [
        _list("ListArtifacts", arn, [PREFIX]),
        allow(
            "ReadAndWriteArtifacts",
            [
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:GetObject",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
            ],
            [f"{arn}/{PREFIX}/*"],
        ),
        _use_key("UseKeyOfArtifacts", ["kms:Decrypt", "kms:GenerateDataKey"], bucket, region, key),
    ]


def read_artifacts(
    bucket: str, region: str, key: Arn, experiments: Sequence[str] | None
) -> list[Statement]:
    """What the servers of one model may do: read what lies under its experiments; None means all
    under PREFIX.
    """
    arn = bucket_arn(bucket, region)
    prefixes = [PREFIX]
    if experiments is not None:
        prefixes = [f"{PREFIX}/{experiment}" for experiment in experiments]
    return [
        _list("ListArtifacts", arn, prefixes),
        allow("ReadArtifacts", ["s3:GetObject"], [f"{arn}/{prefix}/*" for prefix in prefixes]),
        _use_key("UseKeyOfArtifacts", ["kms:Decrypt"], bucket, region, key),
    ]


def read_secret(secret: Arn, region: str, key: Arn) -> list[Statement]:
    """What who logs in to the database may do: read that one secret, under that key."""
    return [
        allow("ReadLogin", ["secretsmanager:GetSecretValue"], [secret]),
        allow(
            "UseKeyOfLogin",
            ["kms:Decrypt"],
            [key],
            {
                "StringEquals": {
                    "kms:ViaService": _service("secretsmanager", region),
                    "kms:EncryptionContext:SecretARN": secret,
                }
            },
        ),
    ]


def replicate(
    source: str, region: str, key: Arn, copy: str, copy_region: str, copy_key: Arn
) -> list[Statement]:
    """What S3 may do to copy the bucket `source` to the bucket `copy`.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html
    """
    here, there = bucket_arn(source, region), bucket_arn(copy, copy_region)
    return [
        allow("ReadSource", ["s3:GetReplicationConfiguration", "s3:ListBucket"], [here]),
        allow(
            "ReadVersions",
            [
                "s3:GetObjectVersionAcl",
                "s3:GetObjectVersionForReplication",
                "s3:GetObjectVersionTagging",
            ],
            [f"{here}/*"],
        ),
        allow(
            "WriteCopies",
            ["s3:ReplicateDelete", "s3:ReplicateObject", "s3:ReplicateTags"],
            [f"{there}/*"],
        ),
        _use_key("UseKeyOfSource", ["kms:Decrypt"], source, region, key),
        _use_key(
            "UseKeyOfCopies", ["kms:Encrypt", "kms:GenerateDataKey"], copy, copy_region, copy_key
        ),
    ]


def repository_policy(account: str) -> list[Statement]:
    """The policy of a repository: nobody from another account, whatever a policy there says."""
    return [
        {
            "Sid": "AccountAlone",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "ecr:*",
            "Condition": {
                "StringNotEquals": {"aws:PrincipalAccount": account},
                "Bool": {"aws:PrincipalIsAWSService": "false"},
            },
        }
    ]


def pull_through(account: str, region: str, prefixes: Sequence[str]) -> list[Statement]:
    """What nodes may do for images to be pulled through ECR: have the copies made, under the
    rules' prefixes alone.
    """
    repositories = f"arn:{partition(region)}:ecr:{region}:{account}:repository"
    return [
        allow(
            "PullThrough",
            ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"],
            [f"{repositories}/{prefix}/*" for prefix in prefixes],
        )
    ]


def image_lifecycle(keep: int) -> str:
    """The lifecycle policy, as JSON, of a repository that keeps its newest images.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
    """
    rule = {
        "rulePriority": 1,
        "description": f"keep the newest {keep}",
        "selection": {
            "tagStatus": "any",
            "countType": "imageCountMoreThan",
            "countNumber": keep,
        },
        "action": {"type": "expire"},
    }
    return json.dumps({"rules": [rule]}, sort_keys=True, separators=(",", ":"))


def _list(sid: str, bucket: str, prefixes: Sequence[str]) -> Statement:
    beginnings = [f"{prefix}/*" for prefix in prefixes]
    return allow(sid, ["s3:ListBucket"], [bucket], {"StringLike": {"s3:prefix": beginnings}})


def _use_key(sid: str, actions: Sequence[str], bucket: str, region: str, key: Arn) -> Statement:
    # With a bucket key the encryption context is the bucket, not the object.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html
    return allow(
        sid,
        actions,
        [key],
        {
            "StringEquals": {
                "kms:ViaService": _service("s3", region),
                "kms:EncryptionContext:aws:s3:arn": bucket_arn(bucket, region),
            }
        },
    )


def _service(service: str, region: str) -> str:
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{service}.{region}.{suffix}"
