"""MLflow's way to a PostgreSQL: the password beside its pods, whom they trust, and migrations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pulumi
from pulumi_kubernetes.batch.v1 import Job
from pulumi_kubernetes.core.v1 import ConfigMap, Secret
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from settings.mlflow import MlflowDatabase

from .manifests import common, mlflow, network
from .manifests import mlflow_database as manifests
from .options import child


class Database(Protocol):
    """A PostgreSQL: where it is, and how its password comes.

    Either `secret`, the name of a Secret in MLflow's namespace with the key `password`, or
    `secret_arn`, a secret of AWS Secrets Manager in `region`: JSON with `password`, which MLflow's
    service account may read. The other one is None.
    """

    @property
    def host(self) -> pulumi.Input[str]: ...

    @property
    def port(self) -> pulumi.Input[int]: ...

    @property
    def name(self) -> pulumi.Input[str]: ...

    @property
    def user(self) -> pulumi.Input[str]: ...

    @property
    def secret(self) -> pulumi.Input[str] | None: ...

    @property
    def secret_arn(self) -> pulumi.Input[str] | None: ...

    @property
    def region(self) -> str | None: ...


@dataclass(frozen=True)
class GivenDatabaseArgs:
    """A PostgreSQL that exists. namespace: MLflow's. database: with a host. password: of its user;
    it is kept secret, whether it comes as a secret or not.
    """

    namespace: pulumi.Input[str]
    database: MlflowDatabase
    password: pulumi.Input[str]


class GivenDatabase(pulumi.ComponentResource):
    """A Database that is somebody else's: its address, and a Secret with the password.

    Another password changes the Secret under the same name: pods read it anew, and none restarts.

    Outputs: those of `Database`.
    """

    host: str
    port: int
    name: str
    user: str
    secret: pulumi.Input[str] | None
    secret_arn: pulumi.Input[str] | None = None
    region: str | None = None

    def __init__(
        self, name: str, args: GivenDatabaseArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:GivenDatabase", name, None, opts)
        if args.database.host is None:
            raise ValueError("a database that exists has a host")
        Secret(
            f"{name}-password",
            metadata=common.metadata(manifests.SECRET, args.namespace, mlflow.labels()),
            string_data={manifests.PASSWORD_KEY: pulumi.Output.secret(args.password)},
            opts=child(self),
        )
        self.host, self.port = args.database.host, args.database.port
        self.name, self.user = args.database.name, args.database.user
        # Its name, and not its output: a Secret that is made anew changes no pod.
        self.secret = manifests.SECRET
        self.register_outputs({})


@dataclass(frozen=True)
class DatabaseAccessArgs:
    """What the way to a database needs.

    namespace: MLflow's. image: of the serving runtime. database: a Database. sslmode: libpq's.
    authorities: the PEM that vouches for the database's certificate, if anybody does. networks:
    where the database is; none means anywhere. apart: whether the Job stays out of the mesh that
    the namespace's pods are in, for it speaks to the database alone.
    """

    namespace: pulumi.Input[str]
    image: pulumi.Input[str]
    database: Database
    sslmode: str = "verify-full"
    authorities: str | None = None
    networks: tuple[str, ...] = ()
    apart: bool = False


class DatabaseAccess(pulumi.ComponentResource):
    """Whom MLflow's pods trust, and a Job that brings the database to the schema of the image.

    The update waits for the Job; one that fails fails the update with the database's own words,
    and the update after it runs it again. Another image is another Job.

    Outputs: `connection` and `address`, for pods that use the database; `ways`, the rules of a
    NetworkPolicy by which they reach it; `ready`, for what may only
    start once the schema is there.
    """

    connection: manifests.Connection
    address: pulumi.Output[str]
    ways: list[common.Manifest]
    ready: list[pulumi.Resource]

    def __init__(
        self, name: str, args: DatabaseAccessArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:index:DatabaseAccess", name, None, opts)
        if args.sslmode == "verify-full" and args.authorities is None:
            raise ValueError("sslmode verify-full takes authorities")
        given = args.database
        metadata = common.metadata(
            manifests.MIGRATION, args.namespace, manifests.migration_labels()
        )
        before: list[pulumi.Resource] = []
        if args.authorities is not None:
            trusted = common.metadata(manifests.AUTHORITIES, args.namespace, mlflow.labels())
            before.append(
                ConfigMap(
                    f"{name}-authorities",
                    metadata=trusted,
                    data={manifests.AUTHORITIES_FILE: args.authorities},
                    opts=child(self),
                )
            )
        aws = given.secret_arn is not None
        self.ways = manifests.way_out(given.port, list(args.networks), aws=aws)
        before.append(
            NetworkPolicy(
                f"{name}-policy",
                metadata=metadata,
                spec=network.ingress(manifests.migration_selector(), mlflow.PORT, [])
                | network.egress(self.ways),
                opts=child(self),
            )
        )
        self.connection = manifests.Connection(
            given.host,
            pulumi.Output.from_input(given.port).apply(str),
            given.name,
            given.user,
            args.sslmode,
            args.authorities is not None,
            given.secret,
            given.secret_arn,
            given.region,
        )
        self.address = pulumi.Output.all(given.user, given.host, given.port, given.name).apply(
            lambda parts: manifests.url(*parts)
        )
        job = Job(
            f"{name}-migration",
            # One that failed is replaced by the next update, rather than waited for once more.
            metadata=metadata | {"annotations": {"pulumi.com/replaceUnready": "true"}},
            spec=manifests.migration(args.image, self.connection, self.address, apart=args.apart),
            opts=pulumi.ResourceOptions.merge(
                child(self, before, timeout=manifests.WAIT),
                pulumi.ResourceOptions(replace_on_changes=["spec"]),
            ),
        )
        self.ready = [*before, job]
        self.register_outputs({})
