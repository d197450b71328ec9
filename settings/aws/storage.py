"""What holds data in a stack on AWS: bucket, database, images."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from settings.aws.bucket_name import BucketName
from settings.aws.values import LogDays, neighbour_fault
from settings.faults import fault
from settings.types import Section, matching

_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d"


def _whole(low: int, high: int, noun: str) -> BeforeValidator:
    def check(value: object) -> object:
        if type(value) is not int or not low <= value <= high:
            raise PydanticCustomError("slipway", f"is not {noun} from {low} to {high}")
        return value

    return BeforeValidator(check)


Days = Annotated[int, _whole(1, 3650, "a whole number of days")]
# RDS keeps at most 35; less than a week is no backup to come back to.
BackupDays = Annotated[int, _whole(7, 35, "a whole number of days")]
Gibibytes = Annotated[int, _whole(20, 65536, "a whole number of GiB")]
Images = Annotated[int, _whole(2, 10000, "a whole number of images")]
ReplicaRegion = Annotated[
    str, matching(r"[a-z]{2,3}(-[a-z]+)+-\d", "is not a region of AWS, as in eu-west-1")
]
InstanceClass = Annotated[
    str,
    matching(r"db\.[a-z0-9]+(-[a-z0-9]+)*\.[a-z0-9]+", "is not a class of RDS, as in db.m7g.large"),
]
PostgresVersion = Annotated[
    str,
    # Validators run from the last to the first. A number is what `pulumi config set` makes of 17.
    matching(
        r"1[4-9](\.\d{1,2})?",
        "is not a version of PostgreSQL, as text: 17, whose minor versions come by themselves, "
        "or 17.6, which stays",
    ),
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
]
Window = Annotated[
    str,
    matching(
        rf"({'|'.join(_WEEK)}):{_CLOCK}-({'|'.join(_WEEK)}):{_CLOCK}",
        "is not a time of the week in UTC, as in sun:03:00-sun:04:00",
    ),
]
DailyWindow = Annotated[
    str, matching(rf"{_CLOCK}-{_CLOCK}", "is not a time of the day in UTC, as in 01:00-02:00")
]
CacheCredentials = Annotated[
    str,
    matching(
        r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:ecr-pullthroughcache/\S+",
        "is not the ARN of a secret in Secrets Manager whose name begins with "
        "ecr-pullthroughcache/",
    ),
]


class Replica(Section):
    """A second bucket that follows the first, in another region."""

    region: ReplicaRegion = Field(description="another region than the stack's")
    name: BucketName | None = Field(
        default=None, description="absent: the bucket's name and the region"
    )
    delete_markers: bool = Field(
        default=False, description="whether what is deleted in the bucket is deleted there, too"
    )


class Bucket(Section):
    """The bucket of the models' artifacts on S3."""

    name: BucketName | None = Field(
        default=None, description="absent: slipway-<stack>-artifacts-<account>"
    )
    noncurrent_days: Days = Field(
        default=90, description="how long what was overwritten or deleted can be had back"
    )
    abort_multipart_days: Days = Field(
        default=7, description="after which what an upload that broke off left is removed"
    )
    access_logs: BucketName | None = Field(
        default=None,
        description="a bucket there is, in the same account and region, that S3 may write to",
    )
    replica: Replica | None = None

    @model_validator(mode="after")
    def _two_buckets(self) -> Bucket:
        if self.name is None:
            return self
        if self.replica and self.replica.name == self.name:
            raise fault("replica.name", self.name, "is the bucket itself")
        if self.access_logs == self.name:
            raise fault("access_logs", self.name, "is the bucket itself")
        return self


class Database(Section):
    """MLflow's database: PostgreSQL on RDS."""

    instance_class: InstanceClass = "db.t4g.medium"
    storage: Gibibytes = Field(default=20, description="GiB at first")
    max_storage: Gibibytes = Field(default=100, description="GiB that it may grow to")
    multi_az: bool = Field(default=True, description="a standby in a second zone")
    backup_days: BackupDays = Field(default=14, description="that it can be brought back to")
    backup_window: DailyWindow = "01:00-02:00"
    maintenance_window: Window = "sun:03:00-sun:04:00"
    version: PostgresVersion = "17"
    allow_major: bool = Field(
        default=False, description="whether an update may take it to a newer major version"
    )
    deletion_protection: bool = Field(
        default=True, description="false: the next `pulumi destroy` deletes it, after a snapshot"
    )
    performance_insights: bool = True
    log_days: LogDays = Field(default=90, description="days that its logs stay in CloudWatch")

    @property
    def major(self) -> str:
        """`17`, of version 17.6 as well."""
        return self.version.partition(".")[0]

    @model_validator(mode="after")
    def _room_to_grow(self) -> Database:
        least = -(-self.storage * 11 // 10)
        if self.max_storage < least:
            # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.Autoscaling.html
            raise fault(
                "max_storage",
                self.max_storage,
                f"is less than RDS takes with storage {self.storage}: {least}, a tenth more",
            )
        return self

    @model_validator(mode="after")
    def _windows(self) -> Database:
        start, length = _weekly(self.maintenance_window)
        if not 30 <= length <= _DAY_MINUTES:
            raise fault(
                "maintenance_window", self.maintenance_window, "is not of 30 minutes to 24 hours"
            )
        begin, long = _daily(self.backup_window)
        if long < 30:
            raise fault("backup_window", self.backup_window, "is not of 30 minutes or more")
        for day in range(-1, 8):
            other = day * _DAY_MINUTES + begin
            for shift in (0, 7 * _DAY_MINUTES):
                if other < start + shift + length and start + shift < other + long:
                    raise fault(
                        "maintenance_window",
                        self.maintenance_window,
                        f"overlaps the backup_window {self.backup_window}, which RDS refuses",
                    )
        return self


class ImageRegistry(Section):
    """The images on ECR: the serving image, and copies of others' that are pulled through."""

    keep: Images = Field(
        default=100, description="images of the serving repository, the newest; older ones go"
    )
    enhanced_scanning: bool = Field(
        default=False,
        description="scan by Amazon Inspector as threats become known; it is the region's setting, "
        "so of one stack alone",
    )
    pull_through: list[Literal["quay.io", "registry.k8s.io", "public.ecr.aws"]] = Field(
        default_factory=list, description="registries whose images are pulled by way of ECR"
    )
    docker_hub_credentials: CacheCredentials | None = Field(
        default=None,
        description="pull docker.io by way of ECR, with the login in this secret",
    )


def credentials_fault(secret: str | None, account: str, region: str) -> PydanticCustomError | None:
    """The fault of a login to Docker Hub that lies elsewhere than the registry."""
    why = "ECR reads a login of its own region and account alone"
    return neighbour_fault("docker_hub_credentials", secret, account, region, why)


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _daily(window: str) -> tuple[int, int]:
    """Minute of the day that it begins, and its length in minutes."""
    start, end = map(_minutes, window.split("-"))
    return start, (end - start) % _DAY_MINUTES


def _weekly(window: str) -> tuple[int, int]:
    """Minute of the week that it begins, and its length in minutes."""
    found = re.findall(r"([a-z]{3}):(\d\d:\d\d)", window)
    start, end = (_WEEK.index(day) * _DAY_MINUTES + _minutes(clock) for day, clock in found)
    return start, (end - start) % (7 * _DAY_MINUTES)
