"""Fetches of large files that are killed, broken off or damaged, and that go on where they were."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from slipway_runtime import fetch as command
from slipway_runtime import transfer
from slipway_runtime.digest import DIGEST_TAG, tree_digest
from slipway_runtime.fetch import VerificationError, fetch, verified
from slipway_runtime.tracking import TrackingServer
from slipway_runtime.transfer import PIECE

IMAGE = Path(__file__).resolve().parents[1]
LARGE = 3 * PIECE + 12_345


@pytest.fixture(scope="session")
def large(tracking: Any, table_model: Path) -> Path:
    """Where the server keeps version 1 of a registered model ``large``, of some 50 MB."""
    client = mlflow.MlflowClient(tracking.uri)
    run = client.create_run("0").info
    source = f"{run.artifact_uri}/large"
    folder = Path(tracking.artifacts) / source.removeprefix("mlflow-artifacts:/")
    shutil.copytree(table_model, folder)
    (folder / "weights").write_bytes(os.urandom(LARGE))
    (folder / "empty").touch()
    client.create_registered_model("large")
    tags = {DIGEST_TAG: tree_digest(folder)}
    client.create_model_version("large", source, run.run_id, tags=tags)
    return folder


def size(folder: Path) -> int:
    """Returns the bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def broken_off(wire: Any, out: Path, budget: int) -> None:
    """Fetches until ``budget`` bytes have come, and is then killed, with no chance to tidy up."""
    wire.budget = budget
    wire.open()
    env = os.environ | {"MLFLOW_TRACKING_URI": wire.uri, "PYTHONPATH": str(IMAGE)}
    line = [sys.executable, "-m", "slipway_runtime.fetch", "--model", "large", "--version", "1"]
    process = subprocess.Popen([*line, "--out", str(out)], env=env)
    assert wire.stalled.wait(60)
    # What has come is in the journal a moment later.
    journal = out.with_name(f".{out.name}.partial") / "journal"
    until = time.monotonic() + 10
    while journal.read_text().count('{"path": "weights"') < budget // PIECE:
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wire.cut()
    assert not out.exists()


def test_a_killed_fetch_goes_on_where_it_stopped(large: Path, wire: Any, tmp_path: Path) -> None:
    out = tmp_path / "m"
    broken_off(wire, out, 2 * PIECE + PIECE // 2)
    wire.budget = 1 << 30
    fetch(TrackingServer(wire.uri), "large", 1, out)
    assert (1 << 30) - wire.budget < size(large) - 2 * PIECE + 100_000
    assert tree_digest(out) == tree_digest(large)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".m.receipt", "m"]


def test_what_was_damaged_meanwhile_is_fetched_again(
    large: Path, wire: Any, tmp_path: Path
) -> None:
    out = tmp_path / "m"
    broken_off(wire, out, 2 * PIECE + PIECE // 2)
    partial = tmp_path / ".m.partial"
    with (partial / "files" / "weights").open("r+b") as file:
        file.seek(PIECE + 5)
        (byte,) = file.read(1)
        file.seek(PIECE + 5)
        file.write(bytes([byte ^ 1]))
    with (partial / "journal").open("a") as journal:
        journal.write('{"path": "../../etc", "start": 0, "stop": 1}\n[]\n{"path": "wei')
    wire.budget = 1 << 30
    fetch(TrackingServer(wire.uri), "large", 1, out)
    used = (1 << 30) - wire.budget
    # The small files that were whole are not fetched again either.
    assert size(large) - PIECE - 100_000 < used < size(large) - PIECE + 100_000
    assert tree_digest(out) == tree_digest(large)


def test_the_remains_of_another_version_are_not_taken_over(
    large: Path, registered: str, wire: Any, tracking: Any, tmp_path: Path
) -> None:
    out = tmp_path / "m"
    broken_off(wire, out, 2 * PIECE + PIECE // 2)
    fetch(TrackingServer(tracking.uri), registered, 1, out)
    assert not (out / "weights").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".m.receipt", "m"]


def test_a_connection_that_breaks_costs_only_what_was_under_way(
    large: Path, wire: Any, tmp_path: Path
) -> None:
    """No attempt of the same process fetches a byte of the large file twice."""
    wire.budget = allowed = PIECE + PIECE // 2
    wire.open()
    used: list[int] = []

    def mend() -> None:
        assert wire.stalled.wait(60)
        used.append(allowed - wire.budget)
        wire.budget = 1 << 30
        wire.cut()

    mender = threading.Thread(target=mend)
    mender.start()
    fetch(TrackingServer(wire.uri, timeout=20), "large", 1, tmp_path / "m")
    mender.join()
    # What was in flight when the wire was cut is lost: buffers of both sockets.
    assert used[0] + (1 << 30) - wire.budget < size(large) + 10_000_000
    assert tree_digest(tmp_path / "m") == tree_digest(large)


def test_no_room_on_the_disk_is_one_line(
    large: Path,
    tracking: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=40_000_000))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    out = tmp_path / "m"
    assert command.main(["--model", "large", "--version", "1", "--out", str(out)]) == 1
    assert capsys.readouterr().err == (
        "fetch: cannot fetch large 1: 51 MB are still to be fetched and the disk has 40 MB free\n"
    )
    assert not out.exists()


def test_progress_is_told(
    large: Path,
    wire: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The download stands still after 20 MB for longer than the time between two lines."""
    monkeypatch.setattr(transfer, "PROGRESS_SECONDS", 0.2)
    wire.budget = 20_000_000
    wire.open()

    def mend() -> None:
        assert wire.stalled.wait(60)
        threading.Event().wait(0.5)
        wire.budget = None
        wire.cut()

    mender = threading.Thread(target=mend)
    mender.start()
    fetch(TrackingServer(wire.uri, timeout=20), "large", 1, tmp_path / "m")
    mender.join()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["event"] for line in lines} == {"fetching"}
    assert {line["of"] for line in lines} == {51}
    assert any(15 <= line["megabytes"] <= 21 for line in lines)
    assert all(line["megabytes_per_second"] >= 0 for line in lines)


@pytest.mark.parametrize("change", ["flip", "add", "remove", "receipt"])
def test_the_server_finds_out_what_changed_after_the_fetch(
    registered: str, tracking: Any, tmp_path: Path, change: str
) -> None:
    out = tmp_path / "m"
    assert verified(tmp_path) is None
    digest = fetch(TrackingServer(tracking.uri), registered, 1, out)
    assert verified(out) == digest
    changes: dict[str, Callable[[], Any]] = {
        "flip": lambda: flip(out / "model.skops"),
        "add": lambda: (out / "more").touch(),
        "remove": lambda: (out / "conda.yaml").unlink(),
        "receipt": lambda: (tmp_path / ".m.receipt").write_text("{"),
    }
    changes[change]()
    with pytest.raises(VerificationError, match="fetch the version again"):
        verified(out)


def flip(path: Path) -> None:
    """Changes one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
