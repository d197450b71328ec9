"""Who may do what with what holds data: each statement, word for word where it narrows."""

from __future__ import annotations

import json

import pytest

from components.aws import data_documents as documents

REGION = "eu-central-1"
KEY = "arn:aws:kms:eu-central-1:1:key/k"
ARN = "arn:aws:s3:::artifacts"
CONTEXT = {
    "StringEquals": {
        "kms:ViaService": "s3.eu-central-1.amazonaws.com",
        "kms:EncryptionContext:aws:s3:arn": ARN,
    }
}


def test_mlflow_writes_under_its_prefix_alone() -> None:
    listing, objects, key = documents.write_artifacts("artifacts", REGION, KEY)
    assert listing["Resource"] == [ARN]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["mlflow/*"]}}
    assert objects["Resource"] == [f"{ARN}/mlflow/*"]
    # Noncurrent versions, with which deletions are undone, are out of its reach.
    assert objects["Action"] == [
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
    ]
    assert key["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert (key["Resource"], key["Condition"]) == ([KEY], CONTEXT)


@pytest.mark.parametrize(
    ("experiments", "prefixes"),
    [(None, ["mlflow"]), (["3"], ["mlflow/3"]), (["3", "14"], ["mlflow/3", "mlflow/14"])],
)
def test_a_model_reads_its_experiments_alone(
    experiments: list[str] | None, prefixes: list[str]
) -> None:
    listing, objects, key = documents.read_artifacts("artifacts", REGION, KEY, experiments)
    # With the slash: experiment 3 is not experiment 31.
    beginnings = [f"{prefix}/*" for prefix in prefixes]
    assert listing["Action"] == ["s3:ListBucket"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": beginnings}}
    assert objects["Action"] == ["s3:GetObject"]
    assert objects["Resource"] == [f"{ARN}/{beginning}" for beginning in beginnings]
    assert (key["Action"], key["Condition"]) == (["kms:Decrypt"], CONTEXT)


def test_the_password_is_one_secret_under_one_key() -> None:
    secret = "arn:aws:secretsmanager:eu-central-1:1:secret:rds!db-1"
    read, key = documents.read_secret(secret, REGION, KEY)
    assert (read["Action"], read["Resource"]) == (["secretsmanager:GetSecretValue"], [secret])
    assert (key["Action"], key["Resource"]) == (["kms:Decrypt"], [KEY])
    assert key["Condition"]["StringEquals"] == {
        "kms:ViaService": "secretsmanager.eu-central-1.amazonaws.com",
        "kms:EncryptionContext:SecretARN": secret,
    }


def test_what_a_bucket_denies() -> None:
    denied = {each["Sid"]: each for each in documents.bucket_policy("artifacts", REGION, KEY)}
    assert {each["Effect"] for each in denied.values()} == {"Deny"}
    assert {each["Principal"] for each in denied.values()} == {"*"}
    assert denied["TlsOnly"]["Resource"] == denied["NoOldTls"]["Resource"] == [ARN, f"{ARN}/*"]
    assert denied["TlsOnly"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    header = "s3:x-amz-server-side-encryption"
    # Null: a put that says nothing of encryption has the bucket's own, and is let in.
    assert denied["KmsOnly"]["Condition"] == {
        "StringNotEquals": {header: "aws:kms"},
        "Null": {header: "false"},
    }
    assert denied["OwnKeyOnly"]["Condition"] == {
        "StringNotEquals": {f"{header}-aws-kms-key-id": KEY},
        "Null": {f"{header}-aws-kms-key-id": "false"},
    }
    assert denied["NoKeyOfClients"]["Condition"] == {
        "Null": {f"{header}-customer-algorithm": "false"}
    }


def test_a_replication_reads_here_and_writes_there() -> None:
    copy = "arn:aws:s3:::copy"
    other = "arn:aws:kms:eu-west-1:1:key/c"
    may = {
        each["Sid"]: each
        for each in documents.replicate("artifacts", REGION, KEY, "copy", "eu-west-1", other)
    }
    assert may["ReadVersions"]["Resource"] == [f"{ARN}/*"]
    assert may["WriteCopies"]["Resource"] == [f"{copy}/*"]
    assert may["UseKeyOfSource"]["Action"] == ["kms:Decrypt"]
    there = may["UseKeyOfCopies"]
    assert there["Resource"] == [other]
    assert there["Condition"]["StringEquals"] == {
        "kms:ViaService": "s3.eu-west-1.amazonaws.com",
        "kms:EncryptionContext:aws:s3:arn": copy,
    }


def test_nodes_make_copies_under_the_rules_prefixes_alone() -> None:
    (may,) = documents.pull_through("1", REGION, ["slipway-prod/quay"])
    assert may["Action"] == ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"]
    assert may["Resource"] == [f"arn:aws:ecr:{REGION}:1:repository/slipway-prod/quay/*"]


def test_other_accounts_get_no_image() -> None:
    (deny,) = documents.repository_policy("123456789012")
    assert (deny["Effect"], deny["Action"]) == ("Deny", "ecr:*")
    assert deny["Condition"]["StringNotEquals"] == {"aws:PrincipalAccount": "123456789012"}


def test_the_newest_images_stay() -> None:
    (rule,) = json.loads(documents.image_lifecycle(30))["rules"]
    assert rule["selection"] == {
        "tagStatus": "any",
        "countType": "imageCountMoreThan",
        "countNumber": 30,
    }


@pytest.mark.parametrize(
    ("region", "arn", "service"),
    [
        ("cn-north-1", "arn:aws-cn:s3:::b", "s3.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "arn:aws-us-gov:s3:::b", "s3.us-gov-west-1.amazonaws.com"),
        ("us-east-1", "arn:aws:s3:::b", "s3.us-east-1.amazonaws.com"),
    ],
)
def test_other_partitions(region: str, arn: str, service: str) -> None:
    key = documents.write_artifacts("b", region, KEY)[2]
    assert key["Condition"]["StringEquals"] == {
        "kms:ViaService": service,
        "kms:EncryptionContext:aws:s3:arn": arn,
    }
    (owner,) = documents.owner_alone("1", region)
    assert owner["Principal"]["AWS"] == f"arn:{arn.split(':')[1]}:iam::1:root"
