"""The model server: loads one model version and serves it until it is told to stop.

``python -m slipway_runtime.server``, configured by environment variables (see `settings`).

It starts the processes that do the work, and starts again what dies:

- ``WORKERS`` front workers (see `worker`), which share the listening socket and answer plain
  requests with a compiled model, where there is one;
- ``MODEL_PROCESSES`` model processes (see `model_process`), which hold the model and answer the
  rest; a worker asks one of them.

This process imports the standard library alone: it is small, and has nothing to fail with.

On SIGTERM (or SIGINT) the workers drain and end, then the model processes; exit code 0. Exit code
1: a bad setting, a port in use, a model that does not load, processes that die again and again; the
reason is one line in the log and the container's termination message.
"""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from slipway_runtime import logs
from slipway_runtime.board import Board, State
from slipway_runtime.processes import CANNOT_RUN, STOP
from slipway_runtime.settings import ServerSettings, SettingsError

_log = logging.getLogger("slipway.server")

_WATCHED: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
_BACKLOG: Final = 2048
# A socket's path has at most 107 bytes (unix(7)), its own name included.
_LONGEST_FOLDER: Final = 90
# Of one process: deaths within so many seconds that are too many.
_DEATHS: Final = 6
_DEATHS_SECONDS: Final = 60.0
_FIRST_PAUSE: Final = 0.1
_KILL_SECONDS: Final = 5.0


class StartError(Exception):
    """The server cannot start; the message says why, in one line."""


class ChildFailedError(Exception):
    """A process ended in a way that another start does not mend."""


