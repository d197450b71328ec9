"""A soak of the serving runtime: a million requests, some plain, some odd, some broken.

Run it by `python -m bench.soak` (the environment of requirements.txt; no cluster). One server with
one worker and a logistic regression gets requests over 32 connections: nine in ten plain, one in
ten drawn from a few thousand that are odd or broken in every way the differential test knows, on
HTTP that is whole. It prints how many requests got which status and each process' memory after
every tenth, and fails (exit code 1) where

- an answer is 5xx, or a request gets none;
- a process ended;
- memory after the first tenth, when every path was taken, and at the end differ by over 5 %.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import random
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from hypothesis import HealthCheck, given, seed, settings

from local.console import UserError, run_cli, say
from serving_image.tests.differential import models, requests
from serving_image.tests.serving import Running, serving

_CONNECTIONS = 32
_TENTHS = 10
_GROWTH = 1.05
_PLAIN_SHARE = 0.9


def _odd(count: int) -> list[tuple[bytes, str]]:
    """Bodies and content types, generated; the same ones for the same count."""
    model = models.MODELS["lr"]
    found: list[tuple[bytes, str]] = []

    @seed(1)
    @settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(requests.requests(model))
    def collect(request: requests.Request) -> None:
        found.append((request.body, request.content_type or ""))

    collect()
    return found


def _plain() -> list[tuple[bytes, str]]:
    names = ",".join(f'"{column.name}"' for column in models.MODELS["lr"].columns)
    width = len(models.MODELS["lr"].columns)
    draw = random.Random(0)  # noqa: S311  (no secret)
    bodies = []
    for rows in [1] * 90 + [10] * 9 + [100]:
        data = [[draw.gauss(0, 1) for _ in range(width)] for _ in range(rows)]
        text = f'{{"dataframe_split": {{"columns": [{names}], "data": {data}}}}}'
        bodies.append((text.encode(), "application/json"))
    return bodies


def _wire(body: bytes, content_type: str) -> bytes:
    lines = ["POST /invocations HTTP/1.1", "host: soak", f"content-length: {len(body)}"]
    if content_type:
        lines.append(f"content-type: {content_type}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Soak:
    """The load: so many connections, each with one request under way at a time."""

    def __init__(self, port: int, plain: list[bytes], odd: list[bytes]) -> None:
        self.statuses: collections.Counter[int] = collections.Counter()
        self._port = port
        self._plain = plain
        self._odd = odd
        self._left = 0

    async def send(self, count: int) -> None:
        """Sends so many requests."""
        self._left = count
        await asyncio.gather(*(self._connection(number) for number in range(_CONNECTIONS)))

    async def _connection(self, number: int) -> None:
        draw = random.Random(number)  # noqa: S311  (no secret)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while self._left > 0:
            self._left -= 1
            odd = draw.random() > _PLAIN_SHARE
            writer.write(draw.choice(self._odd if odd else self._plain))
            head = await reader.readuntil(b"\r\n\r\n")
            lowered = head.lower()
            length = int(lowered.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            self.statuses[int(head[9:12])] += 1
            if b"connection: close" in lowered:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.close()


def _memory(server: Running) -> dict[str, float]:
    """Proportional set size of each process, in MB."""
    found = {}
    for module, pids in server.children().items():
        for pid in pids:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
            found[f"{module} {pid}"] = int(pss.split()[1]) / 1024
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--requests", type=int, default=1_000_000, help="default 1,000,000")
    parser.add_argument("--odd", type=int, default=3000, help="odd ones to draw from (3000)")
    chosen = parser.parse_args()
    if not 1000 <= chosen.requests <= 10_000_000:
        raise UserError(f"--requests: {chosen.requests} is not from 1,000 to 10,000,000")
    say(f"drawing {chosen.odd} odd requests")
    odd = [_wire(*request) for request in _odd(chosen.odd)]
    plain = [_wire(*request) for request in _plain()]
    with tempfile.TemporaryDirectory(prefix="slipway-soak-") as folder:
        model = Path(folder) / "model"
        models.MODELS["lr"].save(model)
        with serving(model, Path(folder) / "log") as server:
            server.wait_for_event("the compiled model answers as MLflow does")
            soak = Soak(server.port, plain, odd)
            before: dict[str, float] = {}
            started = time.monotonic()
            for _ in range(_TENTHS):
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(soak.send(chosen.requests // _TENTHS))
                memory = _memory(server)
                before = before or memory
                shown = ", ".join(f"{name} {size:.1f} MB" for name, size in memory.items())
                say(f"{sum(soak.statuses.values()):>9,} requests: {shown}")
            seconds = time.monotonic() - started
            samples = server.samples()
    for status, count in sorted(soak.statuses.items()):
        say(f"  {status}: {count:,}")
    total = sum(soak.statuses.values())
    compiled = sum(
        value for name, value in samples.items() if name.startswith("model_compiled_predictions")
    )
    say(f"  {total:,} answered in {seconds:.0f} s, {int(compiled):,} by the compiled model")
    faults = [f"{status}: {count}" for status, count in soak.statuses.items() if status >= 500]
    if before.keys() != memory.keys():
        faults.append("a process was replaced")
    else:
        grown = [name for name, size in memory.items() if size > _GROWTH * before[name]]
        faults += [f"{name} grew by more than 5 %" for name in grown]
    if faults:
        raise UserError("soak: " + "; ".join(faults))
    say("soak: no 5xx, no process ended, memory flat")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "serving_image"))
    run_cli(main)
