"""Who may do what with what holds data: the documents that the stack registers, evaluated."""

from __future__ import annotations

from dataclasses import replace

import pulumi
import pytest
from pulumi_aws.provider import Provider

from components.aws.artifact_bucket import ArtifactBucket, ArtifactBucketArgs
from components.aws.data_access import DataAccess, DataAccessArgs, Reader
from components.aws.database import MlflowDatabase, MlflowDatabaseArgs
from settings.aws.storage import Bucket, Database
from tests.aws import mutants
from tests.aws.access import Access, access
from tests.aws.evaluate import ANONYMOUS, Request, by_pods, by_s3
from tests.aws_mocks import ACCOUNT, REGION
from tests.conftest import Program, run

CLUSTER = f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/slipway-prod"
BUCKET = f"arn:aws:s3:::slipway-prod-artifacts-{ACCOUNT}"
KEYS = f"arn:aws:kms:{REGION}:{ACCOUNT}:key"
KEY, OF_DATABASE = f"{KEYS}/artifacts-primary-key-id", f"{KEYS}/database-key-id"
OTHER_KEY = f"{KEYS}/another"
MLFLOW, CHURN, FRAUD = (f"access-{name}-role" for name in ("mlflow", "model-churn", "model-fraud"))
ROLES = MLFLOW, CHURN, FRAUD
STRANGER = "arn:aws:iam::999999999999:role/stranger"
SSE = "s3:x-amz-server-side-encryption"
MODELS = {"churn": Reader((2, 1), ("3", "14")), "fraud": Reader((7,))}


def data() -> Program:
    """Bucket, database, and who reaches them: churn reads experiments 3 and 14, fraud all."""

    def program() -> None:
        here = pulumi.ResourceOptions(providers=[Provider("aws", region=REGION)])
        home = "slipway-prod", ACCOUNT, REGION
        elsewhere = Provider("elsewhere", region="eu-west-1")
        store = ArtifactBucket("artifacts", ArtifactBucketArgs(*home, Bucket(), elsewhere), here)
        placed = MlflowDatabaseArgs(*home, "vpc-1", ["subnet-1", "subnet-2"], "sg-1", Database())
        login = MlflowDatabase("database", placed, here)
        who = DataAccessArgs("slipway-prod", CLUSTER, ACCOUNT, store, login, MODELS)
        DataAccess("access", who, here)

    return run(program)


@pytest.fixture(scope="module")
def program() -> Program:
    return data()


@pytest.fixture(scope="module")
def documents(program: Program) -> Access:
    found = access(program)
    # As the account's other keys have it, by default: who may use them is up to IAM.
    found.resource[OTHER_KEY] = found.resource[KEY]
    return found


def obj(key: str, bucket: str = BUCKET) -> str:
    return f"{bucket}/{key}"


MINE, THEIRS, BACKUP = (
    obj("mlflow/3/run/artifacts/model.pkl"),
    obj("mlflow/33/run/artifacts/model.pkl"),
    obj("backups/dump"),
)
ELSEWHERE = obj("mlflow/3/run/artifacts/model.pkl", "arn:aws:s3:::another")


def listing(who: str, prefix: str, bucket: str = BUCKET, **more: str) -> Request:
    return Request(who, "s3:ListBucket", bucket, {"s3:prefix": prefix, **more})


