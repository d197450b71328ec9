"""Which pods reach what holds data: MLflow, and the model servers, each model for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from . import naming
from .artifact_bucket import ArtifactBucket
from .database import MlflowDatabase
from .documents import Statement
from .options import child
from .pod_identity import PodIdentity, PodIdentityArgs

MLFLOW = "mlflow"
# A role's name has at most 64 characters: this, "-role" and Pulumi's 8.
_LONGEST_NAME = 48


@dataclass(frozen=True)
class Reader:
    """A model that is served. versions: those with a model server. experiments: ids whose
    artifacts they may read; None means all.
    """

    versions: Sequence[int]
    experiments: Sequence[str] | None = None


@dataclass(frozen=True)
class DataAccessArgs:
    """Who reaches what.

    cluster_name, cluster_arn, account: of the cluster whose pods they are. bucket, database: what
    is reached. models: name -> its reader. mlflow_namespace, models_namespace: of the pods.
    """

    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    account: str
    bucket: ArtifactBucket
    database: MlflowDatabase
    models: Mapping[str, Reader]
    mlflow_namespace: str = "mlflow"
    models_namespace: str = "models"


class DataAccess(pulumi.ComponentResource):
    """One role for MLflow, that writes artifacts and reads the database's password, for a service
    account has one; and a role for each model, that reads its artifacts, bound to its versions'.

    It hangs on which versions a model has, not on their roles or weights.

    Outputs: `mlflow`, what MLflow's pods wait for; `model_servers`, service account, as in
    `churn-v1`, -> what its pods wait for. Without it they get no credentials, until they are
    made anew.
    """

    mlflow: pulumi.CustomResource
    model_servers: Mapping[str, pulumi.Resource]

    def __init__(
        self, name: str, args: DataAccessArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:DataAccess", name, None, opts)

        def identity(
            called: str, namespace: str, accounts: list[str], may: list[Statement]
        ) -> PodIdentity:
            return PodIdentity(
                naming.bounded(f"{name}-{called}", _LONGEST_NAME),
                PodIdentityArgs(
                    args.cluster_name, args.cluster_arn, args.account, namespace, accounts, may
                ),
                child(self),
            )

        may = [*args.bucket.writing, *args.database.login]
        tracking = identity(MLFLOW, args.mlflow_namespace, [MLFLOW], may)
        self.mlflow = tracking.associations[MLFLOW]
        found: dict[str, pulumi.Resource] = {}
        for model, reader in args.models.items():
            accounts = [f"{model}-v{version}" for version in sorted(reader.versions)]
            may = args.bucket.reading(reader.experiments)
            found |= identity(f"model-{model}", args.models_namespace, accounts, may).associations
        self.model_servers = found
        self.register_outputs({})
