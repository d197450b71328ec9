"""Fetching model versions from a real MLflow server, over wires that fail."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests

from slipway_runtime import digest
from slipway_runtime import fetch as command
from slipway_runtime.artifacts import ClientArtifacts
from slipway_runtime.digest import tree_digest
from slipway_runtime.fetch import VerificationError, fetch
from slipway_runtime.tracking import TrackingError, TrackingServer

IMAGE = Path(__file__).resolve().parents[1]


def run(uri: str, *arguments: str, version: str = "1", out: Path) -> tuple[int, str, str]:
    """Runs the command in a process of its own; returns its exit code, output and errors."""
    env = os.environ | {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(IMAGE)}
    line = [sys.executable, "-m", "slipway_runtime.fetch", "--model", "registered"]
    line += ["--version", version, "--out", str(out), *arguments]
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def stored(tracking: Any, registered: str, version: int) -> Path:
    """Returns the folder in which the MLflow server keeps a version's artifacts."""
    url = f"{tracking.uri}/api/2.0/mlflow/model-versions/get-download-uri"
    answer = requests.get(url, {"name": registered, "version": str(version)}, timeout=10)
    uri = str(answer.json()["artifact_uri"])
    assert uri.startswith("mlflow-artifacts:/")
    return Path(tracking.artifacts) / uri.removeprefix("mlflow-artifacts:/")


def test_a_good_version(tracking: Any, registered: str, tmp_path: Path) -> None:
    out = tmp_path / "models" / "churn"
    code, output, errors = run(tracking.uri, out=out)
    assert (code, errors) == (0, "")
    digest = tree_digest(stored(tracking, registered, 1))
    line = json.loads(output)
    assert line.pop("seconds") < 30
    assert line == {"event": "fetched", "model": "registered", "version": 1, "sha256": digest}
    assert tree_digest(out) == digest
    assert sorted(path.name for path in out.parent.iterdir()) == [".churn.receipt", "churn"]


