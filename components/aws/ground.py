"""All that a stack on AWS has before its cluster has any object: where it runs, and its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws.iam.role_policy import RolePolicy

from components.manifests.model_server import Artifacts
from components.model_server import Store
from components.serving_image import ServingImageArgs
from settings import Settings
from settings.aws import Aws

from . import documents, naming
from .artifact_bucket import ArtifactBucket, ArtifactBucketArgs
from .data_access import DataAccess, DataAccessArgs, Reader
from .database import MlflowDatabase, MlflowDatabaseArgs
from .entrance import EntranceArgs
from .foundation import Foundation, FoundationArgs
from .gpu_node_pool import GpuNodePool, GpuNodePoolArgs
from .image_registry import ImageRegistry, ImageRegistryArgs
from .options import child


@dataclass(frozen=True)
class GroundArgs:
    """settings: the stack's configuration, with `aws`. stack: its name. replica: the provider of
    the region that the bucket is copied to, where it is.
    """

    settings: Settings
    stack: str
    replica: pulumi.ProviderResource | None = None


class Ground(pulumi.ComponentResource):
    """Network, cluster and nodes; bucket, database and image registry; and who may reach them.

    Outputs: `kubeconfig`, known once all nodes, add-ons and roles are there, so that each object of
    the cluster comes after them and leaves before; `bucket` and `database`, as MLflow takes them;
    `store`, as model servers read the bucket; `image`, where the serving image goes; `foundation`
    and `gpu_nodes`, for what supplies nodes; plain `prefix`, of the stack's fixed names.

    Raises ValueError if the settings have no `aws`.
    """

    prefix: str
    kubeconfig: pulumi.Output[str]
    foundation: Foundation
    gpu_nodes: GpuNodePool | None
    bucket: ArtifactBucket
    database: MlflowDatabase
    registry: ImageRegistry
    access: DataAccess
    store: Store
    image: ServingImageArgs

    def __init__(
        self, name: str, args: GroundArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:Ground", name, None, opts)
        aws = args.settings.aws
        if aws is None:
            raise ValueError(f"{name}: the settings have no aws")
        self.prefix = naming.prefix(args.stack)
        where = self.prefix, aws.account, aws.region
        self.foundation = Foundation(f"{name}-base", FoundationArgs(aws, args.stack), child(self))
        network, cluster = self.foundation.network, self.foundation.cluster
        self.gpu_nodes = self._gpu_nodes(name, aws)
        self.bucket = ArtifactBucket(
            f"{name}-artifacts", ArtifactBucketArgs(*where, aws.bucket, args.replica), child(self)
        )
        self.database = MlflowDatabase(
            f"{name}-mlflow",
            MlflowDatabaseArgs(
                *where,
                network.vpc_id,
                network.private_subnet_ids,
                cluster.security_group_id,
                aws.database,
            ),
            child(self),
        )
        self.registry = ImageRegistry(
            f"{name}-images", ImageRegistryArgs(*where, aws.registry), child(self)
        )
        readers = {
            model: Reader(found.versions, found.experiments)
            for model, found in args.settings.models.items()
        }
        self.access = DataAccess(
            f"{name}-access",
            DataAccessArgs(
                cluster.cluster_name,
                cluster.arn,
                aws.account,
                self.bucket,
                self.database,
                readers,
            ),
            child(self),
        )
        pulling = [
            policy
            for part, nodes in {"nodes": self.foundation.nodes, "gpu": self.gpu_nodes}.items()
            if nodes
            for policy in self.let_pull(self, f"{name}-{part}", nodes.role_name)
        ]
        self.store = Store(
            Artifacts(self.bucket.destination, aws.region), self.access.model_servers
        )
        self.image = ServingImageArgs(
            self.registry.registry,
            args.settings.builder,
            repository=naming.REPOSITORY,
            by_digest=True,
            # The nodes', whatever machine builds it.
            platform="linux/amd64",
        )
        # Of the group with GPUs what a preview knows even where the group is replaced.
        gpus = [self.gpu_nodes.group.cluster_name] if self.gpu_nodes else []
        self.kubeconfig = pulumi.Output.all(
            self.foundation.kubeconfig,
            self.access.mlflow.id,
            *gpus,
            *(policy.id for policy in pulling),
        ).apply(lambda known: str(known[0]))
        self.register_outputs({"kubeconfig": self.kubeconfig})

    def let_pull(
        self, parent: pulumi.Resource, name: str, role: pulumi.Input[str]
    ) -> list[RolePolicy]:
        """Lets nodes of this role have the registry fetch others' images; nothing where it does
        for none.
        """
        if not self.registry.pulling:
            return []
        return [
            RolePolicy(
                f"{name}-pulling",
                role=role,
                policy=documents.text(self.registry.pulling),
                opts=child(parent),
            )
        ]

    def _gpu_nodes(self, name: str, aws: Aws) -> GpuNodePool | None:
        if aws.gpu is None or aws.karpenter is not None:
            return None
        network, cluster = self.foundation.network, self.foundation.cluster
        subnets: Mapping[str, pulumi.Input[str]] = dict(
            zip(network.zones, network.private_subnet_ids, strict=True)
        )
        return GpuNodePool(
            f"{name}-gpu",
            GpuNodePoolArgs(
                cluster.cluster_name,
                cluster.version,
                aws.region,
                subnets,
                aws.gpu,
                self.prefix,
                aws.tags,
                [self.foundation.nodes.group],
            ),
            child(self),
        )


def entrance(settings: Settings, ground: Ground) -> EntranceArgs:
    """The entrance as the stack configures it: to the gateway's port on the ground's nodes.

    Raises ValueError if the settings have no `aws`, or the gateway no port on the nodes.
    """
    if settings.aws is None or settings.gateway.node_port is None:
        raise ValueError("an entrance is for a stack with aws and gateway.node_port")
    base = ground.foundation
    return EntranceArgs(
        settings.aws.entrance,
        base.network,
        ground.prefix,
        settings.gateway.node_port,
        {"cpu": base.nodes.autoscaling_group},
        base.cluster.security_group_id,
    )
