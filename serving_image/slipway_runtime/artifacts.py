"""Where a model version's files are, and how they are read from there.

Three places, by the version's artifact URI: an ``s3://`` bucket (see `bucket`), read directly; the
tracking server's artifact proxy (``mlflow-artifacts:/…``, MLflow 3.17's REST API
``mlflow-artifacts/artifacts``); and whatever else MLflow's own client knows.
"""

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable
from urllib.parse import quote, urlsplit

import requests

from slipway_runtime.tracking import NotAnsweringError, TrackingError, TrackingServer

CHUNK: Final = 1 << 20
"""Bytes read at a time: with the number of downloads at a time, what a fetch takes of memory."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as its place lists it: its size in bytes, and a mark that changes with its content.

    The mark is empty where the place has none.
    """

    size: int
    mark: str = ""


class Artifacts(Protocol):
    """The files of one model version.

    Attributes:
        uri: where they are.
    """

    uri: str

    def files(self) -> dict[str, RemoteFile]:
        """Returns each file by its path relative to the artifact root.

        Raises:
            TrackingError: they cannot be listed.
        """


@runtime_checkable
class ReadableArtifacts(Artifacts, Protocol):
    """Files that can be read from any byte on.

    Attributes:
        request_bytes: how much to ask for in one request, so that parts of a large file travel
            side by side; None where a file is best read in one request.
    """

    request_bytes: int | None

    def read(self, path: str, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """Yields the bytes from ``start`` up to ``stop`` exclusively, in chunks; never more.

        Raises:
            NotAnsweringError: it broke off; what was yielded is good.
            TrackingError: the file cannot be had.
        """


@runtime_checkable
class CopiedArtifacts(Artifacts, Protocol):
    """Files that only come whole."""

    def download(self, path: str, destination: Path) -> None:
        """Writes one file to ``destination``, whose folder exists.

        Raises:
            TrackingError: the file cannot be had.
        """


def find(
    server: TrackingServer, model: str, version: int, bucket: str | None = None
) -> "ReadableArtifacts | CopiedArtifacts":
    """Returns access to the files of ``version`` of ``model``.

    Args:
        server: the tracking server.
        model: the registered model's name.
        version: the version's number.
        bucket: ``s3://bucket/prefix``, the server's own ``--artifacts-destination``, to read what
            it would pass on straight from there; None to have it passed on.

    Raises:
        TrackingError: the version is not registered, the server does not answer, or ``bucket`` is
            no such URI.
    """
    uri = server.artifact_uri(model, version)
    parts = urlsplit(uri)
    if bucket is not None:
        if urlsplit(bucket).scheme != "s3" or not urlsplit(bucket).netloc:
            raise TrackingError(f"{bucket!r} is not a bucket such as s3://name/prefix")
        if parts.scheme == "mlflow-artifacts":
            uri = f"{bucket.rstrip('/')}/{parts.path.strip('/')}"
    if urlsplit(uri).scheme == "s3":
        from slipway_runtime.bucket import BucketArtifacts

        return BucketArtifacts(uri, server.patience)
    if parts.scheme == "mlflow-artifacts" and not parts.netloc:
        return ProxiedArtifacts(server, parts.path.strip("/"))
    return ClientArtifacts(server, uri)


class ProxiedArtifacts:
    """Artifacts that the tracking server passes on from wherever they are."""

    # The server brings a file from its bucket whole for every request, be it for a part.
    request_bytes: int | None = None

    def __init__(self, server: TrackingServer, root: str) -> None:
        self.uri = f"mlflow-artifacts:/{root}"
        self._server = server
        self._root = root

    def files(self) -> dict[str, RemoteFile]:
        """See `Artifacts`."""
        return dict(self._walk(""))

    def _walk(self, folder: str) -> Iterator[tuple[str, RemoteFile]]:
        query = {"path": posixpath.join(self._root, folder).rstrip("/")}
        listing = self._server.retrying(
            lambda: self._server.json("/mlflow-artifacts/artifacts", query)
        )
        for entry in listing.get("files", []):
            path = posixpath.join(folder, entry["path"])
            if entry.get("is_dir"):
                yield from self._walk(path)
            else:
                yield path, RemoteFile(int(entry.get("file_size", 0)))

    def read(self, path: str, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """See `ReadableArtifacts`."""
        url = "/mlflow-artifacts/artifacts/" + quote(posixpath.join(self._root, path))
        headers = {"accept-encoding": "identity"}
        if start or stop < file.size:
            headers["range"] = f"bytes={start}-{stop - 1}"
        wanted = stop - start
        try:
            with self._server.get(url, headers=headers) as response:
                # A server or proxy that knows no ranges sends everything from the first byte on.
                skip = start if response.status_code == 200 else 0
                for chunk in response.iter_content(CHUNK):
                    part = chunk[skip : skip + wanted]
                    skip = max(0, skip - len(chunk))
                    wanted -= len(part)
                    if part:
                        yield part
                    if not wanted:
                        return
        except (requests.RequestException, ConnectionError) as error:
            raise NotAnsweringError(f"the download of {path} broke off") from error


class ClientArtifacts:
    """Artifacts that MLflow's client reads from where they are; its own retries hold."""

    def __init__(self, server: TrackingServer, uri: str) -> None:
        os.environ.setdefault("MLFLOW_TRACKING_URI", server.uri)
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self.uri = uri
        try:
            self._repository = get_artifact_repository(uri)
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> TrackingError:
        return TrackingError(f"{self.uri}: {' '.join(str(error).split())}")

    def files(self) -> dict[str, RemoteFile]:
        """See `Artifacts`."""
        found: dict[str, RemoteFile] = {}
        folders: list[str | None] = [None]
        try:
            while folders:
                for entry in self._repository.list_artifacts(folders.pop()):
                    if entry.is_dir:
                        folders.append(entry.path)
                    else:
                        found[entry.path] = RemoteFile(int(entry.file_size or 0))
        except Exception as error:
            raise self._failure(error) from error
        return found

    def download(self, path: str, destination: Path) -> None:
        """See `CopiedArtifacts`."""
        try:
            self._repository._download_file(path, str(destination))
        except Exception as error:
            raise self._failure(error) from error