def table(documents: Access, program: Program) -> list[tuple[Request, bool]]:
    plain, old = {"aws:SecureTransport": "false"}, {"s3:TlsVersion": "1.1"}
    allowed = [
        *(Request(MLFLOW, f"s3:{verb}Object", MINE) for verb in ("Get", "Put", "Delete")),
        *(Request(MLFLOW, f"s3:{verb}", MINE) for verb in ("AbortMultipartUpload",)),
        Request(MLFLOW, "s3:ListMultipartUploadParts", MINE),
        listing(MLFLOW, "mlflow/3/"),
        Request(MLFLOW, "s3:PutObject", MINE, {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": KEY}),
        *(Request(MLFLOW, "s3:GetObject", MINE, {"s3:TlsVersion": it}) for it in ("1.2", "1.3")),
        *(Request(who, "s3:GetObject", MINE) for who in (CHURN, FRAUD)),
        Request(CHURN, "s3:GetObject", obj("mlflow/14/run/a")),
        Request(FRAUD, "s3:GetObject", THEIRS),
        listing(CHURN, "mlflow/3/run/artifacts/"),
        listing(FRAUD, "mlflow/33/"),
        *(by_s3(who, "kms:Decrypt", KEY, BUCKET) for who in ROLES),
        by_s3(MLFLOW, "kms:GenerateDataKey", KEY, BUCKET),
        *_secret(MLFLOW, _secret_of(program)),
        *(by_pods(documents, who, CLUSTER) for who in ROLES),
    ]
    refused = [
        # beside the prefix, or in another bucket
        *(Request(MLFLOW, f"s3:{verb}Object", BACKUP) for verb in ("Get", "Put", "Delete")),
        Request(MLFLOW, "s3:AbortMultipartUpload", BACKUP),
        *(Request(MLFLOW, f"s3:{verb}Object", ELSEWHERE) for verb in ("Get", "Put", "Delete")),
        *(listing(who, "backups/") for who in ROLES),
        *(listing(who, "mlflow/3/", "arn:aws:s3:::another") for who in ROLES),
        *(Request(who, "s3:ListBucket", BUCKET) for who in ROLES),
        # what the bucket is
        *(Request(MLFLOW, f"s3:{verb}BucketPolicy", BUCKET) for verb in ("Put", "Delete")),
        *(
            Request(who, "s3:ListBucketVersions", BUCKET, {"s3:prefix": "mlflow/3/"})
            for who in ROLES
        ),
        *(Request(who, "s3:DeleteObjectVersion", MINE) for who in ROLES),
        *(Request(who, "s3:PutObjectAcl", MINE) for who in ROLES),
        # a server writes nothing, and reads its own
        *(
            Request(who, f"s3:{verb}Object", MINE)
            for who in (CHURN, FRAUD)
            for verb in ("Put", "Delete")
        ),
        *(Request(CHURN, "s3:GetObject", one) for one in (THEIRS, BACKUP, ELSEWHERE)),
        *(Request(FRAUD, "s3:GetObject", one) for one in (BACKUP, ELSEWHERE)),
        *(listing(CHURN, prefix) for prefix in ("", "mlflow/", "mlflow/33/", "mlflow/1/")),
        # in the clear, by old TLS, under another key or none of KMS'
        *(Request(who, "s3:GetObject", MINE, bad) for who in ROLES for bad in (plain, old)),
        *(listing(MLFLOW, "mlflow/3/", **bad) for bad in (plain, old)),
        Request(MLFLOW, "s3:PutObject", MINE, {f"{SSE}-aws-kms-key-id": OTHER_KEY}),
        Request(MLFLOW, "s3:PutObject", MINE, {SSE: "AES256"}),
        Request(MLFLOW, "s3:PutObject", MINE, {f"{SSE}-customer-algorithm": "AES256"}),
        # keys: by S3 for this bucket alone, and no more than is needed
        *(by_s3(who, "kms:Decrypt", KEY, "arn:aws:s3:::another") for who in ROLES),
        *(by_s3(who, "kms:Decrypt", OTHER_KEY, BUCKET) for who in ROLES),
        *(by_s3(who, "kms:GenerateDataKey", KEY, BUCKET) for who in (CHURN, FRAUD)),
        *(by_s3(who, "kms:Encrypt", KEY, BUCKET) for who in ROLES),
        *(_direct(by_s3(who, "kms:Decrypt", KEY, BUCKET)) for who in ROLES),
        # the login
        *(one for who in (CHURN, FRAUD) for one in _secret(who, _secret_of(program))),
        *_secret(MLFLOW, f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:another-1a2b"),
        Request(MLFLOW, "secretsmanager:PutSecretValue", _secret_of(program)),
        *_wrong_ways(_secret(MLFLOW, _secret_of(program))[1]),
        # nobody else
        *(Request(who, "s3:GetObject", MINE) for who in (ANONYMOUS, STRANGER)),
        *(Request(STRANGER, "kms:Decrypt", key) for key in (KEY, OF_DATABASE)),
        *(one for who in ROLES for one in _not_its_pods(documents, who)),
    ]
    return [(one, True) for one in allowed] + [(one, False) for one in refused]


def _secret_of(program: Program) -> str:
    secrets = program.one("Instance", "database-instance").outputs["masterUserSecrets"]
    return str(secrets[0]["secretArn"])


def _secret(who: str, secret: str) -> list[Request]:
    """The login read, and the key that Secrets Manager asks for to do it."""
    context: dict[str, str | list[str]] = {
        "kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com",
        "kms:EncryptionContext:SecretARN": secret,
    }
    read = Request(who, "secretsmanager:GetSecretValue", secret)
    return [read, Request(who, "kms:Decrypt", OF_DATABASE, context)]


def _wrong_ways(right: Request) -> list[Request]:
    """The login's key for what it is not for."""
    return [
        _direct(right),
        replace(right, resource=OTHER_KEY),
        replace(right, action="kms:GenerateDataKey"),
        replace(right, context={**right.context, "kms:EncryptionContext:SecretARN": "another"}),
    ]


def _direct(right: Request) -> Request:
    """The same, asked of KMS itself and not by way of a service."""
    context = {key: item for key, item in right.context.items() if key != "kms:ViaService"}
    return replace(right, context=context)


def _not_its_pods(documents: Access, role: str) -> list[Request]:
    right = by_pods(documents, role, CLUSTER)
    own = f"arn:aws:iam::{ACCOUNT}:role/other"
    return [
        by_pods(documents, role, f"{CLUSTER}-2"),
        by_pods(documents, role, CLUSTER, "999999999999"),
        replace(right, who="ec2.amazonaws.com"),
        *(replace(right, who=who, context={}) for who in (own, STRANGER)),
        # AWS sends the cluster's ARN with EKS' own requests alone; were it otherwise, still no.
        replace(right, who=own),
    ]


def test_each_role_may_do_its_work_and_nothing_else(documents: Access, program: Program) -> None:
    assert mutants.surprises(documents, table(documents, program)) == []


def test_each_narrowing_that_is_removed_is_noticed(documents: Access, program: Program) -> None:
    assert len(list(mutants.mutants(documents))) > 50
    assert mutants.survivors(documents, table(documents, program)) == []
