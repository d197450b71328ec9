"""Makes the bucket and the key, one call after the other, each of which can be made again.

A run that was killed is finished by the next: what is there is found, by name or by tag, and
everything about it is set once more. Nothing is ever deleted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from preflight_aws.asking import UNREAD, brief, unreadable
from settings.aws import bucket_name

# On the key from the call that makes it, so that a run that is killed before the alias is there
# leaves no second one.
TAG = "slipway:state-bucket"
NONCURRENT_DAYS = 90
KEPT_VERSIONS = 50
ABORT_DAYS = 7


class StateBucketError(Exception):
    """It can't be made; the message says in one line why."""


@dataclass(frozen=True)
class Clients:
    """boto3's clients of KMS, S3 and STS, of one region."""

    kms: Any
    s3: Any
    sts: Any
    region: str


@dataclass(frozen=True)
class StateBucket:
    """What was made: the bucket's name, the key's alias as in `alias/…`, the region."""

    bucket: str
    alias: str
    region: str

    @property
    def lines(self) -> tuple[str, str]:
        """What to run with it."""
        return (
            f"pulumi login 's3://{self.bucket}?region={self.region}'",
            "pulumi stack init prod --secrets-provider "
            f"'awskms://{self.alias}?region={self.region}'",
        )


def make(
    clients: Clients, name: str | None = None, progress: Callable[[str], None] = print
) -> StateBucket:
    """Makes the bucket `name`, by default `slipway-state-<account>-<region>`, and its key.

    `progress` is told of each step. Raises StateBucketError.
    """
    if name is not None and (wrong := bucket_name.fault(name)):
        raise StateBucketError(f"NAME: {name!r} {wrong}")
    with _told():
        caller = clients.sts.get_caller_identity()
        account, partition = caller["Account"], caller["Arn"].split(":")[1]
        name = name or f"slipway-state-{account}-{clients.region}"
        made = StateBucket(name, f"alias/{name}", clients.region)
        progress(f"account {account}, region {clients.region}")
        _bucket(clients, name, account)
        progress(f"bucket {name}")
        key = _key(clients, made)
        progress(f"key {key}")
        for what, call, arguments in _properties(clients, name, key, partition):
            call(Bucket=name, ExpectedBucketOwner=account, **arguments)
            progress(what)
    return made


@contextmanager
def _told() -> Iterator[None]:
    """Turns boto3's errors into one line."""
    try:
        yield
    except ClientError as error:
        told = error.response["Error"]
        said = brief(told.get("Message", ""))
        raise StateBucketError(f"{error.operation_name}: {told['Code']}: {said}") from None
    except BotoCoreError as error:
        raise StateBucketError(brief(error)) from None
    except unreadable():
        raise StateBucketError(UNREAD) from None


def _bucket(clients: Clients, name: str, account: str) -> None:
    where = {"LocationConstraint": clients.region}
    # The first region has no name there.
    wanted = {} if clients.region == "us-east-1" else {"CreateBucketConfiguration": where}
    try:
        clients.s3.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerEnforced", **wanted)
    except ClientError as error:
        match error.response["Error"]["Code"]:
            case "BucketAlreadyOwnedByYou":
                pass
            case "BucketAlreadyExists":
                raise StateBucketError(
                    f"{name}: the name is taken, by another account or in another region; "
                    "choose another: make state-bucket REGION=… NAME=…"
                ) from None
            case _:
                raise
    found = clients.s3.get_bucket_location(Bucket=name, ExpectedBucketOwner=account)
    region = found.get("LocationConstraint") or "us-east-1"
    if region != clients.region:
        raise StateBucketError(
            f"{name}: is there already, in {region}; run it with REGION={region}, or choose "
            "another NAME"
        )


