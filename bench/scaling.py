"""Load, replicas and latency over time: how a model server follows a load that doubles twice.

Run it by `.venv/bin/python -m bench.scaling` while `make up` stands, with the demo model scaled by
requests (`scaling: {min: 2, max: 6, requests_per_second: 15}`, see docs/autoscaling.md) or by CPU.
It sends requests to the stable version for as long as the phases say, each second sees how many
servers there are, and writes a table of it and a picture: `scaling.json` and `scaling.png`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from local import instance, node, stack
from local.console import UserError, run_cli
from local.instance import PROJECT

mpl.use("Agg")

MODEL = "churn"
WINDOW = 10.0
"""Seconds of answers that a p95 is of."""
MOST_AT_ONCE = 200


@dataclass
class Seen:
    """What a run saw. at: seconds since its beginning of each sample; sent: requests a second that
    were asked for; answered: those answered in that second; wanted, ready: servers; p95: seconds,
    of the last WINDOW seconds; failed: requests without a prediction, in all.
    """

    at: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    p95: list[float] = field(default_factory=list)
    failed: int = 0
    requests: int = 0


class Run:
    """One run against `url`. phases: seconds, and requests a second, one after the other."""

    def __init__(self, url: str, body: bytes, phases: list[tuple[float, float]]) -> None:
        self._url, self._body, self._phases = url, body, phases
        self._answers: list[tuple[float, float]] = []
        self._rate = 0.0
        self.seen = Seen()

    async def go(self, deployment: list[str], environment: dict[str, str]) -> Seen:
        """Send what the phases say, and see what comes of it."""
        self._start = time.monotonic()
        limits = httpx.Limits(max_connections=MOST_AT_ONCE)
        async with httpx.AsyncClient(timeout=15, trust_env=False, limits=limits) as client:
            watcher = asyncio.create_task(self._watch(deployment, environment))
            try:
                await self._send(client)
            finally:
                watcher.cancel()
        return self.seen

    async def _send(self, client: httpx.AsyncClient) -> None:
        under_way: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        for seconds, rate in self._phases:
            self._rate = rate
            end = due + seconds
            while due < end:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if len(under_way) < MOST_AT_ONCE:
                    task = asyncio.create_task(self._one(client))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                due += 1 / rate
        await asyncio.gather(*under_way)

    async def _one(self, client: httpx.AsyncClient) -> None:
        start = time.monotonic()
        self.seen.requests += 1
        try:
            answer = await client.post(
                self._url, content=self._body, headers={"content-type": "application/json"}
            )
            good = answer.status_code == 200 and "predictions" in answer.json()
        except (httpx.HTTPError, ValueError):
            good = False
        self.seen.failed += not good
        now = time.monotonic()
        self._answers.append((now, now - start))

    async def _watch(self, deployment: list[str], environment: dict[str, str]) -> None:
        while True:
            process = await asyncio.create_subprocess_exec(
                *deployment, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            out, _ = await process.communicate()
            if out:
                self._note(json.loads(out))
            await asyncio.sleep(1)

    def _note(self, deployment: dict[str, Any]) -> None:
        now = time.monotonic()
        lately = [took for at, took in self._answers if at > now - WINDOW]
        self.seen.at.append(round(now - self._start, 1))
        self.seen.sent.append(self._rate)
        self.seen.answered.append(sum(at > now - 1 for at, _ in self._answers))
        self.seen.wanted.append(deployment["spec"]["replicas"])
        self.seen.ready.append(deployment["status"].get("readyReplicas", 0))
        self.seen.p95.append(float(np.quantile(lately, 0.95)) if lately else float("nan"))


def draw(seen: Seen) -> Figure:
    """Three pictures over the same time: requests a second, servers, p95."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    load, servers, latency = figure.subplots(3, 1, sharex=True)
    load.plot(seen.at, seen.answered, color="tab:blue", linewidth=0.8, label="answered")
    load.step(seen.at, seen.sent, color="black", where="post", label="sent")
    load.set_ylabel("requests a second")
    servers.step(seen.at, seen.wanted, color="tab:orange", where="post", label="wanted")
    servers.step(seen.at, seen.ready, color="tab:green", where="post", label="ready")
    servers.set_ylabel("servers")
    latency.plot(seen.at, [1000 * value for value in seen.p95], color="tab:red")
    latency.set_ylabel(f"p95 of {WINDOW:.0f} s, ms")
    latency.set_yscale("log")
    latency.set_xlabel("seconds")
    for axes in (load, servers):
        axes.legend(loc="upper left")
    for axes in (load, servers, latency):
        axes.grid(alpha=0.3)
    figure.suptitle(f"{seen.requests:,} requests, {seen.failed} failed")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rate", type=float, default=15, help="requests a second at first")
    parser.add_argument("--seconds", type=float, default=90, help="of each of the four phases")
    parser.add_argument("--out", type=Path, default=PROJECT / "bench/results")
    options = parser.parse_args()
    if not 1 <= options.rate <= 500 or not 10 <= options.seconds <= 600:
        raise UserError("--rate takes 1 to 500, and --seconds 10 to 600")
    chosen = instance.load()
    if not node.is_running(chosen):
        raise UserError(f"cluster {chosen.name}: not running; run `make up` first")
    target = stack.on_one_machine(chosen)
    kubectl = [str(PROJECT / ".slipway/bin/kubectl"), "--context", "slipway", "-n", "models"]
    version = stack.outputs(target)["models"][MODEL]["stable"]
    deployment = [*kubectl, "get", "deployment", f"{MODEL}-v{version}", "-o", "json"]
    rates = [options.rate, 2 * options.rate, 4 * options.rate, options.rate]
    url = f"http://127.0.0.1:{chosen.ports['gateway']}/models/{MODEL}/invocations"
    body = (PROJECT / "docs/churn-request.json").read_bytes()
    run = Run(url, body, [(options.seconds, rate) for rate in rates])
    seen = asyncio.run(run.go(deployment, {**os.environ, **target.environment}))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "scaling.json").write_text(json.dumps(asdict(seen)) + "\n")
    draw(seen).savefig(options.out / "scaling.png", dpi=110)
    print(f"{'phase':<8}{'sent/s':>8}{'servers at its end':>20}{'p95 of its second half':>25}")
    for number, rate in enumerate(rates):
        end = (number + 1) * options.seconds
        rows = [i for i, at in enumerate(seen.at) if end - options.seconds / 2 < at <= end]
        p95 = float(np.nanmedian([seen.p95[i] for i in rows])) if rows else float("nan")
        ready = seen.ready[rows[-1]] if rows else 0
        print(f"{number + 1:<8}{rate:>8g}{ready:>20}{1000 * p95:>22.0f} ms")
    print(f"{seen.requests:,} requests, {seen.failed} failed")


if __name__ == "__main__":
    run_cli(main)
