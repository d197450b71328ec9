"""Asks an MLflow tracking server for model versions, over its REST API.

Source: MLflow 3.17's REST API (``model-versions/get``, ``model-versions/get-download-uri``,
``registered-models/alias``). MLflow's own client is not used because importing it costs seconds and
some 190 MB, which every start of every pod would pay, and because it hides the difference between
"not answering" and "no".

Credentials: ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``, or
``MLFLOW_TRACKING_TOKEN``, as in MLflow. ``REQUESTS_CA_BUNDLE`` names a certificate authority of
one's own.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import requests

_T = TypeVar("_T")

_API: Final = "/api/2.0"
# To connect; to the next byte. The server fetches a file whole before it passes on the first byte.
_SOCKET_SECONDS: Final = (5.0, 60.0)
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


class Patience:
    """How long one thing is tried again: growing pauses, for ``seconds`` since its first failure.

    Args:
        seconds: from the first failure, or the first after the last success, to giving up.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.succeeded()

    def succeeded(self) -> None:
        """Starts anew: something has worked since the last failure."""
        self._deadline: float | None = None
        self._pause = _FIRST_PAUSE

    def failed(self, error: "NotAnsweringError") -> None:
        """Pauses before the next attempt.

        Raises:
            TrackingError: the time is up; its cause is ``error``.
        """
        now = time.monotonic()
        self._deadline = now + self._seconds if self._deadline is None else self._deadline
        if now + self._pause > self._deadline:
            raise TrackingError(f"{error}; gave up after {self._seconds:g} seconds") from error
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


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
        patience = self.patience()
        while True:
            try:
                return attempt()
            except NotAnsweringError as error:
                patience.failed(error)

    def patience(self) -> Patience:
        """Returns the patience of one call."""
        return Patience(self._timeout)

    def model_version(self, name: str, version: int) -> ModelVersion:
        """Returns a registered version; one still being registered is waited for.

        Raises:
            TrackingError: it is not registered, its registration failed, or the server does not
                answer.
        """

        def attempt() -> ModelVersion:
            path = "/mlflow/model-versions/get"
            found = self.json(path, {"name": name, "version": str(version)})["model_version"]
            status = found.get("status", "READY")
            if status == "PENDING_REGISTRATION":
                raise NotAnsweringError(f"{name} {version} is still being registered")
            if status != "READY":
                why = found.get("status_message", "")
                raise TrackingError(f"{name} {version} has status {status}: {why}")
            tags = {tag["key"]: tag.get("value", "") for tag in found.get("tags", [])}
            return ModelVersion(name, version, status, tags)

        return self.retrying(attempt)

    def version_of_alias(self, name: str, alias: str) -> int:
        """Returns the version that an alias of a registered model stands for now.

        Raises:
            TrackingError: there is no such model or alias, or the server does not answer.
        """
        query = {"name": name, "alias": alias}
        answer = self.retrying(lambda: self.json("/mlflow/registered-models/alias", query))
        return int(answer["model_version"]["version"])

    def artifact_uri(self, name: str, version: int) -> str:
        """Returns where a version's artifacts are: ``mlflow-artifacts:/…``, ``s3://…``, others.

        Raises:
            TrackingError: the version is not registered or the server does not answer.
        """
        path = "/mlflow/model-versions/get-download-uri"
        query = {"name": name, "version": str(version)}
        return str(self.retrying(lambda: self.json(path, query))["artifact_uri"])

    def json(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        """Returns the answer to one GET under the REST API, a JSON object.

        Raises:
            NotAnsweringError: as `get`, or the answer broke off.
            TrackingError: as `get`, or the answer is no JSON object.
        """
        with self.get(path, query) as response:
            try:
                answer = response.json()
            except requests.RequestException as error:
                raise NotAnsweringError(f"{self.uri}{path} broke off its answer") from error
            if not isinstance(answer, dict):
                raise TrackingError(f"{self.uri}{path} did not answer as MLflow does")
            return answer

    def get(
        self, path: str, query: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        """Sends one GET under the REST API; the body is not read yet. Close the response.

        Raises:
            NotAnsweringError: no connection, or a status that passes.
            TrackingError: any other status but 200 and 206.
        """
        url = f"{self.uri}{_API}{path}"
        try:
            response = self._session.get(
                url, params=query, headers=headers, stream=True, timeout=_SOCKET_SECONDS
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            raise NotAnsweringError(f"the tracking server {self.uri} is not answering") from error
        except requests.RequestException as error:
            raise TrackingError(f"{url}: {error}") from error
        if response.status_code in (200, 206):
            return response
        reason = _reason(response)
        response.close()
        if response.status_code in _RETRIED_STATUSES:
            raise NotAnsweringError(f"the tracking server {self.uri} answered {reason}")
        raise TrackingError(f"the tracking server {self.uri} answered {reason}")


def _reason(response: requests.Response) -> str:
    """Returns the status of an error and MLflow's message for it, in one line."""
    try:
        message = str(response.json()["message"])
    except (requests.RequestException, ValueError, KeyError, TypeError):
        message = response.reason or ""
    return f"{response.status_code}: {' '.join(message.split())[:500]}"
