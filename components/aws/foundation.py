"""What a stack on AWS stands on: a network, a cluster in it, and nodes."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from settings.aws import Aws
from settings.aws.network import CLUSTER_ZONES

from . import naming
from .add_ons import OF_NODES, ON_NODES, AddOns, AddOnsArgs
from .eks_cluster import EksCluster, EksClusterArgs
from .network import Network, NetworkArgs
from .node_group import NodeGroup, NodeGroupArgs
from .options import child


@dataclass(frozen=True)
class FoundationArgs:
    """settings: all that is configured about AWS. stack: the stack's name."""

    settings: Aws
    stack: str


class Foundation(pulumi.ComponentResource):
    """The ground in the order that it works in: network, cluster, what nodes need, nodes, what
    runs on nodes; taken down the other way round.

    Outputs: `network`, `cluster` and `nodes`, the components; `kubeconfig`, known only once nodes
    and add-ons are there, so that all that uses it comes after them and leaves before.
    """

    network: Network
    cluster: EksCluster
    nodes: NodeGroup
    kubeconfig: pulumi.Output[str]

    def __init__(
        self, name: str, args: FoundationArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:Foundation", name, None, opts)
        aws, prefix = args.settings, naming.prefix(args.stack)
        where = aws.region, aws.account
        self.network = Network(
            f"{name}-network", NetworkArgs(aws.network, *where, prefix), child(self)
        )
        self.cluster = EksCluster(
            f"{name}-eks",
            EksClusterArgs(
                aws.cluster,
                prefix,
                *where,
                self.network.vpc_id,
                self.network.private_subnet_ids[:CLUSTER_ZONES],
                aws.network.service_cidr,
                aws.network.peers,
            ),
            child(self),
        )
        versions = aws.cluster.add_on_versions
        cluster = self.cluster.cluster_name, self.cluster.arn
        first = AddOns(
            f"{name}-of-nodes",
            AddOnsArgs(
                *cluster,
                *where,
                {each: versions[each] for each in OF_NODES},
                after=self.cluster.entered,
            ),
            child(self),
        )
        self.nodes = NodeGroup(
            f"{name}-nodes",
            NodeGroupArgs(
                cluster[0],
                self.cluster.version,
                aws.region,
                self.network.private_subnet_ids,
                aws.nodes,
                prefix,
                aws.tags,
                after=list(first.installed.values()),
            ),
            child(self),
        )
        last = AddOns(
            f"{name}-on-nodes",
            AddOnsArgs(
                *cluster,
                *where,
                {each: versions[each] for each in ON_NODES},
                aws.tags,
                after=[self.nodes.group, *first.installed.values()],
            ),
            child(self),
        )
        self.kubeconfig = pulumi.Output.all(
            self.cluster.kubeconfig, *(each.id for each in last.installed.values())
        ).apply(lambda known: str(known[0]))
        self.register_outputs({"kubeconfig": self.kubeconfig})
