"""Nodes without GPUs: a managed group of EKS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_aws.eks.node_group import NodeGroup as ManagedGroup

from settings.aws.nodes import NodePool

from . import node_template
from .node_template import NodeRole, NodeRoleArgs
from .options import child

AMI = "AL2023_x86_64_STANDARD"
POOL = "cpu"
CAPACITY = {"on-demand": "ON_DEMAND", "spot": "SPOT"}


@dataclass(frozen=True)
class NodeGroupArgs:
    """Which nodes, and where.

    cluster: its name. version: of Kubernetes, which the nodes follow. region: of both. subnets:
    private ones, one a zone. pool: the configuration. tags: of instances, disks and the group.
    after: what must work before a node joins, such as the CNI.
    """

    cluster: pulumi.Input[str]
    version: str
    region: str
    subnets: Sequence[pulumi.Input[str]]
    pool: NodePool
    prefix: str
    tags: Mapping[str, str] = field(default_factory=dict)
    after: Sequence[pulumi.Resource] = ()


class NodeGroup(pulumi.ComponentResource):
    """A managed node group of Amazon Linux 2023, spread over the zones, with the label
    `slipway.dev/node-pool: cpu`. A third of the nodes at most is replaced at a time, and a node
    that is found broken is replaced by itself.

    Outputs: `autoscaling_group`, the name of the group behind it; `role_arn` and `role_name`, of
    the nodes; `group`, the resource, for what must not start before nodes are there.
    """

    autoscaling_group: pulumi.Output[str]
    role_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]
    group: ManagedGroup

    def __init__(
        self, name: str, args: NodeGroupArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:NodeGroup", name, None, opts)
        pool, called = args.pool, f"{args.prefix}-{POOL}"
        role = NodeRole(
            f"{name}-role", NodeRoleArgs(args.region), pulumi.ResourceOptions(parent=self)
        )
        template = node_template.launch_template(self, name, pool.disk, args.tags, called)
        self.group = ManagedGroup(
            f"{name}-group",
            cluster_name=args.cluster,
            # A new one is there before the old one goes, so both need a name.
            node_group_name_prefix=f"{called}-",
            node_role_arn=role.arn,
            subnet_ids=list(args.subnets),
            version=args.version,
            ami_type=AMI,
            capacity_type=CAPACITY[pool.capacity],
            instance_types=list(pool.instance_types),
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            scaling_config={
                "min_size": pool.min,
                "max_size": pool.max,
                "desired_size": pool.desired,
            },
            update_config={"max_unavailable_percentage": 33},
            node_repair_config={"enabled": True},
            labels={node_template.POOL_LABEL: POOL},
            opts=child(
                self,
                [*role.ready, *args.after],
                timeout="60m",
                ignore=["scalingConfig.desiredSize"] if pool.scaled_by_others else (),
            ),
        )
        self.autoscaling_group = node_template.autoscaling_group(self.group)
        node_template.tag_group(self, name, self.autoscaling_group, args.tags)
        self.role_arn, self.role_name = role.arn, role.name
        self.register_outputs(
            {
                "autoscaling_group": self.autoscaling_group,
                "role_arn": self.role_arn,
                "role_name": self.role_name,
            }
        )
