"""The evaluation of IAM: AWS' documented examples come out as documented, a stack's documents
are read out of the program, and each narrowing that is removed is noticed.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.aws import mutants
from tests.aws.access import Access, access
from tests.aws.evaluate import ANONYMOUS, Request, by_pods, by_s3
from tests.aws.sample_data import ENCRYPTED, data
from tests.aws_mocks import ACCOUNT
from tests.conftest import run

CLUSTER = f"arn:aws:eks:eu-central-1:{ACCOUNT}:cluster/slipway-test"
BUCKET = "arn:aws:s3:::slipway-test-artifacts"
KEY = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/store-key-id"
OTHER_KEY = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/another"
MLFLOW, CHURN = "mlflow-role", "churn-role"


@pytest.fixture(scope="module")
def documents() -> Access:
    found = access(run(data))
    # As the account's other keys have it, by default: who may use them is up to IAM.
    found.resource[OTHER_KEY] = found.resource[KEY]
    return found


def table(documents: Access) -> list[tuple[Request, bool]]:
    inside, other = f"{BUCKET}/mlflow/1/a/model.pkl", f"{BUCKET}/mlflow/2/a/model.pkl"
    outside = f"{BUCKET}/backups/dump"
    plain = {"aws:SecureTransport": "false"}
    stranger = "arn:aws:iam::999999999999:role/stranger"
    return [
        *((Request(MLFLOW, f"s3:{verb}Object", inside), True) for verb in ("Get", "Put", "Delete")),
        *((Request(MLFLOW, f"s3:{verb}Object", outside), False) for verb in ("Get", "Put")),
        (Request(MLFLOW, "s3:PutObject", "arn:aws:s3:::another/mlflow/1/a"), False),
        (Request(MLFLOW, "s3:PutBucketPolicy", BUCKET), False),
        (Request(MLFLOW, "s3:DeleteBucketPolicy", BUCKET), False),
        (Request(MLFLOW, "s3:PutObjectAcl", inside), False),
        (Request(MLFLOW, "s3:ListBucketVersions", BUCKET), False),
        (Request(MLFLOW, "s3:ListBucketVersions", BUCKET, {"s3:prefix": "mlflow/1/"}), False),
        (Request(MLFLOW, "s3:ListBucket", BUCKET, {"s3:prefix": "mlflow/1/"}), True),
        (Request(MLFLOW, "s3:ListBucket", BUCKET, {"s3:prefix": "backups/"}), False),
        (Request(MLFLOW, "s3:ListBucket", "arn:aws:s3:::another", {"s3:prefix": "mlflow/"}), False),
        (Request(MLFLOW, "s3:PutObject", inside, {ENCRYPTED: KEY}), True),
        (Request(MLFLOW, "s3:PutObject", inside, {ENCRYPTED: OTHER_KEY}), False),
        (Request(CHURN, "s3:GetObject", inside), True),
        *((Request(CHURN, f"s3:{verb}Object", inside), False) for verb in ("Put", "Delete")),
        (Request(CHURN, "s3:GetObject", other), False),
        (Request(CHURN, "s3:GetObject", "arn:aws:s3:::another/mlflow/1/a"), False),
        (Request(CHURN, "s3:ListBucket", BUCKET, {"s3:prefix": "mlflow/1/"}), True),
        (Request(CHURN, "s3:ListBucket", BUCKET, {"s3:prefix": "mlflow/2/"}), False),
        (Request(CHURN, "s3:ListBucketVersions", BUCKET, {"s3:prefix": "mlflow/1/"}), False),
        (
            Request(CHURN, "s3:ListBucket", "arn:aws:s3:::another", {"s3:prefix": "mlflow/1/"}),
            False,
        ),
        *((Request(who, "s3:GetObject", inside, plain), False) for who in (MLFLOW, CHURN)),
        (Request(MLFLOW, "s3:ListBucket", BUCKET, {"s3:prefix": "mlflow/1/", **plain}), False),
        *((Request(who, "s3:GetObject", inside), False) for who in (ANONYMOUS, stranger)),
        (by_s3(MLFLOW, "kms:GenerateDataKey", KEY, BUCKET), True),
        (by_s3(CHURN, "kms:Decrypt", KEY, BUCKET), True),
        (by_s3(CHURN, "kms:GenerateDataKey", KEY, BUCKET), False),
        (by_s3(MLFLOW, "kms:Encrypt", KEY, BUCKET), False),
        (by_s3(MLFLOW, "kms:GenerateDataKey", KEY, "arn:aws:s3:::another"), False),
        (by_s3(CHURN, "kms:Decrypt", KEY, "arn:aws:s3:::another"), False),
        *((by_s3(who, "kms:Decrypt", OTHER_KEY, BUCKET), False) for who in (MLFLOW, CHURN)),
        *((_by_itself(who), False) for who in (MLFLOW, CHURN)),
        *((Request(who, "kms:DisableKey", KEY), False) for who in (MLFLOW, CHURN, stranger)),
        *((_elsewhere(who), False) for who in (MLFLOW, CHURN)),
        *(pair for role in (MLFLOW, CHURN) for pair in trusted(documents, role)),
        (
            Request("eks.amazonaws.com", "sts:AssumeRole", documents.roles["cluster-role"]),
            True,
        ),
        (Request(stranger, "sts:AssumeRole", documents.roles["cluster-role"]), False),
        (Request(MLFLOW, "sts:AssumeRole", documents.roles["cluster-role"]), False),
    ]


def _by_itself(who: str) -> Request:
    """The key used with S3's encryption context, and not through S3."""
    context = {"kms:EncryptionContext:aws:s3:arn": BUCKET}
    return Request(who, "kms:Decrypt", KEY, context)


