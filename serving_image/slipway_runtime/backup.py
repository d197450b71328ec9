"""Keeps dumps of MLflow's database, and copies of its artifacts, in the bucket of the artifacts.

``python -m slipway_runtime.backup keep`` puts ``DUMP_FILE`` there, copies new artifacts, and
deletes dumps beyond the newest ``KEEP``. ``… fetch`` gets the dump of the time ``BACKUP``, such as
20261122T031500Z, or the newest one, into ``DUMP_FILE``, and puts back artifacts that are missing
or were changed since. ``BUCKET`` names the bucket, ``MLFLOW_S3_ENDPOINT_URL`` the service, if it is
not AWS' own; credentials are boto3's to find.

    mlflow/…                                the artifacts
    backups/database/<time>.dump            the dumps, of pg_dump's custom format
    backups/artifacts/…                     the copies; what MLflow deletes stays there

A version's artifacts never change, so a copy is one where size and order in time say so. Copies
guard against what happens through MLflow. Against the loss of the bucket itself, keep ``backups/``
elsewhere.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ARTIFACTS: Final = "mlflow/"
COPIES: Final = "backups/artifacts/"
DUMPS: Final = "backups/database/"
_NAME: Final = re.compile(rf"{DUMPS}(\d{{8}}T\d{{6}}Z)\.dump")


class BackupError(Exception):
    """Nothing kept, or nothing fetched; the message is one line."""


@dataclass(frozen=True)
class Found:
    """An object as a listing has it: its size in bytes, and when it was written."""

    size: int
    written: datetime


class Store:
    """The bucket, through boto3's S3 client."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def listed(self, prefix: str) -> dict[str, Found]:
        """The objects under a prefix, by their keys without it."""
        pages = self._client.get_paginator("list_objects_v2")
        return {
            entry["Key"][len(prefix) :]: Found(entry["Size"], entry["LastModified"])
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix)
            for entry in page.get("Contents", ())
            if not entry["Key"].endswith("/")
        }

    def copy_newer(self, source: str, target: str) -> int:
        """Copy what `target` lacks of `source`, or has in another size or an older state; how
        many objects that were.
        """
        there = self.listed(target)
        copied = 0
        for key, found in self.listed(source).items():
            old = there.get(key)
            if old and old.size == found.size and old.written >= found.written:
                continue
            self._copy(source + key, target + key)
            copied += 1
        return copied

    def put_back(self, source: str, target: str) -> int:
        """Copy what `target` lacks of `source`, or has in another state since; how many."""
        there = self.listed(target)
        copied = 0
        for key, found in self.listed(source).items():
            live = there.get(key)
            if live and live.size == found.size and live.written <= found.written:
                continue
            self._copy(source + key, target + key)
            copied += 1
        return copied

    def dumps(self) -> list[str]:
        """The times of the dumps, oldest first."""
        names = (_NAME.fullmatch(DUMPS + name) for name in self.listed(DUMPS))
        return sorted(name[1] for name in names if name)

    def upload(self, file: Path, time: str) -> None:
        self._client.upload_file(str(file), self._bucket, f"{DUMPS}{time}.dump")

    def download(self, time: str, file: Path) -> None:
        self._client.download_file(self._bucket, f"{DUMPS}{time}.dump", str(file))

    def delete(self, time: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=f"{DUMPS}{time}.dump")

    def _copy(self, source: str, target: str) -> None:
        # Of its own accord the client copies a large object in parts.
        self._client.copy({"Bucket": self._bucket, "Key": source}, self._bucket, target)


def keep(store: Store, file: Path, most: int, now: datetime) -> str:
    """Put the dump there, copy artifacts, delete dumps beyond the newest `most`; what was done.

    The artifacts come last: a version in the dump has all of its own by then.
    """
    if not file.is_file() or file.stat().st_size == 0:
        raise BackupError(f"{file}: is no dump")
    time = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    store.upload(file, time)
    copied = store.copy_newer(ARTIFACTS, COPIES)
    old = store.dumps()[:-most]
    for each in old:
        store.delete(each)
    return (
        f"{time}: dump of {file.stat().st_size} bytes, {copied} new artifacts, "
        f"{len(old)} old dumps deleted"
    )


def fetch(store: Store, file: Path, time: str) -> str:
    """Get the dump of that time (the newest if it is empty), put artifacts back; what was done."""
    there = store.dumps()
    if not there:
        raise BackupError("there is no dump in the bucket")
    if time and time not in there:
        raise BackupError(f"BACKUP: {time!r} is no dump (there: {', '.join(there[-20:])})")
    chosen = time or there[-1]
    store.download(chosen, file)
    copied = store.put_back(COPIES, ARTIFACTS)
    return f"{chosen}: dump fetched, {copied} artifacts put back"


def main(
    arguments: list[str],
    env: Mapping[str, str] = os.environ,
    connect: Callable[[Mapping[str, str]], Any] | None = None,
) -> int:
    """Returns the exit code."""
    from boto3.exceptions import Boto3Error  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    if arguments not in (["keep"], ["fetch"]):
        print("usage: python -m slipway_runtime.backup keep|fetch", file=sys.stderr)
        return 2
    try:
        file = Path(env["DUMP_FILE"])
        store = Store((connect or _client)(env), env["BUCKET"])
        if arguments == ["keep"]:
            said = keep(store, file, max(1, int(env["KEEP"])), datetime.now(UTC))
        else:
            said = fetch(store, file, env.get("BACKUP", ""))
    except KeyError as error:
        print(f"backup: {error.args[0]}: is not set", file=sys.stderr)
        return 1
    except (BackupError, OSError, ValueError, BotoCoreError, ClientError, Boto3Error) as error:
        print(f"backup: {' '.join(str(error).split())[:500]}", file=sys.stderr)
        return 1
    print(f"backup: {said}", file=sys.stderr)
    return 0


def _client(env: Mapping[str, str]) -> Any:
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    bounds = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 5})
    return boto3.client("s3", endpoint_url=env.get("MLFLOW_S3_ENDPOINT_URL") or None, config=bounds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
