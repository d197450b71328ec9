"""Nodes with GPUs: a managed group of EKS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_aws.eks.node_group import NodeGroup as ManagedGroup

from components.manifests import placement
from components.manifests.common import Manifest
from settings.aws.gpu import GpuPool

from . import node_template
from .node_template import NodeRole, NodeRoleArgs
from .options import child

AMI = "AL2023_x86_64_NVIDIA"
CAPACITY = {"on-demand": "ON_DEMAND", "spot": "SPOT", "block": "CAPACITY_BLOCK"}


@dataclass(frozen=True)
class GpuNodePoolArgs:
    """Which nodes, and where.

    cluster: its name. version: of Kubernetes, which the nodes follow. region: of both. subnets:
    zone -> the id of its private subnet. pool: the configuration. prefix: what the nodes' names
    begin with. tags: of instances, disks and the group. after: what must work before a node joins,
    such as the CNI.
    """

    cluster: pulumi.Input[str]
    version: str
    region: str
    subnets: Mapping[str, pulumi.Input[str]]
    pool: GpuPool
    prefix: str
    tags: Mapping[str, str] = field(default_factory=dict)
    after: Sequence[pulumi.Resource] = ()


class GpuNodePool(pulumi.ComponentResource):
    """A managed node group of Amazon Linux 2023 with NVIDIA's driver, with the taint and the label
    by which pods with GPUs alone get there: a `placement.GpuPool`. It may have no node; a node
    that is found broken is replaced by itself.

    A capacity block's nodes come from its reservation alone, in its zone; the group should have no
    node 30 minutes before the block ends, when AWS takes them.

    Outputs: `autoscaling_group`, the name of the group behind it; `role_arn` and `role_name`, of
    the nodes; `group`, the resource.

    Raises ValueError for a zone of the pool that has no subnet.
    """

    autoscaling_group: pulumi.Output[str]
    role_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]
    group: ManagedGroup
    tolerations: Sequence[Manifest]
    node_selector: Mapping[str, str]

    def __init__(
        self, name: str, args: GpuNodePoolArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:GpuNodePool", name, None, opts)
        pool, called = args.pool, f"{args.prefix}-{placement.GPU_POOL}"
        nodes = placement.own()
        self.tolerations, self.node_selector = nodes.tolerations, nodes.node_selector
        role = NodeRole(
            f"{name}-role", NodeRoleArgs(args.region), pulumi.ResourceOptions(parent=self)
        )
        template = node_template.launch_template(
            self, name, pool.disk, args.tags, called, **_reserved(pool)
        )
        self.group = ManagedGroup(
            f"{name}-group",
            cluster_name=args.cluster,
            # A new one is there before the old one goes, so both need a name.
            node_group_name_prefix=f"{called}-",
            node_role_arn=role.arn,
            subnet_ids=[args.subnets[zone] for zone in zones(args.subnets, pool)],
            version=args.version,
            release_version=pool.release,
            ami_type=AMI,
            capacity_type=CAPACITY[pool.capacity],
            # A block's is in its template, and EKS takes it in one place alone.
            instance_types=None if pool.capacity == "block" else list(pool.instance_types),
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            scaling_config={
                "min_size": pool.min,
                "max_size": pool.max,
                "desired_size": pool.size,
            },
            # GPUs are few: one node at a time is replaced.
            update_config={"max_unavailable": 1},
            node_repair_config={"enabled": True},
            labels={placement.POOL_LABEL: placement.GPU_POOL},
            taints=[
                {
                    "key": placement.TAINT_KEY,
                    "value": placement.TAINT_VALUE,
                    "effect": "NO_SCHEDULE",
                }
            ],
            opts=child(self, [*role.ready, *args.after], timeout="60m"),
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


def zones(there: Mapping[str, Any], pool: GpuPool) -> list[str]:
    """The zones of the pool: its own, or all that are there.

    Raises ValueError for one that is not.
    """
    for zone in pool.zones:
        if zone not in there:
            raise ValueError(f"the network has no subnet in {zone} (zones: {', '.join(there)})")
    return list(pool.zones or there)


def _reserved(pool: GpuPool) -> dict[str, Any]:
    """https://docs.aws.amazon.com/eks/latest/userguide/capacity-blocks-mng.html"""
    if pool.capacity != "block":
        return {}
    target = {"capacity_reservation_id": pool.reservation}
    return {
        "instance_type": pool.instance_types[0],
        "instance_market_options": {"market_type": "capacity-block"},
        "capacity_reservation_specification": {"capacity_reservation_target": target},
    }
