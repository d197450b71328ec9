"""Keeps the password of MLflow's database where libpq reads it, so that a new one needs no restart.

``python -m slipway_runtime.database_login`` runs beside whoever talks to the database, and writes
the file ``PGPASSFILE`` (https://www.postgresql.org/docs/current/libpq-pgpass.html), which libpq
reads at each new connection. The password comes from one of two places:

    DATABASE_PASSWORD_FILE  a file, as a mounted Secret has it; looked at every 5 seconds
    DATABASE_SECRET_ARN     a secret of AWS Secrets Manager, JSON with ``password``, in AWS_REGION;
                            asked for every 5 minutes

A secret that rotates is wrong from one moment to the next. So every 20 seconds the password is
tried on the database that ``PGHOST``, ``PGPORT``, ``PGDATABASE`` and ``PGUSER`` name; if that
refuses it, Secrets Manager is asked at once. Without ``PGHOST`` nothing is tried.

Exits 1 with one line where no password can be had at the start; a later failure is a line, and the
password stays as it was. With ``--check`` it exits 0 if the file is there, for a probe.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

FILE_SECONDS: Final = 5.0
SECRET_SECONDS: Final = 300.0
TRIAL_SECONDS: Final = 20.0
_CONNECT_SECONDS: Final = 5

Source = Callable[[], str]


class LoginError(Exception):
    """No password; the message is one line and holds none of it."""


def from_file(path: Path) -> str:
    """The password in a file, without a line's end after it."""
    try:
        return _plain(path.read_text().removesuffix("\n"), str(path))
    except OSError as error:
        raise LoginError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LoginError(f"{path}: is not text") from None


def from_secrets_manager(arn: str, client: Any) -> str:
    """The password in the current version of a secret: JSON with ``password``."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    try:
        text = client.get_secret_value(SecretId=arn).get("SecretString")
    except (BotoCoreError, ClientError) as error:
        raise LoginError(f"{arn}: cannot be read: {' '.join(str(error).split())[:300]}") from None
    try:
        found = json.loads(text or "")["password"]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, str):
        raise LoginError(f"{arn}: is not JSON with a text `password`")
    return _plain(found, arn)


def source(env: Mapping[str, str]) -> tuple[Source, float]:
    """Where the password comes from, and how many seconds it is good for."""
    path, arn = env.get("DATABASE_PASSWORD_FILE"), env.get("DATABASE_SECRET_ARN")
    if bool(path) == bool(arn):
        raise LoginError("DATABASE_PASSWORD_FILE, DATABASE_SECRET_ARN: set one of the two")
    if path:
        return lambda: from_file(Path(path)), FILE_SECONDS
    region = env.get("AWS_REGION")
    if not region:
        raise LoginError("AWS_REGION: is not set; it takes the region of DATABASE_SECRET_ARN")
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    bounds = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3})
    client = boto3.client("secretsmanager", region_name=region, config=bounds)
    return lambda: from_secrets_manager(str(arn), client), SECRET_SECONDS


def line(password: str) -> str:
    """The password as a line of the file, for every host, port, database and user."""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"


def write(path: Path, password: str) -> bool:
    """Put the password into the file at once and whole, for its owner alone; whether it is new."""
    wanted = line(password)
    if path.exists() and path.read_text() == wanted:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(wanted)
    partial.replace(path)
    return True


def refused(env: Mapping[str, str] = os.environ) -> bool:
    """Whether the database, asked by libpq's environment, says that the password is wrong.

    False where it cannot be asked: that is no fault of the password.
    """
    if not env.get("PGHOST"):
        return False
    import psycopg

    try:
        psycopg.connect(connect_timeout=_CONNECT_SECONDS).close()
    except psycopg.OperationalError as error:
        return "password authentication failed" in str(error)
    return False


def keep(
    path: Path,
    fetch: Source,
    seconds: float,
    *,
    wrong: Callable[[], bool] = refused,
    wait: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
    rounds: int | None = None,
) -> None:
    """Write the password, and go on writing it: every `seconds`, and at once when it is `wrong`.

    rounds: how often to look again; None for ever. Raises LoginError where there is none at first.
    """
    write(path, fetch())
    _say("the password is there")
    looked = now()
    turns = 0
    while rounds is None or turns < rounds:
        turns += 1
        wait(min(seconds, TRIAL_SECONDS))
        if now() - looked < seconds and not wrong():
            continue
        looked = now()
        try:
            if write(path, fetch()):
                _say("the password is a new one")
        except (LoginError, OSError) as error:
            _say(f"{error}; the password stays as it was")


def _plain(password: str, where: str) -> str:
    if not password or "\n" in password or "\0" in password:
        raise LoginError(f"{where}: holds no password, which is one line of text")
    return password


def _say(text: str) -> None:
    print(f"database login: {text}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Runs until it is told to end; returns the exit code."""
    named = os.environ.get("PGPASSFILE")
    if not named:
        _say("PGPASSFILE: is not set; it takes the file to write")
        return 1
    path = Path(named)
    if arguments == ["--check"]:
        return 0 if path.exists() else 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        fetch, seconds = source(os.environ)
        keep(path, fetch, seconds)
    except (LoginError, OSError) as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
