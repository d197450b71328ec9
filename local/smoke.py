"""A few hundred real requests through the gateway, and a table of who answered them."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

import known_errors
from local.console import UserError, run_cli, say
from local.instance import PROJECT

REQUESTS = 300
WORKERS = 4
# The gateway gives up sooner, and says why: after 30 s, and where a model may have no pod, after
# its `cold_start` too, of four minutes at most.
PATIENCE = httpx.Timeout(10, read=280)
# A request that a model can answer, where somebody has written one down.
EXAMPLE = "docs/{model}-request.json"


@dataclass
class Tally:
    """What came back: per version the latencies in seconds, and the failures by their reason."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return sum(map(len, self.seconds.values())) + sum(self.errors.values())


def send(url: str, body: bytes, count: int = REQUESTS, workers: int = WORKERS) -> Tally:
    """Send `count` predictions to `url` over `workers` connections; failures are counted."""
    tally = Tally()
    lock = threading.Lock()
    tickets: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(count):
        tickets.put(number)

    def work() -> None:
        headers = {"content-type": "application/json"}
        with httpx.Client(timeout=PATIENCE, trust_env=False, verify=verified(url)) as client:
            while True:
                try:
                    tickets.get_nowait()
                except queue.Empty:
                    return
                start = time.perf_counter()
                version, reason = "none", ""
                try:
                    answer = client.post(url, content=body, headers=headers)
                    version = answer.headers.get("x-model-version", "none")
                    reason = "" if answer.status_code == 200 else f"HTTP {answer.status_code}"
                except httpx.HTTPError as error:
                    reason = type(error).__name__
                seconds = time.perf_counter() - start
                with lock:
                    if reason:
                        tally.errors[version, reason] += 1
                    else:
                        tally.seconds[version].append(seconds)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def verified(url: str) -> bool:
    """Whether the certificate of `url` has to be right. None names this machine itself, which the
    one-machine cluster's gateway is reached by.
    """
    return urlsplit(url).hostname not in ("127.0.0.1", "localhost")


def await_route(url: str, body: bytes, seconds: float = 60) -> None:
    """Wait until the route answers: Envoy learns of it shortly after Pulumi has written it.

    Raises:
        UserError: it does not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = httpx.post(
                url,
                content=body,
                headers={"content-type": "application/json"},
                timeout=PATIENCE,
                trust_env=False,
                verify=verified(url),
            )
            if answer.status_code == 200:
                return
            reason = f"HTTP {answer.status_code} {answer.text[:200]}"
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__} {error}"
        if time.monotonic() > deadline:
            raise UserError(f"predictions: {url} does not answer after {seconds:.0f} s ({reason})")
        time.sleep(0.2)


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of `values` do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


def table(tally: Tally) -> list[str]:
    """Lines: version, requests, share, errors, p50 and p95 in milliseconds."""
    versions = sorted({*tally.seconds, *(version for version, _ in tally.errors)})
    lines = [f"  {'version':<9}{'requests':>9}{'share':>8}{'errors':>8}{'p50':>10}{'p95':>10}"]
    for version in versions:
        good = tally.seconds.get(version, [])
        bad = sum(count for (name, _), count in tally.errors.items() if name == version)
        share = 100 * (len(good) + bad) / max(1, tally.total)
        times = [f"{1000 * quantile(good, q):.1f} ms" if good else "-" for q in (0.5, 0.95)]
        lines.append(
            f"  {version:<9}{len(good) + bad:>9}{share:>7.1f}%{bad:>8}{times[0]:>10}{times[1]:>10}"
        )
    for (version, reason), count in tally.errors.most_common(5):
        lines.append(f"  version {version}: {count} × {reason}")
    return lines


def run(
    outputs: Mapping[str, object], context: str, directory: Path = PROJECT, *, must: bool = False
) -> None:
    """Send the requests to each deployed model that has an example, and print the tables.

    must: whether there has to be such a model.

    Raises:
        UserError: the route does not answer, some request failed, or nothing could be tried.
    """
    models = outputs.get("models")
    names = sorted(models) if isinstance(models, dict) else []
    files = {name: directory / EXAMPLE.format(model=name) for name in names}
    tried = [name for name in names if files[name].is_file()]
    if not tried:
        there = ", ".join(names) or "there is none"
        example = EXAMPLE.format(model="<model>")
        nothing = f"no model of this stack has an example request, {example} (models: {there})"
        if must:
            raise UserError(f"predictions: {nothing}, so nothing was tried")
        say(f"  {nothing}: no requests sent")
        return
    failed = total = 0
    with gateway(outputs.get("gateway_url"), context) as base:
        for name in tried:
            body = files[name].read_bytes()
            try:
                json.loads(body)
            except ValueError as error:
                raise UserError(f"{files[name]}: is no JSON ({error})") from None
            url = f"{base}/models/{name}/invocations"
            await_route(url, body)
            tally = send(url, body)
            say("")
            say(f"  {name}: {tally.total} predictions through {url}")
            for line in table(tally):
                say(line)
            failed += sum(tally.errors.values())
            total += tally.total
    if failed:
        raise UserError(f"predictions: {failed} of {total} failed")
    if must and tried != names:
        left = ", ".join(name for name in names if name not in tried)
        say(f"  not tried, for want of an example request: {left}")


@contextmanager
def gateway(url: object, context: str) -> Iterator[str]:
    """The gateway's URL; where it has none, a port-forward to its Service for the time being."""
    if isinstance(url, str) and url and ".svc.cluster.local" not in url:
        yield url.rstrip("/")
        return
    scheme = urlsplit(str(url)).scheme or "http"
    process = subprocess.Popen(
        ["kubectl", "--context", context, "--namespace", "istio-ingress"]
        + ["port-forward", "service/istio-ingress", ":443" if scheme == "https" else ":80"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if "127.0.0.1:" not in line:
            raise UserError("gateway: kubectl port-forward to service istio-ingress did not start")
        yield f"{scheme}://127.0.0.1:{line.split('127.0.0.1:')[1].split()[0]}"
    finally:
        process.terminate()
        process.wait()


def _refused(said: str, stack: str) -> str:
    """What Pulumi says, or what to do about it; without a login that is none to its own cloud."""
    if "PULUMI_ACCESS_TOKEN must be set" in said:
        return (
            "you are not logged in to its state; pulumi login s3://…, as docs/aws.md says, or set "
            "PULUMI_BACKEND_URL"
        )
    return known_errors.mistake(said, stack) or said.strip()


def main() -> None:
    """`python -m local.smoke STACK`: predictions through the gateway of a stack that stands."""
    if len(sys.argv) != 2:
        raise UserError("make smoke: give the stack, as in make smoke STACK=dev")
    found = {}
    for name, command in (
        ("outputs", ["stack", "output", "--json"]),
        ("context", ["config", "get", "slipway:context"]),
    ):
        done = subprocess.run(
            ["pulumi", *command, "--stack", sys.argv[1], "--non-interactive"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise UserError(f"stack {sys.argv[1]}: {_refused(done.stderr, sys.argv[1])}")
        found[name] = done.stdout
    run(json.loads(found["outputs"]), found["context"].strip(), must=True)


if __name__ == "__main__":
    run_cli(main)
