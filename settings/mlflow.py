"""MLflow's tracking server: how it is reached, its database, and its backups."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from settings.exposure import Exposure
from settings.faults import fault
from settings.sign_in import File, HostName, SignIn
from settings.types import Cidr, Memory, Section, matching, whole

# What a URL takes as it is.
DatabaseName = Annotated[
    str, matching(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", "is not a name of A-Z, a-z, 0-9, '_' and '-'")
]
# Minute, hour, day of the month, month and day of the week, Sunday being 0, as Kubernetes reads
# them: the least and the greatest number of each.
_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_PART = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")


def _schedule(value: object) -> object:
    fields = value.split(" ") if isinstance(value, str) else []
    if len(fields) != len(_FIELDS) or not all(map(_field, fields, _FIELDS)):
        raise PydanticCustomError("slipway", "is not a schedule of cron such as 15 3 * * *")
    return value


def _field(text: str, bounds: tuple[int, int]) -> bool:
    low, high = bounds
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            return False
        first, last, step = (int(it) if it else None for it in found.groups())
        start, end = low if first is None else first, high if last is None else last
        if not low <= start <= end <= high or step == 0:
            return False
    return True


Schedule = Annotated[str, BeforeValidator(_schedule)]
Port = Annotated[int, whole(1, 65535, "a port")]
Servers = Annotated[int, whole(1, 20, "a whole number of replicas")]
Dumps = Annotated[int, whole(1, 365, "a whole number of dumps")]


class MlflowDatabase(Section):
    """A PostgreSQL for MLflow, in place of SQLite on a volume.

    `host` may be left out by a stack on AWS, which makes one. The password is the secret
    `slipway:mlflowDatabasePassword`.
    """

    host: HostName | None = None
    port: Port = 5432
    name: DatabaseName = "mlflow"
    user: DatabaseName = "mlflow"
    ca: File | None = Field(
        default=None,
        description="a file of PEM: the authorities that vouch for the database's certificate",
    )
    sslmode: Literal["verify-full", "require"] = Field(
        default="verify-full",
        description="`require` encrypts, and lets anybody pose as the database",
    )
    networks: list[Cidr] = Field(
        default_factory=list, description="where the database is; without any: anywhere"
    )

    @model_validator(mode="after")
    def _somebody_vouches(self) -> MlflowDatabase:
        if self.sslmode == "verify-full" and self.ca is None:
            raise fault(
                "ca",
                None,
                "is not set; it takes a file of PEM with the authorities that vouch for the "
                "database's certificate",
            )
        return self


class MlflowBackups(Section):
    """Dumps of MLflow's database in the bucket, and copies of the artifacts beside them."""

    schedule: Schedule = Field(
        default="15 3 * * *", description="when, in UTC, as five fields of cron"
    )
    keep: Dumps = Field(default=14, description="dumps that stay; older ones are deleted")


class Mlflow(Exposure):
    """MLflow's tracking server; `size` is that of the volume with its SQLite database, which it
    has unless there is a `database`.
    """

    size: Memory = "2Gi"
    replicas: Servers = 1
    database: MlflowDatabase | None = None
    backups: MlflowBackups | None = None
    sign_in: SignIn | None = None

    @model_validator(mode="after")
    def _what_sqlite_bears(self) -> Mlflow:
        if self.database is None and self.replicas > 1:
            raise fault(
                "replicas",
                self.replicas,
                "are more than SQLite bears, which has one writer; set slipway:mlflow.database",
            )
        return self

    @model_validator(mode="after")
    def _one_way_in(self) -> Mlflow:
        if self.sign_in is None:
            return self
        if self.service_type != "ClusterIP":
            raise fault(
                "service_type",
                self.service_type,
                "leads past the sign-in; with sign_in it is ClusterIP",
            )
        if self.allow_from:
            raise fault(
                "allow_from",
                self.allow_from,
                "leads past the sign-in; with sign_in everybody comes by the gateway, whose own "
                "networks are slipway:gateway.allow_from",
            )
        if self.url is None:
            raise fault(
                "url",
                None,
                f"is not set; with sign_in it takes the URL of its host at the gateway, as in "
                f"https://{self.sign_in.host}",
            )
        if urlsplit(self.url).hostname != self.sign_in.host:
            raise fault("url", self.url, f"is not of the host of sign_in, {self.sign_in.host}")
        if not self.url.startswith("https://"):
            raise fault(
                "url",
                self.url,
                "shows passwords and cookies to whoever listens; with sign_in it begins with "
                "https://, and the gateway has TLS (slipway:gateway.tls)",
            )
        return self


def fault_of(
    mlflow: Mlflow, *, aws: bool, models_url: str | None = None
) -> PydanticCustomError | None:
    """What is wrong with MLflow's settings beside a stack on AWS (`aws`), or one that is not, whose
    models people ask at `models_url`.
    """
    database, sign_in = mlflow.database, mlflow.sign_in
    if sign_in and models_url and urlsplit(models_url).hostname == sign_in.host:
        return fault(
            "mlflow.sign_in.host",
            sign_in.host,
            "is the host of gateway.url too, and MLflow's has no models; it takes one of its own",
        )
    if not aws:
        if database is not None and database.host is None:
            return fault("mlflow.database.host", None, "is not set; it takes the database's host")
        if mlflow.backups is not None and database is None:
            return fault(
                "mlflow.backups.schedule",
                mlflow.backups.schedule,
                "is of a PostgreSQL, and there is none; set slipway:mlflow.database",
            )
        return None
    if database is None:
        return fault(
            "mlflow.database.ca",
            None,
            "is not set; it takes the file of RDS' authorities for the region, from "
            "https://truststore.pki.rds.amazonaws.com",
        )
    if database.host is not None:
        return fault(
            "mlflow.database.host",
            database.host,
            "is of a database that exists, and aws makes one; keep one of the two",
        )
    if mlflow.backups is not None:
        return fault(
            "mlflow.backups.schedule",
            mlflow.backups.schedule,
            "is for a cluster elsewhere; on AWS, RDS and S3 keep backups of their own",
        )
    if mlflow.service_type != "ClusterIP":
        return fault(
            "mlflow.service_type",
            mlflow.service_type,
            "leads past any sign-in; on AWS it is ClusterIP, with sign_in for people",
        )
    return None
