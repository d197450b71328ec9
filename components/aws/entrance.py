"""How requests come to a cluster on AWS: a balancer under a DNS name, by HTTPS alone.

The balancer, its listener and its targets are resources of this program, and no Service of the
cluster asks for one. A controller in the cluster would make balancers behind Pulumi's back, and a
teardown that removes the cluster first would leave them, with their addresses and interfaces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pulumi
from pulumi_aws.autoscaling.attachment import Attachment
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.lb.listener import Listener
from pulumi_aws.lb.load_balancer import LoadBalancer
from pulumi_aws.lb.target_group import TargetGroup
from pulumi_aws.route53.record import Record
from pulumi_aws.vpc.security_group_egress_rule import SecurityGroupEgressRule
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from settings.aws import entrance as settings

from .certificate import Certificate, CertificateArgs
from .firewall import Firewall, FirewallArgs
from .options import child

# The longest name of a balancer and of a target group, and what Pulumi adds to a logical name.
MAX_NAME = 32
ADDED = 8
# A request that wakes a model up waits for minutes. A Network Load Balancer has 350 s of its own.
IDLE_SECONDS = 350


class Place(Protocol):
    """The network that the balancer stands in."""

    @property
    def vpc_id(self) -> pulumi.Output[str]: ...
    @property
    def public_subnet_ids(self) -> Sequence[pulumi.Output[str]]: ...
    @property
    def private_subnet_ids(self) -> Sequence[pulumi.Output[str]]: ...
    @property
    def cidr(self) -> str: ...


@dataclass(frozen=True)
class EntranceArgs:
    """Where the entrance is and what it leads to.

    network: the subnets are the public ones, where it is internal the private ones.
    prefix: of the stack's fixed names. node_port: of the gateway's HTTPS port, open on every node.
    node_groups: name -> the autoscaling group of nodes that take requests.
    security_group_id: of the nodes; it gets a rule for the balancer.
    """

    settings: settings.Entrance
    network: Place
    prefix: str
    node_port: int
    node_groups: Mapping[str, pulumi.Input[str]]
    security_group_id: pulumi.Input[str]


class Entrance(pulumi.ComponentResource):
    """A Network Load Balancer, or with a WAF an Application Load Balancer, to the gateway.

    TLS ends at the balancer, with a certificate of ACM, and is spoken anew to the nodes, where the
    gateway's own certificate is not verified. Its targets are the nodes' ports, so a node that
    Karpenter adds need not register.

    Outputs: `url` and `mlflow_url`, plain text; `address`, the balancer's own DNS name, for records
    that are made elsewhere.
    """

    url: str
    mlflow_url: str
    address: pulumi.Output[str]

    def __init__(
        self, name: str, args: EntranceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:Entrance", name, None, opts)
        self._name, self._args, asked = name, args, args.settings
        group = self._shut()
        balancer = self._balancer(group)
        target = self._target()
        listeners = self._listeners(balancer, target)
        if asked.waf:
            wall = FirewallArgs(asked.waf, args.prefix, balancer.arn)
            Firewall(f"{name}-firewall", wall, child(self))
        for each, autoscaling_group in args.node_groups.items():
            Attachment(
                f"{name}-{each}",
                autoscaling_group_name=autoscaling_group,
                lb_target_group_arn=target.arn,
                opts=child(self),
            )
        for role, host in zip(("models", "mlflow"), asked.hosts, strict=True):
            if asked.zone:
                Record(
                    f"{name}-{role}",
                    zone_id=asked.zone,
                    name=host,
                    type="A",
                    aliases=[
                        {
                            "name": balancer.dns_name,
                            "zone_id": balancer.zone_id,
                            "evaluate_target_health": True,
                        }
                    ],
                    opts=child(self, listeners),
                )
        self.url, self.mlflow_url = (f"https://{host}" for host in asked.hosts)
        self.address = balancer.dns_name
        self.register_outputs(
            {"url": self.url, "mlflow_url": self.mlflow_url, "address": self.address}
        )

    def _shut(self) -> SecurityGroup:
        """The balancer's security group: in from the networks, out to the nodes' one port."""
        name, args = self._name, self._args
        asked = args.settings
        group = SecurityGroup(
            f"{name}-group",
            description="The entrance: HTTPS in, and the port of the gateway out",
            vpc_id=args.network.vpc_id,
            opts=child(self),
        )
        everybody = args.network.cidr if asked.internal else settings.EVERYWHERE
        for port in (443, 80) if asked.redirects else (443,):
            for network in asked.allow_from or [everybody]:
                SecurityGroupIngressRule(
                    f"{name}-from-{network.replace('/', '-')}-{port}",
                    security_group_id=group.id,
                    cidr_ipv4=network,
                    ip_protocol="tcp",
                    from_port=port,
                    to_port=port,
                    opts=child(self),
                )
        between: dict[str, Any] = {
            "ip_protocol": "tcp",
            "from_port": args.node_port,
            "to_port": args.node_port,
        }
        SecurityGroupEgressRule(
            f"{name}-to-nodes",
            security_group_id=group.id,
            referenced_security_group_id=args.security_group_id,
            **between,
            opts=child(self),
        )
        SecurityGroupIngressRule(
            f"{name}-at-nodes",
            security_group_id=args.security_group_id,
            referenced_security_group_id=group.id,
            description="The port of the gateway, for the balancer in front of it",
            **between,
            opts=child(self),
        )
        return group

    def _balancer(self, group: SecurityGroup) -> LoadBalancer:
        asked, network = self._args.settings, self._args.network
        of_http: dict[str, Any] = {"idle_timeout": IDLE_SECONDS, "drop_invalid_header_fields": True}
        return LoadBalancer(
            self._named("balancer"),
            load_balancer_type="application" if asked.waf else "network",
            internal=asked.internal,
            ip_address_type="ipv4",
            subnets=network.private_subnet_ids if asked.internal else network.public_subnet_ids,
            security_groups=[group.id],
            enable_cross_zone_load_balancing=True,
            enable_deletion_protection=asked.deletion_protection,
            access_logs={
                "enabled": True,
                "bucket": asked.access_logs.bucket,
                "prefix": asked.access_logs.prefix,
            }
            if asked.access_logs
            else None,
            **(of_http if asked.waf else {}),
            opts=child(self),
        )

    def _target(self) -> TargetGroup:
        args = self._args
        # The node hides clients' addresses anyway, for the gateway may be on another one. Kept, a
        # node that asks the balancer and is its own target would wait for ever.
        of_tls: dict[str, Any] = {"protocol": "TLS", "preserve_client_ip": "false"}
        of_http: dict[str, Any] = {"protocol": "HTTPS", "protocol_version": "HTTP1"}
        return TargetGroup(
            self._named("target"),
            port=args.node_port,
            vpc_id=args.network.vpc_id,
            target_type="instance",
            **(of_http if args.settings.waf else of_tls),
            # The gateway answers what it has no route for with 404: it is there, and has its
            # certificate.
            health_check={
                "enabled": True,
                "protocol": "HTTPS",
                "port": "traffic-port",
                "path": "/",
                "matcher": "200-499",
                "interval": 10,
                "timeout": 6,
                "healthy_threshold": 2,
                "unhealthy_threshold": 2,
            },
            opts=child(self),
        )

    def _listeners(self, balancer: LoadBalancer, target: TargetGroup) -> list[Listener]:
        name, asked = self._name, self._args.settings
        certificate: pulumi.Input[str] = asked.certificate or ""
        if not asked.certificate:
            # A zone is there: settings take no domain with neither.
            wanted = CertificateArgs(asked.hosts, asked.zone or "")
            certificate = Certificate(f"{name}-certificate", wanted, child(self)).arn
        of_tls: dict[str, Any] = {"protocol": "TLS", "alpn_policy": "HTTP2Preferred"}
        listeners = [
            Listener(
                f"{name}-https",
                load_balancer_arn=balancer.arn,
                port=443,
                certificate_arn=certificate,
                ssl_policy=asked.tls_policy,
                default_actions=[{"type": "forward", "target_group_arn": target.arn}],
                **({"protocol": "HTTPS"} if asked.waf else of_tls),
                opts=child(self),
            )
        ]
        if asked.redirects:
            to: Any = {"protocol": "HTTPS", "port": "443", "status_code": "HTTP_301"}
            listeners.append(
                Listener(
                    f"{name}-http",
                    load_balancer_arn=balancer.arn,
                    port=80,
                    protocol="HTTP",
                    default_actions=[{"type": "redirect", "redirect": to}],
                    opts=child(self),
                )
            )
        return listeners

    def _named(self, part: str) -> str:
        """A child's name, short enough that AWS takes what Pulumi makes of it."""
        name = f"{self._name}-{part}"
        if len(name) + ADDED > MAX_NAME:
            raise ValueError(f"{self._name}: is too long; {name} has more than {MAX_NAME - ADDED}")
        return name
