"""A server's processes: started, watched and measured by what /proc says, and ended."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local.console import UserError

_READY_SECONDS: Final = 120
_STOP_SECONDS: Final = 5
_REST_SECONDS: Final = 10
_REST_STEP: Final = 0.3
_REST_TICKS: Final = 1
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """MiB after load. RSS counts a shared page in each process, PSS a fair share of it.

    The worker is the process that the load made work most; the tree is every process of the server,
    in `processes` one by one, the one that worked most first.
    """

    worker_rss: float
    worker_pss: float
    tree_rss: float
    tree_pss: float
    processes: tuple[Process, ...]


@dataclass(frozen=True)
class Process:
    """One process of a server: what it runs, the seconds of CPU that the load cost it, and MiB."""

    name: str
    cpu_seconds: float
    rss: float
    pss: float


class Server:
    """One running server, in a session of its own, with its output in a file."""

    def __init__(self, command: list[str], env: Mapping[str, str], folder: Path) -> None:
        self._log = folder / "server.log"
        self.started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=dict(env),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, port: int, path: str) -> float:
        """Seconds from the start to the first 200 for `path`.

        Raises:
            UserError: it ended, or is not ready in time; with the last lines of its output.
        """
        deadline = self.started + _READY_SECONDS
        while time.perf_counter() < deadline:
            if self._process.poll() is not None:
                raise UserError(f"it ended with status {self._process.returncode}: {self.tail()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if request(port, "GET", path)[0] == 200:
                    return time.perf_counter() - self.started
            time.sleep(0.01)
        raise UserError(f"it is not ready after {_READY_SECONDS} s: {self.tail()}")

    def wait_rest(self) -> float:
        """Seconds from the start until the server works no more, 10 s from now at most.

        Some go on loading behind their readiness; that work is not the load's.
        """
        deadline = time.perf_counter() + _REST_SECONDS
        used, quiet = sum(self.cpu_ticks().values()), 0
        # Twice: on a busy machine a server that wants to work may not get to for a while.
        while quiet < 2 and time.perf_counter() < deadline:
            time.sleep(_REST_STEP)
            before, used = used, sum(self.cpu_ticks().values())
            quiet = quiet + 1 if used - before <= _REST_TICKS else 0
        return time.perf_counter() - self.started

    def tail(self) -> str:
        """The end of what it printed, in one line."""
        text = self._log.read_text(errors="replace").strip()
        return " | ".join(line.strip() for line in text.splitlines()[-2:])[-400:]

    def cpu_ticks(self) -> dict[int, int]:
        """Process id → clock ticks it has used so far, of every process of the server."""
        return {pid: stat[2] for pid, stat in _tree(self._process.pid).items()}

    def memory(self, before: Mapping[int, int]) -> Memory:
        """The memory now; `before` is `cpu_ticks()` from before the load."""
        found: list[Process] = []
        for pid, ticks in self.cpu_ticks().items():
            with contextlib.suppress(OSError):
                rss, pss = parse_rollup(Path(f"/proc/{pid}/smaps_rollup").read_text())
                name = command_name(Path(f"/proc/{pid}/cmdline").read_text())
                seconds = (ticks - before.get(pid, 0)) / TICKS
                found.append(Process(name, round(seconds, 2), round(rss, 1), round(pss, 1)))
        if not found:
            raise UserError(f"it ended under load: {self.tail()}")
        found.sort(key=lambda each: -each.cpu_seconds)
        return Memory(
            worker_rss=found[0].rss,
            worker_pss=found[0].pss,
            tree_rss=round(sum(each.rss for each in found), 1),
            tree_pss=round(sum(each.pss for each in found), 1),
            processes=tuple(found),
        )

    def stop(self) -> None:
        """Ends every process of the server: its first asked to, what is left then, and made to."""
        members = set(_tree(self._process.pid))
        for number, group in (
            (signal.SIGTERM, {self._process.pid}),
            (signal.SIGTERM, members),
            (signal.SIGKILL, members),
        ):
            members |= set(_tree(self._process.pid))
            _signal({pid for pid in group if alive(pid)}, number)
            deadline = time.monotonic() + _STOP_SECONDS
            while any(alive(pid) for pid in group) and time.monotonic() < deadline:
                self._process.poll()
                time.sleep(0.02)
        self._process.wait()


def request(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """One request to 127.0.0.1: its status and body.

    Raises:
        OSError, http.client.HTTPException: there was no answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def warm_up(port: int, path: str, body: bytes, seconds: float) -> None:
    """Sends the request again and again over one connection, for `seconds`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    deadline = time.perf_counter() + seconds
    try:
        while time.perf_counter() < deadline:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"it broke a connection while it was warmed up: {error}") from error
    finally:
        connection.close()


@contextlib.contextmanager
def running(command: list[str], env: Mapping[str, str], folder: Path) -> Iterator[Server]:
    """A server for as long as the block lasts."""
    server = Server(command, env, folder)
    try:
        yield server
    finally:
        server.stop()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listened on a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def machine_ticks() -> int:
    """Clock ticks that all programs on this machine have used, and what its host took from it."""
    return parse_cpu(Path("/proc/stat").read_text())


def parse_cpu(text: str) -> int:
    """User, nice, system and steal of /proc/stat.

    Interrupts are left out: those of a server's own traffic are charged to no process.
    """
    user, nice, system, _, _, _, _, steal = map(int, text.split("\n", 1)[0].split()[1:9])
    return user + nice + system + steal


def _tree(root: int) -> dict[int, tuple[int, int, int]]:
    """Process id → (parent, session, ticks) of `root`, its session and all descendants."""
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stats[int(entry.name)] = parse_stat((entry / "stat").read_text())
    members = {pid for pid, stat in stats.items() if pid == root or stat[1] == root}
    while more := {pid for pid, stat in stats.items() if stat[0] in members} - members:
        members |= more
    return {pid: stats[pid] for pid in members}


def parse_stat(text: str) -> tuple[int, int, int]:
    """Parent, session and clock ticks used, of a line of /proc/<pid>/stat (see proc(5))."""
    # The second field, the program's name, may hold blanks and parentheses.
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), int(fields[3]), int(fields[11]) + int(fields[12])


def parse_rollup(text: str) -> tuple[float, float]:
    """RSS and PSS in MiB, of /proc/<pid>/smaps_rollup."""
    kib = dict(re.findall(r"^(Rss|Pss): +(\d+) kB", text, re.M))
    return int(kib.get("Rss", 0)) / 1024, int(kib.get("Pss", 0)) / 1024


def command_name(cmdline: str) -> str:
    """What a process runs, without paths: its module or its script, of /proc/<pid>/cmdline."""
    words = cmdline.rstrip("\0").split("\0")
    for option, value in itertools.pairwise([*words[1:], ""]):
        if option == "-m":
            return value
        if option == "-c":
            break
        if not option.startswith("-"):
            return Path(option).name
    return Path(words[0]).name


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be read by its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
