"""The password of MLflow's database, its migrations, and its backups, without a database."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from moto import mock_aws
from psycopg import pq

from slipway_runtime import backup, database_login, database_migrate
from slipway_runtime.database_login import LoginError

REGION = "eu-central-1"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        yield


@pytest.fixture
def pgpass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "login/pgpass"
    for name in ("DATABASE_PASSWORD_FILE", "DATABASE_SECRET_ARN", "AWS_REGION", "PGHOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGPASSFILE", str(path))
    return path


def test_the_file_is_whole_and_its_owner_s_alone(pgpass: Path) -> None:
    assert database_login.write(pgpass, "a:b\\c")
    assert pgpass.read_text() == "*:*:*:*:a\\:b\\\\c\n"
    assert stat.S_IMODE(pgpass.stat().st_mode) == 0o600
    before = pgpass.stat().st_ino
    assert not database_login.write(pgpass, "a:b\\c")
    assert pgpass.stat().st_ino == before
    assert database_login.write(pgpass, "other")
    assert pgpass.stat().st_ino != before
    assert [it.name for it in pgpass.parent.iterdir()] == ["pgpass"]


def test_libpq_reads_it(pgpass: Path) -> None:
    database_login.write(pgpass, "a:b\\c")
    # libpq looks the password up as it starts, before anybody answers.
    text = f"host=127.0.0.1 port=1 user=mlflow dbname=mlflow passfile={pgpass}"
    found = pq.PGconn.connect_start(text.encode())
    assert found.password == b"a:b\\c"


def clock(ends: list[float]) -> tuple[Callable[[float], None], Callable[[], float]]:
    """A clock that a wait moves; what was waited goes into `ends`."""
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds
        ends.append(seconds)

    return wait, lambda: now[0]


def test_a_wrong_password_is_asked_for_at_once_and_others_in_time(pgpass: Path) -> None:
    waits: list[float] = []
    wait, now = clock(waits)
    passwords = iter(["one", "two", "three"])
    asked: list[float] = []

    def fetch() -> str:
        asked.append(now())
        return next(passwords)

    wrong = iter([False, True, *[False] * 30])
    database_login.keep(
        pgpass, fetch, 300, wrong=lambda: next(wrong), wait=wait, now=now, rounds=18
    )
    # At the start, at the second trial, where it was wrong, and five minutes after that.
    assert asked == [0, 40, 340]
    assert pgpass.read_text() == "*:*:*:*:three\n"


def test_a_password_that_cannot_be_had_later_stays(
    pgpass: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wait, now = clock([])
    answers: Iterator[Any] = iter(["one", LoginError("arn: gone"), "two"])

    def fetch() -> str:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return str(found)

    database_login.keep(pgpass, fetch, 5, wrong=lambda: False, wait=wait, now=now, rounds=1)
    assert pgpass.read_text() == "*:*:*:*:one\n"
    said = capsys.readouterr().err
    assert "arn: gone; the password stays as it was" in said
    assert "one" not in said.replace("gone", "")


def test_from_secrets_manager(aws: None, pgpass: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.client("secretsmanager", region_name=REGION)
    arn = client.create_secret(
        Name="mlflow", SecretString=json.dumps({"username": "mlflow", "password": "first"})
    )["ARN"]
    fetch, seconds = database_login.source({"DATABASE_SECRET_ARN": arn, "AWS_REGION": REGION})
    assert (fetch(), seconds) == ("first", 300)
    client.put_secret_value(SecretId=arn, SecretString=json.dumps({"password": "second"}))
    assert fetch() == "second"
    for text in ("first", "{}", '{"password": 1}', '{"password": ""}', "[]"):
        client.put_secret_value(SecretId=arn, SecretString=text)
        with pytest.raises(LoginError, match="password"):
            fetch()
    client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    with pytest.raises(LoginError, match="cannot be read"):
        fetch()


@pytest.mark.parametrize(
    ("env", "line"),
    [
        ({}, "DATABASE_PASSWORD_FILE, DATABASE_SECRET_ARN: set one of the two"),
        ({"DATABASE_SECRET_ARN": "arn"}, "AWS_REGION: is not set"),
        ({"DATABASE_PASSWORD_FILE": "/nowhere"}, "/nowhere: cannot be read: No such file"),
    ],
)
def test_without_a_password_it_ends_with_one_line(
    env: dict[str, str],
    line: str,
    pgpass: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    assert database_login.main([]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"database login: {line}")
    assert database_login.main(["--check"]) == 1
    database_login.write(pgpass, "x")
    assert database_login.main(["--check"]) == 0


def test_nobody_answering_is_no_wrong_password() -> None:
    assert not database_login.refused({})


class Broken:
    """An engine whose database answers at the `good`-th connection."""

    def __init__(self, good: int) -> None:
        self.tried = 0
        self.good = good

    def connect(self) -> Broken:
        from sqlalchemy.exc import OperationalError

        self.tried += 1
        if self.tried < self.good:
            raise OperationalError("SELECT 1", {}, Exception("connection\n refused"))
        return self

    def close(self) -> None:
        pass


def test_migrations_wait_for_the_database(capsys: pytest.CaptureFixture[str]) -> None:
    wait, now = clock([])
    engine: Any = Broken(4)
    database_migrate.reached(engine, 180, now=now, wait=wait)
    assert engine.tried == 4
    # Its words once, and not its statement.
    assert capsys.readouterr().err == "database: connection refused; waiting\n"
    with pytest.raises(
        database_migrate.MigrateError, match=r"no connection within 10 s: connection refused$"
    ):
        never: Any = Broken(1000)
        database_migrate.reached(never, 10, now=now, wait=wait)


def test_migrations_want_an_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert database_migrate.main() == 1
    assert capsys.readouterr().err == "database: DATABASE_URL: is not set\n"


NOW = datetime(2026, 11, 22, 3, 15, tzinfo=UTC)


@pytest.fixture
def bucket(aws: None) -> tuple[Any, backup.Store]:
    client = boto3.client("s3", region_name=REGION)
    client.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": REGION})
    return client, backup.Store(client, "kept")


def keys(client: Any) -> dict[str, bytes]:
    listed = client.list_objects_v2(Bucket="kept").get("Contents", [])
    return {
        it["Key"]: client.get_object(Bucket="kept", Key=it["Key"])["Body"].read() for it in listed
    }


def test_a_backup_and_its_restore(bucket: tuple[Any, backup.Store], tmp_path: Path) -> None:
    client, store = bucket
    dump = tmp_path / "database.dump"
    with pytest.raises(backup.BackupError, match="is no dump"):
        backup.keep(store, dump, 2, NOW)
    artifacts = {f"mlflow/1/m/{name}": name.encode() for name in ("MLmodel", "a b", "ü?#")}
    for key, body in artifacts.items():
        client.put_object(Bucket="kept", Key=key, Body=body)
    for day in range(4):
        dump.write_text(f"dump {day}")
        said = backup.keep(store, dump, 2, NOW + timedelta(days=day))
    assert said == "20261125T031500Z: dump of 6 bytes, 0 new artifacts, 1 old dumps deleted"
    assert store.dumps() == ["20261124T031500Z", "20261125T031500Z"]

    client.delete_object(Bucket="kept", Key="mlflow/1/m/a b")
    client.put_object(Bucket="kept", Key="mlflow/1/m/MLmodel", Body=b"overwritten, and longer")
    client.put_object(Bucket="kept", Key="mlflow/2/new", Body=b"since then")
    out = tmp_path / "out"
    assert backup.fetch(store, out, "") == "20261125T031500Z: dump fetched, 2 artifacts put back"
    assert out.read_text() == "dump 3"
    found = keys(client)
    assert {key: found[key] for key in artifacts} == artifacts
    assert found["mlflow/2/new"] == b"since then"
    said = backup.fetch(store, out, "20261124T031500Z")
    assert said.startswith("20261124T031500Z: dump fetched")
    assert keys(client) == found
    assert out.read_text() == "dump 2"
    with pytest.raises(backup.BackupError, match="there: 20261124T031500Z, 20261125T031500Z"):
        backup.fetch(store, out, "20260101T000000Z")


def test_what_is_missing_is_one_line(
    bucket: tuple[Any, backup.Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client, _ = bucket
    env = {"DUMP_FILE": str(tmp_path / "d"), "BUCKET": "kept", "KEEP": "3"}
    for left_out in env:
        given = {key: value for key, value in env.items() if key != left_out}
        (tmp_path / "d").write_text("x")
        assert backup.main(["keep"], given, lambda _: client) == 1
        assert capsys.readouterr().err == f"backup: {left_out}: is not set\n"
    assert backup.main(["fetch"], env, lambda _: client) == 1
    assert capsys.readouterr().err == "backup: there is no dump in the bucket\n"
    assert backup.main(["fetch"], env | {"BUCKET": "none"}, lambda _: client) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "NoSuchBucket" in line
    assert backup.main(["away"], env, lambda _: client) == 2
