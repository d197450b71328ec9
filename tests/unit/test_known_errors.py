"""What AWS says, as it says it, and what people are told to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import known_errors
from local.stack import _errors
from tests.conftest import ROOT

SDK = "https response error StatusCode: 400, RequestID: 1a2b, api error "
TOLD = (
    (
        "creating S3 Bucket (models): operation error S3: CreateBucket, https response error "
        "StatusCode: 409, RequestID: 1A, HostID: 2B, BucketAlreadyExists: ",
        "another account has a bucket",
    ),
    (f"operation error S3: CreateBucket, {SDK}BucketAlreadyOwnedByYou: ", "this account's"),
    (f"operation error S3: DeleteBucket, {SDK}BucketNotEmpty: The bucket", "holds data"),
    (
        f"creating EC2 EIP: operation error EC2: AllocateAddress, {SDK}AddressLimitExceeded: The "
        "maximum number of addresses has been reached.",
        "no Elastic IP left",
    ),
    (
        f"creating EKS Cluster: operation error EKS: CreateCluster, {SDK}UnsupportedAvailability"
        "ZoneException: Cannot create cluster because us-east-1e, the targeted availability zone, "
        "does not currently have sufficient capacity to support the cluster",
        "no control plane in a zone",
    ),
    (f"operation error EC2: CreateVpc, {SDK}VpcLimitExceeded: The maximum", "as many as"),
    (
        "waiting for EKS Node Group (slipway-prod:gpu) create: unexpected state 'CREATE_FAILED', "
        "wanted target 'ACTIVE'. last error: AsgInstanceLaunchFailures: Could not launch On-Demand "
        "Instances. VcpuLimitExceeded - You have requested more vCPU capacity than your current "
        "vCPU limit of 0 allows",
        "that many vCPUs",
    ),
    (
        "AsgInstanceLaunchFailures: Could not launch On-Demand Instances. "
        "InsufficientInstanceCapacity - We currently do not have sufficient g6.xlarge capacity",
        "no such machine free",
    ),
    ("ReservationCapacityExceeded: the requested reservation", "capacity reservation is over"),
    (
        "NodeCreationFailure: Instances failed to join the kubernetes cluster",
        "did not reach the cluster",
    ),
    (
        f"creating EKS Cluster: operation error EKS: CreateCluster, {SDK}InvalidParameter"
        "Exception: unsupported Kubernetes version",
        "does not offer this version",
    ),
    (
        f"operation error EKS: CreateAddon, {SDK}InvalidParameter"
        "Exception: Addon version specified is not supported",
        "does not offer this version",
    ),
    (
        "waiting for ACM Certificate (arn:aws:acm:eu-central-1:123456789012:certificate/1a2b) to "
        "be issued: timeout while waiting for state to become 'ISSUED' (last state: "
        "'PENDING_VALIDATION', timeout: 30m0s)",
        "nobody on the internet sees",
    ),
    (f"operation error ELBv2: CreateListener, {SDK}CertificateNotFound: Certificate", "not there"),
    (
        "OperationNotPermitted: Load balancer 'arn:…' cannot be deleted because deletion "
        "protection is enabled",
        "protected on purpose",
    ),
    (
        "deleting EC2 Subnet (subnet-1): operation error EC2: DeleteSubnet, "
        f"{SDK}DependencyViolation: The subnet 'subnet-1' has dependencies and cannot be deleted.",
        "leftovers lists",
    ),
    (
        f"operation error EKS: DeleteCluster, {SDK}ResourceInUseException: Cluster has nodegroups "
        "attached",
        "wait a minute",
    ),
    (f"operation error IAM: CreateRole, {SDK}Throttling: Rate exceeded", "asked too often"),
    (f"operation error EKS: CreateCluster, {SDK}ResourceLimitExceeded: too many", "more of these"),
    (
        f"operation error EC2: CreateVpc, {SDK}UnauthorizedOperation: You are not authorized to "
        "perform this operation.",
        "may not do that",
    ),
    (
        "operation error STS: GetCallerIdentity, https response error StatusCode: 403, "
        "api error ExpiredToken: The security token included in the request is expired",
        "sign in again",
    ),
    (
        "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) "
        "to end or delete the lock file with `pulumi cancel`.",
        "another update is under way",
    ),
    (
        "warning: Attempting to deploy or update resources with 1 pending operations from previous "
        "deployment.",
        "pulumi refresh asks AWS",
    ),
    (
        f"operation error EC2: RunInstances, {SDK}OptInRequired: You are not subscribed",
        "not active",
    ),
    (
        "creating CloudWatch Logs Log Group (/aws/eks/slipway-prod/cluster): operation error "
        f"CloudWatch Logs: CreateLogGroup, {SDK}ResourceAlreadyExistsException: The specified log "
        "group already exists",
        "left from before",
    ),
)


@pytest.mark.parametrize(("said", "told"), TOLD)
def test_what_aws_says_is_explained_in_one_line(said: str, told: str) -> None:
    (hint,) = known_errors.hints(said)
    assert told in hint
    assert "\n" not in hint


def test_each_error_known_has_an_example_here() -> None:
    seen = {hint for said, _ in TOLD for hint in known_errors.hints(said)}
    assert seen == {known.hint for known in known_errors.AWS}


def test_the_page_says_more_of_each() -> None:
    page = " ".join((ROOT / "docs/aws-troubleshooting.md").read_text().split())
    for known in known_errors.AWS:
        assert known.hint in page.replace("`", "")


@pytest.mark.parametrize(
    "said",
    [
        "resource mapping not found for name: churn",
        "Waited for 1.2s due to client-side throttling, not priority and fairness",
        "container fetch: AccessDenied: Access Denied",
        "configured Kubernetes cluster is unreachable: the server has asked for credentials",
    ],
)
def test_what_others_say_is_left_to_them(said: str) -> None:
    assert known_errors.hints(said) == []


def test_two_of_a_kind_are_told_once_and_in_their_order() -> None:
    nat, bucket = TOLD[3][0], TOLD[0][0]
    assert [hint[:24] for hint in known_errors.hints("\n".join((nat, nat, "", bucket, nat)))] == [
        "the account has no Elast",
        "another account has a bu",
    ]


def test_a_mistake_names_its_stack_and_its_line() -> None:
    said = "warning: old\nerror: no stack named 'prod' found\n"
    assert known_errors.mistake(said, "prod") == (
        "prod: there is no such stack (pulumi stack ls lists them); "
        'in the project\'s directory: eval "$(make -s env)"'
    )
    said = "error: could not list: unable to open state directory s3://nobody"
    line = known_errors.mistake(said, "prod")
    assert line
    assert line.startswith("PULUMI_BACKEND_URL: could not list: unable to open state directory s3:")
    assert known_errors.mistake("error: boom", "prod") is None


def test_errors_come_out_of_the_log_of_an_update() -> None:
    events = [
        {"diagnosticEvent": {"severity": "error", "message": TOLD[0][0]}},
        {"diagnosticEvent": {"severity": "info#err", "message": TOLD[3][0]}},
        {"resourcePreEvent": {"metadata": {"op": "create"}}},
    ]
    log = "\n".join([*map(json.dumps, events), '{"cut off'])
    assert known_errors.hints(_errors(log)) == known_errors.hints(TOLD[0][0])


def test_it_reads_what_an_update_printed(tmp_path: Path) -> None:
    def ask(*arguments: str, text: str = "") -> tuple[int, str, str]:
        command = [sys.executable, "-m", "known_errors", *arguments]
        done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    printed = tmp_path / "up.log"
    printed.write_text(TOLD[0][0])
    assert ask(str(printed)) == ask(text=TOLD[0][0])
    assert ask(str(printed))[1].startswith("another account has a bucket of this name; ")
    assert ask(text="all is well") == (1, "nothing in it that is known here\n", "")
    assert ask(str(tmp_path / "none")) == (
        2,
        "",
        f"{tmp_path}/none: cannot be read (No such file or directory)\n",
    )
