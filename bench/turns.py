"""Servers that are compared side by side: load is put on one at a time, in turns.

Whatever else the machine does falls on all of them alike, so the ratio of two in the same turn says
more than either figure.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.serving import environments, processes, servers, wrk
from bench.serving.cases import Case
from bench.serving.measure import Answers
from bench.serving.processes import Server
from bench.serving.servers import SLIPWAY
from local.console import UserError
from local.instance import PROJECT
from local.toolkit import run as run_command


@dataclass(frozen=True)
class Load:
    """One kind of load: so many connections that send so many rows a request.

    `native` is whether the request is one that the compiled model leaves to MLflow.
    """

    title: str
    connections: int
    rows: int
    native: bool = False


@dataclass(frozen=True)
class Turn:
    """What one turn gave: requests a second, the median latency in ms, and CPU seconds of the
    server a request.
    """

    per_second: float
    p50_ms: float
    cpu_seconds: float


Turns = dict[str, list[Turn]]
"""By arm, one a turn, in the same order."""


def prepare() -> str:
    """Makes what a run needs; the program that puts load on a server.

    Raises:
        UserError: there is no such program.
    """
    program = wrk.find()
    environments.ensure(SLIPWAY.environment)
    environments.read_once(SLIPWAY.environment)
    environments.compile_runtime()
    return program


def run_trained(folder: Path, arguments: list[str]) -> None:
    """Runs the serving image's Python, in `train` of the folder."""
    scratch = folder / "train"
    scratch.mkdir(exist_ok=True)
    path = {"PYTHONPATH": str(PROJECT / "serving_image")}
    env = servers.environment_of(SLIPWAY, scratch, path)
    run_command([str(SLIPWAY.environment.python), *arguments], cwd=scratch, env=env)


def train(case: Case, folder: Path) -> Path:
    """Trains the model; returns its folder."""
    script = str(PROJECT / "bench/serving/train.py")
    run_trained(folder, [script, "mlflow", str(folder), case.key])
    return folder / case.key


def bodies(load: Load, answers: Answers) -> tuple[bytes, Sequence[float]]:
    """The request of a load, and the right answer."""
    rows, expected = answers.to(load.rows)
    content: dict[str, Any] = SLIPWAY.body(rows)
    if load.native:
        # A key that MLflow has no use for makes the request one of MLflow's.
        content["more"] = 1
    return json.dumps(content).encode(), expected


@contextlib.contextmanager
def started(
    model: Path, folder: Path, more: Mapping[str, str] | None = None
) -> Iterator[tuple[Server, int]]:
    """A server of the model at rest, and its port. more: of its environment."""
    folder.mkdir(parents=True)
    ports = processes.free_ports(1)
    command, own = SLIPWAY.command(model, folder, ports)
    environment = servers.environment_of(SLIPWAY, folder, {**own, **(more or {})})
    with processes.running(command, environment, folder) as server:
        server.wait_ready(ports[0], SLIPWAY.ready)
        server.wait_rest()
        yield server, ports[0]


def turn(server: Server, port: int, load: Load, lua: Path, program: str, seconds: int) -> Turn:
    """Puts load on one server.

    Raises:
        UserError: an answer was an error.
    """
    before = sum(server.cpu_ticks().values())
    url = f"http://127.0.0.1:{port}{SLIPWAY.path}"
    done = wrk.load(program, url, lua, load.connections, seconds)
    ticks = sum(server.cpu_ticks().values()) - before
    if done.failed_status or done.failed_socket or not done.requests:
        raise UserError(f"bench: {load.title}: of {done.requests} answers some were errors")
    return Turn(done.per_second, done.p50_ms, ticks / processes.TICKS / done.requests)


def take(
    running: Mapping[str, tuple[Server, int]],
    load: Load,
    script: Callable[[str], Path],
    program: str,
    turns: int,
    seconds: int,
) -> Turns:
    """So many turns of a load on each server. script: what wrk runs, by arm."""
    names = list(running)
    taken: Turns = {name: [] for name in names}
    for number in range(turns):
        # Each goes first as often as the others.
        for place in range(len(names)):
            name = names[(number + place) % len(names)]
            server, port = running[name]
            taken[name].append(turn(server, port, load, script(name), program, seconds))
    return taken


def ratio(turns: Turns, arm: str, first: str, measure_of: str, spread: bool = False) -> str:
    """An arm to the first: the median of the turns' ratios, and its quartiles."""
    pairs = list(zip(turns[arm], turns[first], strict=True))
    found = [getattr(one, measure_of) / getattr(other, measure_of) for one, other in pairs]
    middle = f"{statistics.median(found):.3f}"
    if not spread or len(found) == 1:
        return middle
    low, _, high = statistics.quantiles(found, n=4, method="inclusive")
    return f"{middle} ({low:.3f}-{high:.3f})"
