"""Backups of MLflow's database and artifacts, on a cluster whose database and bucket have none."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.batch.v1 import CronJob
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings.mlflow import MlflowBackups as Settings
from settings.platform import Images

from .artifact_bucket import ArtifactBucket
from .manifests import common, mesh
from .manifests import mlflow_backup as manifests
from .mlflow_database import DatabaseAccess
from .options import child


@dataclass(frozen=True)
class MlflowBackupsArgs:
    """What backups need.

    namespace: MLflow's. image: of the serving runtime. settings: when, and how many stay. access:
    MLflow's way to its database. bucket: which lets `manifests.selector()` in. tools: an image of
    PostgreSQL, not older than the database. sidecars: whether the pods have any.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str]
    settings: Settings
    access: DatabaseAccess
    bucket: ArtifactBucket
    tools: pulumi.Input[str] = Images().postgresql
    sidecars: bool = False


class MlflowBackups(pulumi.ComponentResource):
    """A CronJob that backs up, and a suspended one, of which a person makes a Job that restores."""

    def __init__(
        self, name: str, args: MlflowBackupsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:MlflowBackups", name, None, opts)
        bucket, database = args.bucket, args.access.connection
        place = bucket.bucket, bucket.endpoint, bucket.credentials
        spec = manifests.network_policy(args.namespace, args.access.ways)
        policy = NetworkPolicy(
            f"{name}-policy",
            metadata=common.metadata(manifests.BACKUP, args.namespace, manifests.labels()),
            spec=mesh.beside_sidecar(spec) if args.sidecars else spec,
            opts=child(self),
        )
        into = manifests.store(*place, args.settings.keep)
        specs = {
            manifests.BACKUP: manifests.backup(
                args.settings, args.image, args.tools, database, into
            ),
            manifests.RESTORE: manifests.restore(
                args.image, args.tools, database, args.access.address, manifests.store(*place)
            ),
        }
        for called, job in specs.items():
            CronJob(
                f"{name}-{called.removeprefix('mlflow-')}",
                metadata=common.metadata(called, args.namespace, manifests.labels()),
                spec=job,
                opts=child(self, [policy]),
            )
        self.register_outputs({})
