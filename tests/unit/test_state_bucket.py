"""The bucket of Pulumi's state: what is made, by a whole run and by runs that are killed."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import botocore.parsers
import pytest
import requests
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from moto import mock_aws

from bootstrap import __main__ as command
from bootstrap import state_bucket
from bootstrap.state_bucket import Clients, StateBucketError, make

REGION = "eu-central-1"
NAME = "slipway-state-123456789012-eu-central-1"


class KilledError(BaseException):
    """Not one that the program could catch."""


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account with nothing in it, that is moto's alone."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield


@functools.cache
def clients(region: str = REGION) -> Clients:
    """boto3's, which take long to make."""
    made = [boto3.client(service, region_name=region) for service in ("kms", "s3", "sts")]
    return Clients(*made, region)


def empty() -> None:
    """Puts an end to all that is in the account."""
    assert requests.post("http://motoapi.amazonaws.com/moto-api/reset", timeout=5).ok
    assert clients().s3.list_buckets()["Buckets"] == clients().kms.list_keys()["Keys"] == []


def quiet(_: str) -> None:
    """Nobody looks."""


def account() -> dict[str, Any]:
    """All that there is, as AWS tells it."""
    kms, s3 = clients().kms, clients().s3
    ours = [a for a in kms.list_aliases()["Aliases"] if not a["AliasName"].startswith("alias/aws/")]
    keys = [each["KeyId"] for each in kms.list_keys()["Keys"]]
    made: dict[str, Any] = {
        "aliases": [alias["AliasName"] for alias in ours],
        "keys": len(keys),
        "rotated": [kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] for key in keys],
        "pointed": [alias["TargetKeyId"] in keys for alias in ours],
        "buckets": [each["Name"] for each in s3.list_buckets()["Buckets"]],
    }
    for bucket in made["buckets"]:
        rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"][
            "Rules"
        ]
        by_default = rules[0]["ApplyServerSideEncryptionByDefault"]
        assert by_default.pop("KMSMasterKeyID").rpartition("/")[2] in keys
        made[bucket] = {
            "encryption": rules,
            "versioning": s3.get_bucket_versioning(Bucket=bucket)["Status"],
            "public": s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
            "policy": json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]),
            "lifecycle": s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"],
            "owner": s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"],
        }
    return made


