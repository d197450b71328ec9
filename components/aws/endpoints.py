"""Services of AWS that a network reaches without its NAT gateways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.ec2.vpc_endpoint import VpcEndpoint
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from . import arns, documents
from .options import child

# Images take two services; all others are called as the configuration calls them.
_SERVICES = {"ecr": ("ecr.api", "ecr.dkr")}


@dataclass(frozen=True)
class EndpointsArgs:
    """vpc: the network's id. cidr: its addresses. region, account: where it is, and whose. subnets:
    private ones, one a zone. tables: route tables of theirs. services: as in `ecr`, `sts`.
    """

    vpc: pulumi.Input[str]
    cidr: str
    region: str
    account: str
    subnets: Sequence[pulumi.Input[str]]
    tables: Sequence[pulumi.Input[str]]
    services: Sequence[str]


class Endpoints(pulumi.ComponentResource):
    """A gateway to S3, which costs nothing, and an interface in each private subnet for each of the
    services, which is billed by the hour.

    The way to S3 leads to buckets of this account, and to those that images come from, alone.
    """

    def __init__(
        self, name: str, args: EndpointsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:Endpoints", name, None, opts)
        VpcEndpoint(
            f"{name}-s3",
            vpc_id=args.vpc,
            service_name=f"com.amazonaws.{args.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=list(args.tables),
            policy=documents.text(s3_statements(args.region, args.account)),
            opts=child(self),
        )
        if args.services:
            group = SecurityGroup(
                f"{name}-group",
                description="HTTPS from the network to services of AWS",
                vpc_id=args.vpc,
                opts=child(self),
            )
            SecurityGroupIngressRule(
                f"{name}-rule",
                security_group_id=group.id,
                description="HTTPS from the network",
                cidr_ipv4=args.cidr,
                ip_protocol="tcp",
                from_port=443,
                to_port=443,
                opts=child(self),
            )
            for service in (s for each in args.services for s in _SERVICES.get(each, (each,))):
                VpcEndpoint(
                    f"{name}-{service.replace('.', '-')}",
                    vpc_id=args.vpc,
                    service_name=f"com.amazonaws.{args.region}.{service}",
                    vpc_endpoint_type="Interface",
                    private_dns_enabled=True,
                    subnet_ids=list(args.subnets),
                    security_group_ids=[group.id],
                    opts=child(self),
                )
        self.register_outputs({})


def s3_statements(region: str, account: str) -> list[documents.Statement]:
    """What the gateway to S3 lets through: all of the account's own buckets, for whom their own
    policies allow it, and reading where ECR, registry.k8s.io and Amazon Linux keep what they hand
    out.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html#ecr-minimum-s3-perms
    https://docs.aws.amazon.com/linux/al2023/ug/managing-repos-os-updates.html
    """
    of = f"arn:{arns.partition(region)}:s3:::"
    buckets = (
        f"prod-{region}-starport-layer-bucket",
        f"prod-registry-k8s-io-{region}",
        f"al2023-repos-{region}-de612dc2",
    )
    own = documents.allow(
        "OwnBuckets", ["s3:*"], ["*"], {"StringEquals": {"aws:ResourceAccount": account}}
    )
    public = documents.allow(
        "PublicImages", ["s3:GetObject"], [f"{of}{bucket}/*" for bucket in buckets]
    )
    return [{**statement, "Principal": "*"} for statement in (own, public)]
