"""The manifests of the CronJobs that back MLflow's database up and restore it."""

from __future__ import annotations

from settings.mlflow import MlflowBackups

from . import bucket, common, mlflow, network
from .common import Manifest, Text
from .mlflow_database import Connection

BACKUP = "mlflow-backup"
RESTORE = "mlflow-restore"
_DUMP = "/backup/database.dump"
# The tables of a later MLflow hang on those of the dump, so all of the user's go first. There is no
# COMMIT after a dump that breaks off: what is there stays. dash has no pipefail: the file says it.
LOAD = f"""set -eu
broken=$(mktemp)
{{
  echo 'BEGIN; DROP OWNED BY CURRENT_USER CASCADE;'
  pg_restore --no-owner --no-privileges --file=- {_DUMP}
  echo 'COMMIT;'
  rm "$broken"
}} | psql --no-psqlrc --quiet --output=/dev/null --set=ON_ERROR_STOP=1
test ! -e "$broken"
"""


def selector() -> dict[str, str]:
    """The labels that pick the pods of both."""
    return common.selector(BACKUP, BACKUP)


def labels() -> dict[str, str]:
    """The labels of their objects."""
    return common.labels(BACKUP, BACKUP, "backup")


def store(
    name: Text, endpoint: Text, credentials: Text, keep: int | None = None
) -> tuple[list[Manifest], list[Manifest]]:
    """The `env` and `envFrom` of what reads and writes the bucket."""
    told = {
        "BUCKET": name,
        "DUMP_FILE": _DUMP,
        "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": common.TMP,
    } | ({"KEEP": str(keep)} if keep else {})
    return common.env(told), [{"secretRef": {"name": credentials}}]


def backup(
    settings: MlflowBackups,
    image: Text,
    tools: Text,
    database: Connection,
    into: tuple[list[Manifest], list[Manifest]],
) -> Manifest:
    """The spec of the CronJob that dumps the database, then keeps the dump and the artifacts.

    `image` is of the serving runtime, `tools` of PostgreSQL. `into` is what `store` gives.
    """
    dump = ["pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={_DUMP}"]
    return _cron(
        settings.schedule,
        database,
        [database.login(image), _tool("dump", tools, dump, database)],
        _program("keep", image, into),
    )


def restore(
    image: Text,
    tools: Text,
    database: Connection,
    address: Text,
    origin: tuple[list[Manifest], list[Manifest]],
) -> Manifest:
    """The spec of the CronJob that never runs by itself: a person makes a Job of it.

    It fetches a dump and puts artifacts back, has the dump take the place of all that the user owns
    in the database, in one transaction, and brings it to the schema of `image`.
    """
    migrate = common.container(
        "migrate",
        image,
        ["python", "-m", "slipway_runtime.database_migrate"],
        env=[*database.environment(), *common.env({**mlflow.QUIET, "DATABASE_URL": address})],
        workingDir=common.TMP,
        resources=_resources(),
        volumeMounts=[*database.mounts(), common.mount("tmp", common.TMP)],
    )
    first = [
        database.login(image),
        _program("fetch", image, origin),
        _tool("restore", tools, ["sh", "-c", LOAD], database),
    ]
    never = {"suspend": True}
    return _cron("0 0 1 1 *", database, first, migrate) | never


def network_policy(namespace: Text, ways: list[Manifest]) -> Manifest:
    """The spec of the NetworkPolicy of both: out to the database, by `ways`, and to the bucket."""
    to_bucket = {
        "to": [network.pods(bucket.selector(), namespace)],
        "ports": [network.tcp(bucket.PORT)],
    }
    return network.ingress(selector(), mlflow.PORT, []) | network.egress([*ways, to_bucket])


def _program(action: str, image: Text, place: tuple[list[Manifest], list[Manifest]]) -> Manifest:
    return common.container(
        action,
        image,
        ["python", "-m", "slipway_runtime.backup", action],
        env=place[0],
        envFrom=place[1],
        workingDir=common.TMP,
        resources=_resources(),
        volumeMounts=[common.mount("backup", "/backup"), common.mount("tmp", common.TMP)],
    )


def _tool(name: str, image: Text, command: list[str], database: Connection) -> Manifest:
    return common.container(
        name,
        image,
        command,
        env=database.environment(),
        resources=_resources(),
        volumeMounts=[
            *database.mounts(),
            common.mount("backup", "/backup"),
            common.mount("tmp", common.TMP),
        ],
    )


def _resources() -> Manifest:
    return {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"cpu": "1", "memory": "512Mi"},
    }


def _cron(schedule: str, database: Connection, first: list[Manifest], last: Manifest) -> Manifest:
    return {
        "schedule": schedule,
        "timeZone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 3600,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "metadata": {"labels": labels()},
            "spec": {
                "backoffLimit": 1,
                "activeDeadlineSeconds": 7200,
                "template": {
                    "metadata": {"labels": labels()},
                    "spec": common.pod(
                        mlflow.SERVER,
                        restartPolicy="Never",
                        initContainers=first,
                        containers=[last],
                        volumes=[
                            *database.volumes(),
                            common.scratch("backup", "20Gi"),
                            common.scratch("tmp", "1Gi"),
                        ],
                    ),
                },
            },
        },
    }
