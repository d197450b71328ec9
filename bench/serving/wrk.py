"""The load generator: wrk, with one thread, and a script that sends one POST again and again.

wrk prints rounded figures; the script's `done` prints them whole, as JSON after a marker.
Source: https://github.com/wg/wrk/blob/master/SCRIPTING
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local.console import UserError
from local.toolkit import LINKS

_PATIENCE: Final = 60
_MARK: Final = "@bench "
_DONE: Final = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n@bench {"duration_us": %d, "requests": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, ' ..
    '"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}\\n',
    summary.duration, summary.requests, latency:percentile(50), latency:percentile(99),
    latency.max, e.connect, e.read, e.write, e.timeout, e.status))
end
"""


@dataclass(frozen=True)
class Measure:
    """What one load gave: requests answered, a second; latencies in milliseconds; failures."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    failed_status: int
    failed_socket: int


def find() -> str:
    """The wrk on PATH, else among the project's own tools.

    Raises:
        UserError: there is none.
    """
    found = shutil.which("wrk", path=f"{os.environ.get('PATH', os.defpath)}:{LINKS}/bin")
    if not found:
        raise UserError("wrk: not found on PATH; install it (apt-get install wrk)")
    return found


def version(program: str) -> str:
    """wrk's own word for its version: `debian/4.1.0-3+b2`."""
    done = subprocess.run([program, "-v"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return words[1] if len(words) > 1 else "unknown"


def script(body: bytes, content_type: str = "application/json") -> str:
    """The Lua script that posts `body`."""
    text = body.decode()
    if "]==]" in text:
        raise ValueError("the body holds the end of a Lua string")
    return (
        'wrk.method = "POST"\n'
        f'wrk.headers["Content-Type"] = "{content_type}"\n'
        f"wrk.body = [==[{text}]==]\n{_DONE}"
    )


def parse(output: str) -> Measure:
    """The figures in what wrk printed.

    Raises:
        UserError: there are none.
    """
    lines = [line for line in output.splitlines() if line.startswith(_MARK)]
    if not lines:
        tail = " ".join(output.split())[-300:]
        raise UserError(f"wrk: gave no figures: {tail or 'it printed nothing'}")
    raw = json.loads(lines[-1].removeprefix(_MARK))
    seconds = raw["duration_us"] / 1e6
    return Measure(
        requests=raw["requests"],
        per_second=raw["requests"] / seconds if seconds else 0.0,
        p50_ms=raw["p50_us"] / 1e3,
        p99_ms=raw["p99_us"] / 1e3,
        max_ms=raw["max_us"] / 1e3,
        failed_status=raw["status"],
        failed_socket=raw["connect"] + raw["read"] + raw["write"] + raw["timeout"],
    )


def load(program: str, url: str, lua: Path, connections: int, seconds: int) -> Measure:
    """Puts load on `url` for `seconds` from `connections` at once.

    Raises:
        UserError: wrk failed.
    """
    options = (f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency")
    command = [program, "-t1", *options, "-s", str(lua), url]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds + _PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"wrk: did not end {_PATIENCE} s after its {seconds} s") from None
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())[-300:]
        raise UserError(f"wrk: ended with status {done.returncode}: {reason}")
    return parse(done.stdout)
