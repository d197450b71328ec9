"""What all nodes of a managed group share, with and without GPUs: a role, and how they start.

The role holds what a node itself does, never what a pod does: pods have Pod Identity.
https://docs.aws.amazon.com/eks/latest/userguide/create-node-role.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws.autoscaling.tag import Tag
from pulumi_aws.ec2.launch_template import LaunchTemplate
from pulumi_aws.eks.node_group import NodeGroup
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy_attachment import RolePolicyAttachment

from . import arns, documents
from .options import child

# AmazonEKSWorkerNodeMinimalPolicy lacks ec2:DescribeInstances, by which a node of Amazon Linux 2023
# learns its own name before it joins.
POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly")
POOL_LABEL = "slipway.dev/node-pool"


@dataclass(frozen=True)
class NodeRoleArgs:
    """region: of the nodes."""

    region: str


class NodeRole(pulumi.ComponentResource):
    """The role of nodes: they join the cluster, and pull images. The CNI has a role of its own.

    Outputs: `arn`, `name`; `ready`: what must be there before a node is, and leave after it.
    """

    arn: pulumi.Output[str]
    name: pulumi.Output[str]
    ready: Sequence[pulumi.Resource]

    def __init__(
        self, name: str, args: NodeRoleArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:NodeRole", name, None, opts)
        role = Role(
            f"{name}-role",
            assume_role_policy=documents.text([documents.trust_service("ec2.amazonaws.com")]),
            opts=child(self),
        )
        self.ready = [
            RolePolicyAttachment(
                f"{name}-{policy}",
                role=role.name,
                policy_arn=arns.managed_policy(args.region, policy),
                opts=child(self),
            )
            for policy in POLICIES
        ]
        self.arn, self.name = role.arn, role.name
        self.register_outputs({"arn": self.arn, "name": self.name})


def launch_template(
    parent: pulumi.Resource,
    name: str,
    disk: int,
    tags: Mapping[str, str],
    called: str,
    **more: Any,
) -> LaunchTemplate:
    """How the nodes of a group start; the group brings image, instance types and role.

    IMDSv2 answers the node alone (a pod is one hop too far), and the disk, of `disk` GiB, is
    encrypted. `tags` are of instances, disks and network interfaces, which no default tag of the
    provider reaches; `called` is their Name. `more`: other inputs of the template.
    """
    named = {**tags, "Name": called}
    return LaunchTemplate(
        f"{name}-template",
        update_default_version=True,
        metadata_options={
            "http_endpoint": "enabled",
            "http_tokens": "required",
            "http_put_response_hop_limit": 1,
        },
        block_device_mappings=[
            {
                "device_name": "/dev/xvda",
                "ebs": {
                    "volume_type": "gp3",
                    "volume_size": disk,
                    "encrypted": "true",
                    "delete_on_termination": "true",
                },
            }
        ],
        tag_specifications=[
            {"resource_type": kind, "tags": named}
            for kind in ("instance", "volume", "network-interface")
        ],
        **more,
        opts=child(parent),
    )


def autoscaling_group(group: NodeGroup) -> pulumi.Output[str]:
    """The name of the Auto Scaling group behind a node group."""
    name: pulumi.Output[str] = group.resources.apply(
        lambda made: str(made[0].autoscaling_groups[0].name)
    )
    return name


def tag_group(
    parent: pulumi.Resource, name: str, group: pulumi.Input[str], tags: Mapping[str, str]
) -> None:
    """Tags an Auto Scaling group, which neither EKS nor the provider does."""
    for key, value in sorted(tags.items()):
        Tag(
            f"{name}-tag-{key}",
            autoscaling_group_name=group,
            tag={"key": key, "value": value, "propagate_at_launch": False},
            opts=child(parent),
        )
