"""The servers' Python environments: hash-locked, in the cache, made on first use."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from local.console import step
from local.instance import PROJECT, cache_dir
from local.toolkit import exclusive, run
from local.venv import uv


@dataclass(frozen=True)
class Environment:
    """One environment, named by its pins: other pins, another directory."""

    name: str
    pins: Path

    @property
    def directory(self) -> Path:
        digest = hashlib.sha256(self.pins.read_bytes()).hexdigest()[:12]
        return cache_dir() / "bench" / f"{self.name}-{digest}"

    @property
    def python(self) -> Path:
        return self.directory / "bin/python"

    def versions(self) -> dict[str, str]:
        """Name → version of every package in it, as pinned."""
        return parse_pins(self.pins.read_text())


RUNTIME = Environment("runtime", PROJECT / "serving_image/requirements.txt")
MLSERVER = Environment("mlserver", PROJECT / "bench/requirements/mlserver.txt")
BENTOML = Environment("bentoml", PROJECT / "bench/requirements/bentoml.txt")


def parse_pins(text: str) -> dict[str, str]:
    """Name → version of each `name==version` that begins a line."""
    return dict(re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s\\;]+)", text, re.M))


def compile_runtime() -> None:
    """Byte code of Slipway's own runtime, made before its start as the image's build makes it."""
    package = PROJECT / "serving_image/slipway_runtime"
    run([str(RUNTIME.python), "-m", "compileall", "-q", str(package)])


def read_once(environment: Environment) -> None:
    """Reads every file: a first start must not wait for the disk where later ones do not."""
    for path in environment.directory.rglob("*"):
        if path.is_file():
            path.read_bytes()


def ensure(environment: Environment) -> None:
    """Make the environment unless it stands; a stopped making is begun anew.

    Raises:
        UserError: a package could not be had.
    """
    directory = environment.directory
    stamp = directory / ".complete"
    with exclusive(cache_dir() / f"bench-{environment.name}.lock", "bench"):
        if stamp.exists():
            return
        with step(f"bench: environment of {environment.name}"):
            base = getattr(sys, "_base_executable", None) or sys.executable
            uv("venv", "--clear", "--python", base, str(directory))
            # Byte code is made here, as an image's build makes it: no server's start pays for it.
            uv(
                *("pip", "install", "--python", str(environment.python), "--require-hashes"),
                *("--only-binary", ":all:", "--compile-bytecode", "-r", str(environment.pins)),
            )
            stamp.touch()
