"""What EKS itself runs in a cluster, at versions that the configuration fixes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pulumi
from pulumi_aws.eks.addon import Addon
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy_attachment import RolePolicyAttachment

from settings.aws.cluster import AddOn

from . import arns, documents, pod_identity
from .options import child

# A node is ready with these, and not without them.
OF_NODES: tuple[AddOn, ...] = ("eks-pod-identity-agent", "kube-proxy", "vpc-cni")
# These are pods, which wait for nodes.
ON_NODES: tuple[AddOn, ...] = ("aws-ebs-csi-driver", "coredns", "metrics-server")


class Identity(NamedTuple):
    """What an add-on does on AWS: the service account that does it, and AWS' policy for it."""

    service_account: str
    policy: str


# https://docs.aws.amazon.com/eks/latest/userguide/workloads-add-ons-available-eks.html
IDENTITIES: Mapping[AddOn, Identity] = {
    "vpc-cni": Identity("aws-node", "AmazonEKS_CNI_Policy"),
    "aws-ebs-csi-driver": Identity(
        "ebs-csi-controller-sa", "service-role/AmazonEBSCSIDriverPolicy"
    ),
}


def configuration(add_on: AddOn, tags: Mapping[str, str]) -> Mapping[str, Any] | None:
    """What an add-on is told; None where its own defaults are right.

    tags: of the disks that the EBS driver makes, which no default tag of the provider reaches.
    """
    match add_on:
        case "vpc-cni":
            return {
                "enableNetworkPolicy": "true",
                # Blocks of 16 addresses, so that a node has room for as many pods as it can run.
                "env": {"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "1"},
            }
        case "coredns":
            return {"autoScaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 10}}
        case "aws-ebs-csi-driver":
            return {"controller": {"extraVolumeTags": dict(tags)}} if tags else None
        case _:
            return None


@dataclass(frozen=True)
class AddOnsArgs:
    """Which add-ons.

    cluster_name, cluster_arn: of the cluster. region, account: where it is, and whose. versions:
    add-on -> version, of those to install. tags: of disks made on demand. after: what they wait
    for, such as nodes.
    """

    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    region: str
    account: str
    versions: Mapping[AddOn, str]
    tags: Mapping[str, str] = field(default_factory=dict)
    after: Sequence[pulumi.Resource] = ()


class AddOns(pulumi.ComponentResource):
    """Managed add-ons of EKS. The configuration is the only truth about them: what someone changed
    by hand in the cluster is overwritten. One that calls AWS has a role of its own by Pod Identity.

    Outputs: `installed`, add-on -> the resource, for what must not start before it.
    """

    installed: Mapping[AddOn, Addon]

    def __init__(
        self, name: str, args: AddOnsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:AddOns", name, None, opts)
        # What hands out roles comes first, for others cannot work without one.
        order = sorted(args.versions, key=lambda add_on: (add_on in IDENTITIES, add_on))
        made: dict[AddOn, Addon] = {}
        for add_on in order:
            needed = IDENTITIES.get(add_on)
            role, right = self._identity(name, add_on, args) if needed else (None, None)
            settings = configuration(add_on, args.tags)
            agent = made.get("eks-pod-identity-agent") if needed else None
            made[add_on] = Addon(
                f"{name}-{add_on}",
                cluster_name=args.cluster_name,
                addon_name=add_on,
                addon_version=args.versions[add_on],
                configuration_values=json.dumps(settings, sort_keys=True) if settings else None,
                pod_identity_associations=[
                    {"role_arn": role.arn, "service_account": needed.service_account}
                ]
                if role and needed
                else None,
                resolve_conflicts_on_create="OVERWRITE",
                resolve_conflicts_on_update="OVERWRITE",
                opts=child(
                    self,
                    [each for each in (*args.after, right, agent) if each],
                    fixed_name=True,
                    timeout="30m",
                ),
            )
        self.installed = made
        self.register_outputs({})

    def _identity(
        self, name: str, add_on: AddOn, args: AddOnsArgs
    ) -> tuple[Role, RolePolicyAttachment]:
        role = Role(
            f"{name}-{add_on}-role",
            assume_role_policy=documents.text([pod_identity.trust(args.cluster_arn, args.account)]),
            opts=child(self),
        )
        return role, RolePolicyAttachment(
            f"{name}-{add_on}-policy",
            role=role.name,
            policy_arn=arns.managed_policy(args.region, IDENTITIES[add_on].policy),
            opts=child(self),
        )
