"""Disks on AWS for pods, as Kubernetes asks for them."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.storage.v1 import StorageClass as Class

from ..options import child

NAME = "gp3-encrypted"


@dataclass(frozen=True)
class StorageClassArgs:
    """default: it is for every volume that names no class."""

    default: bool = True


class StorageClass(pulumi.ComponentResource):
    """Encrypted gp3 disks of EBS, in the zone of the pod that takes one first, growing on demand.

    Bring the provider of Kubernetes; the EBS add-on must be there. Outputs: `made`, the class;
    plain `name`.
    """

    name: str
    made: Class

    def __init__(
        self, name: str, args: StorageClassArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:StorageClass", name, None, opts)
        self.name = NAME
        mark = {"storageclass.kubernetes.io/is-default-class": "true"} if args.default else {}
        self.made = Class(
            f"{name}-class",
            metadata={"name": NAME, "annotations": mark},
            provisioner="ebs.csi.aws.com",
            parameters={"type": "gp3", "encrypted": "true"},
            volume_binding_mode="WaitForFirstConsumer",
            allow_volume_expansion=True,
            reclaim_policy="Delete",
            opts=child(self),
        )
        self.register_outputs({})
