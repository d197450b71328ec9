"""The registry adapter, tried with an MLflow server of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from mlflow import MlflowClient

from rollout.adapters import registry as adapter
from rollout.adapters.registry import Registry, RegistryError

SIGNATURE = {"inputs": json.dumps([{"type": "long", "name": "a", "required": True}])}
SKOPS = {
    "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.skops"},
    "sklearn": {"pickled_model": "model.skops", "serialization_format": "skops"},
}
PICKLE = {
    "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl"},
    "sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"},
}
OWN_LOADER = {"python_function": {"loader_module": "loader", "code": "code"}}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that proxies artifacts, as the stack's does."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        )
    address, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
    while True:
        try:
            with urlopen(f"{address}/health"):
                break
        except OSError:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.2)
    yield address
    os.killpg(server.pid, 15)
    server.wait(30)


@pytest.fixture(scope="module")
def client(uri: str) -> MlflowClient:
    return MlflowClient(uri, uri)


@pytest.fixture(scope="module", autouse=True)
def registered(client: MlflowClient, uri: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Versions of `churn`: 1 and 2 are well, the others each lack something."""
    client.create_registered_model("churn")
    client.create_registered_model("iris")
    run = client.create_run(client.create_experiment("versions")).info.run_id
    shapes: list[dict[str, Any]] = [
        {"MLmodel": {"flavors": SKOPS, "signature": SIGNATURE}, "model.skops": "x"},
        {"MLmodel": {"flavors": SKOPS}, "model.skops": "x"},
        {"MLmodel": {"flavors": PICKLE}, "model.pkl": "x"},
        {"MLmodel": {"flavors": OWN_LOADER}, "code/loader.py": "", "data/weights.joblib": "x"},
        {"MLmodel": {"flavors": {"spark": {}}}},
        {"model.skops": "x"},
        {"MLmodel": ["not", "a", "mapping"]},
        {
            "MLmodel": {"flavors": OWN_LOADER},
            "inner/MLmodel": {"flavors": PICKLE},
            "inner/model.bin": "x",
        },
    ]
    for number, files in enumerate(shapes, 1):
        folder = tmp_path_factory.mktemp("model")
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        client.log_artifacts(run, str(folder), f"v{number}")
        source = f"{client.get_run(run).info.artifact_uri}/v{number}"
        client.create_model_version("churn", source, run_id=run)
    client.set_registered_model_alias("churn", "challenger", "2")


@pytest.fixture
def registry(uri: str) -> Registry:
    return Registry(uri)


def refused(line: str, call: Any, *arguments: Any) -> RegistryError:
    with pytest.raises(RegistryError) as error:
        call(*arguments)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
    return error.value


def test_versions_and_aliases_are_resolved(registry: Registry) -> None:
    assert registry.resolve("churn", "2") == 2
    assert registry.resolve("churn", "@challenger") == 2


def test_what_is_not_there_is_one_line_with_what_is(registry: Registry, uri: str) -> None:
    resolve = registry.resolve
    versions = "(there: 1, 2, 3, 4, 5, 6, 7, 8)"
    refused(f"churn: version 9 is not registered in MLflow {versions}", resolve, "churn", "9")
    missing = f"nope: is not registered in MLflow at {uri} (there: churn, iris)"
    refused(missing, resolve, "nope", "1")
    refused(missing, resolve, "nope", "@challenger")
    refused(missing, registry.alias, "nope", "champion")
    refused(missing, registry.signature, "nope", 1)
    refused("it's: is not registered in MLflow", resolve, "it's", "1")
    refused("churn: has no alias @nope (there: @challenger is 2)", resolve, "churn", "@nope")
    refused("iris: version 1 is not registered in MLflow (there: none)", resolve, "iris", "1")
    for wanted in ("x", "0", "-1", "1.0", "@", "", "latest"):
        refused(f"churn: {wanted!r} is neither a version", resolve, "churn", wanted)


def test_a_version_that_can_be_served_is_ready(registry: Registry) -> None:
    registry.ready("churn", 1)
    registry.ready("churn", 2, allow_pickle=False)