def test_what_is_made() -> None:
    told: list[str] = []
    made = make(clients(), progress=told.append)
    assert made.lines == (
        f"pulumi login 's3://{NAME}?region={REGION}'",
        f"pulumi stack init prod --secrets-provider 'awskms://alias/{NAME}?region={REGION}'",
    )
    found = account()
    assert (found["aliases"], found["keys"], found["buckets"]) == ([f"alias/{NAME}"], 1, [NAME])
    assert found["rotated"] == found["pointed"] == [True]
    bucket = found[NAME]
    assert bucket["encryption"] == [
        {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"},
            "BucketKeyEnabled": True,
        }
    ]
    assert bucket["versioning"] == "Enabled"
    assert len(bucket["public"]) == 4 and all(bucket["public"].values())
    assert bucket["owner"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    denied = {each["Sid"]: each["Condition"] for each in bucket["policy"]["Statement"]}
    assert denied == {
        "TlsOnly": {"Bool": {"aws:SecureTransport": "false"}},
        "NoOldTls": {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
    }
    assert {rule["ID"]: rule["Status"] for rule in bucket["lifecycle"]} == {
        "old-versions": "Enabled",
        "broken-uploads": "Enabled",
    }
    assert told[:2] == [f"account 123456789012, region {REGION}", f"bucket {NAME}"]
    assert len(told) == 9


def calls(
    monkeypatch: pytest.MonkeyPatch, killed: Callable[[int], bool], *, answered: bool
) -> list[str]:
    """The names of the calls that are made from now on. The one of whose number `killed` is true
    is the program's last; `answered`: AWS has done what it asks.
    """
    made: list[str] = []
    real = BaseClient._make_api_call

    def call(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        made.append(operation)
        last = killed(len(made))
        if last and not answered:
            raise KilledError(operation)
        try:
            return real(self, operation, arguments)
        finally:
            if last:
                raise KilledError(operation)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    return made


@pytest.mark.parametrize("answered", [False, True], ids=["before it", "after it"])
def test_a_run_that_is_killed_at_any_call_is_finished_by_the_next(answered: bool) -> None:
    make(clients(), progress=quiet)
    whole = account()
    number = 0
    while True:
        number += 1
        empty()
        with pytest.MonkeyPatch.context() as patch:
            made = calls(patch, lambda count, at=number: count == at, answered=answered)  # type: ignore[misc]
            try:
                make(clients(), progress=quiet)
            except KilledError:
                patch.undo()
                make(clients(), progress=quiet)
                assert account() == whole, f"killed at {made[-1]}"
            else:
                break
    # All of its calls, so the loop has been through each.
    assert number == len(made) + 1 and made[-1] == "PutBucketLifecycleConfiguration"
    assert number > 12


def test_a_second_run_changes_nothing_and_none_deletes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(clients(), progress=quiet)
    before = account()
    made = calls(monkeypatch, lambda _: False, answered=True)
    assert make(clients(), progress=quiet) == first
    assert not [each for each in made if each.startswith(("Delete", "Schedule", "Disable"))]
    assert "CreateKey" not in made
    assert account() == before


def test_what_stands_in_the_bucket_stays() -> None:
    make(clients(), progress=quiet)
    s3 = clients().s3
    s3.delete_bucket_policy(Bucket=NAME)  # moto overlooks conditions, and lets nobody in
    s3.put_object(Bucket=NAME, Key=".pulumi/stacks/prod.json", Body=b"{}")
    make(clients(), progress=quiet)
    assert "TlsOnly" in s3.get_bucket_policy(Bucket=NAME)["Policy"]
    s3.delete_bucket_policy(Bucket=NAME)
    assert s3.get_object(Bucket=NAME, Key=".pulumi/stacks/prod.json")["Body"].read() == b"{}"


def refused(monkeypatch: pytest.MonkeyPatch, operation: str, code: str, message: str) -> None:
    """AWS answers this operation so."""
    real = BaseClient._make_api_call

    def call(self: Any, asked: str, arguments: dict[str, Any]) -> Any:
        if asked == operation:
            raise ClientError({"Error": {"Code": code, "Message": message}}, operation)
        return real(self, asked, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)


def test_a_name_that_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(monkeypatch, "CreateBucket", "BucketAlreadyExists", "")
    assert command.main(["--region", REGION, "--name", "state"]) == 1
    assert capsys.readouterr().err == (
        "slipway: state bucket: state: the name is taken, by another account or in another region; "
        "choose another: make state-bucket REGION=… NAME=…\n"
    )
    # Before a key, which costs something, is made.
    assert clients().kms.list_keys()["Keys"] == []


def test_a_bucket_of_ones_own_in_another_region() -> None:
    wrong = {"LocationConstraint": "eu-west-1"}
    boto3.client("s3", region_name="eu-west-1").create_bucket(
        Bucket="mine", CreateBucketConfiguration=wrong
    )
    with pytest.raises(StateBucketError, match="mine: .*eu-west-1|mine: the name is taken"):
        make(clients(), "mine", quiet)


def test_a_key_that_is_about_to_go_is_not_replaced() -> None:
    make(clients(), progress=quiet)
    kms = clients().kms
    key = kms.describe_key(KeyId=f"alias/{NAME}")["KeyMetadata"]["KeyId"]
    kms.schedule_key_deletion(KeyId=key)
    with pytest.raises(StateBucketError, match="PendingDeletion; with it the secrets"):
        make(clients(), progress=quiet)


def test_the_first_region_has_no_name_in_the_call() -> None:
    make(clients("us-east-1"), progress=quiet)
    assert clients().s3.list_buckets()["Buckets"][0]["Name"].endswith("us-east-1")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--region", "Frankfurt"], "REGION: 'Frankfurt' is not a region of AWS, as in eu-centr"),
        (["--region", REGION, "--name", "My.Bucket"], "NAME: 'My.Bucket' holds a dot"),
        (["--region", REGION, "--name", "x"], "NAME: 'x' has 1 characters, and a bucket's name 3"),
    ],
)
def test_bad_words(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"slipway: state bucket: {line}") and said.count("\n") == 1


def test_without_rights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(monkeypatch, "CreateKey", "AccessDeniedException", "You may\nnot.")
    assert command.main(["--region", REGION]) == 1
    said = capsys.readouterr()
    assert said.err == "slipway: state bucket: CreateKey: AccessDeniedException: You may not.\n"
    assert "Now run" not in said.out


def test_a_proxys_page_in_place_of_an_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*_: object) -> None:
        # As botocore's own parser ends at a page of HTML.
        botocore.parsers.QueryParser().parse(
            {"status_code": 200, "headers": {}, "body": b"<html><br></html>"}, None
        )

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    assert command.main(["--region", REGION]) == 1
    line = "slipway: state bucket: AWS' answer could not be read; is a proxy between?\n"
    assert capsys.readouterr().err == line


def test_without_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert command.main(["--region", REGION]) == 1
    assert capsys.readouterr().err == "slipway: state bucket: Unable to locate credentials\n"


def test_what_a_person_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--region", REGION]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-3:] == [
        "Now run:",
        *(f"  {line}" for line in state_bucket.StateBucket(NAME, f"alias/{NAME}", REGION).lines),
    ]
