"""What the roles of nodes, of the cluster and of Karpenter may do, and what is not theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.aws.evaluate import Request
from tests.aws.prod_access import CLUSTER, KEY, MLFLOW, NEIGHBOUR, PLACE, Row
from tests.aws_mocks import ACCOUNT, REGION

KARPENTER, NODES = "karpenter-identity-role", "ground-base-nodes-role-role"
EKS, FLOWS = "ground-base-eks-role", "ground-base-network-flow-logs-role"
QUEUE = f"arn:aws:sqs:{PLACE}:karpenter-queue-queue-1a2b3c4"
RULE = f"arn:aws:cloudwatch:{PLACE}:eventrule/karpenter-queue-spot-1a2b3c4"
ELSEWHERE = f"eu-west-1:{ACCOUNT}"
_MINE = "kubernetes.io/cluster/slipway-prod"
ASKED = {
    f"aws:RequestTag/{_MINE}": "owned",
    "aws:RequestTag/eks:eks-cluster-name": "slipway-prod",
    "aws:RequestTag/karpenter.sh/nodepool": "cpu",
}
OWNED = {f"aws:ResourceTag/{_MINE}": "owned", "aws:ResourceTag/karpenter.sh/nodepool": "cpu"}
MADE = ("fleet", "instance", "volume", "network-interface", "launch-template")
# Narrowings that no request could tell from none: what they forbid, something else does as well,
# or AWS sends the key that the statement asks for with that action alone.
NEEDLESS = (
    "TagsOfNew: ec2:*",
    "NodeRole: iam:*",
    "AccountAlone: gone",
    f"Events: * for {QUEUE}",
)
# Of AWS' own parameters, which belong to no account, the evaluation takes no request.
UNASKED = ("ImageNames: arn:aws:ssm", "ImageNames: ssm:*")


def table() -> list[Row]:
    """All requests of this module."""
    return [*of_cluster(), *of_nodes(), *starts(), *tags(), *ends(), *looks(), *queue()]


def less(keys: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The keys without one of them, for each."""
    for key in keys:
        yield {other: value for other, value in keys.items() if other != key}


def ec2(kind: str, place: str = PLACE) -> str:
    return f"arn:aws:ec2:{place}:{kind}/1a2b"


def of_cluster() -> Iterator[Row]:
    """The control plane, with the key of Secrets, and the flow logs with their group."""
    key = f"arn:aws:kms:{PLACE}:key/ground-base-eks-key-id"
    yield Request(EKS, "kms:Encrypt", key), True
    yield Request(EKS, "kms:Encrypt", KEY), False
    yield Request(EKS, "kms:ScheduleKeyDeletion", key), False
    yield Request(MLFLOW, "kms:Decrypt", key), False
    group = f"arn:aws:logs:{PLACE}:log-group:ground-base-network-flow-logs-group-1a2b3c4"
    yield Request(FLOWS, "logs:PutLogEvents", f"{group}:log-stream:a"), True
    another = f"arn:aws:logs:{PLACE}:log-group:/aws/eks/slipway-prod/cluster"
    yield Request(FLOWS, "logs:PutLogEvents", f"{another}:log-stream:a"), False
    yield Request(FLOWS, "logs:DeleteLogGroup", group), False


def of_nodes() -> Iterator[Row]:
    """Nodes have copies of others' images made, by this stack's rules alone."""
    images = f"arn:aws:ecr:{PLACE}:repository"
    for role in (NODES, "karpenter-nodes-role"):
        for prefix in ("quay", "k8s"):
            mirror = f"{images}/slipway-prod/{prefix}/a"
            for action in ("BatchImportUpstreamImage", "CreateRepository"):
                yield Request(role, f"ecr:{action}", mirror), True
            yield Request(role, "ecr:DeleteRepository", mirror), False
            staging = f"{images}/slipway-staging/{prefix}/a"
            yield Request(role, "ecr:CreateRepository", staging), False
        yield Request(role, "ecr:CreateRepository", f"{images}/slipway-prod/serving"), False


def starts() -> Iterator[Row]:
    """Karpenter starts instances by its own templates, marked as the cluster's, in its region."""
    run = "ec2:RunInstances"
    for kind in ("image", "snapshot"):
        yield Request(KARPENTER, run, ec2(kind, f"{REGION}:")), True
        yield Request(KARPENTER, run, ec2(kind, "eu-west-1:")), False
    for kind in ("security-group", "subnet", "capacity-reservation", "placement-group"):
        yield Request(KARPENTER, run, ec2(kind)), True
        yield Request(KARPENTER, run, ec2(kind, ELSEWHERE)), False
    yield Request(KARPENTER, "ec2:DeleteSubnet", ec2("subnet")), False
    template = ec2("launch-template")
    yield Request(KARPENTER, run, template, OWNED), True
    for context in less(OWNED):
        yield Request(KARPENTER, run, template, context), False
    yield Request(KARPENTER, run, ec2("launch-template", ELSEWHERE), OWNED), False
    yield Request(KARPENTER, "ec2:ModifyLaunchTemplate", template, OWNED), False
    for kind in ("instance", "volume", "network-interface", "spot-instances-request"):
        yield Request(KARPENTER, run, ec2(kind), ASKED), True
        yield Request(KARPENTER, run, ec2(kind, ELSEWHERE), ASKED), False
        for context in less(ASKED):
            yield Request(KARPENTER, run, ec2(kind), context), False
    yield Request(KARPENTER, "ec2:CreateFleet", ec2("fleet"), ASKED), True
    yield Request(KARPENTER, "ec2:CreateLaunchTemplate", template, ASKED), True
    yield Request(KARPENTER, "ec2:CreateVolume", ec2("volume"), ASKED), False
    nodes = f"arn:aws:iam::{ACCOUNT}:role/karpenter-nodes-role-1a2b3c4"
    passed = {"iam:PassedToService": "ec2.amazonaws.com"}
    yield Request(KARPENTER, "iam:PassRole", nodes, passed), True
    other = {"iam:PassedToService": "lambda.amazonaws.com"}
    yield Request(KARPENTER, "iam:PassRole", nodes, other), False
    yield Request(KARPENTER, "iam:PassRole", NEIGHBOUR, passed), False


