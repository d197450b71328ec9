"""Reads a model version and its artifacts from an MLflow tracking server over its REST API.

Sources: MLflow 3.17's REST API (``model-versions/get``, ``model-versions/get-download-uri``) and
    its
artifact proxy (``mlflow-artifacts/artifacts``). MLflow's own client is not used for these because
importing it costs seconds and some 190 MB, which every start of every pod would pay, and because it
hides the difference between "not answering" and "no". It is used for artifacts that the server does
not proxy (``s3://…``).

Credentials: ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``, or
    ``MLFLOW_TRACKING_TOKEN``,
as in MLflow. ``REQUESTS_CA_BUNDLE`` names a certificate authority of one's own.
"""

import os
import posixpath
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import requests

_T = TypeVar("_T")

_API: Final = "/api/2.0"
# To connect; to the next byte. The server fetches a file whole before it passes on the first byte.
_SOCKET_SECONDS: Final = (5.0, 60.0)
_CHUNK: Final = 1 << 20
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
_RETRIED_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class TrackingError(Exception):
    """Something that trying again does not mend; the message says in one line what and where."""


class NotAnsweringError(TrackingError):
    """The tracking server gives no usable answer for now."""


@dataclass(frozen=True)
class ModelVersion:
    """A model version as registered.

    Attributes:
        name: the registered model.
        version: the version's number.
        status: ``READY``, ``PENDING_REGISTRATION`` or ``FAILED_REGISTRATION``.
        tags: its tags.
    """

    name: str
    version: int
    status: str
    tags: dict[str, str]


class Artifacts(Protocol):
    """The files of one model version."""

    def sizes(self) -> dict[str, int]:
        """Returns the size in bytes of each file by its path relative to the artifact root."""

    def download(self, path: str, destination: Path) -> None:
        """Writes one file to ``destination``, whose folder exists."""


