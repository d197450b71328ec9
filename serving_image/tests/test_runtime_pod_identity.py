"""Reading a bucket with the credentials that EKS Pod Identity hands to a pod.

The agent here answers as the one on a node does: JSON for who shows the token in the pod's file.
Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from slipway_runtime.bucket import BucketArtifacts
from slipway_runtime.tracking import NotAnsweringError, Patience, TrackingError

BUCKET = "slipway-prod-artifacts"
CONTENT = b"flavors: {}"
_OTHERS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    *("AWS_ENDPOINT_URL", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
)


class Agent(ThreadingHTTPServer):
    """Hands out credentials.

    Attributes:
        tokens: that were shown, in order.
        refusals: the answers, by status, before it knows the pod.
        seconds: how long credentials hold.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokens: list[str | None] = []
        self.refusals: list[int] = []
        self.seconds = 6 * 3600


class _Handler(BaseHTTPRequestHandler):
    server: Agent

    def do_GET(self) -> None:
        self.server.tokens.append(self.headers.get("Authorization"))
        status = self.server.refusals.pop(0) if self.server.refusals else 200
        until = datetime.now(UTC) + timedelta(seconds=self.server.seconds)
        told = {
            "AccessKeyId": f"ASIA{len(self.server.tokens)}",
            "SecretAccessKey": "secret",
            "Token": "session",
            "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        body = json.dumps(told if status == 200 else {"message": "no association"}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The URL of an S3 that holds one file."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "owner", "aws_secret_access_key": "owner"}
    s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="mlflow/3/models/m-1/artifacts/MLmodel", Body=CONTENT)
    yield url
    server.stop()


@pytest.fixture
def agent(store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Agent]:
    """The node's agent, and the environment that EKS gives to a pod."""
    serving = Agent()
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    for name in _OTHERS:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    token = tmp_path / "eks-pod-identity-token"
    token.write_text("token-of-the-pod")
    url = f"http://127.0.0.1:{serving.server_address[1]}/v1/credentials"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", store)
    # How long botocore itself pauses between its attempts to ask the agent.
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0.01)
    yield serving
    serving.shutdown()
    serving.server_close()
    thread.join()


def source(seconds: float = 0.0) -> BucketArtifacts:
    """Access to the one version there is."""
    uri = f"s3://{BUCKET}/mlflow/3/models/m-1/artifacts"
    return BucketArtifacts(uri, lambda: Patience(seconds))


def read(found: BucketArtifacts) -> bytes:
    """All of the one file."""
    listed = found.files()
    assert list(listed) == ["MLmodel"]
    return b"".join(found.read("MLmodel", listed["MLmodel"], 0, len(CONTENT)))


def test_a_pods_credentials_come_from_the_agent(agent: Agent) -> None:
    assert read(source()) == CONTENT
    assert agent.tokens == ["token-of-the-pod"]


def test_they_are_renewed_before_they_end(agent: Agent) -> None:
    agent.seconds = 60  # less than botocore holds to be enough
    found = source()
    assert read(found) == CONTENT
    assert len(agent.tokens) >= 2


def test_an_agent_that_does_not_know_the_pod_yet_is_waited_for(agent: Agent) -> None:
    agent.refusals = [404] * 4  # botocore asks three times before it gives up
    assert read(source(30)) == CONTENT
    assert len(agent.tokens) == 5


def test_a_pod_without_an_association_is_told_in_one_line(agent: Agent) -> None:
    agent.refusals = [404] * 100
    with pytest.raises(TrackingError, match="its client: .*404.*; gave up after 0 sec") as caught:
        source()
    assert not isinstance(caught.value, NotAnsweringError)
    assert "\n" not in str(caught.value) and "token-of-the-pod" not in str(caught.value)


def test_an_agent_that_is_not_there(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/v1/credentials")
    with pytest.raises(TrackingError, match="its client: .*; gave up after 0 seconds"):
        source()