def tags() -> Iterator[Row]:
    """It marks what it makes as it makes it, and of its own instances three tags."""
    tag = "ec2:CreateTags"
    new = {**ASKED, "ec2:CreateAction": "RunInstances"}
    for kind in (*MADE, "spot-instances-request"):
        yield Request(KARPENTER, tag, ec2(kind), new), True
        yield Request(KARPENTER, tag, ec2(kind, ELSEWHERE), new), False
        for context in less(new):
            yield Request(KARPENTER, tag, ec2(kind), context), False
    instance = ec2("instance")
    named: dict[str, str | list[str]] = {**OWNED, "aws:TagKeys": ["Name"]}
    yield Request(KARPENTER, tag, instance, named), True
    yield Request(KARPENTER, tag, ec2("instance", ELSEWHERE), named), False
    yield Request(KARPENTER, tag, instance, {**OWNED, "aws:TagKeys": ["owner"]}), False
    for context in less(OWNED):
        yield Request(KARPENTER, tag, instance, {**context, "aws:TagKeys": ["Name"]}), False
    wrong = {"aws:RequestTag/eks:eks-cluster-name": "another"}
    keys = {"aws:TagKeys": ["eks:eks-cluster-name"]}
    yield Request(KARPENTER, tag, instance, {**OWNED, **wrong, **keys}), False


def ends() -> Iterator[Row]:
    """It ends its own instances, and takes its own templates away."""
    for action, kind in (
        ("ec2:TerminateInstances", "instance"),
        ("ec2:DeleteLaunchTemplate", "launch-template"),
    ):
        yield Request(KARPENTER, action, ec2(kind), OWNED), True
        yield Request(KARPENTER, action, ec2(kind, ELSEWHERE), OWNED), False
        for context in less(OWNED):
            yield Request(KARPENTER, action, ec2(kind), context), False
    yield Request(KARPENTER, "ec2:StopInstances", ec2("instance"), OWNED), False


def looks() -> Iterator[Row]:
    """What it may ask for."""
    profile = f"arn:aws:iam::{ACCOUNT}:instance-profile/nodes"
    yield Request(KARPENTER, "ec2:DescribeInstances", "*"), True
    there = {"aws:RequestedRegion": "us-east-1"}
    yield Request(KARPENTER, "ec2:DescribeInstances", "*", there), False
    yield Request(KARPENTER, "ec2:DescribeVpcs", "*"), False
    yield Request(KARPENTER, "eks:DescribeCluster", CLUSTER), True
    yield Request(KARPENTER, "eks:DescribeCluster", f"{CLUSTER}-2"), False
    yield Request(KARPENTER, "eks:DeleteCluster", CLUSTER), False
    yield Request(KARPENTER, "ssm:GetParameter", f"arn:aws:ssm:{PLACE}:parameter/a"), False
    yield Request(KARPENTER, "pricing:GetProducts", "*"), True
    yield Request(KARPENTER, "pricing:DescribeServices", "*"), False
    yield Request(KARPENTER, "iam:GetInstanceProfile", profile), True
    foreign = profile.replace(ACCOUNT, "999999999999")
    yield Request(KARPENTER, "iam:GetInstanceProfile", foreign), False
    yield Request(KARPENTER, "iam:DeleteInstanceProfile", profile), False
    yield Request(KARPENTER, "iam:DeleteUser", f"arn:aws:iam::{ACCOUNT}:user/ada"), False


def queue() -> Iterator[Row]:
    """EventBridge's rules put into the queue, and Karpenter takes out of it."""
    yield Request(KARPENTER, "sqs:ReceiveMessage", QUEUE), True
    plain = {"aws:SecureTransport": "false"}
    yield Request(KARPENTER, "sqs:ReceiveMessage", QUEUE, plain), False
    yield Request(KARPENTER, "sqs:ReceiveMessage", f"{QUEUE}-2"), False
    yield Request(KARPENTER, "sqs:DeleteQueue", QUEUE), False
    events, by_rule = "events.amazonaws.com", {"aws:SourceArn": RULE}
    yield Request(events, "sqs:SendMessage", QUEUE, by_rule), True
    yield Request(events, "sqs:SendMessage", QUEUE, {"aws:SourceArn": f"{RULE}-2"}), False
    yield Request(events, "sqs:DeleteQueue", QUEUE, by_rule), False
    yield Request(NEIGHBOUR, "sqs:SendMessage", QUEUE, by_rule), False
