"""What holds data: whether its names are free, this stack's own already, or kept from before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from preflight_aws.asking import At, Finding, Question, code, fault, note
from preflight_aws.wanted import STACK_TAG, Bucket, Wanted

_IMAGES = "aws.registry"
_DOCKER_HUB = "aws.registry.docker_hub_credentials"
_TAKE_UP = 'take it up (docs/aws-data.md, "Taking up what was kept")'


def questions(asked: Wanted) -> Iterator[Question]:
    """Those about the bucket's name and the repository's, and the login to Docker Hub."""
    if asked.bucket:
        yield Question(asked.bucket.key, partial(_bucket, asked.bucket))
    if asked.replica:
        region = asked.replica.region
        yield Question(asked.replica.key, partial(_bucket, asked.replica), region)
    if asked.repository:
        yield Question(_IMAGES, _repository)
    if asked.docker_hub:
        yield Question(_DOCKER_HUB, _docker_hub)


def _bucket(wanted: Bucket, at: At, asked: Wanted) -> Iterable[Finding]:
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]

    key, name, client = wanted.key, wanted.name, at("s3")
    try:
        found = client.head_bucket(Bucket=name)
    except ClientError as error:
        if code(error) == "404":
            return
        if code(error) == "403" and not wanted.given:
            # Nobody else has a name with the account's number: it is these credentials' right.
            yield note(key, f"not checked: these credentials may not ask ({name})")
            return
        if code(error) in ("403", "301"):
            said = "is taken: it is not a bucket that these credentials may see; name another"
            yield fault(key, name, said)
            return
        raise
    if (region := found.get("BucketRegion", wanted.region)) != wanted.region:
        said = f"is there, in {region}, and not in {wanted.region}; name another"
        yield fault(key, name, said)
        return
    try:
        tags = client.get_bucket_tagging(Bucket=name)["TagSet"]
    except ClientError as error:
        if code(error) != "NoSuchTagSet":
            raise
        tags = []
    owner = next((tag["Value"] for tag in tags if tag["Key"] == STACK_TAG), None)
    yield from _whose(key, name, owner, at, asked, here=wanted.region == asked.region)


def _repository(at: At, asked: Wanted) -> Iterable[Finding]:
    from botocore.exceptions import ClientError

    client, name = at("ecr"), asked.repository
    try:
        (found,) = client.describe_repositories(repositoryNames=[name])["repositories"]
    except ClientError as error:
        if code(error) != "RepositoryNotFoundException":
            raise
        return
    tags = client.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]
    owner = next((tag["Value"] for tag in tags if tag["Key"] == STACK_TAG), None)
    yield from _whose(_IMAGES, name, owner, at, asked)


def _docker_hub(at: At, asked: Wanted) -> Iterable[Finding]:
    from botocore.exceptions import ClientError

    try:
        found = at("secretsmanager").describe_secret(SecretId=asked.docker_hub)
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        said = f"is no secret in {asked.region} (aws secretsmanager list-secrets --region "
        yield fault(_DOCKER_HUB, asked.docker_hub, f"{said}{asked.region})")
        return
    if found.get("DeletedDate"):
        said = "is scheduled for deletion; aws secretsmanager restore-secret, or name another"
        yield fault(_DOCKER_HUB, asked.docker_hub, said)


def _whose(
    key: str, name: str | None, owner: str | None, at: At, asked: Wanted, *, here: bool = True
) -> Iterable[Finding]:
    """A fault where what is there is not this stack's. A note where it is, and its cluster is not
    there: after a `destroy`, which keeps what holds data, or while a first update goes on. here:
    clients are of the cluster's region.
    """
    if owner != asked.stack:
        whose = f"of stack {owner}" if owner else "of no stack of Slipway"
        other = "delete it" if key == _IMAGES else "name another"
        said = f"is there, in this account, and {whose}; {other}, or tag it {STACK_TAG}="
        yield fault(key, name, f"{said}{asked.stack} and {_TAKE_UP}")
    elif here and not _cluster(at, asked):
        said = f'"{name}" is there, and no cluster {asked.cluster}: if it was kept by a destroy, '
        yield note(key, f"{said}{_TAKE_UP}, or the update stops at it")


def _cluster(at: At, asked: Wanted) -> bool:
    from botocore.exceptions import ClientError

    try:
        at("eks").describe_cluster(name=asked.cluster)
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        return False
    return True
