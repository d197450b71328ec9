"""How MLflow's pods get to a PostgreSQL: the login beside them, and the Job that migrates it."""

from __future__ import annotations

from dataclasses import dataclass

from . import common, mesh, mlflow, network
from .common import Manifest, Text

MIGRATION = "mlflow-migrate"
SECRET = "mlflow-database"  # noqa: S105  its name
PASSWORD_KEY = "password"  # noqa: S105  its key
AUTHORITIES = "mlflow-database-ca"
AUTHORITIES_FILE = "ca.pem"
_LOGIN, _GIVEN, _TRUSTED = "/run/database", "/run/database-password", "/run/database-ca"

# A migration of a large registry rewrites tables. The update waits longer than the Job may run, so
# it is the Job that fails, with its words.
HOURS = 3
WAIT = f"{HOURS * 60 + 10}m"


@dataclass(frozen=True)
class Connection:
    """A PostgreSQL as pods reach it.

    host, port, name, user: where, and as whom. sslmode: libpq's. authorities: whether there is a
    ConfigMap AUTHORITIES. secret: the name of the Secret with the password at PASSWORD_KEY; None
    where it comes from `secret_arn` of AWS Secrets Manager in `region`.
    """

    host: Text
    port: Text
    name: Text
    user: Text
    sslmode: str
    authorities: bool
    secret: Text | None = None
    secret_arn: Text | None = None
    region: str | None = None

    def environment(self) -> list[Manifest]:
        """What libpq reads; no password is in it."""
        trusted = {"PGSSLROOTCERT": f"{_TRUSTED}/{AUTHORITIES_FILE}"} if self.authorities else {}
        return common.env(
            {
                "PGHOST": self.host,
                "PGPORT": self.port,
                "PGDATABASE": self.name,
                "PGUSER": self.user,
                "PGPASSFILE": f"{_LOGIN}/pgpass",
                "PGCONNECT_TIMEOUT": "5",
                "PGSSLMODE": self.sslmode,
                **trusted,
            }
        )

    def mounts(self) -> list[Manifest]:
        """Where a container sees the password, and whom it trusts."""
        trusted = (
            [common.mount("database-ca", _TRUSTED, read_only=True)] if self.authorities else []
        )
        return [common.mount("database", _LOGIN, read_only=True), *trusted]

    def volumes(self) -> list[Manifest]:
        """The volumes of `mounts` and of `login`."""
        kept: Manifest = {"medium": "Memory", "sizeLimit": "1Mi"}
        found: list[Manifest] = [{"name": "database", "emptyDir": kept}]
        if self.authorities:
            found.append({"name": "database-ca", "configMap": {"name": AUTHORITIES}})
        if self.secret is not None:
            given = {"secretName": self.secret, "defaultMode": 0o440}
            found.append({"name": "database-password", "secret": given})
        return found

    def login(self, image: Text) -> Manifest:
        """The native sidecar that writes the password where libpq reads it, and renews it."""
        if self.secret is not None:
            told: Manifest = {"DATABASE_PASSWORD_FILE": f"{_GIVEN}/{PASSWORD_KEY}"}
            given = [common.mount("database-password", _GIVEN, read_only=True)]
        else:
            told = {
                "DATABASE_SECRET_ARN": self.secret_arn,
                "AWS_REGION": self.region,
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            given = []
        command = ["python", "-m", "slipway_runtime.database_login"]
        mounts = [common.mount("database", _LOGIN), *self.mounts()[1:], *given]
        return common.container(
            "database-login",
            image,
            command,
            restartPolicy="Always",
            env=[*self.environment(), *common.env({**told, "HOME": common.TMP})],
            resources={
                "requests": {"cpu": "10m", "memory": "128Mi"},
                "limits": {"cpu": "500m", "memory": "128Mi"},
            },
            startupProbe={
                "exec": {"command": [*command, "--check"]},
                "periodSeconds": 2,
                "timeoutSeconds": 10,
                "failureThreshold": 30,
            },
            volumeMounts=[*mounts, common.mount("tmp", common.TMP)],
        )


def url(user: Text, host: Text, port: Text, name: Text) -> str:
    """The database as SQLAlchemy names it, for plain values. A server that went away without a word
    is noticed within a minute.
    """
    noticed = "keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=30000"
    return f"postgresql+psycopg://{user}@{host}:{port}/{name}?{noticed}"


def migration_selector() -> dict[str, str]:
    """The labels that pick the migration's pod."""
    return common.selector(MIGRATION, MIGRATION)


def migration_labels() -> dict[str, str]:
    """The labels of the migration's Job and pod."""
    return common.labels(MIGRATION, MIGRATION, "migration")


def migration(image: Text, database: Connection, address: Text, *, apart: bool = False) -> Manifest:
    """The spec of the Job that brings the database at `address` to the schema of `image`; `apart`:
    without the sidecar that pods of its namespace get.
    """
    return {
        "backoffLimit": 1,
        "activeDeadlineSeconds": HOURS * 3600,
        "template": {
            "metadata": {"labels": migration_labels() | (mesh.LEFT_OUT if apart else {})},
            "spec": common.pod(
                mlflow.SERVER,
                restartPolicy="Never",
                initContainers=[database.login(image)],
                containers=[
                    common.container(
                        "migrate",
                        image,
                        ["python", "-m", "slipway_runtime.database_migrate"],
                        env=[
                            *database.environment(),
                            *common.env({**mlflow.QUIET, "DATABASE_URL": address}),
                        ],
                        workingDir=common.TMP,
                        resources={
                            "requests": {"cpu": "100m", "memory": "512Mi"},
                            "limits": {"cpu": "1", "memory": "512Mi"},
                        },
                        volumeMounts=[*database.mounts(), common.mount("tmp", common.TMP)],
                    )
                ],
                volumes=[*database.volumes(), common.scratch("tmp", "1Gi")],
            ),
        },
    }


def way_out(port: Text, networks: list[str], *, aws: bool) -> list[Manifest]:
    """The rules by which pods reach the database; on AWS, Secrets Manager and S3 too."""
    places = network.networks(networks) or [network.off_the_machine()]
    rules: list[Manifest] = [{"to": places, "ports": [network.tcp(port)]}]
    if aws:
        rules += [
            {"to": [network.off_the_machine()], "ports": [network.tcp(443)]},
            network.pod_identity(),
        ]
    return rules
