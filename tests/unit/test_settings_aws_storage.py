"""Settings of what holds data on AWS: defaults, and one line for each fault."""

from __future__ import annotations

from typing import Any

import pytest

from settings.aws.bucket_name import fault
from settings.aws.storage import Bucket, Database, ImageRegistry
from settings.model import Model
from tests.unit.aws_faults import faults


def test_defaults_are_safe() -> None:
    database = Database()
    assert database.multi_az and database.deletion_protection and database.performance_insights
    assert (database.backup_days, database.major) == (14, "17")
    assert Bucket().replica is None
    assert ImageRegistry().pull_through == []


@pytest.mark.parametrize(
    "name", ["abc", "a" * 63, "0-9", "slipway-prod-artifacts-123456789012", "1921681"]
)
def test_names_that_s3_takes(name: str) -> None:
    assert fault(name) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ab", "has 2 characters, and a bucket's name 3 to 63"),
        ("a" * 64, "has 64 characters, and a bucket's name 3 to 63"),
        ("192.168.5.4", "looks like an IP address; a bucket's name does not"),
        ("xn--bucket", "begins with xn--, which S3 keeps for itself"),
        ("sthree-bucket", "begins with sthree-, which S3 keeps for itself"),
        ("amzn-s3-demo-bucket", "begins with amzn-s3-demo-, which S3 keeps for itself"),
        ("bucket-s3alias", "ends with -s3alias, which S3 keeps for itself"),
        ("bucket--ol-s3", "ends with --ol-s3, which S3 keeps for itself"),
        ("bucket.mrap", "ends with .mrap, which S3 keeps for itself"),
        ("bucket--x-s3", "ends with --x-s3, which S3 keeps for itself"),
        ("bucket--table-s3", "ends with --table-s3, which S3 keeps for itself"),
        ("my.bucket", "holds a dot, with which TLS to the bucket fails; use '-'"),
        ("Bucket", "holds 'B'; a bucket's name is of a-z, 0-9 and '-'"),
        ("my_bucket", "holds '_'; a bucket's name is of a-z, 0-9 and '-'"),
        ("bücket", "holds 'ü'; a bucket's name is of a-z, 0-9 and '-'"),
        ("{bucket}", "holds '{'; a bucket's name is of a-z, 0-9 and '-'"),
        ("-ab", "begins or ends with '-'; a bucket's name begins and ends with a letter or digit"),
        ("ab-", "begins or ends with '-'; a bucket's name begins and ends with a letter or digit"),
    ],
)
def test_names_that_s3_refuses(name: str, said: str) -> None:
    assert fault(name) == said
    assert faults("bucket", Bucket, name=name) == [f'bucket.name: "{name}" {said}']


SECRET = "ecr-pullthroughcache/"


@pytest.mark.parametrize(
    ("section", "keys", "line"),
    [
        (Bucket, {"name": 5}, "name: 5 is not a bucket's name: text"),
        (Bucket, {"noncurrent_days": 0}, "noncurrent_days: 0 is not a whole number of days from 1"),
        (Bucket, {"access_logs": "a.b"}, 'access_logs: "a.b" holds a dot'),
        (
            Bucket,
            {"name": "abc", "access_logs": "abc"},
            'access_logs: "abc" is the bucket itself',
        ),
        (
            Bucket,
            {"name": "abc", "replica": {"region": "eu-west-1", "name": "abc"}},
            'replica.name: "abc" is the bucket itself',
        ),
        (Bucket, {"replica": {"region": "Ireland"}}, 'replica.region: "Ireland" is not a region'),
        (Database, {"instance_class": "m7g.large"}, 'instance_class: "m7g.large" is not a class'),
        (Database, {"backup_days": 6}, "backup_days: 6 is not a whole number of days from 7 to 35"),
        (Database, {"backup_days": True}, "backup_days: true is not a whole number of days"),
        (Database, {"version": "12"}, 'version: "12" is not a version of PostgreSQL, as text: 17'),
        (Database, {"version": 17.6}, "version: 17.6 is not a version of PostgreSQL, as text: 17"),
        (Database, {"storage": 10}, "storage: 10 is not a whole number of GiB from 20 to 65536"),
        (
            Database,
            {"storage": 95},
            "max_storage: 100 is less than RDS takes with storage 95: 105, a tenth more",
        ),
        (
            Database,
            {"maintenance_window": "sunday:03:00-sunday:04:00"},
            'maintenance_window: "sunday:03:00-sunday:04:00" is not a time of the week in UTC',
        ),
        (
            Database,
            {"maintenance_window": "sun:03:00-sun:03:20"},
            'maintenance_window: "sun:03:00-sun:03:20" is not of 30 minutes to 24 hours',
        ),
        (
            Database,
            {"maintenance_window": "sun:23:30-mon:01:30"},
            'maintenance_window: "sun:23:30-mon:01:30" overlaps the backup_window 01:00-02:00',
        ),
        (
            Database,
            {"backup_window": "23:45-00:30", "maintenance_window": "mon:00:00-mon:01:00"},
            'maintenance_window: "mon:00:00-mon:01:00" overlaps the backup_window 23:45-00:30',
        ),
        (Database, {"backup_window": "1:00-2:00"}, 'backup_window: "1:00-2:00" is not a time of'),
        (Database, {"backup_window": "01:00-01:10"}, 'backup_window: "01:00-01:10" is not of 30'),
        (ImageRegistry, {"keep": 1}, "keep: 1 is not a whole number of images from 2 to 10000"),
        (
            ImageRegistry,
            {"pull_through": ["docker.io"]},
            'pull_through[0]: "docker.io" is not one of quay.io, registry.k8s.io or public.ecr.aws',
        ),
        (
            ImageRegistry,
            {"docker_hub_credentials": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hub"},
            "docker_hub_credentials: ",
        ),
        (
            ImageRegistry,
            {"pull_thruogh": []},
            "pull_thruogh: is not a known key; did you mean pull_through? (known: ",
        ),
    ],
)
def test_faults(section: type[Any], keys: dict[str, Any], line: str) -> None:
    (said,) = faults("it", section, **keys)
    assert said.startswith(f"it.{line}")


@pytest.mark.parametrize(
    "keys",
    [
        {"maintenance_window": "sun:02:00-sun:03:00"},
        {"maintenance_window": "sat:23:30-sun:01:00"},
        {"version": "16.9"},
        {"storage": 100, "max_storage": 110},
    ],
)
def test_what_just_holds(keys: dict[str, Any]) -> None:
    assert faults("it", Database, **keys) == []


def test_a_version_that_the_command_line_made_a_number() -> None:
    assert Database.model_validate({"version": 17}).version == "17"


def test_experiments() -> None:
    model = Model.model_validate({"stable": 1, "experiments": [3, "14", "3"]})
    assert model.experiments == ["3", "14"]
    assert Model(stable=1).experiments is None


@pytest.mark.parametrize("value", [[], "3", ["03"], ["../4"], ["*"], [True], [-1], [1.5], [""]])
def test_experiments_that_are_none(value: object) -> None:
    (said,) = faults("it", Model, stable=1, experiments=value)
    assert said.endswith('is not a list of ids of MLflow\'s experiments, as in ["3", "14"]')
