"""The files of a model's rollouts: the journal, the orders left for its holder, and the lease.

| file | what |
| --- | --- |
| `journal.jsonl` | one entry a line, only ever added to |
| `orders/*.json` | an order each, written and taken whole |
| `lease.json` | who moves the rollout, and until when |
| `lock` | locked (flock) for the moment in which one of these is changed |

A reader makes nothing; the directory comes into being with the first thing written, for its owner
alone (0700). Every write is on the disk when the call returns.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rollout.adapters.lease import Lease, LeaseHeldError, locked, sync, write_whole

__all__ = ["Lease", "LeaseHeldError", "Store", "StoreError"]

JOURNAL: Final = "journal.jsonl"
ORDERS: Final = "orders"
LEASE_SECONDS: Final = 30.0
_LOST: Final = "this process has lost it and must not go on"


class StoreError(Exception):
    """A file that cannot be read or written; the message is one line that names it."""


class Store:
    """The journal, orders and lease of one model of one stack.

    Args:
        directory: theirs alone; made when something is written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._journal = directory / JOURNAL
        # The journal's size after our last entry, and that entry's number.
        self._last: tuple[int, int] | None = None
        self.fence: Lease | None = None

    def append(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Write an entry at the journal's end; it is on the disk when this returns.

        Returns:
            The entry with `seq`, its number, from 1, and `at`, the time in seconds since 1970.

        Raises:
            StoreError: the journal cannot be written, or a line of it makes no sense.
            LeaseHeldError: `fence`, the lease under which this writes, is no longer held.
        """
        with self._named(self._journal), locked(self.directory):
            if self.fence is not None and not self.fence.mine():
                raise LeaseHeldError(self.fence.holder() or "nobody", 0, 0, _LOST)
            new = not self._journal.exists()
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            file = os.open(self._journal, flags, 0o600)
            try:
                seq = self._whole(file) + 1
                full = {**entry, "seq": seq, "at": round(time.time(), 3)}
                line = json.dumps(full, separators=(",", ":")).encode() + b"\n"
                size = os.fstat(file).st_size
                if os.write(file, line) != len(line):
                    os.ftruncate(file, size)
                    raise StoreError(f"{self._journal}: the disk is full; make room")
                os.fsync(file)
                self._last = size + len(line), seq
            finally:
                os.close(file)
            if new:
                sync(self.directory)
        return full

    def entries(self) -> list[dict[str, Any]]:
        """All entries, the oldest first; none where there is no journal.

        A last line without its end, of a process that was killed as it wrote, is left out.

        Raises:
            StoreError: the journal cannot be read, or a line of it makes no sense; it is named.
        """
        with self._named(self._journal):
            try:
                content = self._journal.read_bytes()
            except FileNotFoundError:
                return []
        return self._parsed(content)

    def lease(self, owner: str, seconds: float = LEASE_SECONDS) -> Lease:
        """The right to move the rollout, for `owner`, not yet acquired."""
        return Lease(self.directory, owner, seconds)

    def order(self, name: str, **fields: Any) -> None:
        """Leave an order for whoever holds the lease, or will.

        Raises:
            StoreError: it cannot be written.
        """
        with self._named(self.directory / ORDERS), locked(self.directory):
            orders = self.directory / ORDERS
            orders.mkdir(mode=0o700, exist_ok=True)
            last = max((int(path.stem) for path in self._waiting()), default=0)
            # Named by the time, and after every one that waits, whatever the clock has done.
            target = orders / f"{max(time.time_ns(), last + 1):020d}.json"
            write_whole(target, {"order": name, "at": round(time.time(), 3), **fields})

    def orders(self) -> list[dict[str, Any]]:
        """The orders that wait, the oldest first. Raises StoreError if one cannot be read."""
        found = []
        with self._named(self.directory / ORDERS):
            for path in self._waiting():
                try:
                    found.append(json.loads(path.read_bytes()))
                except FileNotFoundError:  # taken since
                    continue
                except ValueError:
                    raise StoreError(f"{path}: is no order; remove it") from None
        return found

    def take_order(self) -> dict[str, Any] | None:
        """The oldest order, which nobody gets again; None where there is none.

        What is no order is put aside, as *.bad.

        Raises:
            StoreError: it cannot be read or removed.
        """
        if not self._waiting():
            return None
        with self._named(self.directory / ORDERS), locked(self.directory):
            for path in self._waiting():
                try:
                    found = json.loads(path.read_bytes())
                except ValueError:
                    found = None
                if not isinstance(found, dict):
                    path.rename(path.with_suffix(".bad"))
                    continue
                path.unlink()
                sync(path.parent)
                return found
        return None

    def _waiting(self) -> list[Path]:
        found = (self.directory / ORDERS).glob("*.json")
        return sorted(path for path in found if path.stem.isdecimal())

    def _whole(self, file: int) -> int:
        """Cut off a torn last line. Returns the number of the last entry, 0 without one."""
        size = os.fstat(file).st_size
        if self._last and self._last[0] == size:
            return self._last[1]
        content = os.pread(file, size, 0)
        end = content.rfind(b"\n") + 1
        if end != len(content):
            os.ftruncate(file, end)
        entries = self._parsed(content)
        return int(entries[-1]["seq"]) if entries else 0

    def _parsed(self, content: bytes) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for number, line in enumerate(content.split(b"\n")[:-1], 1):
            try:
                entry = json.loads(line)
                seq = entry["seq"]
                if type(seq) is not int or type(entry["at"]) not in (int, float):
                    raise ValueError
            except (ValueError, KeyError, TypeError):
                raise StoreError(
                    f"{self._journal}, line {number}: is no entry of a journal; mend or remove it"
                ) from None
            if found and seq <= found[-1]["seq"]:
                raise StoreError(
                    f"{self._journal}, line {number}: entry {seq} comes after entry "
                    f"{found[-1]['seq']}; mend or remove it"
                )
            found.append(entry)
        return found

    @contextmanager
    def _named(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{error.filename or path}: {error.strerror or error}") from error
