"""Brings files to a local folder: a few at a time, and from where an earlier attempt stopped.

A file is divided into pieces of 16 MiB. When a piece is on the disk, its place and its SHA-256 are
written to a journal beside the files. Whoever continues takes over the pieces whose bytes still
have that digest, and fetches the others; a journal of other files, or of other sizes or marks of
the same files, is thrown away with all that belongs to it. So an attempt may be killed at any
moment and costs the next at most the pieces that were under way.

Memory: `artifacts.CHUNK` for each of at most four downloads at a time, whatever the sizes.
"""

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from slipway_runtime.artifacts import CHUNK, CopiedArtifacts, ReadableArtifacts, RemoteFile
from slipway_runtime.tracking import NotAnsweringError, Patience

PIECE: Final = 16 << 20
DOWNLOADS: Final = 4
PROGRESS_SECONDS: Final = 10.0


class SpaceError(Exception):
    """The disk has too little room; the message says in one line how little."""


@dataclass(frozen=True)
class Stretch:
    """Bytes of one file that are fetched one after the other: from ``start`` up to ``stop``."""

    path: str
    start: int
    stop: int


class Transfer:
    """A folder being filled with the files of one model version.

    Args:
        folder: holds the files, in `files`, and the journal; made where it is absent.
        artifacts: where they come from.
        listed: what it lists; every path is relative and stays inside the folder.
        patience: makes the patience of one download.

    Attributes:
        files: the folder of the files.
        resumed: bytes taken over from an earlier attempt.
        progress: is told bytes done and bytes in all every ten seconds of `run`, by its thread.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        artifacts: ReadableArtifacts | CopiedArtifacts,
        listed: Mapping[str, RemoteFile],
        patience: Callable[[], Patience],
    ) -> None:
        self.files = folder / "files"
        self._folder = folder
        self._journal = folder / "journal"
        self._artifacts = artifacts
        self._listed = listed
        self._patience = patience
        self.progress: Callable[[int, int], None] = lambda done, total: None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._header = json.dumps(
            {"uri": artifacts.uri, "files": {p: [f.size, f.mark] for p, f in listed.items()}},
            sort_keys=True,
        )
        self._pieces = self._take_over()
        self.resumed = sum(stop - start for _, start, stop in self._pieces)
        self._done = self.resumed

    def check_space(self) -> None:
        """Looks whether what is missing fits the disk.

        Raises:
            SpaceError: it does not.
        """
        missing = sum(file.size for file in self._listed.values()) - self._done
        free = shutil.disk_usage(self._folder).free
        if missing > free:
            raise SpaceError(
                f"{_megabytes(missing)} MB are still to be fetched and the disk has "
                f"{_megabytes(free)} MB free"
            )

    def run(self, paths: Sequence[str]) -> None:
        """Brings the files ``paths`` to the disk; those that are there already cost nothing.

        Raises:
            TrackingError: one of them cannot be had; the others are stopped, and what is there
                stays for the next attempt.
            OSError: the disk is full or cannot be written.
        """
        self._stop.clear()
        work = [stretch for path in paths for stretch in self._missing(path)]
        # Largest first, so that the last to finish is not the one that takes longest.
        work.sort(key=lambda stretch: (stretch.start - stretch.stop, stretch.path, stretch.start))
        for stretch in work:
            (self.files / stretch.path).parent.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(DOWNLOADS, "fetch") as pool:
            try:
                self._watch([pool.submit(self._fetch, stretch) for stretch in work])
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)

    def _watch(self, futures: "list[Future[None]]") -> None:
        total = sum(file.size for file in self._listed.values())
        pending = set(futures)
        while pending:
            done, pending = wait(pending, PROGRESS_SECONDS, FIRST_EXCEPTION)
            for future in done:
                future.result()
            if pending:
                self.progress(self._done, total)

    def _missing(self, path: str) -> Iterator[Stretch]:
        """Yields what is to be fetched of one file, in requests of the size its place likes."""
        size = self._listed[path].size
        absent = [span for span in _spans(size) if (path, *span) not in self._pieces]
        if isinstance(self._artifacts, CopiedArtifacts):
            if absent:
                yield Stretch(path, 0, size)
            return
        most = self._artifacts.request_bytes
        while absent:
            start, stop = absent.pop(0)
            while (
                absent and absent[0][0] == stop and (most is None or stop + PIECE - start <= most)
            ):
                stop = absent.pop(0)[1]
            yield Stretch(path, start, stop)

    def _fetch(self, stretch: Stretch) -> None:
        destination = self.files / stretch.path
        if isinstance(self._artifacts, CopiedArtifacts):
            self._artifacts.download(stretch.path, destination)
            for start, stop in _spans(stretch.stop):
                if digest_of_copy := _digest(destination, start, stop):
                    self._note(stretch.path, start, stop, digest_of_copy)
            self._add(stretch.stop)
            return
        digest, position, patience = hashlib.sha256(), stretch.start, self._patience()
        # Neither "w", which would empty what others have written, nor "a", which cannot seek.
        with os.fdopen(os.open(destination, os.O_CREAT | os.O_WRONLY, 0o644), "wb") as file:
            file.seek(position)
            if position == stretch.stop:
                self._note(stretch.path, position, position, digest.hexdigest())
            while position < stretch.stop and not self._stop.is_set():
                for data in self._read(stretch, position, patience):
                    file.write(data)
                    digest.update(data)
                    position += len(data)
                    if position % PIECE == 0 or position == stretch.stop:
                        file.flush()
                        first = (position - 1) // PIECE * PIECE
                        self._note(stretch.path, first, position, digest.hexdigest())
                        digest = hashlib.sha256()

    def _read(self, stretch: Stretch, position: int, patience: Patience) -> Iterator[bytes]:
        """Yields bytes from ``position`` on, no chunk across the end of a piece.

        Ends early where the download broke off, after a pause.
        """
        listed, artifacts = self._listed[stretch.path], self._artifacts
        assert isinstance(artifacts, ReadableArtifacts)  # noqa: S101  (for the type checker)
        try:
            for chunk in artifacts.read(stretch.path, listed, position, stretch.stop):
                patience.succeeded()
                while chunk:
                    data = chunk[: PIECE - position % PIECE]
                    chunk = chunk[len(data) :]
                    position += len(data)
                    yield data
                    self._add(len(data))
                if self._stop.is_set():
                    return
            if position < stretch.stop:
                raise NotAnsweringError(f"the download of {stretch.path} broke off")
        except NotAnsweringError as error:
            if not self._stop.is_set():
                patience.failed(error)

    def _add(self, count: int) -> None:
        with self._lock:
            self._done += count

    def _note(self, path: str, start: int, stop: int, digest: str) -> None:
        line = json.dumps({"path": path, "start": start, "stop": stop, "sha256": digest})
        with self._lock:
            self._pieces.add((path, start, stop))
            with self._journal.open("a") as journal:
                journal.write(line + "\n")

    def _take_over(self) -> set[tuple[str, int, int]]:
        """Returns the pieces of an earlier attempt that are whole; forgets everything else."""
        lines = self._lines()
        if lines is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.files.mkdir(parents=True, exist_ok=True)
        kept: dict[tuple[str, int, int], str] = {}
        for piece in lines or ():
            path, start, stop = piece.get("path"), piece.get("start"), piece.get("stop")
            if not (isinstance(path, str) and isinstance(start, int) and isinstance(stop, int)):
                continue
            listed = self._listed.get(path)
            if listed is None or (start, stop) not in _spans(listed.size):
                continue
            if _digest(self.files / path, start, stop) == piece.get("sha256"):
                kept[path, start, stop] = json.dumps(piece)
        # Written anew: a line that was cut off must not be continued by the next one.
        fresh = self._journal.with_suffix(".new")
        fresh.write_text("\n".join([self._header, *kept.values(), ""]))
        fresh.replace(self._journal)
        return set(kept)

    def _lines(self) -> list[dict[str, Any]] | None:
        """Returns the journal's entries; None if there is none of exactly these files."""
        try:
            header, *lines = self._journal.read_text().splitlines()
        except (OSError, ValueError):
            return None
        if header != self._header:
            return None
        entries = []
        for line in lines:
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
        return [entry for entry in entries if isinstance(entry, dict)]


