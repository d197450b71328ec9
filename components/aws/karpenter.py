"""Karpenter: nodes that come as pods ask for them, and go when they are not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_aws.eks.access_entry import AccessEntry
from pulumi_aws.iam.instance_profile import InstanceProfile
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.helm.v3 import Release
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from components.manifests import common, placement
from components.manifests import karpenter as manifests
from components.options import chart
from settings.aws.gpu import GpuPool
from settings.aws.karpenter import Karpenter as Settings

from . import karpenter_policy
from .interruption_queue import InterruptionQueue, InterruptionQueueArgs
from .node_template import NodeRole, NodeRoleArgs
from .options import child
from .pod_identity import PodIdentity, PodIdentityArgs

# Longer than a node waits for its pods.
DELETE = "40m"
_FOREGROUND = {"pulumi.com/deletionPropagationPolicy": "foreground"}


@dataclass(frozen=True)
class KarpenterArgs:
    """Where it makes nodes, and which.

    cluster: its plain name, which is also what the nodes are called. cluster_arn, endpoint,
    security_group: of the cluster. account, region: of AWS. subnets: the ids of private ones.
    karpenter: the configuration. gpu: the nodes with GPUs, None without. tags: of instances and
    disks, which no default tag of the provider reaches. fixed: what the controller runs on, the
    fixed nodes and the add-ons.
    """

    cluster: str
    cluster_arn: pulumi.Input[str]
    endpoint: pulumi.Input[str]
    security_group: pulumi.Input[str]
    account: str
    region: str
    subnets: Sequence[pulumi.Input[str]]
    karpenter: Settings
    gpu: GpuPool | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    fixed: Sequence[pulumi.Resource] = ()


class Karpenter(pulumi.ComponentResource):
    """Karpenter from its own charts, on the fixed nodes, and its NodePools. It takes providers of
    AWS and of Kubernetes.

    Deletion goes backwards, and leaves no node behind that nothing takes away: a NodePool goes once
    its nodes are drained and gone (foreground deletion waits for its NodeClaims), its class after
    it, then the controller, then what it acts by. Let what runs on the nodes depend on this
    component: it goes first.

    Outputs: `role_arn` and `role_name`, of the nodes. `gpu`: a GpuPool, None without one. `pools`:
    the NodePools.
    """

    role_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]
    gpu: placement.GpuPool | None
    pools: Sequence[pulumi.Resource]

    def __init__(
        self, name: str, args: KarpenterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:Karpenter", name, None, opts)
        within = pulumi.ResourceOptions(parent=self)
        role = NodeRole(f"{name}-nodes", NodeRoleArgs(args.region), within)
        entry = AccessEntry(
            f"{name}-entry",
            cluster_name=args.cluster,
            principal_arn=role.arn,
            type="EC2_LINUX",
            # Bound to the cluster: while that is replaced the name stands for both.
            opts=child(self, args.fixed, fixed_name=True),
        )
        profile = InstanceProfile(f"{name}-profile", role=role.name, opts=child(self, role.ready))
        queue = InterruptionQueue(f"{name}-queue", InterruptionQueueArgs(args.cluster), within)
        identity = PodIdentity(
            f"{name}-identity",
            PodIdentityArgs(
                args.cluster,
                args.cluster_arn,
                args.account,
                manifests.NAMESPACE,
                [manifests.NAME],
                karpenter_policy.controller(
                    args.region, args.account, args.cluster, role.arn, queue.arn
                ),
            ),
            within,
        )
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=common.metadata(manifests.NAME, manifests.NAMESPACE, common.OWNED),
            # Nobody asks it for anything.
            spec={"podSelector": {"matchLabels": manifests.selector()}, "policyTypes": ["Ingress"]},
            opts=child(self, args.fixed, fixed_name=True),
        )
        ready = [*args.fixed, *role.ready, entry, profile, queue, identity, policy]
        definitions = self._release(f"{name}-crds", f"{manifests.NAME}-crd", args, ready)
        controller = self._release(name, manifests.NAME, args, [*ready, definitions], queue.name)
        ground = manifests.Ground(
            profile.name, args.subnets, args.security_group, args.tags, args.cluster
        )
        wanted = args.karpenter
        pools = [
            self._pool(
                name,
                placement.CPU_POOL,
                manifests.node_class(ground, wanted, wanted.cpu.disk, None),
                manifests.cpu_pool(wanted.cpu),
                controller,
            )
        ]
        self.gpu = None
        if args.gpu is not None:
            pools.append(
                self._pool(
                    name,
                    placement.GPU_POOL,
                    manifests.node_class(ground, wanted, args.gpu.disk, args.gpu.reservation),
                    manifests.gpu_pool(args.gpu, wanted.gpu),
                    controller,
                )
            )
            self.gpu = placement.own()
        self.pools = pools
        self.role_arn, self.role_name = role.arn, role.name
        self.register_outputs({"role_arn": self.role_arn, "role_name": self.role_name})

    def _release(
        self,
        name: str,
        called: str,
        args: KarpenterArgs,
        after: Sequence[pulumi.Resource],
        queue: pulumi.Input[str] | None = None,
    ) -> Release:
        """The controller's chart where there is a queue, and the definitions' where there is none;
        those come apart, for an upgrade of a chart never changes its own.
        """
        place = args.karpenter.chart if queue is not None else args.karpenter.crds
        registry = place.startswith("oci://")
        return Release(
            f"{name}-release",
            name=called,
            chart=place if registry else chart(place),
            version=args.karpenter.version if registry else None,
            namespace=manifests.NAMESPACE,
            values={}
            if queue is None
            else manifests.values(args.cluster, args.endpoint, queue, args.region),
            skip_crds=True,
            timeout=600,
            max_history=3,
            opts=child(self, after, fixed_name=True),
        )

    def _pool(
        self,
        name: str,
        kind: str,
        node_class: common.Manifest,
        pool: common.Manifest,
        controller: pulumi.Resource,
    ) -> CustomResource:
        labels = dict(common.OWNED)
        made_of = CustomResource(
            f"{name}-{kind}-class",
            api_version=manifests.CLASS_API,
            kind="EC2NodeClass",
            metadata={"name": kind, "labels": labels},
            spec=node_class,
            opts=child(self, [controller], fixed_name=True, timeout=DELETE),
        )
        return CustomResource(
            f"{name}-{kind}-pool",
            api_version=manifests.POOL_API,
            kind="NodePool",
            metadata={"name": kind, "labels": labels, "annotations": _FOREGROUND},
            spec=pool,
            opts=child(self, [made_of], fixed_name=True, timeout=DELETE),
        )