@pytest.mark.parametrize(
    ("version", "line"),
    [
        (3, "churn 3: model.pkl is a pickle, saved as cloudpickle: loading it would run whatever"),
        (4, "churn 4: data/weights.joblib is a pickle, by its name, *.joblib"),
        (5, "churn 5: has no flavor python_function (there: spark)"),
        (6, "churn 6: has no file MLmodel; log it anew"),
        (7, "churn 7: its MLmodel is no YAML"),
        (8, "churn 8: inner/model.pkl is a pickle, saved as cloudpickle"),
        (9, "churn: version 9 is not registered"),
    ],
)
def test_a_version_that_cannot_be_served_is_refused(
    registry: Registry, version: int, line: str
) -> None:
    error = refused(line, registry.ready, "churn", version, False)
    assert error.kind == "failed"


def test_pickles_are_let_through_where_they_are_allowed(registry: Registry) -> None:
    for version in (3, 4, 8):
        registry.ready("churn", version, True)
    refused("churn 5: has no flavor", registry.ready, "churn", 5, True)


def test_a_version_that_is_not_ready_is_refused(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = registry._version("churn", 1)
    found._status = "PENDING_REGISTRATION"
    monkeypatch.setattr(registry, "_version", lambda *_: found)
    refused("churn 1: is PENDING_REGISTRATION in MLflow", registry.ready, "churn", 1)


def test_signatures_are_read(registry: Registry) -> None:
    assert registry.signature("churn", 1) == SIGNATURE
    assert registry.signature("churn", 2) is None
    refused("churn 6: has no file MLmodel", registry.signature, "churn", 6)


def test_an_alias_is_moved_and_removed(registry: Registry, client: MlflowClient) -> None:
    assert registry.alias("churn", "champion") is None
    registry.set_alias("churn", "champion", None)
    for version in (1, 2, 2):
        registry.set_alias("churn", "@champion", version)
        assert registry.alias("churn", "champion") == version
        assert client.get_model_version_by_alias("churn", "champion").version == str(version)
    registry.set_alias("churn", "champion", None)
    registry.set_alias("churn", "champion", None)
    assert registry.alias("churn", "champion") is None
    refused("churn: alias @champion: MLflow at", registry.set_alias, "churn", "champion", 99)


def test_the_environment_is_left_as_it_was(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    before = dict(os.environ)
    registry.resolve("churn", "1")
    refused("churn: version 9", registry.resolve, "churn", "9")
    assert dict(os.environ) == before


def test_a_registry_that_is_gone_is_told_soon() -> None:
    started = time.monotonic()
    gone = Registry(f"http://ada:s3cr3t@127.0.0.1:{free_port()}/")
    error = refused("MLflow at http://127.0.0.1:", gone.resolve, "churn", "1")
    assert "does not answer" in str(error)
    assert "s3cr3t" not in str(error)
    assert error.kind == "unreachable"
    assert time.monotonic() - started < adapter.CONNECT_SECONDS + 1


def test_a_registry_that_says_nothing_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(adapter._ENVIRONMENT, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = time.monotonic()
        silent = Registry(f"http://127.0.0.1:{listener.getsockname()[1]}")
        error = refused("MLflow at http://127.0.0.1:", silent.alias, "churn", "champion")
        assert error.kind == "unreachable"
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("status", "line", "kind"),
    [
        (401, "churn: MLflow at http://127.0.0.1:{port} refuses it", "failed"),
        (403, "churn: MLflow at http://127.0.0.1:{port} refuses it", "failed"),
        (503, "", "unreachable"),
        (404, "churn: MLflow at http://127.0.0.1:{port} says: ", "failed"),
        (200, "churn: MLflow at http://127.0.0.1:{port} says: ", "failed"),
    ],
)
def test_what_is_no_registry_is_one_line(status: int, line: str, kind: str) -> None:
    def answer(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(1)
                try:
                    if connection.recv(4096):
                        head = f"HTTP/1.1 {status} X\r\nContent-Length: 9\r\n"
                        connection.sendall(f"{head}Connection: close\r\n\r\n<p>oh</p>".encode())
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=answer, args=(listener,), daemon=True)
        thread.start()
        found = Registry(f"http://127.0.0.1:{port}")
        error = refused(line.format(port=port), found.alias, "churn", "champion")
        assert error.kind == kind
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("url", ["", "sqlite:///x", "127.0.0.1:5001", "databricks", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    refused(f"slipway:mlflow.url: {url!r} is not an http or https URL", Registry, url)


def test_asking_for_nothing_imports_no_mlflow() -> None:
    code = "import sys, rollout.adapters.registry as r; r.Registry('http://127.0.0.1:1')\n"
    subprocess.run(
        [sys.executable, "-c", code + "assert 'mlflow' not in sys.modules"],
        cwd=Path(__file__).resolve().parents[2],
        check=True,
    )
