"""A small program on AWS, of real resources: a bucket, its key, and two roles of pods."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import pulumi
from pulumi_aws.eks.cluster import Cluster
from pulumi_aws.iam.role import Role
from pulumi_aws.kms.key import Key
from pulumi_aws.s3.bucket import Bucket
from pulumi_aws.s3.bucket_policy import BucketPolicy

from components.aws import documents
from components.aws.pod_identity import PodIdentity, PodIdentityArgs
from tests.aws_mocks import ACCOUNT

ENCRYPTED = "s3:x-amz-server-side-encryption-aws-kms-key-id"
WRITE = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]

Conditions: TypeAlias = dict[str, dict[str, Any]]


def data() -> None:
    """Bucket `store`, key `store-key`, roles `mlflow` (all under mlflow/) and `churn` (reads
    mlflow/1/).
    """
    key = Key("store-key", policy=json.dumps({"Version": "2012-10-17", "Statement": [_root()]}))
    bucket = Bucket("store", bucket="slipway-test-artifacts")
    shut = [
        {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
        {
            "Sid": "OwnKey",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": [pulumi.Output.concat(bucket.arn, "/*")],
            # A condition on a key that a request lacks: StringNotEquals is true of it.
            "Condition": {"StringNotEquals": {ENCRYPTED: key.arn}, "Null": {ENCRYPTED: "false"}},
        },
    ]
    BucketPolicy("store-policy", bucket=bucket.id, policy=documents.text(shut))
    cluster = _cluster()
    for name, prefix, actions, keys in (
        ("mlflow", "mlflow/", WRITE, ["kms:Decrypt", "kms:GenerateDataKey"]),
        ("churn", "mlflow/1/", ["s3:GetObject"], ["kms:Decrypt"]),
    ):
        objects = pulumi.Output.concat(bucket.arn, "/", prefix, "*")
        through: Conditions = {
            "StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"},
            "StringLike": {"kms:EncryptionContext:aws:s3:arn": bucket.arn},
        }
        listed = {"StringLike": {"s3:prefix": [f"{prefix}*"]}}
        statements = [
            documents.allow("Objects", actions, [objects]),
            documents.allow("List", ["s3:ListBucket"], [bucket.arn], listed),
            documents.allow("Key", keys, [key.arn], through),
        ]
        bound = PodIdentityArgs(cluster.name, cluster.arn, ACCOUNT, "n", [name], statements)
        PodIdentity(name, bound)


def _cluster() -> Cluster:
    trust = documents.text([documents.trust_service("eks.amazonaws.com")])
    role = Role("cluster-role", assume_role_policy=trust)
    subnets: Any = {"subnet_ids": ["subnet-1", "subnet-2"]}
    return Cluster("cluster", name="slipway-test", role_arn=role.arn, vpc_config=subnets)


def _root() -> documents.Statement:
    return {
        "Sid": "Account",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