def _key(clients: Clients, made: StateBucket) -> str:
    """The ARN of the key, made if there is none, with its alias, renewed every year."""
    kms = clients.kms
    try:
        key = kms.describe_key(KeyId=made.alias)["KeyMetadata"]
    except kms.exceptions.NotFoundException:
        key = _left_behind(kms, made.bucket)
        if key is None:
            key = kms.create_key(
                Description=f"State and secrets of Pulumi in {made.bucket}",
                Tags=[{"TagKey": TAG, "TagValue": made.bucket}],
            )["KeyMetadata"]
        kms.create_alias(AliasName=made.alias, TargetKeyId=key["KeyId"])
    if not _usable(key):
        raise StateBucketError(
            f"{made.alias}: its key is {key['KeyState']}; with it the secrets of the state are "
            "lost, so bring it back: aws kms cancel-key-deletion, aws kms enable-key"
        )
    kms.enable_key_rotation(KeyId=key["KeyId"])
    return str(key["Arn"])


def _left_behind(kms: Any, bucket: str) -> dict[str, Any] | None:
    """A key that a run has made for this bucket, and was killed before it had an alias."""
    for page in kms.get_paginator("list_keys").paginate():
        for each in page["Keys"]:
            try:
                tags = kms.list_resource_tags(KeyId=each["KeyId"])["Tags"]
            except ClientError as error:
                # A key whose policy shuts its own account out is not ours.
                if error.response["Error"]["Code"] != "AccessDeniedException":
                    raise
                continue
            if {"TagKey": TAG, "TagValue": bucket} in tags:
                found: dict[str, Any] = kms.describe_key(KeyId=each["KeyId"])["KeyMetadata"]
                if _usable(found):
                    return found
    return None


def _usable(key: dict[str, Any]) -> bool:
    return bool(key["KeyState"] == "Enabled")


def _properties(
    clients: Clients, name: str, key: str, partition: str
) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """What the bucket is like: (said, call of S3, its arguments) each."""
    s3 = clients.s3
    yield (
        "shut to the public",
        s3.put_public_access_block,
        {
            "PublicAccessBlockConfiguration": dict.fromkeys(
                (
                    "BlockPublicAcls",
                    "BlockPublicPolicy",
                    "IgnorePublicAcls",
                    "RestrictPublicBuckets",
                ),
                True,
            )
        },
    )
    yield (
        "no ACLs",
        s3.put_bucket_ownership_controls,
        {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}},
    )
    yield (
        "versioned",
        s3.put_bucket_versioning,
        {"VersioningConfiguration": {"Status": "Enabled"}},
    )
    encryption = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    yield (
        "encrypted with the key",
        s3.put_bucket_encryption,
        {
            "ServerSideEncryptionConfiguration": {
                "Rules": [
                    {"ApplyServerSideEncryptionByDefault": encryption, "BucketKeyEnabled": True}
                ]
            }
        },
    )
    yield (
        "TLS alone",
        s3.put_bucket_policy,
        {"Policy": policy(f"arn:{partition}:s3:::{name}")},
    )
    yield (
        f"old versions stay {NONCURRENT_DAYS} days, and the newest {KEPT_VERSIONS} for ever",
        s3.put_bucket_lifecycle_configuration,
        {"LifecycleConfiguration": {"Rules": _LIFECYCLE}},
    )


_LIFECYCLE = [
    {
        "ID": "old-versions",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {
            "NoncurrentDays": NONCURRENT_DAYS,
            "NewerNoncurrentVersions": KEPT_VERSIONS,
        },
    },
    {
        "ID": "broken-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_DAYS},
    },
]


def policy(arn: str) -> str:
    """The policy of the bucket with this ARN: TLS 1.2 at least, for everyone and everything."""
    conditions = {
        "TlsOnly": {"Bool": {"aws:SecureTransport": "false"}},
        "NoOldTls": {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
    }
    statements = [
        {
            "Sid": sid,
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, f"{arn}/*"],
            "Condition": condition,
        }
        for sid, condition in conditions.items()
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, sort_keys=True)
