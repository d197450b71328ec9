"""What Karpenter's controller may do on AWS, and what its queue lets in: pure.

Karpenter's own policies, of its version 1.14, made narrower: nothing of another account, and no
instance profile is made, for the nodes' is there. Nothing is allowed that is not allowed there.
https://karpenter.sh/v1.14/reference/cloudformation/
"""

from __future__ import annotations

from typing import Any

import pulumi

from . import arns, documents
from .documents import Statement

_POOL = "karpenter.sh/nodepool"
_CREATE = ("RunInstances", "CreateFleet", "CreateLaunchTemplate")
_DISCOVER = (
    "CapacityReservations",
    "Images",
    "InstanceStatus",
    "InstanceTypeOfferings",
    "InstanceTypes",
    "Instances",
    "LaunchTemplates",
    "PlacementGroups",
    "SecurityGroups",
    "SpotPriceHistory",
    "Subnets",
)
# What AWS tells of instances that are about to go, and of those that change.
# https://karpenter.sh/v1.14/concepts/disruption/#interruption
EVENTS: dict[str, dict[str, list[str]]] = {
    "health": {"source": ["aws.health"], "detail-type": ["AWS Health Event"]},
    "spot": {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]},
    "rebalance": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance Rebalance Recommendation"]},
    "state": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"]},
    "reservation": {
        "source": ["aws.ec2"],
        "detail-type": ["EC2 Capacity Reservation Instance Interruption Warning"],
    },
}


def controller(
    region: str, account: str, cluster: str, node_role: Any, queue: Any
) -> list[Statement]:
    """The statements of the controller's policy.

    cluster: its name. node_role, queue: the ARNs of the nodes' role and of the queue, which may be
    Outputs.
    """
    part = arns.partition(region)

    def ec2(kind: str, owner: str = account) -> str:
        return f"arn:{part}:ec2:{region}:{owner}:{kind}/*"

    mine, made_by_me = f"kubernetes.io/cluster/{cluster}", "eks:eks-cluster-name"
    owned = {
        "StringEquals": {f"aws:ResourceTag/{mine}": "owned"},
        "StringLike": {f"aws:ResourceTag/{_POOL}": "*"},
    }
    asked = {f"aws:RequestTag/{mine}": "owned", f"aws:RequestTag/{made_by_me}": cluster}
    of_pool = {f"aws:RequestTag/{_POOL}": "*"}
    made = [
        ec2(kind)
        for kind in (
            "fleet",
            "instance",
            "volume",
            "network-interface",
            "launch-template",
            "spot-instances-request",
        )
    ]
    run = ["ec2:RunInstances", "ec2:CreateFleet"]
    profiles = f"arn:{part}:iam::{account}:instance-profile/*"
    here = {"StringEquals": {"aws:RequestedRegion": region}}
    return [
        documents.allow(
            "InstanceAccess",
            run,
            [
                ec2("image", ""),
                ec2("snapshot", ""),
                *(
                    ec2(kind)
                    for kind in (
                        "security-group",
                        "subnet",
                        "capacity-reservation",
                        "placement-group",
                    )
                ),
            ],
        ),
        documents.allow("TemplateAccess", run, [ec2("launch-template")], owned),
        documents.allow(
            "InstancesWithTags",
            [*run, "ec2:CreateLaunchTemplate"],
            made,
            {"StringEquals": asked, "StringLike": of_pool},
        ),
        documents.allow(
            "TagsOfNew",
            ["ec2:CreateTags"],
            made,
            {
                "StringEquals": {**asked, "ec2:CreateAction": list(_CREATE)},
                "StringLike": of_pool,
            },
        ),
        documents.allow(
            "TagsOfOwn",
            ["ec2:CreateTags"],
            [ec2("instance")],
            owned
            | {
                "StringEqualsIfExists": {f"aws:RequestTag/{made_by_me}": cluster},
                "ForAllValues:StringEquals": {
                    "aws:TagKeys": [made_by_me, "karpenter.sh/nodeclaim", "Name"]
                },
            },
        ),
        documents.allow(
            "DeletionOfOwn",
            ["ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"],
            [ec2("instance"), ec2("launch-template")],
            owned,
        ),
        documents.allow(
            "NodeRole",
            ["iam:PassRole"],
            [node_role],
            {"StringEquals": {"iam:PassedToService": f"ec2.amazonaws.com{_suffix(part)}"}},
        ),
        documents.allow(
            "Cluster", ["eks:DescribeCluster"], [arns.cluster(region, account, cluster)]
        ),
        documents.allow(
            "Interruptions", ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"], [queue]
        ),
        documents.allow("Discovery", [f"ec2:Describe{what}" for what in _DISCOVER], ["*"], here),
        documents.allow(
            "ImageNames",
            ["ssm:GetParameter"],
            [f"arn:{part}:ssm:{region}::parameter/aws/service/*"],
        ),
        documents.allow("Prices", ["pricing:GetProducts"], ["*"]),
        documents.allow("ProfileNames", ["iam:ListInstanceProfiles"], ["*"]),
        documents.allow("Profiles", ["iam:GetInstanceProfile"], [profiles]),
    ]


def queue(arn: Any, rules: list[Any]) -> pulumi.Output[str]:
    """The queue's own policy: these rules of EventBridge may send, and nobody may do anything
    without TLS.
    """
    send = {
        "Sid": "Events",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": ["sqs:SendMessage"],
        "Resource": [arn],
        "Condition": {"ArnEquals": {"aws:SourceArn": rules}},
    }
    secure = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["sqs:*"],
        "Resource": [arn],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return documents.text([send, secure])


def _suffix(partition: str) -> str:
    return ".cn" if partition == "aws-cn" else ""
