"""Buckets: nobody from outside, nothing in the clear, nothing lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from engine.iam import condition, statements
from engine.resource import Resource
from engine.rule import Given, Rule, of_each, some
from engine.values import get, items, mapping, texts

_BUCKET = re.compile(r"aws:s3/(bucket:Bucket|bucketV2:BucketV2)$")
_GUIDE = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/"


def bucket(resource: Resource) -> bool:
    """Whether it is a bucket."""
    return _BUCKET.match(resource.type) is not None


def _of(beside: Resource, kind: str, owner: Resource) -> bool:
    """Whether `beside` is of this kind, of either name that Pulumi has for it, and the bucket's."""
    if beside.type not in {
        f"aws:s3/{kind[0].lower()}{kind[1:]}{suffix}:{kind}{suffix}" for suffix in ("", "V2")
    }:
        return False
    # What a name comes from says more than the name, which a preview may not know.
    if used := beside.used.get("bucket"):
        return owner.urn in used
    mine = (get(owner.props, "bucket"), get(owner.props, "id"))
    return get(beside.props, "bucket") in [name for name in mine if name]


def _needs(
    kind: str, met: Callable[[Resource], bool], said: str, inline: Callable[[Resource], bool]
) -> Callable[[Resource, Sequence[Resource], Given], Iterator[str]]:
    def messages(owner: Resource, stack: Sequence[Resource], given: Given) -> Iterator[str]:
        if not inline(owner) and not some(stack, lambda each: _of(each, kind, owner) and met(each)):
            yield f"bucket {owner.name}: {said}"

    return messages


def _blocked(beside: Resource) -> bool:
    fields = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    return all(get(beside.props, field) is True for field in fields)


def _denies_plain(document: object) -> bool:
    for statement in statements(document, "the bucket's policy"):
        principal = get(statement, "Principal")
        everyone = principal == "*" or "*" in texts(principal, "AWS")
        actions = texts(statement, "Action")
        # Any other condition beside it leaves requests out.
        alone = list(mapping(statement, "Condition")) == ["Bool"]
        plain = alone and condition(statement, "Bool") == {"aws:securetransport": ["false"]}
        objects = any(each == "*" or each.endswith("/*") for each in texts(statement, "Resource"))
        if (
            get(statement, "Effect") == "Deny"
            and everyone
            and {"s3:*", "*"} & set(actions)
            and objects
            and plain
        ):
            return True
    return False


def _kms(found: object) -> bool:
    algorithm = get(found, "applyServerSideEncryptionByDefault", "sseAlgorithm")
    return algorithm in ("aws:kms", "aws:kms:dsse")


def _no(_: Resource) -> bool:
    return False


PUBLIC_ACCESS = Rule(
    name="s3-public-access",
    title="Buckets closed to the public",
    description="Buckets block public access in all four ways.",
    severity="critical",
    remediation="Make a BucketPublicAccessBlock of the bucket with all four set to true.",
    references=(_GUIDE + "access-control-block-public-access.html",),
    stack_check=of_each(
        bucket,
        _needs(
            "BucketPublicAccessBlock", _blocked, "no BucketPublicAccessBlock sets all four", _no
        ),
    ),
)
TLS_ONLY = Rule(
    name="s3-tls-only",
    title="Buckets by TLS alone",
    description="Buckets deny requests that come without TLS.",
    severity="high",
    remediation="Make a BucketPolicy that denies s3:* to everyone on the bucket and its objects "
    "where aws:SecureTransport is false.",
    references=(_GUIDE + "security-best-practices.html",),
    stack_check=of_each(
        bucket,
        _needs(
            "BucketPolicy",
            lambda each: _denies_plain(get(each.props, "policy")),
            "no policy denies requests without TLS",
            lambda owner: _denies_plain(get(owner.props, "policy")),
        ),
    ),
)
VERSIONING = Rule(
    name="s3-versioning",
    title="Versioned buckets",
    description="Buckets keep what is overwritten and deleted.",
    severity="medium",
    remediation="Make a BucketVersioning of the bucket with status Enabled.",
    references=(_GUIDE + "Versioning.html",),
    stack_check=of_each(
        bucket,
        _needs(
            "BucketVersioning",
            lambda each: get(each.props, "versioningConfiguration", "status") == "Enabled",
            "its versioning is not enabled",
            lambda owner: get(owner.props, "versioning", "enabled") is True,
        ),
    ),
)
KMS = Rule(
    name="s3-kms",
    title="Buckets under a key of KMS",
    description="Buckets are encrypted with a key of KMS.",
    severity="medium",
    remediation="Make a BucketServerSideEncryptionConfiguration with sseAlgorithm aws:kms.",
    references=(_GUIDE + "UsingKMSEncryption.html",),
    stack_check=of_each(
        bucket,
        _needs(
            "BucketServerSideEncryptionConfiguration",
            lambda each: any(map(_kms, items(each.props, "rules"))),
            "it is not encrypted with a key of KMS",
            lambda owner: _kms(get(owner.props, "serverSideEncryptionConfiguration", "rule")),
        ),
    ),
)
RULES = (PUBLIC_ACCESS, TLS_ONLY, VERSIONING, KMS)
