"""What makes nodes and disks as pods ask for them: the first objects of a cluster on AWS."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from settings.aws import Aws

from .ground import Ground
from .karpenter import Karpenter, KarpenterArgs
from .options import child
from .storage_class import StorageClass, StorageClassArgs


@dataclass(frozen=True)
class SuppliesArgs:
    """settings: all that is configured about AWS. ground: what it is for."""

    settings: Aws
    ground: Ground


class Supplies(pulumi.ComponentResource):
    """The storage class, and Karpenter where it is configured. Bring providers of AWS and of
    Kubernetes.

    Output: `kubeconfig`, the ground's, known once both are there: what has pods or volumes is made
    by a provider of that, so it comes after them, and leaves before.
    """

    kubeconfig: pulumi.Output[str]

    def __init__(
        self, name: str, args: SuppliesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:Supplies", name, None, opts)
        aws, ground = args.settings, args.ground
        disks = StorageClass(f"{name}-disks", StorageClassArgs(), child(self))
        there: list[pulumi.Input[str]] = [disks.made.id]
        if aws.karpenter is not None:
            cluster = ground.foundation.cluster
            karpenter = Karpenter(
                "karpenter",
                KarpenterArgs(
                    cluster.name,
                    cluster.arn,
                    cluster.endpoint,
                    cluster.security_group_id,
                    aws.account,
                    aws.region,
                    ground.foundation.network.private_subnet_ids,
                    aws.karpenter,
                    aws.gpu,
                    aws.tags,
                    [ground.foundation.nodes.group],
                ),
                child(self),
            )
            pulling = ground.let_pull(self, f"{name}-karpenter", karpenter.role_name)
            there += [each.id for each in (*karpenter.pools, *pulling)]
        self.kubeconfig = pulumi.Output.all(ground.kubeconfig, *there).apply(
            lambda known: str(known[0])
        )
        self.register_outputs({"kubeconfig": self.kubeconfig})
