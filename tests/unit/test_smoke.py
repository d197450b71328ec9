"""Predictions through a stack's gateway: which models are tried, and what is no pass."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import smoke
from local.console import UserError


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3.0], 0.95, 3.0), ([1.0, 2.0], 0.5, 1.0), ([float(n) for n in range(1, 101)], 0.95, 95.0)],
)
def test_quantile_is_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert smoke.quantile(values, share) == expected


def test_the_table_counts_every_request_and_names_the_failures() -> None:
    tally = smoke.Tally()
    tally.seconds["1"] = [0.010] * 90
    tally.seconds["2"] = [0.020] * 9
    tally.errors["2", "HTTP 500"] = 1
    lines = smoke.table(tally)
    assert lines[1].split() == ["1", "90", "90.0%", "0", "10.0", "ms", "10.0", "ms"]
    assert lines[2].split() == ["2", "10", "10.0%", "1", "20.0", "ms", "20.0", "ms"]
    assert lines[3].strip() == "version 2: 1 × HTTP 500"


@pytest.fixture
def gateway() -> Iterator[tuple[str, list[str]]]:
    """A gateway that answers each model but `broken`, and the paths it is asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(self.path)
            late = "broken" in self.path and asked.count(self.path) > 1
            self.send_response(500 if late else 200)
            self.send_header("x-model-version", "1")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_every_model_with_an_example_is_tried(
    gateway: tuple[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, asked = gateway
    (tmp_path / "docs").mkdir()
    outputs = {"gateway_url": url, "models": {"churn": {}, "fraud": {}, "prices": {}}}
    for name in ("churn", "fraud"):
        (tmp_path / f"docs/{name}-request.json").write_text("{}")
    smoke.run(outputs, "none", tmp_path, must=True)
    assert {path: asked.count(path) for path in asked} == {
        f"/models/{name}/invocations": smoke.REQUESTS + 1 for name in ("churn", "fraud")
    }
    assert "not tried, for want of an example request: prices" in capsys.readouterr().out


def test_a_failure_or_nothing_to_try_is_no_pass(
    gateway: tuple[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs: dict[str, Any] = {"gateway_url": gateway[0], "models": {"broken": {}}}
    with pytest.raises(UserError, match=r"docs/<model>-request.json \(models: broken\)"):
        smoke.run(outputs, "none", tmp_path, must=True)
    with pytest.raises(UserError, match=r"models: there is none"):
        smoke.run({}, "none", tmp_path, must=True)
    smoke.run(outputs, "none", tmp_path)
    assert "no requests sent" in capsys.readouterr().out
    (tmp_path / "docs").mkdir()
    example = tmp_path / "docs/broken-request.json"
    example.write_text("{")
    with pytest.raises(UserError, match=r"broken-request.json: is no JSON"):
        smoke.run(outputs, "none", tmp_path)
    example.write_text("{}")
    with pytest.raises(UserError, match=f"{smoke.REQUESTS} of {smoke.REQUESTS} failed"):
        smoke.run(outputs, "none", tmp_path)


def test_without_a_login_the_stacks_own_state_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "pulumi"
    program.write_text(
        "#!/bin/sh\n"
        "echo 'error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI "
        "sessions' >&2; exit 3\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "argv", ["smoke", "prod"])
    with pytest.raises(UserError, match=r"^stack prod: you are not logged in .*pulumi login s3://"):
        smoke.main()
