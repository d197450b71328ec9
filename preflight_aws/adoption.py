"""What a destroy kept, taken up by a new stack of the same name: the ids in the file of
`pulumi preview --import-file`, which then goes to `pulumi import --file`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from preflight_aws.asking import Clients, code
from preflight_aws.wanted import Bucket, Wanted

Entry = Mapping[str, Any]


def taken_up(entries: Sequence[Entry], clients: Clients, asked: Wanted) -> list[Entry]:
    """Of the file's resources those that are on AWS already, with their ids, and what they take:
    parents and providers. Empty where there is none.

    Raises botocore's ClientError and BotoCoreError.
    """
    ids = dict(_ids(clients, asked))
    named = {each["name"]: each for each in entries}
    found: dict[str, Entry] = {}
    for each in entries:
        called = each.get("logicalName", each["name"])
        there = next((id_ for end, id_ in ids.items() if called.endswith(end)), None)
        if there is None or "id" not in each:
            continue
        found[each["name"]] = {**each, "id": there}
        for name in _needed(each, named):
            found.setdefault(name, named[name])
    return [found[each["name"]] for each in entries if each["name"] in found]


def _needed(entry: Entry, named: Mapping[str, Entry]) -> Iterator[str]:
    for key in ("provider", "parent"):
        name = str(entry.get(key))
        if name in named:
            yield name
            yield from _needed(named[name], named)


def _ids(clients: Clients, asked: Wanted) -> Iterator[tuple[str, str]]:
    """How the name of a resource ends in the program, and its id on AWS."""
    for part, bucket in (("primary", asked.bucket), ("replica", asked.replica)):
        key = _key_of(clients, bucket) if bucket else None
        if bucket and key is not None:
            yield f"-artifacts-{part}-bucket", bucket.name
            if key:
                yield f"-artifacts-{part}-key", key
    key = _key_of_images(clients, asked)
    if asked.repository and key is not None:
        yield "-images-repository", asked.repository
        if key:
            yield "-images-key", key


def _key_of(clients: Clients, bucket: Bucket) -> str | None:
    """The id of the key of KMS that it is under, empty without; None where it is not there."""
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]

    client = clients("s3", bucket.region)
    try:
        found = client.get_bucket_encryption(Bucket=bucket.name)
    except ClientError as error:
        if code(error) == "NoSuchBucket":
            return None
        if code(error) == "ServerSideEncryptionConfigurationNotFoundError":
            return ""
        raise
    (rule, *_) = found["ServerSideEncryptionConfiguration"]["Rules"]
    default = rule.get("ApplyServerSideEncryptionByDefault", {})
    return str(default.get("KMSMasterKeyID", "")).rpartition("/")[2]


def _key_of_images(clients: Clients, asked: Wanted) -> str | None:
    from botocore.exceptions import ClientError

    client = clients("ecr", asked.region)
    try:
        (found,) = client.describe_repositories(repositoryNames=[asked.repository])["repositories"]
    except ClientError as error:
        if code(error) != "RepositoryNotFoundException":
            raise
        return None
    return str(found.get("encryptionConfiguration", {}).get("kmsKey", "")).rpartition("/")[2]
