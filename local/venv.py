"""The project's virtual environment, and uv, which fills it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from local.console import UserError, say
from local.debian import apt_update_once
from local.instance import PROJECT, cache_dir
from local.toolkit import exclusive, run

VENV = PROJECT / ".venv"
UV_VERSION = "0.13.9"
UV_SHA256 = "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"


def venv_python() -> Path:
    """The Python of the project's virtual environment."""
    return PROJECT / ".venv/bin/python"


_venv_lock = threading.Lock()


def uv(*arguments: str) -> None:
    """Run uv, the package installer, with its cache in ours.

    Raises:
        UserError: it failed.
    """
    env = {**os.environ, "UV_CACHE_DIR": str(cache_dir() / "uv"), "VIRTUAL_ENV": str(VENV)}
    # uv brings its own certificates; a machine behind a private authority needs the system's.
    env.setdefault("UV_SYSTEM_CERTS", "true")
    run([str(VENV / "bin/uv"), *arguments], cwd=PROJECT, env=env)


def ensure_venv() -> float | None:
    """Make `.venv` hold what requirements.txt pins; the seconds it took, None if it did already.

    Raises:
        UserError: Python is too old, or an install failed.
    """
    with _venv_lock, exclusive(cache_dir() / "venv.lock"):
        pins = (PROJECT / "requirements.txt").read_bytes()
        stamp = VENV / ".requirements"
        digest = hashlib.sha256(pins + UV_VERSION.encode()).hexdigest()
        if stamp.exists() and stamp.read_text() == digest and venv_python().exists():
            return None
        start = time.monotonic()
        python = _system_python()
        stamp.unlink(missing_ok=True)
        # An environment that stands is brought up to date in place: a running cluster's
        # supervisor lives in it.
        uv_pin = VENV / "uv.txt"
        wanted = f"uv=={UV_VERSION} --hash=sha256:{UV_SHA256}\n"
        if not uv_pin.exists() or uv_pin.read_text() != wanted or not (VENV / "bin/uv").exists():
            run([python, "-m", "venv", "--clear", str(VENV)])
            pending = VENV / "uv.txt.new"
            pending.write_text(wanted)
            pip = [str(venv_python()), "-m", "pip", "--disable-pip-version-check"]
            run([*pip, "install", "-q", "--require-hashes", "--no-deps", "-r", str(pending)])
            pending.replace(uv_pin)
        uv("pip", "install", "--require-hashes", "--compile-bytecode", "-r", "requirements.txt")
        stamp.write_text(digest)
        return time.monotonic() - start


def _system_python() -> str:
    """The Python that runs this, once it can make virtual environments (Debian splits that off)."""
    if sys.version_info[:2] != (3, 11):
        raise UserError(
            f"python3: {sys.version.split()[0]} is not 3.11, which the pins are for; "
            "put a python3.11 first on PATH"
        )
    python = sys._base_executable if hasattr(sys, "_base_executable") else sys.executable
    probe = subprocess.run([python, "-c", "import ensurepip"], capture_output=True, check=False)
    if probe.returncode:
        say("  tools: installing Debian's python3-venv")
        apt_update_once()
        run(["apt-get", "install", "-y", "--no-install-recommends", "python3-venv"])
    return python
