"""Transfers without MLflow: how many at a time, what one failure does to the others, no ranges."""

import contextlib
import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from slipway_runtime import transfer
from slipway_runtime.artifacts import ProxiedArtifacts, RemoteFile
from slipway_runtime.tracking import NotAnsweringError, TrackingError, TrackingServer
from slipway_runtime.transfer import Transfer


class NoRanges(SimpleHTTPRequestHandler):
    """Serves files and knows no ranges: Python's own server ignores the header."""

    asked: list[str | None] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("range"))
        super().do_GET()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serves a folder under the paths of MLflow's artifact proxy; yields the URL."""
    root = folder / "api" / "2.0" / "mlflow-artifacts"
    root.mkdir(parents=True)
    (root / "artifacts").symlink_to(folder)

    def handler(*arguments: Any) -> NoRanges:
        return NoRanges(*arguments, directory=str(folder))

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_without_ranges_sends_a_file_from_its_beginning(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "f").write_bytes(content)
    with serving(tmp_path) as url:
        artifacts = ProxiedArtifacts(TrackingServer(url), "root")
        file = RemoteFile(len(content))
        assert (
            b"".join(artifacts.read("f", file, 1_500_000, 2_900_001))
            == (content[1_500_000:2_900_001])
        )
        assert b"".join(artifacts.read("f", file, 0, len(content))) == content
    assert NoRanges.asked[-2:] == ["bytes=1500000-2900000", None]


class Slow:
    """Artifacts in memory, of which ``broken`` cannot be had."""

    uri = "memory:"
    request_bytes: int | None = None

    def __init__(self, contents: dict[str, bytes], broken: str = "") -> None:
        self._contents = contents
        self._broken = broken
        self._lock = threading.Lock()
        self.at_a_time = self.most = 0

    def files(self) -> dict[str, RemoteFile]:
        return {path: RemoteFile(len(content)) for path, content in self._contents.items()}

    def read(self, path: str, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        with self._lock:
            self.at_a_time += 1
            self.most = max(self.most, self.at_a_time)
        try:
            threading.Event().wait(0.02)
            if path == self._broken:
                raise TrackingError("it is broken")
            yield self._contents[path][start:stop]
        finally:
            with self._lock:
                self.at_a_time -= 1


def impatient() -> Any:
    """Returns a patience that waits for nothing."""
    return TrackingServer("http://127.0.0.1:1", 0).patience()


def test_downloads_at_a_time_are_bounded(tmp_path: Path) -> None:
    contents = {f"f{number}": os.urandom(10) for number in range(20)}
    source = Slow(contents)
    moved = Transfer(tmp_path / "p", source, source.files(), impatient)
    moved.run(list(contents))
    assert source.most == transfer.DOWNLOADS == 4
    assert {p.name: p.read_bytes() for p in moved.files.iterdir()} == contents


def test_one_failure_ends_the_others_and_keeps_what_is_there(tmp_path: Path) -> None:
    contents = {f"f{number:03}": os.urandom(100) for number in range(200)}
    source = Slow(contents, broken="f020")
    moved = Transfer(tmp_path / "p", source, source.files(), impatient)
    with pytest.raises(TrackingError, match="it is broken"):
        moved.run(list(contents))
    there = len(list(moved.files.iterdir()))
    assert 10 < there < 100
    again = Transfer(tmp_path / "p", Slow(contents), source.files(), impatient)
    assert 1000 < again.resumed <= 100 * there
    again.run(list(contents))
    assert {p.name: p.read_bytes() for p in again.files.iterdir()} == contents


def test_a_place_that_sends_too_little_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    source = Slow({"f": b"12345"})
    moved = Transfer(tmp_path / "p", source, {"f": RemoteFile(6)}, impatient)
    with pytest.raises(TrackingError, match="the download of f broke off; gave up"):
        moved.run(["f"])


def test_patience_starts_anew_after_progress() -> None:
    patience = TrackingServer("http://127.0.0.1:1", 0.3).patience()
    error = NotAnsweringError("no")
    for _ in range(3):
        patience.failed(error)
        patience.succeeded()
    patience.failed(error)
    with pytest.raises(TrackingError, match=r"no; gave up after 0\.3 seconds"):
        patience.failed(error)