def _spans(size: int) -> list[tuple[int, int]]:
    """Returns the pieces of a file of ``size`` bytes as (start, stop); an empty file has one."""
    return [(start, min(start + PIECE, size)) for start in range(0, max(size, 1), PIECE)]


def _digest(path: Path, start: int, stop: int) -> str | None:
    """Returns the SHA-256 of some bytes of a file, in lowercase hex; None if they are not there."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            file.seek(start)
            while start < stop:
                data = file.read(min(CHUNK, stop - start))
                if not data:
                    return None
                digest.update(data)
                start += len(data)
    except OSError:
        return None
    return digest.hexdigest()


def _megabytes(count: int) -> int:
    """Returns whole megabytes of 10^6 bytes, rounded up."""
    return -(-count // 1_000_000)


def progress_printer(resumed: int) -> Callable[[int, int], None]:
    """Returns a `Transfer.progress` that prints one line of JSON, with the speed since this call.

    Args:
        resumed: bytes that are there already.
    """
    started = time.monotonic()

    def tell(done: int, total: int) -> None:
        seconds = max(time.monotonic() - started, 1e-3)
        line = {"event": "fetching", "megabytes": _megabytes(done), "of": _megabytes(total)}
        speed = round((done - resumed) / seconds / 1e6, 1)
        line |= {"taken_over": _megabytes(resumed)} if resumed else {}
        print(json.dumps(line | {"megabytes_per_second": speed}), flush=True)

    return tell
