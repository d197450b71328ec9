"""What every way of installing a tool has in common: the tool itself, and running a command."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.console import UserError, say
from local.instance import PROJECT, cache_dir

LINKS = PROJECT / ".slipway"


@dataclass(frozen=True)
class Tool:
    """One thing to install.

    `probe` is a command whose output must match `expect` for a program on PATH to be used as it
    is; `binaries` are the programs the tool provides. `install` fills a directory given to it.
    `key` is hashed into the directory's name, so it must hold whatever decides the content: pins,
    and the source of a recipe, or a `version` that changes with it.
    """

    name: str
    version: str
    key: str
    install: Callable[[Path], None]
    binaries: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    expect: str = ""
    after: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        digest = hashlib.sha256(self.key.encode()).hexdigest()[:12]
        return cache_dir() / "tools" / f"{self.name}-{digest}"

    def on_path(self) -> bool:
        """Whether PATH has every program of this tool at the right version."""
        if not self.probe or not all(which(name) for name in self.binaries):
            return False
        command = [str(which(self.probe[0])), *self.probe[1:]]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        return re.search(self.expect, out.stdout + out.stderr, re.M) is not None


def which(name: str) -> Path | None:
    """The program on PATH, our own links left out: they must not lead to themselves."""
    ours = str(LINKS / "bin")
    path = os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if p != ours)
    found = shutil.which(name, path=path)
    return Path(found).resolve() if found else None


def link(place: Path, target: Path) -> None:
    """Make `place` a symbolic link to `target`, in one step, whatever it was before."""
    if place.is_symlink() and place.readlink() == target:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(place)


@contextmanager
def exclusive(path: Path, what: str = "tools") -> Iterator[None]:
    """Hold the lock file `path`, so that two runs at once do not undo each other's work."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"  {what}: waiting for another run that is at work on it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command quietly and return its output.

    Raises:
        UserError: it failed; the message ends in the last lines it printed.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise UserError(
            f"{command[0]}: not found on PATH; install it (apt-get install {Path(command[0]).name})"
        ) from None
    if done.returncode:
        tail = "\n    ".join(done.stdout.strip().splitlines()[-15:])
        shown = " ".join(command)[:200]
        raise UserError(f"`{shown}` failed with status {done.returncode}:\n    {tail}")
    return done.stdout
