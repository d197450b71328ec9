"""One run of one server with one model: started, checked, loaded, weighed, stopped."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import re
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.serving import processes, servers, wrk
from bench.serving.cases import Case, Load
from bench.serving.processes import Memory, Server
from bench.serving.servers import Peer
from bench.serving.wrk import Measure
from local.console import UserError

_FIRST_WARM_SECONDS: Final = 1.0
_WARM_SECONDS: Final = 0.3
_COMPILE_SECONDS: Final = 10.0


@dataclass
class Run:
    """The figures of one run; `faults` says, a line each, what makes them not comparable.

    `compiled_seconds` is Slipway's alone: start to its compiled model's first use, or None.
    `rest_seconds` is start to the end of what the server does by itself, before any request.
    `elsewhere` is, for each load, how many cores were busy with anything else meanwhile.
    """

    case: str
    server: str
    round: int
    ready_seconds: float | None = None
    compiled_seconds: float | None = None
    rest_seconds: float | None = None
    loads: dict[str, Measure] = field(default_factory=dict)
    memory: Memory | None = None
    elsewhere: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For the JSON."""
        raw = asdict(self)
        for name in ("ready_seconds", "compiled_seconds", "rest_seconds"):
            raw[name] = None if raw[name] is None else round(raw[name], 3)
        for load in raw["loads"].values():
            load["per_second"] = round(load["per_second"], 1)
        return raw


@dataclass(frozen=True)
class Answers:
    """What a model itself answers: to the first of `rows` alone, and to all of them."""

    rows: Sequence[Sequence[float]]
    one: Sequence[float]
    all: Sequence[float]

    @classmethod
    def read(cls, folder: Path) -> Answers:
        """Reads what `train.py` wrote."""
        return cls(**json.loads((folder / "answers.json").read_text()))

    def to(self, count: int) -> tuple[Sequence[Sequence[float]], Sequence[float]]:
        """`count` rows, 1 or all, and the answers to them."""
        return (self.rows[:1], self.one) if count == 1 else (self.rows, self.all)


@dataclass(frozen=True)
class Options:
    """How a run is done: the load generator, seconds a measure, and the loads."""

    wrk: str
    seconds: int
    loads: Sequence[Load]


def run(peer: Peer, case: Case, number: int, model: Path, folder: Path, options: Options) -> Run:
    """Starts the server in the empty `folder`, measures it and stops it.

    A server that fails gives a run with a fault: the others are still worth measuring.
    """
    result = Run(case.key, peer.key, number)
    folder.mkdir(parents=True)
    ports = processes.free_ports(3)
    command, own = peer.command(model, folder, ports)
    environment = servers.environment_of(peer, folder, own)
    try:
        with processes.running(command, environment, folder) as server:
            result.ready_seconds = server.wait_ready(ports[0], peer.ready)
            if peer is servers.SLIPWAY:
                result.compiled_seconds = _wait_compiled(server, ports[0])
            result.rest_seconds = server.wait_rest()
            _load(peer, server, ports[0], Answers.read(model), folder, options, result)
    except UserError as error:
        result.faults.append(str(error))
    return result


def _load(
    peer: Peer,
    server: Server,
    port: int,
    answers: Answers,
    folder: Path,
    options: Options,
    result: Run,
) -> None:
    before = server.cpu_ticks()
    for load in options.loads:
        rows, expected = answers.to(load.rows)
        body = json.dumps(peer.body(rows)).encode()
        if fault := check(peer, port, body, expected):
            result.faults.append(f"{load.key}: {fault}")
            continue
        first = load is options.loads[0]
        processes.warm_up(port, peer.path, body, _FIRST_WARM_SECONDS if first else _WARM_SECONDS)
        lua = folder / f"{load.key}.lua"
        lua.write_text(wrk.script(body))
        url = f"http://127.0.0.1:{port}{peer.path}"
        watch = _Watch(server)
        figures = wrk.load(options.wrk, url, lua, load.connections, options.seconds)
        result.elsewhere[load.key] = watch.elsewhere()
        result.loads[load.key] = figures
        if not figures.requests:
            result.faults.append(f"{load.key}: no answer in {options.seconds} s")
        if figures.failed_status or figures.failed_socket:
            result.faults.append(
                f"{load.key}: {figures.failed_status} answers with an error, "
                f"{figures.failed_socket} broken connections, of {figures.requests}"
            )
        if fault := check(peer, port, body, expected):
            result.faults.append(f"{load.key}: after load, {fault}")
    result.memory = server.memory(before)


class _Watch:
    """Tells how many cores were busy, since it was made, with neither the server nor wrk."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._start, self._machine, self._own = self._read()

    def elsewhere(self) -> float:
        now, machine, own = self._read()
        ticks = machine - self._machine - (own - self._own)
        return max(0.0, round(ticks / processes.TICKS / (now - self._start), 2))

    def _read(self) -> tuple[float, int, float]:
        # wrk is a child that has ended when this is read.
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own = sum(each.ru_utime + each.ru_stime for each in used) * processes.TICKS
        own += sum(self._server.cpu_ticks().values())
        return time.perf_counter(), processes.machine_ticks(), own


def check(peer: Peer, port: int, body: bytes, expected: Sequence[float]) -> str | None:
    """What is wrong with the server's answer to `body`, or None."""
    try:
        status, answer = processes.request(port, "POST", peer.path, body)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    if status != 200:
        return f"status {status}: {answer[:200]!r}"
    if peer is servers.LIMIT:
        expected = [0]
    try:
        found = peer.read(json.loads(answer))
    except (ValueError, KeyError, TypeError, IndexError):
        return f"an answer of another form: {answer[:200]!r}"
    return difference(found, expected)


def difference(found: Sequence[Any], expected: Sequence[float]) -> str | None:
    """How predictions differ from the model's own, or None.

    Labels must be equal. Numbers may be off in their last digits: a matrix product's order of
    summation depends on how the array lies in memory.
    """
    if len(found) != len(expected):
        return f"{len(found)} predictions instead of {len(expected)}"
    for index, (got, wanted) in enumerate(zip(found, expected, strict=True)):
        if not isinstance(got, int | float) or not math.isclose(got, wanted, rel_tol=1e-9):
            return f"prediction {index} is {got!r} instead of {wanted!r}"
    return None


def _wait_compiled(server: Server, port: int) -> float | None:
    """Seconds from the start until Slipway's metric says that the model is compiled.

    None where it does not say so within 10 s: what is measured then is the model as it was saved.
    """
    deadline = time.perf_counter() + _COMPILE_SECONDS
    while time.perf_counter() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            text = processes.request(port, "GET", "/metrics")[1].decode()
            if is_compiled(text):
                return time.perf_counter() - server.started
        time.sleep(0.05)
    return None


def is_compiled(metrics: str) -> bool:
    """Whether `model_compiled` is 1 in Prometheus' text."""
    return re.search(r"^model_compiled(\{[^}]*\})? 1(\.0)?$", metrics, re.M) is not None
