"""Brings MLflow's database to the schema of this image's MLflow, before a server of it starts.

``python -m slipway_runtime.database_migrate`` works on the PostgreSQL that ``DATABASE_URL``
names, with libpq's environment for the rest. An empty database gets all tables, an older one is
brought up to date, and a current one stays as it is. It waits for the database for up to 3 minutes,
and runs once at a time: another that is under way is waited for (an advisory lock of PostgreSQL's,
which ends with its connection). PostgreSQL takes back what a killed run has not finished.

It exits 1 with the database's own words where it cannot.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sqlalchemy import Engine

WAIT_SECONDS: Final = 180.0
PAUSE_SECONDS: Final = 2.0
# Any number that nobody else locks: the first of sha256("slipway mlflow migrations").
LOCK: Final = 5406812


class MigrateError(Exception):
    """The database could not be brought there; the message is one line."""


def reached(
    engine: "Engine",
    seconds: float = WAIT_SECONDS,
    *,
    now: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Returns once the database answers. Raises MigrateError with its last words otherwise."""
    from sqlalchemy.exc import SQLAlchemyError

    deadline = now() + seconds
    last = ""
    while True:
        try:
            engine.connect().close()
            return
        except SQLAlchemyError as error:
            words = said(error)
        if words != last:
            print(f"database: {words}; waiting", file=sys.stderr, flush=True)
            last = words
        if now() >= deadline:
            raise MigrateError(f"no connection within {seconds:.0f} s: {last}")
        wait(PAUSE_SECONDS)


def migrate(url: str) -> str:
    """Brings the database there; returns the revision it is at. Raises MigrateError."""
    from alembic.util import CommandError
    from mlflow.db import upgrade
    from mlflow.exceptions import MlflowException
    from mlflow.store.db import utils
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    engine: Any = utils.create_sqlalchemy_engine(url)
    reached(engine)
    try:
        # Beside the upgrade's own connections: the lock is of this one, and goes with it.
        with engine.connect() as held:
            held.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
            held.commit()
            # What `mlflow db upgrade` does.
            change: Any = upgrade.callback
            change(url)
            return str(utils._get_schema_version(engine))
    except CommandError as error:
        raise MigrateError(
            f"{said(error)}; the schema is of a newer MLflow: deploy an image with that one, or "
            "restore a backup from before it"
        ) from None
    except (SQLAlchemyError, MlflowException) as error:
        raise MigrateError(said(error)) from None


def said(error: Exception) -> str:
    """An error as one line: the database's own words, without the statement and its address."""
    original = getattr(error, "orig", None) or error
    return " ".join(str(original).split())[:500] or type(original).__name__


def main() -> int:
    """Returns the exit code."""
    url = os.environ.get("DATABASE_URL")
    if not url:
        print("database: DATABASE_URL: is not set", file=sys.stderr)
        return 1
    start = time.monotonic()
    try:
        revision = migrate(url)
    except MigrateError as error:
        print(f"database: {error}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - start
    print(f"database: at revision {revision} after {seconds:.1f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
