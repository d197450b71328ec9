"""What was kept on AWS goes into Pulumi's file for imports, asked of a server like AWS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from preflight_aws import __main__ as command
from tests.unit.test_preflight_aws_leftovers import CLIENTS, REGION, a_stack, here
from tests.unit.test_preflight_aws_leftovers import aws as aws  # a fixture of each test here

BUCKET = "slipway-prod-artifacts-123456789012"


def entry(type_: str, name: str, parent: str | None = None, **more: Any) -> dict[str, Any]:
    found = {"type": type_, "name": name, **more}
    return found | ({"parent": parent} if parent else {})


def made(type_: str, name: str, parent: str) -> dict[str, Any]:
    return entry(type_, name, parent, id="<PLACEHOLDER>", provider="aws", version="7.51.1")


# As `pulumi preview --import-file` writes it, of Pulumi 3.259.
FILE = [
    entry("pulumi:providers:aws", "aws", inputs={"region": REGION}),
    entry("pulumi:providers:kubernetes", "cluster", inputs={}),
    entry("slipway:aws:Ground", "ground", component=True),
    entry("slipway:aws:ArtifactBucket", "ground-artifacts", "ground", component=True),
    entry("slipway:aws:SecureBucket", "ground-artifacts-primary", "ground-artifacts",
          component=True),
    made("aws:kms/key:Key", "ground-artifacts-primary-key", "ground-artifacts-primary"),
    made("aws:kms/alias:Alias", "ground-artifacts-primary-key-alias", "ground-artifacts-primary"),
    made("aws:s3/bucket:Bucket", "ground-artifacts-primary-bucket", "ground-artifacts-primary"),
    made("aws:s3/bucketPolicy:BucketPolicy", "ground-artifacts-primary-policy",
         "ground-artifacts-primary"),
    entry("slipway:aws:ImageRegistry", "ground-images", "ground", component=True),
    made("aws:kms/key:Key", "ground-images-key", "ground-images"),
    made("aws:ecr/repository:Repository", "ground-images-repository", "ground-images"),
]  # fmt: skip


def take_up(directory: Path) -> tuple[int, list[dict[str, Any]]]:
    a_stack(directory)
    file = directory / "kept.json"
    file.write_text(json.dumps({"resources": FILE}))
    status = command.main(["take-up", "--stack", "prod", "--file", str(file)], directory, CLIENTS)
    return status, json.loads(file.read_text())["resources"]


def a_key() -> dict[str, Any]:
    found: dict[str, Any] = here("kms").create_key()["KeyMetadata"]
    return found


def a_bucket() -> dict[str, Any]:
    key, s3 = a_key(), here("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key["Arn"]}
    s3.put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default}]
        },
    )
    return key


def test_what_is_there_gets_its_id_and_all_else_leaves_but_what_it_takes(tmp_path: Path) -> None:
    key, images = a_bucket(), a_key()
    here("ecr").create_repository(
        repositoryName="slipway-prod/serving",
        encryptionConfiguration={"encryptionType": "KMS", "kmsKey": images["Arn"]},
    )
    status, found = take_up(tmp_path)
    assert status == 0
    assert {each["name"]: each["id"] for each in found if "id" in each} == {
        "ground-artifacts-primary-key": key["KeyId"],
        "ground-artifacts-primary-bucket": BUCKET,
        "ground-images-key": images["KeyId"],
        "ground-images-repository": "slipway-prod/serving",
    }
    assert [each for each in found if "id" not in each] == [
        each for each in FILE if "id" not in each and each["name"] != "cluster"
    ]


def test_a_bucket_alone(tmp_path: Path) -> None:
    a_bucket()
    _, found = take_up(tmp_path)
    assert [each["name"] for each in found] == [
        "aws",
        "ground",
        "ground-artifacts",
        "ground-artifacts-primary",
        "ground-artifacts-primary-key",
        "ground-artifacts-primary-bucket",
    ]


def test_where_nothing_was_kept_the_file_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert take_up(tmp_path) == (1, FILE)
    assert capsys.readouterr().out == "prod: nothing was kept that is not in its state\n"
    file = tmp_path / "other.json"
    file.write_text("[]")
    ask = ["take-up", "--stack", "prod"]
    assert command.main([*ask, "--file", str(file)], tmp_path, CLIENTS) == 2
    assert command.main(ask, tmp_path, CLIENTS) == 2
    assert capsys.readouterr().err == (
        f"{file}: is no file of pulumi preview --import-file\n"
        "take-up takes --file, of pulumi preview --import-file\n"
    )
