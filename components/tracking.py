"""MLflow as a stack configures it: the server, and, where they are asked for, its database, its
backups, and the sign-in in front of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pulumi

from settings import Settings, secret, secrets
from settings.mlflow import Mlflow

from .artifact_bucket import ArtifactBucket
from .manifests import mlflow_files, sign_in_secrets
from .mlflow_backups import MlflowBackups, MlflowBackupsArgs
from .mlflow_database import GivenDatabase, GivenDatabaseArgs
from .mlflow_server import MlflowServer, MlflowServerArgs
from .mlflow_sign_in import MlflowSignIn, MlflowSignInArgs
from .model_route import Edge

Options = Callable[..., pulumi.ResourceOptions]


def tracking(
    stack: Settings,
    args: MlflowServerArgs,
    edge: pulumi.Resource,
    after: Options,
) -> MlflowServer:
    """MLflow and what belongs to it.

    args: of the server; without a `database` it is the one that the stack names, if any. edge: the
    mesh, which the sign-in's host is served by. after: options of a part that waits for others.

    Raises `pulumi.RunError`, a line for each fault of secrets and files, before anything of it is
    registered.
    """
    settings = stack.mlflow
    entry = secrets("mlflowSignIn")
    checked(settings, entry.given)
    namespace, bucket, tools = args.namespace, args.bucket, stack.images.postgresql
    if settings.database:
        args = replace(args, authorities=_text(settings.database.ca))
        if args.database is None:
            password = secret("mlflowDatabasePassword")
            given = GivenDatabaseArgs(namespace, settings.database, password)
            args = replace(args, database=GivenDatabase("mlflow-database", given, after()))
    inside = [edge] if args.sidecars else []
    server = MlflowServer("mlflow", args, after(*inside))
    if settings.backups and server.access and isinstance(bucket, ArtifactBucket):
        kept = settings.backups
        dumps = MlflowBackupsArgs(
            namespace, args.image, kept, server.access, bucket, tools, args.sidecars is not None
        )
        MlflowBackups("mlflow-backups", dumps, after(server))
    if people := settings.sign_in:
        issuer = _text(people.oidc.ca) if people.oidc else None
        gateway: Edge = edge  # type: ignore[assignment]
        entered = MlflowSignInArgs(
            namespace,
            gateway,
            settings,
            entry.values,
            issuer,
            stack.images.oauth2_proxy,
            args.sidecars,
        )
        MlflowSignIn("mlflow-sign-in", entered, after(edge, server))
    return server


def checked(settings: Mlflow, given: Mapping[str, str]) -> None:
    """Raise `pulumi.RunError`, a line for each fault of the sign-in's secrets and the files."""
    faults = sign_in_secrets.faults(settings.sign_in, given) + mlflow_files.faults(settings)
    if faults:
        raise pulumi.RunError("\n".join(faults))


def _text(path: str | None) -> str | None:
    return Path(path).read_text() if path else None
