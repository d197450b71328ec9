"""What each role of production may do, and what nobody may: requests to AWS, and the answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.aws.access import Access
from tests.aws.evaluate import ANONYMOUS, Request, by_pods, by_s3
from tests.aws_mocks import ACCOUNT, REGION

Row = tuple[Request, bool]

PLACE = f"{REGION}:{ACCOUNT}"
CLUSTER = f"arn:aws:eks:{PLACE}:cluster/slipway-prod"
BUCKET = f"arn:aws:s3:::slipway-prod-artifacts-{ACCOUNT}"
ANOTHER = f"arn:aws:s3:::slipway-staging-artifacts-{ACCOUNT}"
KEYS = {part: f"arn:aws:kms:{PLACE}:key/ground-{part}-key-id" for part in ("mlflow", "images")}
KEY = f"arn:aws:kms:{PLACE}:key/ground-artifacts-primary-key-id"
OTHER_KEY = f"arn:aws:kms:{PLACE}:key/another"
SECRET = f"arn:aws:secretsmanager:{PLACE}:secret:rds!db-1a2b"
OTHER_SECRET = f"arn:aws:secretsmanager:{PLACE}:secret:rds!db-3c4d"
STRANGER = "arn:aws:iam::999999999999:role/stranger"
NEIGHBOUR = f"arn:aws:iam::{ACCOUNT}:role/neighbour"
MLFLOW = "ground-access-mlflow-role"
# Reads all experiments, and two.
CHURN, IRIS, FRAUD = (f"ground-access-model-{model}-role" for model in ("churn", "iris", "fraud"))
READERS = (CHURN, IRIS, FRAUD)
ENCRYPTION = "s3:x-amz-server-side-encryption"


def table(documents: Access) -> list[Row]:
    """All requests of this module."""
    return [*artifacts(), *keys(), *login(), *trust(documents)]


def artifacts() -> Iterator[Row]:
    """Who reads and writes the models' artifacts."""
    inside, other = f"{BUCKET}/mlflow/3/a/model.pkl", f"{BUCKET}/mlflow/2/a/model.pkl"
    outside, elsewhere = f"{BUCKET}/backups/dump", f"{ANOTHER}/mlflow/3/a/model.pkl"
    for verb in ("Get", "Put", "Delete"):
        yield Request(MLFLOW, f"s3:{verb}Object", inside), True
        yield Request(MLFLOW, f"s3:{verb}Object", outside), False
        yield Request(MLFLOW, f"s3:{verb}Object", elsewhere), False
    for call in ("PutBucketPolicy", "DeleteBucketPolicy", "PutBucketVersioning", "DeleteBucket"):
        yield Request(MLFLOW, f"s3:{call}", BUCKET), False
    yield Request(MLFLOW, "s3:DeleteObjectVersion", inside), False
    for reader in READERS:
        yield Request(reader, "s3:GetObject", inside), True
        yield Request(reader, "s3:GetObject", other), reader != FRAUD
        yield Request(reader, "s3:GetObject", outside), False
        yield Request(reader, "s3:GetObject", elsewhere), False
        for verb in ("Put", "Delete"):
            yield Request(reader, f"s3:{verb}Object", inside), False
    yield Request(FRAUD, "s3:GetObject", f"{BUCKET}/mlflow/14/b"), True
    yield Request(FRAUD, "s3:GetObject", f"{BUCKET}/mlflow/30/b"), False
    for who in (MLFLOW, *READERS):
        yield Request(who, "s3:ListBucket", BUCKET, {"s3:prefix": "mlflow/3/"}), True
        yield (
            Request(who, "s3:ListBucket", BUCKET, {"s3:prefix": "mlflow/2/"}),
            who != FRAUD,
        )
        yield Request(who, "s3:ListBucket", BUCKET, {"s3:prefix": "backups/"}), False
        yield Request(who, "s3:ListBucket", BUCKET), False
        yield Request(who, "s3:ListBucket", ANOTHER, {"s3:prefix": "mlflow/3/"}), False
        yield Request(who, "s3:ListBucketVersions", BUCKET, {"s3:prefix": "mlflow/3/"}), False
        yield Request(who, "s3:GetObject", inside, {"aws:SecureTransport": "false"}), False
        yield Request(who, "s3:GetObject", inside, {"s3:TlsVersion": "1.1"}), False
        listed = {"s3:prefix": "mlflow/3/", "aws:SecureTransport": "false"}
        yield Request(who, "s3:ListBucket", BUCKET, listed), False
        old = {"s3:prefix": "mlflow/3/", "s3:TlsVersion": "1.1"}
        yield Request(who, "s3:ListBucket", BUCKET, old), False
    for who in (ANONYMOUS, STRANGER, NEIGHBOUR):
        yield Request(who, "s3:GetObject", inside), False
    kms = f"{ENCRYPTION}-aws-kms-key-id"
    yield Request(MLFLOW, "s3:PutObject", inside, {kms: KEY}), True
    yield Request(MLFLOW, "s3:PutObject", inside, {kms: OTHER_KEY}), False
    yield Request(MLFLOW, "s3:PutObject", inside, {ENCRYPTION: "AES256"}), False
    yield (
        Request(MLFLOW, "s3:PutObject", inside, {f"{ENCRYPTION}-customer-algorithm": "AES256"}),
        False,
    )