class TrackingServer:
    """A client of one tracking server.

    Every call is tried again, with growing pauses, while the server is not answering, for at most
    ``timeout`` seconds from its first failure.

    Args:
        uri: the server's URL, as in ``MLFLOW_TRACKING_URI``.
        timeout: seconds.

    Raises:
        TrackingError: ``uri`` is not an http or https URL.
    """

    def __init__(self, uri: str, timeout: float = 120.0) -> None:
        if urlsplit(uri).scheme not in ("http", "https"):
            raise TrackingError(f"MLFLOW_TRACKING_URI: {uri!r} is not an http or https URL")
        self.uri = uri.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
            self._session.headers["authorization"] = f"Bearer {token}"
        elif user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
            self._session.auth = (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))

    def retrying(self, attempt: Callable[[], _T]) -> _T:
        """Returns what ``attempt`` returns, trying again while it raises `NotAnsweringError`.

        Raises:
            TrackingError: as ``attempt`` does, or the time is up.
        """
        deadline: float | None = None
        pause = _FIRST_PAUSE
        while True:
            try:
                return attempt()
            except NotAnsweringError as error:
                now = time.monotonic()
                deadline = now + self._timeout if deadline is None else deadline
                if now + pause > deadline:
                    message = f"{error}; gave up after {self._timeout:g} seconds"
                    raise TrackingError(message) from error
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def model_version(self, name: str, version: int) -> ModelVersion:
        """Returns a registered version; one still being registered is waited for.

        Raises:
            TrackingError: it is not registered, its registration failed, or the server does not
                answer.
        """

        def attempt() -> ModelVersion:
            path = "/mlflow/model-versions/get"
            found = self._json(path, {"name": name, "version": str(version)})["model_version"]
            status = found.get("status", "READY")
            if status == "PENDING_REGISTRATION":
                raise NotAnsweringError(f"{name} {version} is still being registered")
            if status != "READY":
                why = found.get("status_message", "")
                raise TrackingError(f"{name} {version} has status {status}: {why}")
            tags = {tag["key"]: tag.get("value", "") for tag in found.get("tags", [])}
            return ModelVersion(name, version, status, tags)

        return self.retrying(attempt)

    def artifacts(self, name: str, version: int) -> Artifacts:
        """Returns access to a version's files: proxied by the server, or through MLflow's client.

        Raises:
            TrackingError: the version is not registered or the server does not answer.
        """
        path, query = (
            "/mlflow/model-versions/get-download-uri",
            {"name": name, "version": str(version)},
        )
        uri = str(self.retrying(lambda: self._json(path, query))["artifact_uri"])
        parts = urlsplit(uri)
        if parts.scheme == "mlflow-artifacts" and not parts.netloc:
            return _ProxiedArtifacts(self, parts.path.strip("/"))
        return _ClientArtifacts(self, uri)

    def _json(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        with self.get(path, query) as response:
            try:
                answer = response.json()
            except requests.RequestException as error:
                raise NotAnsweringError(f"{self.uri}{path} broke off its answer") from error
            if not isinstance(answer, dict):
                raise TrackingError(f"{self.uri}{path} did not answer as MLflow does")
            return answer

    def get(self, path: str, query: dict[str, str] | None = None) -> requests.Response:
        """Sends one GET under the REST API; the body is not read yet. Close the response.

        Raises:
            NotAnsweringError: no connection, or a status that passes.
            TrackingError: any other status but 200.
        """
        url = f"{self.uri}{_API}{path}"
        try:
            response = self._session.get(url, params=query, stream=True, timeout=_SOCKET_SECONDS)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise NotAnsweringError(f"the tracking server {self.uri} is not answering") from error
        except requests.RequestException as error:
            raise TrackingError(f"{url}: {error}") from error
        if response.status_code == 200:
            return response
        reason = _reason(response)
        response.close()
        if response.status_code in _RETRIED_STATUSES:
            raise NotAnsweringError(f"the tracking server {self.uri} answered {reason}")
        raise TrackingError(f"the tracking server {self.uri} answered {reason}")


class _ProxiedArtifacts:
    """Artifacts that the tracking server passes on from wherever they are."""

    def __init__(self, server: TrackingServer, root: str) -> None:
        self._server = server
        self._root = root

    def sizes(self) -> dict[str, int]:
        """See `Artifacts`."""
        return dict(self._walk(""))

    def _walk(self, folder: str) -> Iterator[tuple[str, int]]:
        query = {"path": posixpath.join(self._root, folder).rstrip("/")}
        listing = self._server.retrying(
            lambda: self._server._json("/mlflow-artifacts/artifacts", query)
        )
        for entry in listing.get("files", []):
            path = posixpath.join(folder, entry["path"])
            if entry.get("is_dir"):
                yield from self._walk(path)
            else:
                yield path, int(entry.get("file_size", 0))

    def download(self, path: str, destination: Path) -> None:
        """See `Artifacts`."""
        url = "/mlflow-artifacts/artifacts/" + quote(posixpath.join(self._root, path))

        def attempt() -> None:
            try:
                with self._server.get(url) as response, destination.open("wb") as file:
                    for chunk in response.iter_content(_CHUNK):
                        file.write(chunk)
            except (requests.RequestException, ConnectionError) as error:
                raise NotAnsweringError(f"the download of {path} broke off") from error

        self._server.retrying(attempt)


class _ClientArtifacts:
    """Artifacts that MLflow's client reads from where they are; its own retries hold."""

    def __init__(self, server: TrackingServer, uri: str) -> None:
        os.environ.setdefault("MLFLOW_TRACKING_URI", server.uri)
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self._uri = uri
        try:
            self._repository = get_artifact_repository(uri)
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> TrackingError:
        return TrackingError(f"{self._uri}: {' '.join(str(error).split())}")

    def sizes(self) -> dict[str, int]:
        """See `Artifacts`."""
        found: dict[str, int] = {}
        folders: list[str | None] = [None]
        try:
            while folders:
                for entry in self._repository.list_artifacts(folders.pop()):
                    if entry.is_dir:
                        folders.append(entry.path)
                    else:
                        found[entry.path] = int(entry.file_size or 0)
        except Exception as error:
            raise self._failure(error) from error
        return found

    def download(self, path: str, destination: Path) -> None:
        """See `Artifacts`."""
        try:
            self._repository._download_file(path, str(destination))
        except Exception as error:
            raise self._failure(error) from error


def _reason(response: requests.Response) -> str:
    """Returns the status of an error and MLflow's message for it, in one line."""
    try:
        message = str(response.json()["message"])
    except (requests.RequestException, ValueError, KeyError, TypeError):
        message = response.reason or ""
    return f"{response.status_code}: {' '.join(message.split())[:500]}"
