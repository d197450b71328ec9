"""The scanners' own Python environment, hardening/.venv."""

from __future__ import annotations

import hashlib
import shutil
import sys

from hardening.scanners import ENVIRONMENT
from local import venv
from local.console import step
from local.toolkit import run

_PINS = ENVIRONMENT.with_name("requirements.txt")


def ensure() -> None:
    """Make it hold what hardening/requirements.txt pins, if it does not.

    Raises:
        UserError: an install failed.
    """
    stamp = ENVIRONMENT / "complete"
    digest = hashlib.sha256(_PINS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    with step("hardening: the scanners' environment, once"):
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(ENVIRONMENT)])
        python = ["--python", str(ENVIRONMENT / "bin/python")]
        venv.uv("pip", "install", "--require-hashes", "-r", str(_PINS), *python)
        stamp.write_text(digest)
