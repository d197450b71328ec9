"""Reads a model version's files straight from an S3 bucket, in ranges.

Configuration is boto3's and MLflow's: credentials and region as boto3 finds them, be it in the
environment or with the agent of EKS Pod Identity, which is waited for; the endpoint from
``MLFLOW_S3_ENDPOINT_URL`` or ``AWS_ENDPOINT_URL``; ``MLFLOW_S3_IGNORE_TLS``,
``MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE`` and ``MLFLOW_S3_EXPECTED_BUCKET_OWNER`` as in MLflow 3.17's
``S3ArtifactRepository``. A range is asked for with the object's ETag, so that an object replaced
meanwhile is an error and no mixture.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from slipway_runtime.artifacts import CHUNK, RemoteFile
from slipway_runtime.tracking import NotAnsweringError, Patience, TrackingError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]

T = TypeVar("T")

_REQUEST_BYTES: Final = 16 << 20
_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 60
_PASSING_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
_PASSING_CODES: Final = frozenset(
    {"RequestTimeout", "SlowDown", "ServiceUnavailable", "Throttling"}
)


class BucketArtifacts:
    """Artifacts under ``s3://bucket/key``.

    Args:
        uri: the artifact root.
        patience: makes the patience of one listing, and of the search for credentials.
        client: a boto3 S3 client; by default one as the environment says.

    Raises:
        TrackingError: the environment does not make a client, or who hands out credentials does
            not.
    """

    request_bytes: int | None = _REQUEST_BYTES

    def __init__(
        self, uri: str, patience: Callable[[], Patience], client: Any | None = None
    ) -> None:
        self.uri = uri
        self._bucket = urlsplit(uri).netloc
        # Not urlsplit's path: a key may hold "?" and "#".
        self._prefix = uri.removeprefix(f"s3://{self._bucket}").strip("/") + "/"
        if self._prefix == "/":
            self._prefix = ""
        self._patience = patience
        owner = os.environ.get("MLFLOW_S3_EXPECTED_BUCKET_OWNER")
        self._owner = {"ExpectedBucketOwner": owner} if owner else {}
        self._client = client if client is not None else self._patient(self._made)

    def files(self) -> dict[str, RemoteFile]:
        """See `Artifacts`."""
        return self._patient(self._list)

    def _patient(self, attempt: Callable[[], T]) -> T:
        patience = self._patience()
        while True:
            try:
                return attempt()
            except NotAnsweringError as error:
                patience.failed(error)

    def _made(self) -> Any:
        with self._translated("its client"):
            return _client()

    def _list(self) -> dict[str, RemoteFile]:
        found: dict[str, RemoteFile] = {}
        with self._translated("the listing"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix, **self._owner
            )
            for page in pages:
                for entry in page.get("Contents", []):
                    path = entry["Key"].removeprefix(self._prefix)
                    # An object of this name is some tools' way to say that there is a folder.
                    if path and not path.endswith("/"):
                        found[path] = RemoteFile(int(entry["Size"]), entry.get("ETag", ""))
        return found

    def read(self, path: str, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """See `ReadableArtifacts`."""
        same = {"IfMatch": file.mark} if file.mark else {}
        with self._translated(path):
            answer = self._client.get_object(
                Bucket=self._bucket,
                Key=self._prefix + path,
                Range=f"bytes={start}-{stop - 1}",
                **same,
                **self._owner,
            )
            with answer["Body"] as body:
                wanted = stop - start
                while wanted and (chunk := body.read(min(CHUNK, wanted))):
                    wanted -= len(chunk)
                    yield chunk

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Turns boto3's errors into those of `Artifacts`.

        Sources: botocore's ``exceptions``; S3's list of error codes.
        """
        from botocore import exceptions as boto  # type: ignore[import-untyped]
        from urllib3.exceptions import HTTPError

        where = f"{self.uri}: {what}"
        try:
            yield
        except boto.ClientError as error:
            raise self._answered(where, error) from error
        except (
            boto.HTTPClientError,
            boto.ConnectionError,
            boto.IncompleteReadError,
            HTTPError,
            ConnectionError,
            TimeoutError,
        ) as error:
            raise NotAnsweringError(f"{where}: the bucket is not answering") from error
        except (boto.CredentialRetrievalError, boto.MetadataRetrievalError) as error:
            # An agent that has just started, or was just told whose pod this is.
            raise NotAnsweringError(f"{where}: {_one_line(error)}") from error
        except (boto.BotoCoreError, ValueError) as error:
            # No credentials, no region, an endpoint that is no URL.
            raise TrackingError(f"{where}: {_one_line(error)}") from error

    def _answered(self, where: str, error: "ClientError") -> TrackingError:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        if status == 412:
            return TrackingError(f"{where}: it was replaced while it was fetched")
        line = f"{where}: the bucket answered {status}: {_one_line(error)}"
        passes = status in _PASSING_STATUSES or code in _PASSING_CODES
        return NotAnsweringError(line) if passes else TrackingError(line)


def _client() -> Any:
    """Returns an S3 client as the environment says; its retries are left to the caller."""
    from boto3.session import Session  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    config = Config(
        signature_version="s3v4",
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"total_max_attempts": 1},
        s3={"addressing_style": os.environ.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "auto")},
        # Stores that are not Amazon's know no checksums beside the ETag.
        response_checksum_validation="when_required",
    )
    ignore_tls = os.environ.get("MLFLOW_S3_IGNORE_TLS", "").lower() in ("true", "1")
    endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None
    return Session().client(
        "s3", config=config, endpoint_url=endpoint, verify=False if ignore_tls else None
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
