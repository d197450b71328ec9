"""The network that a stack on AWS stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws.ec2.default_security_group import DefaultSecurityGroup
from pulumi_aws.ec2.eip import Eip
from pulumi_aws.ec2.internet_gateway import InternetGateway
from pulumi_aws.ec2.nat_gateway import NatGateway
from pulumi_aws.ec2.route import Route
from pulumi_aws.ec2.route_table import RouteTable
from pulumi_aws.ec2.route_table_association import RouteTableAssociation
from pulumi_aws.ec2.subnet import Subnet
from pulumi_aws.ec2.vpc import Vpc

from settings.aws.network import Network as Configuration

from .endpoints import Endpoints, EndpointsArgs
from .flow_logs import FlowLogs, FlowLogsArgs
from .options import child

WORLD = "0.0.0.0/0"
# By which EKS' load balancers and Karpenter find the subnets.
# https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
_ROLE = {"public": "kubernetes.io/role/elb", "private": "kubernetes.io/role/internal-elb"}
_DISCOVERY = "karpenter.sh/discovery"


@dataclass(frozen=True)
class NetworkArgs:
    """settings: the configuration. region, account: where it is, and whose. cluster: the name of
    the cluster that will stand in it.
    """

    settings: Configuration
    region: str
    account: str
    cluster: str


class Network(pulumi.ComponentResource):
    """A VPC over two zones or more, in each a public subnet and a private one, whose way out is
    NAT. What is not said to be allowed is not: the default security group is empty.

    A route table for each private subnet, so that another `nat` changes routes and moves nothing.

    Outputs: `vpc_id`; `private_subnet_ids` and `public_subnet_ids`, in the order of `zones`, known
    once their routes are there, so that what stands in them has a way out as long as it lives;
    plain `cidr` and `zones`.
    """

    vpc_id: pulumi.Output[str]
    private_subnet_ids: list[pulumi.Output[str]]
    public_subnet_ids: list[pulumi.Output[str]]
    cidr: str
    zones: tuple[str, ...]

    def __init__(
        self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:Network", name, None, opts)
        settings, self._args = args.settings, args
        self.cidr, self.zones = settings.cidr, settings.in_zones(args.region)
        self._vpc = Vpc(
            f"{name}-vpc",
            cidr_block=self.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": args.cluster},
            opts=child(self),
        )
        self.vpc_id = self._vpc.id
        DefaultSecurityGroup(
            f"{name}-default-group", vpc_id=self.vpc_id, ingress=[], egress=[], opts=child(self)
        )
        part = pulumi.ResourceOptions(parent=self)
        FlowLogs(
            f"{name}-flow-logs",
            FlowLogsArgs(self.vpc_id, args.account, settings.flow_log_days),
            part,
        )
        public = self._subnets(name, "public")
        private = self._subnets(name, "private")
        gateway = InternetGateway(f"{name}-gateway", vpc_id=self.vpc_id, opts=child(self))
        shared = self._table(name, "public")
        out = Route(
            f"{name}-public-route",
            route_table_id=shared.id,
            destination_cidr_block=WORLD,
            gateway_id=gateway.id,
            opts=child(self),
        )
        self.public_subnet_ids = [
            self._ready(f"{name}-public-{zone[-1]}", subnet, shared, out)
            for zone, subnet in zip(self.zones, public, strict=True)
        ]
        translators = self._nat(name, public, out)
        tables = [self._table(name, f"private-{zone[-1]}") for zone in self.zones]
        self.private_subnet_ids = [
            self._ready(
                f"{name}-private-{zone[-1]}",
                subnet,
                table,
                Route(
                    f"{name}-private-{zone[-1]}-route",
                    route_table_id=table.id,
                    destination_cidr_block=WORLD,
                    nat_gateway_id=translators[number % len(translators)].id,
                    opts=child(self),
                ),
            )
            for number, (zone, subnet, table) in enumerate(
                zip(self.zones, private, tables, strict=True)
            )
        ]
        Endpoints(
            f"{name}-endpoints",
            EndpointsArgs(
                self.vpc_id,
                self.cidr,
                args.region,
                args.account,
                [subnet.id for subnet in private],
                [table.id for table in tables],
                settings.endpoints,
            ),
            part,
        )
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "private_subnet_ids": self.private_subnet_ids,
                "public_subnet_ids": self.public_subnet_ids,
            }
        )

    def _subnets(self, name: str, kind: str) -> list[Subnet]:
        found = {_DISCOVERY: self._args.cluster} if kind == "private" else {}
        cidrs = getattr(self._args.settings.subnets, kind)
        return [
            Subnet(
                f"{name}-{kind}-{zone[-1]}",
                vpc_id=self.vpc_id,
                availability_zone=zone,
                cidr_block=str(cidr),
                # Load balancers and NAT gateways have addresses of their own.
                map_public_ip_on_launch=False,
                tags={"Name": f"{self._args.cluster}-{kind}-{zone}", _ROLE[kind]: "1", **found},
                opts=child(self),
            )
            for zone, cidr in zip(self.zones, cidrs, strict=True)
        ]

    def _nat(
        self, name: str, public: Sequence[Subnet], out: pulumi.Resource
    ) -> Sequence[NatGateway]:
        count = 1 if self._args.settings.nat == "one" else len(self.zones)
        made = []
        for zone, subnet in list(zip(self.zones, public, strict=True))[:count]:
            called = f"{self._args.cluster}-nat-{zone}"
            address = Eip(
                f"{name}-nat-{zone[-1]}-address",
                domain="vpc",
                tags={"Name": called},
                opts=child(self, [out]),
            )
            made.append(
                NatGateway(
                    f"{name}-nat-{zone[-1]}",
                    allocation_id=address.allocation_id,
                    subnet_id=subnet.id,
                    tags={"Name": called},
                    opts=child(self, [out]),
                )
            )
        return made

    def _table(self, name: str, kind: str) -> RouteTable:
        return RouteTable(
            f"{name}-{kind}-table",
            vpc_id=self.vpc_id,
            tags={"Name": f"{self._args.cluster}-{kind}"},
            opts=child(self),
        )

    def _ready(
        self, name: str, subnet: Subnet, table: RouteTable, route: Route
    ) -> pulumi.Output[str]:
        """The subnet's id, once it has the route."""
        association = RouteTableAssociation(
            f"{name}-association", subnet_id=subnet.id, route_table_id=table.id, opts=child(self)
        )
        return pulumi.Output.all(subnet.id, association.id, route.id).apply(lambda ids: str(ids[0]))