def _elsewhere(who: str) -> Request:
    """The key used through S3 of this region, and for no bucket."""
    return Request(who, "kms:Decrypt", KEY, {"kms:ViaService": "s3.eu-central-1.amazonaws.com"})


def trusted(documents: Access, role: str) -> list[tuple[Request, bool]]:
    """Pods of this cluster alone get a role's credentials."""
    arn = documents.roles[role]
    foreign = CLUSTER.replace(ACCOUNT, "999999999999")
    right = by_pods(documents, role, CLUSTER)
    return [
        (right, True),
        (by_pods(documents, role, f"{CLUSTER}-2"), False),
        (by_pods(documents, role, CLUSTER, "999999999999"), False),
        (by_pods(documents, role, foreign, "999999999999"), False),
        (
            Request("ec2.amazonaws.com", "sts:AssumeRole", arn, {"aws:SourceAccount": ACCOUNT}),
            False,
        ),
        (Request("arn:aws:iam::999999999999:root", "sts:AssumeRole", arn), False),
        (Request(f"arn:aws:iam::{ACCOUNT}:role/other", "sts:AssumeRole", arn), False),
        # AWS sends the cluster's ARN with EKS' own requests alone; were it otherwise, still no.
        (replace(right, who=f"arn:aws:iam::{ACCOUNT}:role/other"), False),
    ]


def test_each_role_may_do_its_work_and_nothing_else(documents: Access) -> None:
    assert mutants.surprises(documents, table(documents)) == []


def test_each_narrowing_that_is_removed_is_noticed(documents: Access) -> None:
    made = [what for what, _ in mutants.mutants(documents)]
    assert len(made) > 30, made
    assert mutants.survivors(documents, table(documents)) == []


def test_a_mutant_that_no_request_asks_for_survives(documents: Access) -> None:
    """The table of requests is what finds mutants: with a shorter one they are named."""
    short = [(one, wanted) for one, wanted in table(documents) if one.action != "s3:ListBucket"]
    assert any("without StringLike s3:prefix" in one for one in mutants.survivors(documents, short))
