"""The right to move the rollout of a model: one process has it at a time.

It ends when it is released, when its time is over, or when its process is gone; the last can be
told on the same machine alone. A pid is taken for a process only with the time it was started at.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

LEASE: Final = "lease.json"
_LOCK: Final = "lock"
# It is held for the time of a write to the disk.
_LOCK_SECONDS: Final = 10.0


class LeaseHeldError(Exception):
    """Somebody else has the lease.

    Attributes:
        holder: who, as `ada@host pid 4711`.
        since, until: from when to when, in seconds since 1970; it may be renewed.
    """

    def __init__(self, holder: str, since: float, until: float, remedy: str) -> None:
        times = f"since {_clock(since)}, until {_clock(until)} or longer" if since else "now"
        super().__init__(f"the lease is {holder}'s {times}; {remedy}")
        self.holder, self.since, self.until = holder, since, until


class Lease:
    """The lease of one directory, for one owner. `with lease:` acquires and releases it.

    Args:
        directory: made if need be.
        owner: shown to those who are refused.
        seconds: how long it is valid without being renewed.
    """

    def __init__(self, directory: Path, owner: str, seconds: float) -> None:
        self.seconds = seconds
        self._directory, self._file, self._owner = directory, directory / LEASE, owner
        self._token = secrets.token_hex(8)
        self._acquired = 0.0

    def acquire(self) -> None:
        """Take it, if it is free, its time is over, or its process is gone.

        Raises:
            LeaseHeldError: it is somebody else's.
            OSError: it cannot be read or written.
        """
        with locked(self._directory):
            held = self._read()
            if held and held.get("token") != self._token and not _over(held):
                raise _refusal(held, "wait for it to end, or stop that process")
            self._acquired = time.time()
            self._write()

    def renew(self) -> None:
        """Make it valid for another `seconds` from now.

        Raises:
            LeaseHeldError: it is no longer this owner's: its time was over, and somebody took it,
                or removed it.
            OSError: it cannot be read or written; until its time is over it is still held.
        """
        with locked(self._directory):
            held = self._read()
            if held is None or held.get("token") != self._token:
                raise _refusal(held or {}, "this process must not go on")
            self._write()

    def release(self) -> None:
        """Give it back; nothing happens where it is not, or no longer, this owner's."""
        if not self._file.exists():
            return
        with locked(self._directory):
            held = self._read()
            if held and held.get("token") == self._token:
                self._file.unlink()
                sync(self._directory)

    def mine(self) -> bool:
        """Whether it is still this owner's, and its time not over."""
        held = self._read()
        return held is not None and held.get("token") == self._token and not _over(held)

    def holder(self) -> str | None:
        """Who has it now, whoever asks; None if nobody does."""
        held = self._read()
        return str(held.get("owner")) if held and not _over(held) else None

    def __enter__(self) -> Lease:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _read(self) -> dict[str, Any] | None:
        """What the file says; an empty one for a file that makes no sense, which nobody holds."""
        try:
            found = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self) -> None:
        write_whole(
            self._file,
            {
                "owner": self._owner,
                "token": self._token,
                "acquired": round(self._acquired, 3),
                "expires": round(time.time() + self.seconds, 3),
                "process": {"machine": _machine(), "pid": os.getpid(), "started": _started()},
            },
        )


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of `directory`, which is made if need be, for its owner alone.

    Raises TimeoutError (an OSError) if another process, stopped maybe, does not let go of it.
    """
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync(directory.parent)
    file = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(file, directory / _LOCK)
        yield
    finally:
        os.close(file)


def _wait_for(file: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                why = f"another process has had it for {_LOCK_SECONDS:g} seconds"
                raise TimeoutError(errno.ETIMEDOUT, why, str(path)) from None
            time.sleep(0.01)


def write_whole(target: Path, content: dict[str, Any]) -> None:
    """Write a file of JSON that is there whole or not at all, and on the disk."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(json.dumps(content).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(target.parent)


def sync(directory: Path) -> None:
    """Have the names in `directory` on the disk."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _refusal(held: dict[str, Any], remedy: str) -> LeaseHeldError:
    since, until = (float(held.get(key) or 0) for key in ("acquired", "expires"))
    return LeaseHeldError(str(held.get("owner", "nobody")), since, until, remedy)


def _over(held: dict[str, Any]) -> bool:
    try:
        if time.time() >= float(held["expires"]):
            return True
        process = held["process"]
        if process["machine"] != _machine() or not process["started"]:
            return False
        return bool(_started(int(process["pid"])) != process["started"])
    except (KeyError, TypeError, ValueError):
        return True


def _started(pid: int | str = "self") -> str | None:
    """When a process started, in clock ticks since boot; None where it has ended or is unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _machine() -> str:
    """Where a pid means the same process: this host, since it was booted, seen from here."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} {secrets.token_hex(8)}"


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(seconds))