@dataclass
class Child:
    """One process of the server's, started again when it dies.

    Attributes:
        module: what it runs.
        place: its number among those of its kind.
        environment: what it is told besides the server's own environment.
        descriptors: the file descriptors it inherits.
        process: the running one, or None.
        deaths: when it died, lately.
        due: when it is to be started (`time.monotonic`).
    """

    module: str
    place: int
    environment: dict[str, str]
    descriptors: tuple[int, ...] = ()
    process: "subprocess.Popen[bytes] | None" = None
    deaths: list[float] = field(default_factory=list)
    due: float = 0.0

    def start(self) -> None:
        """Starts it."""
        try:
            self.process = subprocess.Popen(  # noqa: S603  (this package's own module)
                [sys.executable, "-m", self.module],
                env={**os.environ, **self.environment, "SLIPWAY_SERVER": str(os.getpid())},
                pass_fds=self.descriptors,
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            # No memory or no process to be had now does not mean never.
            _log.error("a process does not start", extra={"reason": error.strerror})
            self.due = time.monotonic() + 1

    def died(self, code: int, now: float) -> None:
        """Notes its death, and when to start it again.

        Raises:
            ChildFailedError: it died too often, or said that it cannot run.
        """
        self.process = None
        if code == CANNOT_RUN:
            raise ChildFailedError("")
        self.deaths = [death for death in self.deaths if now - death < _DEATHS_SECONDS] + [now]
        reason = f"signal {-code}" if code < 0 else f"exit code {code}"
        fields = {"ended": self.module, "place": self.place, "reason": reason}
        _log.error("a process died", extra=fields)
        if len(self.deaths) >= _DEATHS:
            died = f"{self.module} died {_DEATHS} times within {_DEATHS_SECONDS:g} seconds"
            raise ChildFailedError(f"{died}, last by {reason}")
        self.due = now + _FIRST_PAUSE * 2 ** (len(self.deaths) - 1)


class Server:
    """The server's processes.

    Args:
        settings: what to serve.
        listener: the listening socket.
        scratch: a folder of its own.
    """

    def __init__(self, settings: ServerSettings, listener: socket.socket, scratch: Path) -> None:
        self._stopping = False
        self._drain_seconds = settings.drain_seconds
        self._board_path = scratch / "board"
        Board.make(self._board_path, settings.workers)
        counts = scratch / "metrics"
        counts.mkdir()
        drift = scratch / "drift"
        drift.mkdir()
        self._workers: list[Child] = []
        self._models: list[Child] = []
        lines = [
            {"SLIPWAY_SOCKET": str(scratch / f"model{place}.sock")}
            for place in range(settings.model_processes)
        ]
        # MLflow would take the endpoint for its own traces, which hold what is asked and answered.
        apart = {"MLFLOW_ENABLE_OTLP_EXPORTER": "false"} if settings.traced else {}
        for place, line in enumerate(lines):
            folder = scratch / f"model{place}"
            folder.mkdir()
            model = line | apart | {"SLIPWAY_SCRATCH": str(folder)}
            model |= {"SLIPWAY_DRIFT": str(drift / f"model{place}")}
            self._models.append(Child("slipway_runtime.model_process", place, model))
        for place in range(settings.workers):
            worker = lines[place % len(lines)] | {
                "SLIPWAY_BOARD": str(self._board_path),
                "SLIPWAY_PLACE": str(place),
                "SLIPWAY_LISTEN_FD": str(listener.fileno()),
                "PROMETHEUS_MULTIPROC_DIR": str(counts),
                "SLIPWAY_DRIFT": str(drift / f"worker{place}"),
            }
            descriptors = (listener.fileno(),)
            self._workers.append(Child("slipway_runtime.worker", place, worker, descriptors))
        self._counts = counts
        self._folders = {
            child.place: Path(child.environment["SLIPWAY_SCRATCH"]) for child in self._models
        }
        self._board = Board.open(self._board_path)
        self._listener = listener

    def run(self) -> None:
        """Starts the processes and looks after them until they are to stop and have stopped.

        Raises:
            ChildFailedError: a process cannot run; the others are ended.
        """
        try:
            while True:
                self._start_due()
                if self._stopping and not any(child.process for child in self._workers):
                    return
                received = signal.sigtimedwait(_WATCHED, self._patience())
                if received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                    self._stop()
                self._reap()
        finally:
            self._end()

    def _patience(self) -> float:
        now = time.monotonic()
        waits = [child.due - now for child in self._children() if child.process is None]
        return max(0.01, min([*waits, 1.0]))

    def _children(self) -> list[Child]:
        return [*self._models, *self._workers]

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children():
            if child.process is None and child.due <= now and not self._stopping:
                child.start()

    def _stop(self) -> None:
        if not self._stopping:
            _log.info("stopping", extra={"drain_seconds": self._drain_seconds})
        self._stopping = True
        # The workers have it too, for as long as they take connections. With this one open, others
        # would be taken after that and never answered.
        self._listener.close()
        for child in self._workers:
            if child.process is not None:
                child.process.send_signal(STOP)

    def _reap(self) -> None:
        for child in self._children():
            process = child.process
            if process is None or (code := process.poll()) is None:
                continue
            if child in self._workers:
                # A gauge of a process that is gone would count for ever.
                for file in self._counts.glob(f"gauge_live*_{process.pid}.db"):
                    file.unlink(missing_ok=True)
                self._board.set(child.place, State.RESTARTING)
            else:
                socket_path = Path(child.environment["SLIPWAY_SOCKET"])
                socket_path.unlink(missing_ok=True)
                folder = self._folders[child.place]
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(exist_ok=True)
            if self._stopping:
                child.process = None
            else:
                child.died(code, time.monotonic())
        self._reap_orphans()

    def _reap_orphans(self) -> None:
        """Takes leave of processes that were started by a model and outlived it, as PID 1 must."""
        own = {child.process.pid for child in self._children() if child.process is not None}
        with contextlib.suppress(ChildProcessError):
            while True:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None or found.si_pid in own:
                    # One of its own that ended just now is seen to the next time.
                    return
                os.waitpid(found.si_pid, 0)

    def _end(self) -> None:
        """Ends what still runs."""
        running = [child.process for child in self._children() if child.process is not None]
        for process in running:
            process.send_signal(STOP)
        deadline = time.monotonic() + _KILL_SECONDS
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def _scratch() -> "tempfile.TemporaryDirectory[str]":
    """Makes a folder that no other user can look into.

    Raises:
        StartError: there is no place for one.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="slipway-", ignore_cleanup_errors=True)
    except OSError as error:
        raise StartError(f"no folder for temporary files: {error}; set TMPDIR") from error
    if len(made.name) > _LONGEST_FOLDER:
        folder = Path(made.name).parent
        made.cleanup()
        raise StartError(f"TMPDIR: {folder} is too long a path for the sockets in it")
    return made


def main() -> int:
    """Runs the server; returns the exit code."""
    # A signal makes `sigtimedwait` return; it is never delivered in any other way. From the first
    # moment on, for what the kernel does with one that comes earlier differs.
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    logs.configure()
    try:
        settings = ServerSettings.from_env()
        listener = _listen(settings.host, settings.port)
        fields = {"model": settings.model_name, "version": settings.model_version}
        fields |= {"port": str(settings.port), "workers": str(settings.workers)}
        _log.info("start", extra=fields | {"pid": os.getpid()})
        with _scratch() as scratch:
            Server(settings, listener, Path(scratch)).run()
    except ChildFailedError as error:
        # A process that cannot run has said why itself.
        if str(error):
            _log.error(str(error))
            logs.write_termination_message(str(error))
        return 1
    except (SettingsError, StartError) as error:
        _log.error(str(error))
        logs.write_termination_message(str(error))
        return 1
    _log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
