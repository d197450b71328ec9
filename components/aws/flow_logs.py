"""Who talked to whom in a network, as AWS saw it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.flow_log import FlowLog
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy

from . import documents
from .options import child


@dataclass(frozen=True)
class FlowLogsArgs:
    """vpc: the network's id. account: the number of the AWS account. days: how long they stay."""

    vpc: pulumi.Input[str]
    account: str
    days: int


class FlowLogs(pulumi.ComponentResource):
    """The flow logs of a network, accepted and refused, in CloudWatch, which encrypts them."""

    def __init__(
        self, name: str, args: FlowLogsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:FlowLogs", name, None, opts)
        group = LogGroup(f"{name}-group", retention_in_days=args.days, opts=child(self))
        trust = documents.trust_service(
            "vpc-flow-logs.amazonaws.com", {"StringEquals": {"aws:SourceAccount": args.account}}
        )
        role = Role(f"{name}-role", assume_role_policy=documents.text([trust]), opts=child(self))
        policy = RolePolicy(
            f"{name}-policy",
            role=role.name,
            policy=documents.text(
                [
                    documents.allow(
                        "Write",
                        [
                            "logs:CreateLogStream",
                            "logs:DescribeLogGroups",
                            "logs:DescribeLogStreams",
                            "logs:PutLogEvents",
                        ],
                        [group.arn, pulumi.Output.concat(group.arn, ":*")],
                    )
                ]
            ),
            opts=child(self),
        )
        FlowLog(
            f"{name}-log",
            vpc_id=args.vpc,
            traffic_type="ALL",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=600,
            opts=child(self, [policy]),
        )
        self.register_outputs({})