def keys() -> Iterator[Row]:
    """Who uses the bucket's key: by way of S3, for this bucket."""
    yield by_s3(MLFLOW, "kms:GenerateDataKey", KEY, BUCKET), True
    for who in (MLFLOW, *READERS):
        yield by_s3(who, "kms:Decrypt", KEY, BUCKET), True
        yield by_s3(who, "kms:Decrypt", KEY, ANOTHER), False
        yield by_s3(who, "kms:Decrypt", OTHER_KEY, BUCKET), False
        yield by_s3(who, "kms:Encrypt", KEY, BUCKET), False
        through = {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}
        yield Request(who, "kms:Decrypt", KEY, through), False
        yield (
            Request(who, "kms:Decrypt", KEY, {"kms:EncryptionContext:aws:s3:arn": BUCKET}),
            False,
        )
        yield Request(who, "kms:ScheduleKeyDeletion", KEY), False
    for reader in READERS:
        yield by_s3(reader, "kms:GenerateDataKey", KEY, BUCKET), False
    for key in (KEY, *KEYS.values(), f"arn:aws:kms:{PLACE}:key/ground-base-eks-key-id"):
        yield Request(STRANGER, "kms:Decrypt", key), False


def login() -> Iterator[Row]:
    """Who reads the database's password: MLflow, that one, by way of Secrets Manager."""
    read = "secretsmanager:GetSecretValue"
    through = {
        "kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com",
        "kms:EncryptionContext:SecretARN": SECRET,
    }
    yield Request(MLFLOW, read, SECRET), True
    yield Request(MLFLOW, read, OTHER_SECRET), False
    yield Request(MLFLOW, "secretsmanager:PutSecretValue", SECRET), False
    yield Request(MLFLOW, "kms:Decrypt", KEYS["mlflow"], through), True
    yield Request(MLFLOW, "kms:Encrypt", KEYS["mlflow"], through), False
    yield Request(MLFLOW, "kms:Decrypt", KEYS["images"], through), False
    yield Request(MLFLOW, "kms:Decrypt", OTHER_KEY, through), False
    for key in through:
        less = {other: value for other, value in through.items() if other != key}
        yield Request(MLFLOW, "kms:Decrypt", KEYS["mlflow"], less), False
    for who in READERS:
        yield Request(who, read, SECRET), False
        yield Request(who, "kms:Decrypt", KEYS["mlflow"], through), False


# Role -> the service that takes it on, where it is no pod's.
SERVICES = {
    "ground-base-eks-role": "eks.amazonaws.com",
    "ground-base-network-flow-logs-role": "vpc-flow-logs.amazonaws.com",
    "ground-base-nodes-role-role": "ec2.amazonaws.com",
    "karpenter-nodes-role": "ec2.amazonaws.com",
}


def trust(documents: Access) -> Iterator[Row]:
    """Who takes on which role: pods of this cluster, or the one service."""
    for role, arn in documents.roles.items():
        assume = "sts:AssumeRole"
        for who in (STRANGER, NEIGHBOUR, f"arn:aws:iam::{ACCOUNT}:role/other"):
            told = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": CLUSTER}
            yield Request(who, assume, arn, told), False
        if role in SERVICES:
            told = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": CLUSTER}
            yield Request(SERVICES[role], assume, arn, told), True
            yield by_pods(documents, role, CLUSTER), False
            continue
        right = by_pods(documents, role, CLUSTER)
        yield right, True
        yield replace(right, who="ec2.amazonaws.com"), False
        yield by_pods(documents, role, f"{CLUSTER}-2"), False
        yield by_pods(documents, role, CLUSTER, "999999999999"), False
    foreign = {"aws:SourceAccount": "999999999999", "aws:SourceArn": CLUSTER}
    for role in ("ground-base-eks-role", "ground-base-network-flow-logs-role"):
        yield Request(SERVICES[role], "sts:AssumeRole", documents.roles[role], foreign), False
    another = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": f"{CLUSTER}-2"}
    eks = documents.roles["ground-base-eks-role"]
    yield Request("eks.amazonaws.com", "sts:AssumeRole", eks, another), False
