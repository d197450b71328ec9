"""Fetching straight from a bucket: versitygw, as in the cluster, and MLflow in front of it."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.catalogue import all_tools
from tests.e2e.harness import Walk, until

IMAGE = Path(__file__).resolve().parents[2] / "serving_image"
LARGE = 90_000_000


@dataclass(frozen=True)
class Store:
    """A bucket and a tracking server that keeps its artifacts there."""

    environment: dict[str, str]
    tracking: str
    objects: Path

    def fetch(self, out: Path, *arguments: str, version: int = 1) -> subprocess.Popen[str]:
        """Starts the fetch of a version of `large`."""
        line = [sys.executable, "-m", "slipway_runtime.fetch", "--timeout", "5", "--out", str(out)]
        line += ["--model-uri", f"models:/large/{version}", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, env=self.environment)


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something listens on the loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(command: list[str], port: int, log: Path, **environment: str) -> Iterator[None]:
    """A server in a session of its own, which ends with this."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            env=os.environ | environment,
            start_new_session=True,
            cwd=log.parent,
        )
    try:
        until(f"port {port} listens", lambda: listens(port) or None, 120)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, walk: Walk) -> Iterator[Store]:
    """The bucket, MLflow before it, and a model `large`.

    Version 1 is one that MLflow passes on; of version 2, the same, the registry says s3://.
    """
    folder = tmp_path_factory.mktemp("bucket")
    (folder / "objects" / "models").mkdir(parents=True)
    (folder / "metadata").mkdir()
    (gateway,) = (tool for tool in all_tools(cluster=True) if tool.name == "versitygw")
    port, mlflow_port = free_port(), free_port()
    keys = {"ROOT_ACCESS_KEY_ID": "key", "ROOT_SECRET_ACCESS_KEY": "secret-secret"}
    s3 = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    versity = [str(gateway.directory / "bin/versitygw"), "--port", f"127.0.0.1:{port}", "--quiet"]
    versity += ["posix", "--sidecar", str(folder / "metadata"), str(folder / "objects")]
    server = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    server += ["--port", str(mlflow_port), "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    server += ["--artifacts-destination", "s3://models/kept"]
    tracking = f"http://127.0.0.1:{mlflow_port}"
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (
        running(versity, port, folder / "versitygw.log", **keys),
        running(server, mlflow_port, folder / "mlflow.log", **s3, **quiet),
    ):
        environment = os.environ | s3 | {"MLFLOW_TRACKING_URI": tracking, "PYTHONPATH": str(IMAGE)}
        register(folder, environment)
        yield Store(environment, tracking, folder / "objects" / "models")


REGISTER = """
import pathlib, random, sys
import mlflow
from slipway_runtime.digest import DIGEST_TAG, tree_digest

folder = pathlib.Path(sys.argv[1])
code = "import mlflow\\nclass M(mlflow.pyfunc.PythonModel):\\n"
code += "    def predict(self, context, model_input, params=None):\\n        return [1]\\n"
code += "mlflow.models.set_model(M())\\n"
(folder / "model.py").write_text(code)
(folder / "weights").write_bytes(random.Random(1).randbytes(int(sys.argv[2])))
mlflow.pyfunc.save_model(
    str(folder / "saved"), python_model=str(folder / "model.py"),
    artifacts={"weights": str(folder / "weights")}, pip_requirements=["mlflow"],
)
client = mlflow.MlflowClient()
run = client.create_run("0").info
client.log_artifacts(run.run_id, str(folder / "saved"), "large")
client.create_registered_model("large")
tags = {DIGEST_TAG: tree_digest(folder / "saved")}
source = f"{run.artifact_uri}/large"
client.create_model_version("large", source, run.run_id, tags=tags)
kept = source.replace("mlflow-artifacts:", "s3://models/kept")
client.create_model_version("large", kept, tags=tags)
"""


def register(folder: Path, environment: dict[str, str]) -> None:
    """Logs the model through the server and registers it twice."""
    line = [sys.executable, "-c", REGISTER, str(folder), str(LARGE)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def finish(process: subprocess.Popen[str]) -> tuple[int, Any, str]:
    """The exit code, the last line of output as JSON, and the errors."""
    output, errors = process.communicate(timeout=120)
    lines = output.splitlines()
    return process.returncode, json.loads(lines[-1]) if lines else None, errors


WAYS = {
    "passed on": ((), 1),
    "from the bucket": (("--from-bucket", "s3://models/kept"), 1),
    "by its URI": ((), 2),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_large_model(store: Store, walk: Walk, tmp_path: Path, way: str) -> None:
    """It arrives whole by every way, and memory does not grow with it where it comes directly."""
    arguments, version = WAYS[way]
    code, line, errors = finish(store.fetch(tmp_path / "m", *arguments, version=version))
    assert (code, errors) == (0, "")
    assert (tmp_path / "m" / "artifacts" / "weights").stat().st_size == LARGE
    walk.note(f"fetch of {LARGE // 10**6} MB, {way}: {line['seconds']} s")


def test_killed_and_continued(store: Store, tmp_path: Path) -> None:
    """What was there at the kill is taken over."""
    out = tmp_path / "m"
    way = ("--from-bucket", "s3://models/kept")
    journal = tmp_path / ".m.partial" / "journal"
    process = store.fetch(out, *way)
    until("two pieces are there", lambda: pieces(journal) >= 2 or None, 30, 0.005)
    process.kill()
    process.communicate()
    assert not out.exists()
    kept = pieces(journal)
    modified = (tmp_path / ".m.partial/files/artifacts/weights").stat().st_ino
    code, _, errors = finish(store.fetch(out, *way))
    assert (code, errors) == (0, "") and kept >= 2
    assert (out / "artifacts/weights").stat().st_ino == modified


def pieces(journal: Path) -> int:
    """How many pieces of the large file the journal names."""
    return journal.read_text().count("weights") - 1 if journal.exists() else 0


def test_a_flipped_byte_in_the_bucket(store: Store, tmp_path: Path) -> None:
    """One bit anywhere in the bucket, and nothing is served."""
    (file,) = store.objects.rglob("weights")
    place = random.Random(2).randrange(LARGE)

    def flip() -> None:
        with file.open("r+b") as content:
            content.seek(place)
            (byte,) = content.read(1)
            content.seek(place)
            content.write(bytes([byte ^ 1]))

    flip()
    try:
        way = ("--from-bucket", "s3://models/kept")
        code, _, errors = finish(store.fetch(tmp_path / "m", *way))
    finally:
        flip()
    assert code == 1 and "its tag slipway.sha256 says" in errors
    assert not list(tmp_path.iterdir())


def test_a_key_that_is_wrong(store: Store, tmp_path: Path) -> None:
    """One line, at once."""
    store = Store(store.environment | {"AWS_SECRET_ACCESS_KEY": "x"}, "", store.objects)
    code, _, errors = finish(store.fetch(tmp_path / "m", version=2))
    assert code == 1 and errors.count("\n") == 1
    assert "the bucket answered 403" in errors
