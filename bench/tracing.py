"""What traces cost: servers without a collector and with one, side by side in one run.

Run it by `python -m bench.tracing` (no cluster; the environment of the serving image's packages is
made in the cache). Servers with one model run for the whole of a round, each with one worker: two
without an endpoint, which tells how much two equal servers differ here, and two with one, which get
requests of which none is sampled, and of which one in a hundred is. Every request has a
`traceparent`, as the gateway sends it. `--before DIRECTORY` adds a server of another state of the
project (a checkout's `serving_image`). Load is put on one at a time, in turns, so that whatever
else the machine does falls on all of them alike; each round starts them anew.

It prints, for each load and server, requests a second and the median latency, and the ratio of
both, and of CPU seconds a request, to the first server's: medians over all turns, with the
quartiles beside the first. Nothing fails for being slow.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from bench.serving import measure, processes, wrk
from bench.serving.cases import CASES, Case
from bench.serving.measure import Answers
from bench.serving.servers import SLIPWAY
from bench.turns import Load, Turns, bodies, prepare, ratio, started, take, train
from local.console import UserError, run_cli, say, step
from local.instance import PROJECT, cache_dir
from local.toolkit import exclusive

_LOADS: Final = (
    Load("1 row, 1 connection", 1, 1),
    Load("1 row, 32 connections", 32, 1),
    Load("1 row by MLflow, 8 connections", 8, 1, native=True),
)
_NONE, _SOME = 0, 100
# Two requests that differ in the flag of their traces; one of so many is the sampled one.
_REQUESTS: Final = """
local count, plain, traced = 0, nil, nil
init = function()
  local id = "00-" .. string.rep("ab", 16) .. "-" .. string.rep("cd", 8) .. "-"
  wrk.headers["traceparent"] = id .. "00"
  plain = wrk.format()
  wrk.headers["traceparent"] = id .. "01"
  traced = wrk.format()
end
request = function()
  count = count + 1
  if EVERY > 0 and count % EVERY == 0 then return traced end
  return plain
end
"""


@dataclass(frozen=True)
class Arm:
    """One server: whether it has a collector, and of how many requests one is sampled (0: none).

    runtime: the directory of its `slipway_runtime`.
    """

    title: str
    traced: bool = False
    every: int = _NONE
    runtime: Path = PROJECT / "serving_image"


def arms(before: Path | None) -> list[Arm]:
    """The servers, the one that the others are compared with first."""
    found = [Arm("before", runtime=before)] if before else []
    return [
        *found,
        Arm("off"),
        Arm("off again"),
        Arm("on, none sampled", traced=True),
        Arm("on, 1 % sampled", traced=True, every=_SOME),
    ]


class _Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    taken = 0

    def do_POST(self) -> None:
        _Collector.taken += len(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextlib.contextmanager
def collector() -> Iterator[str]:
    """A collector that throws spans away: its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def round_of(
    chosen: Sequence[Arm], model: Path, folder: Path, program: str, turns: int, seconds: int
) -> dict[str, Turns]:
    """One round: every load, so many turns each; by the load's title."""
    found: dict[str, Turns] = {}
    with contextlib.ExitStack() as stack:
        endpoint = stack.enter_context(collector())
        running = {}
        for place, arm in enumerate(chosen):
            more = {"PYTHONPATH": str(arm.runtime)}
            if arm.traced:
                more["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
            server = started(model, folder / f"arm-{place}", more)
            running[arm.title] = stack.enter_context(server)
        scripts = {arm.title: folder / f"{arm.every}.lua" for arm in chosen}
        answers = Answers.read(model)
        for load in _LOADS:
            body, expected = bodies(load, answers)
            for arm in chosen:
                _, port = running[arm.title]
                if fault := measure.check(SLIPWAY, port, body, expected):
                    raise UserError(f"bench: {arm.title}: {load.title}: {fault}")
                processes.warm_up(port, SLIPWAY.path, body, 1.0)
                requests = _REQUESTS.replace("EVERY", str(arm.every))
                scripts[arm.title].write_text(wrk.script(body) + requests)
            found[load.title] = take(running, load, scripts.__getitem__, program, turns, seconds)
    return found


def table(found: dict[str, Turns], chosen: Sequence[Arm]) -> str:
    """The result, a line a load and arm."""
    lines = [
        f"{'load':32} {'server':18} {'req/s':>8} {'p50 ms':>8}  {'req/s ratio':22} "
        f"{'p50':>6} {'CPU':>6}"
    ]
    first = chosen[0].title
    for title, turns in found.items():
        for place, arm in enumerate(chosen):
            rate = statistics.median(each.per_second for each in turns[arm.title])
            p50 = statistics.median(each.p50_ms for each in turns[arm.title])
            line = f"{'' if place else title:32} {arm.title:18} {rate:8,.0f} {p50:8.3f}"
            if place:
                more = (ratio(turns, arm.title, first, it) for it in ("p50_ms", "cpu_seconds"))
                rates = ratio(turns, arm.title, first, "per_second", spread=True)
                line += f"  {rates:22} {' '.join(more)}"
            lines.append(line)
    return "\n".join(lines)


def bench(case: Case, chosen: Sequence[Arm], rounds: int, turns: int, seconds: int) -> None:
    """Measures and prints."""
    program = prepare()
    found: dict[str, Turns] = {load.title: {a.title: [] for a in chosen} for load in _LOADS}
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        folder = Path(name)
        with step("bench: the model"):
            model = train(case, folder)
        for number in range(rounds):
            with step(f"bench: round {number + 1} of {rounds}"):
                scratch = folder / f"round-{number}"
                scratch.mkdir()
                for title, taken in round_of(
                    chosen, model, scratch, program, turns, seconds
                ).items():
                    for arm, values in taken.items():
                        found[title][arm] += values
    if not _Collector.taken:
        raise UserError("bench: the collector got nothing")
    say(f"\n{case.title}; {rounds} rounds of {turns} turns of {seconds} s\n")
    say(table(found, chosen))


def main() -> None:
    cases = {case.key: case for case in CASES}
    parser = argparse.ArgumentParser(
        prog="python -m bench.tracing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", choices=list(cases), default="logistic-10")
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=3, metavar="1-20")
    parser.add_argument("--turns", type=int, choices=range(1, 101), default=6, metavar="1-100")
    parser.add_argument("--seconds", type=int, choices=range(1, 31), default=2, metavar="1-30")
    parser.add_argument("--before", type=Path, metavar="DIRECTORY")
    given = parser.parse_args()
    if given.before and not (given.before / "slipway_runtime").is_dir():
        raise UserError(f"--before: {given.before} has no slipway_runtime")
    # Two at once would measure each other.
    with exclusive(cache_dir() / "bench-serving.lock", "bench"):
        before = given.before.resolve() if given.before else None
        bench(cases[given.case], arms(before), given.rounds, given.turns, given.seconds)


if __name__ == "__main__":
    run_cli(main)