@pytest.mark.parametrize(
    ("arguments", "version", "part"),
    [
        ((), "99", "answered 404: Model Version (name=registered, version=99) not found"),
        (("--model", "nobody"), "1", "cannot fetch nobody 1: "),
    ],
)
def test_what_is_not_registered_fails_at_once(
    tracking: Any, registered: str, tmp_path: Path, arguments: Any, version: str, part: str
) -> None:
    started = time.monotonic()
    code, _, errors = run(tracking.uri, *arguments, version=version, out=tmp_path / "m")
    assert code == 1
    assert part in errors
    assert errors.count("\n") == 1
    assert time.monotonic() - started < 20
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("uri", ["", "databricks", "file:///tmp/x"])
def test_a_tracking_uri_that_is_none(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    arguments = ["--model", "m", "--version", "1", "--out", str(tmp_path / "m")]
    assert command.main(arguments) == 1
    assert f"MLFLOW_TRACKING_URI: {uri!r} is not an http or https URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    "uri",
    ["models:/registered", "models:/registered/latest", "models:/registered/0", "models:/a@b@c"],
)
def test_a_model_uri_that_is_none(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--model-uri", uri, "--out", str(tmp_path)])
    assert caught.value.code == 2
    assert "is not a model URI such as models:/churn/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--model and --version are required, or --model-uri"),
        (["--model", "m"], "--model and --version are required, or --model-uri"),
        (
            ["--model-uri", "models:/m/1", "--version", "1"],
            "--model-uri stands instead of --model and --version",
        ),
    ],
)
def test_what_is_to_be_fetched_is_said_once(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main([*arguments, "--out", "m"])
    assert message in capsys.readouterr().err


def test_an_alias_is_looked_up(
    tracking: Any,
    registered: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    mlflow.MlflowClient(tracking.uri).set_registered_model_alias(registered, "champion", "2")
    out = ["--out", str(tmp_path / "m")]
    assert command.main(["--model-uri", f"models:/{registered}@champion", *out]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 2
    assert command.main(["--model-uri", f"models:/{registered}/1", *out]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 1
    assert command.main(["--model-uri", f"models:/{registered}@nobody", *out]) == 1
    assert "cannot fetch registered nobody: " in capsys.readouterr().err


@pytest.mark.parametrize("version", ["0", "-1", "1.5", "latest", ""])
def test_a_version_that_is_no_number(version: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--model", "m", f"--version={version}", "--out", str(tmp_path)])
    assert caught.value.code == 2


def test_a_tampered_artifact(tracking: Any, registered: str, tmp_path: Path) -> None:
    file = stored(tracking, registered, 1) / "model.skops"
    content = file.read_bytes()
    try:
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(VerificationError, match=r"digest is .*, its tag slipway\.sha256 says"):
            fetch(TrackingServer(tracking.uri), registered, 1, tmp_path / "m")
    finally:
        file.write_bytes(content)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("mlmodel", "message"),
    [
        (b"flavors: {sklearn: {}}", "MLmodel has no flavor python_function"),
        (b"- 1", "MLmodel has no flavor python_function"),
        (b"{", "MLmodel is not valid YAML"),
        (b"\xff\xfe\x00", "MLmodel is not valid YAML"),
        (None, "it has no file MLmodel"),
    ],
)
def test_a_broken_mlmodel(
    tracking: Any, registered: str, tmp_path: Path, mlmodel: bytes | None, message: str
) -> None:
    file = stored(tracking, registered, 1) / "MLmodel"
    content = file.read_bytes()
    try:
        file.unlink()
        if mlmodel is not None:
            file.write_bytes(mlmodel)
        with pytest.raises(VerificationError, match=message):
            fetch(TrackingServer(tracking.uri), registered, 1, tmp_path / "m")
    finally:
        file.write_bytes(content)


def test_artifacts_that_are_gone(tracking: Any, registered: str, tmp_path: Path) -> None:
    folder = stored(tracking, registered, 1)
    folder.rename(folder.with_name("elsewhere"))
    try:
        with pytest.raises((VerificationError, TrackingError)):
            fetch(TrackingServer(tracking.uri, 1), registered, 1, tmp_path / "m")
    finally:
        folder.with_name("elsewhere").rename(folder)
    assert not (tmp_path / "m").exists()


def test_a_file_of_another_size(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {}}")
    with pytest.raises(VerificationError, match="MLmodel has 30 bytes instead of 31"):
        command._verify(tmp_path, {"MLmodel": 31}, None)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../b", "", "a//b", "./a", "a\0b"])
def test_a_path_that_leads_out(path: str) -> None:
    with pytest.raises(VerificationError, match="leads out of the model's folder"):
        command._check_path(path)


def test_a_server_that_comes_late(registered: str, wire: Any, tmp_path: Path) -> None:
    threading.Timer(1.0, wire.open).start()
    started = time.monotonic()
    fetch(TrackingServer(wire.uri, timeout=20), registered, 1, tmp_path / "m")
    assert time.monotonic() - started > 0.9
    assert (tmp_path / "m" / "MLmodel").exists()


def test_a_server_that_never_comes(wire: Any, tmp_path: Path) -> None:
    code, _, errors = run(wire.uri, "--timeout", "1", out=tmp_path / "m")
    assert code == 1
    assert errors == (
        f"fetch: cannot fetch registered 1: the tracking server {wire.uri} is not answering; "
        "gave up after 1 seconds\n"
    )


def test_a_download_that_breaks_off_is_repeated(
    tracking: Any, registered: str, wire: Any, tmp_path: Path
) -> None:
    """The connection dies in the middle of the largest file; the next attempt gets it all."""
    wire.budget = 60_000
    wire.open()

    def mend() -> None:
        assert wire.stalled.wait(20)
        wire.budget = None
        wire.cut()

    mender = threading.Thread(target=mend)
    mender.start()
    fetch(TrackingServer(wire.uri, timeout=20), registered, 1, tmp_path / "m")
    mender.join()
    assert tree_digest(tmp_path / "m") == tree_digest(stored(tracking, registered, 1))


def test_killed_halfway_leaves_nothing_to_be_seen(
    tracking: Any, registered: str, wire: Any, tmp_path: Path
) -> None:
    wire.budget = 60_000
    wire.open()
    out = tmp_path / "churn"
    env = os.environ | {"MLFLOW_TRACKING_URI": wire.uri, "PYTHONPATH": str(IMAGE)}
    line = [sys.executable, "-m", "slipway_runtime.fetch", "--model", registered]
    process = subprocess.Popen([*line, "--version", "1", "--out", str(out)], env=env)
    assert wire.stalled.wait(30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.name for path in tmp_path.iterdir()] == [".churn.partial"]
    fetch(TrackingServer(tracking.uri), registered, 1, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".churn.receipt", "churn"]
    assert tree_digest(out) == tree_digest(stored(tracking, registered, 1))


def test_again_needs_no_server_but_the_same_version(
    tracking: Any, registered: str, tmp_path: Path
) -> None:
    out = tmp_path / "churn"
    digest = fetch(TrackingServer(tracking.uri), registered, 1, out)
    nobody = TrackingServer("http://127.0.0.1:1", timeout=0.5)
    assert fetch(nobody, registered, 1, out) == digest
    # What lies there was changed: it is not served, whatever the receipt says.
    (out / "MLmodel").write_text("changed")
    with pytest.raises(TrackingError):
        fetch(nobody, registered, 1, out)
    assert not out.exists()
    fetch(TrackingServer(tracking.uri), registered, 1, out)
    assert fetch(TrackingServer(tracking.uri), registered, 2, out) != digest


def test_a_folder_that_cannot_be_written(
    tracking: Any, registered: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "m"
    code, _, errors = run(tracking.uri, out=out)
    assert code == 1
    assert errors == f"fetch: cannot write {out}: Not a directory\n"


def test_artifacts_that_the_server_does_not_pass_on(
    tracking: Any, registered: str, tmp_path: Path
) -> None:
    """A version whose source is a plain path is read by MLflow's own client."""

    source = tmp_path / "source"
    shutil.copytree(stored(tracking, registered, 1), source / "sub" / "model")
    artifacts = ClientArtifacts(TrackingServer(tracking.uri), source.as_uri())
    files = artifacts.files()
    size = (source / "sub" / "model" / "MLmodel").stat().st_size
    assert files["sub/model/MLmodel"].size == size
    for path in files:
        (tmp_path / "copy" / path).parent.mkdir(parents=True, exist_ok=True)
        artifacts.download(path, tmp_path / "copy" / path)
    assert tree_digest(tmp_path / "copy") == tree_digest(source)


def test_the_digest_of_a_folder_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f").write_bytes(b"x")
    # By hand, from the algorithm's description: sha256 of b"x", then of its one line.
    of_file = hashlib.sha256(b"x").hexdigest()
    expected = hashlib.sha256(f"sub/f\0{of_file}\n".encode()).hexdigest()
    assert digest.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{expected}\n"
    for wrong in ([], [str(tmp_path), "b"], [str(tmp_path / "none")]):
        assert digest.main(wrong) == 1
        error = capsys.readouterr().err
        assert error == "digest: give one argument, the folder of a saved model\n"
