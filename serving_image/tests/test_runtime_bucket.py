"""Reading straight from a bucket: what is asked of boto3, and what its answers become.

The answers are botocore's own stub's; tests/e2e/test_15_bucket.py does the same with a real bucket.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from slipway_runtime import artifacts, bucket
from slipway_runtime.artifacts import ProxiedArtifacts, RemoteFile
from slipway_runtime.bucket import BucketArtifacts
from slipway_runtime.tracking import NotAnsweringError, Patience, TrackingError
from slipway_runtime.transfer import PIECE, Transfer

URI = "s3://models/0/a?b/artifacts"
LIST = {"Bucket": "models", "Prefix": "0/a?b/artifacts/"}


class Breaking(io.BytesIO):
    """A body whose connection breaks where its content ends."""

    def read(self, size: int | None = -1, /) -> bytes:
        if data := super().read(size):
            return data
        raise ConnectionResetError("gone")


def body(content: bytes, length: int | None = None) -> dict[str, Any]:
    """Returns the answer of a GetObject that breaks off before it has sent ``length`` bytes."""
    stream = io.BytesIO(content) if length is None else Breaking(content)
    return {"Body": StreamingBody(stream, length or len(content))}


def asked(start: int, stop: int, mark: str = '"e1"') -> dict[str, Any]:
    """Returns the parameters of a GetObject for some bytes of the file ``f``."""
    key = "0/a?b/artifacts/f"
    return {"Bucket": "models", "Key": key, "Range": f"bytes={start}-{stop - 1}", "IfMatch": mark}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """A client that answers as it is told and is done when it has."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with Stubber(boto3.client("s3")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def access(stub: Stubber, seconds: float = 0.0) -> BucketArtifacts:
    """Returns access by the stubbed client."""
    return BucketArtifacts(URI, lambda: Patience(seconds), stub.client)


def test_the_listing_is_read_to_its_end(stub: Stubber) -> None:
    first = [
        {"Key": "0/a?b/artifacts/MLmodel", "Size": 3, "ETag": '"e1"'},
        {"Key": "0/a?b/artifacts/sub/", "Size": 0, "ETag": '"e2"'},
    ]
    more = {"Contents": first, "IsTruncated": True, "NextContinuationToken": "t"}
    stub.add_response("list_objects_v2", more, LIST)
    last = {"Contents": [{"Key": "0/a?b/artifacts/sub/f", "Size": 5, "ETag": '"e3"'}]}
    stub.add_response("list_objects_v2", last, {**LIST, "ContinuationToken": "t"})
    assert access(stub).files() == {
        "MLmodel": RemoteFile(3, '"e1"'),
        "sub/f": RemoteFile(5, '"e3"'),
    }


def test_a_large_file_comes_in_parts_of_the_same_object(stub: Stubber, tmp_path: Path) -> None:
    content = bytes(range(256)) * (PIECE // 256) + b"end"
    source = access(stub)
    # One part at a time, so that the stub's answers come in the order they were given.
    listed = {"f": RemoteFile(len(content), '"e1"')}
    stub.add_response("get_object", body(content[:PIECE]), asked(0, PIECE))
    stub.add_response("get_object", body(b"end"), asked(PIECE, PIECE + 3))
    moved = Transfer(tmp_path, source, listed, lambda: Patience(0))
    for stretch in moved._missing("f"):
        moved._fetch(stretch)
    assert (moved.files / "f").read_bytes() == content


def test_a_part_that_breaks_off_goes_on_where_it_was(stub: Stubber, tmp_path: Path) -> None:
    stub.add_response("get_object", body(b"01234", 10), asked(0, 10))
    stub.add_client_error("get_object", "SlowDown", "", 503, expected_params=asked(5, 10))
    stub.add_response("get_object", body(b"56789"), asked(5, 10))
    listed = {"f": RemoteFile(10, '"e1"')}
    moved = Transfer(tmp_path, access(stub), listed, lambda: Patience(5))
    moved.run(["f"])
    assert (moved.files / "f").read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    ("code", "status", "line"),
    [
        ("PreconditionFailed", 412, "f: it was replaced while it was fetched"),
        ("AccessDenied", 403, "f: the bucket answered 403: An error occurred (AccessDenied) when"),
        ("NoSuchKey", 404, "f: the bucket answered 404: An error occurred (NoSuchKey) when"),
    ],
)
def test_what_trying_again_does_not_mend(stub: Stubber, code: str, status: int, line: str) -> None:
    stub.add_client_error("get_object", code, "Because.", status)
    with pytest.raises(TrackingError) as caught:
        list(access(stub).read("f", RemoteFile(10, '"e1"'), 0, 10))
    assert not isinstance(caught.value, NotAnsweringError)
    assert str(caught.value).startswith(f"{URI}: {line}")
    assert "\n" not in str(caught.value)


def test_a_listing_that_fails_is_tried_again(stub: Stubber) -> None:
    stub.add_client_error("list_objects_v2", "InternalError", "", 500)
    stub.add_response("list_objects_v2", {"Contents": []}, LIST)
    assert access(stub, 5).files() == {}


def test_a_bucket_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:1")
    source = BucketArtifacts(URI, lambda: Patience(0))
    with pytest.raises(TrackingError, match="the listing: the bucket is not answering; gave up"):
        source.files()


def test_without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(TrackingError, match="Unable to locate credentials") as caught:
        BucketArtifacts(URI, lambda: Patience(0)).files()
    assert not isinstance(caught.value, NotAnsweringError)


@pytest.mark.parametrize("name", ["MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL"])
def test_the_endpoint_is_the_environments(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv(name, "http://store.test:9000")
    assert bucket._client().meta.endpoint_url == "http://store.test:9000"


class Server:
    """A tracking server that knows of one artifact URI."""

    uri = "http://tracking.test"

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def artifact_uri(self, model: str, version: int) -> str:
        return self._uri

    def patience(self) -> Patience:
        return Patience(0)


@pytest.mark.parametrize(
    ("uri", "given", "found"),
    [
        ("mlflow-artifacts:/1/m/artifacts", None, "mlflow-artifacts:/1/m/artifacts"),
        ("mlflow-artifacts:/1/m/artifacts", "s3://b", "s3://b/1/m/artifacts"),
        ("mlflow-artifacts:/1/m/artifacts", "s3://b/p/", "s3://b/p/1/m/artifacts"),
        ("s3://b/1/m", None, "s3://b/1/m"),
        ("s3://b/1/m", "s3://other", "s3://b/1/m"),
    ],
)
def test_where_a_version_is_read_from(
    uri: str, given: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    source = artifacts.find(Server(uri), "m", 1, given)  # type: ignore[arg-type]
    assert source.uri == found
    assert isinstance(source, BucketArtifacts if found.startswith("s3") else ProxiedArtifacts)


@pytest.mark.parametrize("given", ["b", "s3:/b", "gs://b", "s3://", ""])
def test_a_bucket_that_is_none(given: str) -> None:
    with pytest.raises(TrackingError, match="is not a bucket such as s3://name/prefix"):
        artifacts.find(Server("mlflow-artifacts:/1"), "m", 1, given)  # type: ignore[arg-type]
