"""The board on which front workers tell each other their state: a byte each, in a shared file.

A probe reaches any one of them, and has to be told of all.
"""

import mmap
from enum import IntEnum
from pathlib import Path


class State(IntEnum):
    """The state of one worker."""

    LOADING = 0
    READY = 1
    DRAINING = 2
    RESTARTING = 3  # started again while others serve, or waiting for a new model process


class Board:
    """The states of all workers.

    Args:
        memory: one byte a worker.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    @classmethod
    def make(cls, path: Path, workers: int) -> None:
        """Makes the file for so many workers, all of them loading."""
        path.write_bytes(bytes(workers))

    @classmethod
    def open(cls, path: Path) -> "Board":
        """Opens the file that `make` made."""
        with path.open("r+b") as file:
            return cls(mmap.mmap(file.fileno(), 0))

    def set(self, place: int, state: State) -> None:
        """Tells a worker's state."""
        self._memory[place] = state

    def any_loading(self) -> bool:
        """Tells whether a worker has yet to load its model for the first time."""
        return State.LOADING in self._memory[:]

    def any_ready(self) -> bool:
        """Tells whether a worker serves."""
        return State.READY in self._memory[:]
